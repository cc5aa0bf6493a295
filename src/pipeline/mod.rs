//! The street as one readable function: request in, images out.
//!
//! Only this room sees both what the user asked for and all the rooms that do it. It implements the
//! ports of the planner and the executor with contexts, registries and caches, and hands what one
//! room gives to the next. It decides nothing that a room could decide.

mod caches;
mod contexts;
mod error;
mod fetch;
mod images;
mod load;
mod output;
pub mod request;
pub mod result;
mod supplies;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use error::PipelineError;
pub use output::Built;

use crate::cache::remote::Remote;
use crate::cache::{Access, Store};
use crate::clock::{self, Epoch};
use crate::diagnostic::{Diagnostic, Severity};
use crate::event::{Event, Reporter};
use crate::executor::sandbox::{Cancel, HostsEntry, Sandbox, SandboxNetwork};
use crate::executor::{Definition, Executor, Inputs, Options};
use crate::failure::Failure;
use crate::parser::ast::Dockerfile;
use crate::planner::op::Network;
use crate::planner::{self, EpochPolicy, NoCache, Plan, PlanRequest, RunDefaults, World};
use crate::platform::Platform;
use crate::registry::Client;
use caches::Caches;
use contexts::Contexts;
use fetch::Fetches;
use images::Images;
use request::{BuildRequest, CacheUse, Entitlement, EpochSpec};
use supplies::Outside;

/// The default size of /dev/shm, Docker's.
const SHM_BYTES: u64 = 64 << 20;

/// A build that has been planned but not run, and all that it works with.
struct Planned {
    plan: Plan,
    warnings: Vec<Diagnostic>,
}

/// How a build ended.
#[derive(Debug)]
pub enum Finished {
    /// In this process.
    Built(Box<Built>),
    /// In another process of this program, inside a user namespace; it said what is to be said.
    Elsewhere(std::process::ExitCode),
}

/// Builds what was asked for.
pub fn build(
    request: &BuildRequest,
    reporter: &Reporter,
    cancel: &Cancel,
) -> Result<Finished, Failure> {
    let store = Store::open(&request.root, Access::ReadWrite)?;
    let client = Client::new(Arc::new(request.registry.clone()));
    let fetches = Fetches::new(&store, &client, request, reporter);
    let loaded = load::load(request, &store, &fetches, reporter)?;
    let images = Images::new(&store, &client, reporter, request.pull);
    let contexts =
        Contexts::new(&store, reporter, &fetches, loaded.context.clone(), &request.named_contexts);
    let caches = Caches::new(&store, reporter, remotes(request, &client)?);
    let dockerfile = parse(&loaded, reporter)?;
    let planned = plan_with(request, &dockerfile, &images, &contexts, &caches)?;
    let outside = Outside {
        images: &images,
        contexts: &contexts,
        caches: &caches,
        fetches: &fetches,
        secrets: &request.secrets,
        ssh: &request.ssh,
    };
    let definitions = definitions(&planned.plan);
    let options = options(request);
    let sandbox = Sandbox::default();
    let executor = Executor::new(Inputs {
        graph: planned.plan.graph(),
        definitions: &definitions,
        store: &store,
        records: &caches,
        supplies: &outside,
        options: &options,
        reporter,
        cancel,
        sandbox: &sandbox,
    });
    let chains = executor.execute()?;
    let built = output::finish(output::Finish {
        request,
        store: &store,
        client: &client,
        images: &images,
        caches: &caches,
        graph: planned.plan.graph(),
        chains: &chains,
        faces: executor.faces(),
        reporter,
    })?;
    store.flush()?;
    Ok(Finished::Built(Box::new(Built { warnings: planned.warnings, ..built })))
}
