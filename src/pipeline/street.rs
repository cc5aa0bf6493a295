//! From a request to a plan, with everything that the plan was made from still at hand.

use std::sync::Arc;

use super::caches::Caches;
use super::checks;
use super::contexts::Contexts;
use super::error::PipelineError;
use super::fetch::Fetches;
use super::images::Images;
use super::load::{self, Loaded};
use super::remotes;
use super::request::{BuildRequest, CacheUse, EpochSpec};
use crate::cache::remote::Remotes;
use crate::cache::{Access, Store};
use crate::clock::{self, Epoch};
use crate::diagnostic::{Diagnostic, Severity, SourceFile};
use crate::event::{Event, Reporter};
use crate::failure::Failure;
use crate::parser::{self, ast::Dockerfile};
use crate::planner::Plan;
use crate::planner::{self, EpochPolicy, NoCache, PlanRequest, RunDefaults, World};
use crate::platform::Platform;
use crate::registry::Client;

/// A planned build and its surroundings.
pub(super) struct Street<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) reporter: &'a Reporter,
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) fetches: &'a Fetches<'a>,
    pub(super) images: &'a Images<'a>,
    pub(super) contexts: &'a Contexts<'a>,
    pub(super) caches: &'a Caches<'a>,
    pub(super) source: Arc<SourceFile>,
    pub(super) plan: Plan,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Street<'_> {
    /// Why steps are not cached, one line each.
    pub(super) fn explanations(&self) -> Vec<String> {
        planner::explain(&self.plan, self.caches)
            .into_iter()
            .map(|explanation| {
                let name = &self.plan.graph.step(explanation.step).name;
                format!("{name} is not cached: {}", explanation.reasons.join("; "))
            })
            .collect()
    }
}

/// Walks the street down to the plan and hands it to `end`.
pub(super) fn walk<T>(
    request: &BuildRequest,
    reporter: &Reporter,
    end: impl FnOnce(Street<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = Store::open(&request.root, Access::ReadWrite)?;
    let client = Client::new(Arc::new(request.registry.clone()));
    let fetches = Fetches::new(&store, request);
    let loaded = load::load(request, &store, &fetches, reporter)?;
    let (dockerfile, mut warnings) = read(&loaded, reporter)?;
    let images = Images::new(&store, &client, reporter, request);
    let contexts = Contexts::new(
        &store,
        reporter,
        &fetches,
        loaded.context.clone(),
        &request.named_contexts,
    );
    let remotes = request
        .cache_from
        .iter()
        .map(|spec| remotes::open(spec, &client))
        .collect();
    let caches = Caches::new(&store, reporter, Remotes::new(remotes));
    let asked = plan_request(request, &loaded, &dockerfile)?;
    let world = World {
        images: &images,
        contexts: &contexts,
    };
    let graph = planner::graph(&asked, world);
    let context = loaded.context.as_deref();
    let found = checks::during_build(&asked, context, graph.as_ref().ok(), reporter);
    let graph = graph?;
    warnings.extend(found?);
    let plan = planner::plan(graph, &dockerfile.source, &contexts, &caches)?;
    end(Street {
        request,
        reporter,
        store: &store,
        client: &client,
        fetches: &fetches,
        images: &images,
        contexts: &contexts,
        caches: &caches,
        source: loaded.source,
        plan,
        warnings,
    })
}

/// Parses and checks the Dockerfile; warnings are told once.
fn read(loaded: &Loaded, reporter: &Reporter) -> Result<(Dockerfile, Vec<Diagnostic>), Failure> {
    let (dockerfile, mut findings) = parser::parse(&loaded.source);
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        findings.retain(|finding| finding.severity == Severity::Error);
        return Err(Failure::Diagnosed(findings));
    }
    for finding in &findings {
        reporter.send(Event::Warning(Box::new(finding.clone())));
    }
    Ok((dockerfile, findings))
}

/// What the planner needs to know of a request.
pub(super) fn plan_request<'a>(
    request: &'a BuildRequest,
    loaded: &Loaded,
    dockerfile: &'a Dockerfile,
) -> Result<PlanRequest<'a>, Failure> {
    Ok(PlanRequest {
        dockerfile,
        target: request.target.as_deref(),
        build_args: &request.build_args,
        labels: &request.labels,
        platforms: &request.platforms,
        build_platform: Platform::host(),
        no_cache: match &request.cache_use {
            CacheUse::All => NoCache::Never,
            CacheUse::None => NoCache::All,
            CacheUse::Except(stages) => NoCache::Stages(stages.clone()),
        },
        epoch: epoch(request, loaded)?,
        run: RunDefaults {
            network: request.run.network,
            proxies: request.proxies.clone(),
            hosts: request
                .run
                .add_hosts
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        },
    })
}

fn epoch(request: &BuildRequest, loaded: &Loaded) -> Result<EpochPolicy, Failure> {
    Ok(match request.epoch {
        EpochSpec::Base => EpochPolicy::Base,
        EpochSpec::Fixed(epoch) => EpochPolicy::Fixed(epoch),
        EpochSpec::Now => EpochPolicy::Fixed(clock::now()),
        EpochSpec::Git => {
            let committed: Option<Epoch> = loaded.committed;
            EpochPolicy::Fixed(committed.ok_or(PipelineError::NoCommit)?)
        }
    })
}
