//! Which step runs when: a step starts as soon as its inputs are there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::planner::graph::{Graph, StepId};

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
    /// Finds what the targets need: their chains of bases, and the sources of every step for which
    /// `cached` is false. What only a cached step reads is not needed.
    pub(crate) fn new(graph: &Graph, cached: impl Fn(StepId) -> bool) -> Self {
        let mut needed = BTreeSet::new();
        let mut pending: Vec<StepId> = graph.targets.iter().map(|target| target.step).collect();
        let inputs = |id: StepId| {
            let step = graph.step(id);
            let reads = if cached(id) { &[] } else { step.reads.as_slice() };
            step.base.into_iter().chain(reads.iter().copied()).collect::<BTreeSet<_>>()
        };
        while let Some(id) = pending.pop() {
            if needed.insert(id) {
                pending.extend(inputs(id));
            }
        }
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
        Self { users, waiting, ready }
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
    use crate::clock::Epoch;
    use crate::diagnostic::Span;
    use crate::image::ImageConfig;
    use crate::planner::graph::{StageId, Step, Target};
    use crate::planner::op::Op;
    use crate::platform::Platform;

    /// A graph from lines of (base, reads).
    fn graph(lines: &[(Option<usize>, &[usize])]) -> Graph {
        let steps = lines.iter().enumerate().map(|(id, (base, reads))| Step {
            id: StepId(id),
            stage: StageId(0),
            base: base.map(StepId),
            reads: reads.iter().copied().map(StepId).collect(),
            op: Op::Scratch,
            name: String::new(),
            span: Span::default(),
            epoch: Epoch(0),
            no_cache: false,
        });
        let steps: Vec<Step> = steps.collect();
        let step = StepId(steps.len() - 1);
        let platform = Platform::new("linux", "amd64", None);
        let (config, history, epoch) = (ImageConfig::default(), Vec::new(), Epoch(0));
        Graph { steps, targets: vec![Target { platform, step, config, history, epoch }] }
    }

    /// Runs everything in the order the agenda allows.
    fn order(graph: &Graph, cached: &[usize]) -> Vec<usize> {
        let agenda = Agenda::new(graph, |id| cached.contains(&id.0));
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
        let graph = graph(&[(None, &[]), (Some(0), &[]), (None, &[]), (Some(2), &[1, 0])]);
        let order = order(&graph, &[]);
        assert_eq!(order.len(), 4);
        let at = |id: usize| order.iter().position(|step| *step == id).unwrap();
        assert!(at(0) < at(1) && at(1) < at(3) && at(2) < at(3));
    }

    #[test]
    fn what_only_a_cached_step_reads_is_not_visited() {
        let graph = graph(&[(None, &[]), (Some(0), &[]), (None, &[]), (Some(2), &[1])]);
        let mut visited = order(&graph, &[3]);
        visited.sort_unstable();
        assert_eq!(visited, [2, 3]);
    }

    #[test]
    fn the_chain_of_a_cached_step_is_visited() {
        let graph = graph(&[(None, &[]), (Some(0), &[]), (Some(1), &[])]);
        assert_eq!(order(&graph, &[2]), [0, 1, 2]);
    }
}
