//! Which step runs when: a step starts as soon as its inputs are there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::planner::Plan;
use crate::planner::Verdict;
use crate::planner::graph::StepId;

/// The steps that must be visited for the targets, in topological order, and who waits for whom.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// By step: the steps that wait for it.
    users: Vec<Vec<StepId>>,
    /// By step: how many steps it still waits for; `None` if it is not needed.
    waiting: Vec<Option<AtomicUsize>>,
    /// Needed steps that wait for nothing.
    ready: Vec<StepId>,
}

impl Agenda {
    /// Puts the needed steps of a plan in order. A cached step waits for its base alone: what it
    /// reads need not be there.
    pub(crate) fn new(plan: &Plan) -> Self {
        let graph = &plan.graph;
        let inputs = |id: StepId| {
            let step = graph.step(id);
            let is_cached = matches!(plan.step(id).verdict, Verdict::Cached(_));
            let reads = if is_cached {
                &[]
            } else {
                step.reads.as_slice()
            };
            step.base
                .into_iter()
                .chain(reads.iter().copied())
                .collect::<BTreeSet<_>>()
        };
        let needed = graph
            .steps
            .iter()
            .map(|step| step.id)
            .filter(|id| plan.step(*id).is_needed());
        let mut users = vec![Vec::new(); graph.steps.len()];
        let mut waiting: Vec<Option<AtomicUsize>> = graph.steps.iter().map(|_| None).collect();
        let mut ready = Vec::new();
        for id in needed {
            let inputs = inputs(id);
            if inputs.is_empty() {
                ready.push(id);
            }
            waiting[id.0] = Some(AtomicUsize::new(inputs.len()));
            for input in inputs {
                users[input.0].push(id);
            }
        }
        Self {
            users,
            waiting,
            ready,
        }
    }

    /// The steps that can start at once.
    pub(crate) fn ready(&self) -> &[StepId] {
        &self.ready
    }

    /// Whether a step is needed at all.
    pub(crate) fn needs(&self, id: StepId) -> bool {
        self.waiting[id.0].is_some()
    }

    /// Says that a step is done: the steps that can start now because of it.
    pub(crate) fn finished(&self, id: StepId) -> Vec<StepId> {
        let last = |user: &StepId| {
            self.waiting[user.0]
                .as_ref()
                .is_some_and(|count| count.fetch_sub(1, Ordering::AcqRel) == 1)
        };
        self.users[id.0].iter().copied().filter(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Material;
    use crate::clock::Epoch;
    use crate::diagnostic::Span;
    use crate::planner::PlannedStep;
    use crate::planner::graph::{Graph, StageId, Step};
    use crate::planner::key::Selections;
    use crate::planner::op::Op;
    use crate::platform::Platform;

    /// A plan from lines of (base, reads); all steps are needed.
    fn plan(lines: &[(Option<usize>, &[usize])]) -> Plan {
        let steps: Vec<Step> = lines
            .iter()
            .enumerate()
            .map(|(id, (base, reads))| Step {
                id: StepId(id),
                stage: StageId(0),
                base: base.map(StepId),
                reads: reads.iter().copied().map(StepId).collect(),
                op: Op::Scratch,
                platform: Platform::new("linux", "amd64", None),
                name: String::new(),
                span: Span::default(),
                epoch: Epoch(0),
                no_cache: false,
            })
            .collect();
        let material = Material::new("x");
        let planned = PlannedStep {
            key: material.key(),
            material,
            selections: Selections::default(),
            verdict: Verdict::Build,
        };
        let steps_planned = vec![planned; steps.len()];
        Plan {
            graph: Graph {
                steps,
                ..Graph::default()
            },
            steps: steps_planned,
        }
    }

    /// Performs everything in the order the agenda allows.
    fn order(plan: &Plan) -> Vec<usize> {
        let agenda = Agenda::new(plan);
        let mut queue = agenda.ready().to_vec();
        let mut order = Vec::new();
        while let Some(id) = queue.pop() {
            order.push(id.0);
            queue.extend(agenda.finished(id));
        }
        order
    }

    #[test]
    fn inputs_come_before_their_users() {
        let plan = plan(&[(None, &[]), (Some(0), &[]), (None, &[]), (Some(2), &[1, 0])]);
        let order = order(&plan);
        assert_eq!(order.len(), 4);
        let at = |id: usize| order.iter().position(|step| *step == id).unwrap();
        assert!(at(0) < at(1) && at(1) < at(3) && at(2) < at(3));
    }

    #[test]
    fn a_step_that_nobody_needs_is_never_visited() {
        let mut plan = plan(&[(None, &[]), (Some(0), &[]), (Some(0), &[])]);
        plan.steps[1].verdict = Verdict::Unneeded;
        let mut visited = order(&plan);
        visited.sort_unstable();
        assert_eq!(visited, [0, 2]);
    }
}
