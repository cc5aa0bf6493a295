//! The street as one readable function: request in, images out.
//!
//! Only this room sees both what the user asked for and all the rooms that do it. It implements the
//! ports of the planner and the executor with contexts, registries and caches, and hands what one
//! room gives to the next. It decides nothing that a room could decide.

mod blobs;
mod caches;
pub mod call;
mod checks;
mod contexts;
mod error;
mod fetch;
mod images;
mod load;
mod network;
mod output;
pub mod policy;
mod remotes;
pub mod request;
pub mod result;
mod share;
mod street;
mod supplies;
pub mod transfer;

pub use call::answer;
pub use error::PipelineError;

use std::net::{IpAddr, Ipv4Addr};

use crate::event::Reporter;
use crate::executor::sandbox::{Cancel, HostsEntry, Limits, RootDriver, Sandbox, Ulimit};
use crate::executor::{Executor, Inputs, Options};
use crate::failure::Failure;
use crate::planner::explain;
use crate::planner::op::Network;
use request::{BuildRequest, ContextSpec, DockerfileSpec, Entitlement, RunOptions};
use result::{BuildResult, Planned};
use street::walk;
use supplies::Outside;

/// The default size of /dev/shm, Docker's.
const SHM_BYTES: u64 = 64 << 20;

/// Plans what was asked for: nothing is run, no layer is fetched.
pub fn plan(request: &BuildRequest, reporter: &Reporter) -> Result<Planned, Failure> {
    walk(request, reporter, |street| {
        let explain = request
            .explain
            .then(|| explain(&street.plan, street.caches));
        let explanations = explain.unwrap_or_default();
        Ok(Planned {
            plan: street.plan,
            explanations,
            source: street.source,
        })
    })
}

/// What a build is about to do that this process may not be able to do where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Write files that belong to others.
    Files,
    /// Run commands.
    Commands,
}

/// Goes to where that can be done: comes back if it is here and tells how roots are made, else does
/// not come back and another process does the whole command there.
pub type Enter<'a> = dyn Fn(Need) -> Result<RootDriver, Failure> + 'a;

/// Builds what was asked for. `enter` is called once before something is made: where that needs a
/// user namespace, it does not come back.
pub fn build(
    request: &BuildRequest,
    reporter: &Reporter,
    cancel: &Cancel,
    enter: &Enter<'_>,
) -> Result<BuildResult, Failure> {
    // Standard input can be read only once: where it is read, everything is done.
    let reads_stdin =
        request.context == ContextSpec::Stdin || request.dockerfile == DockerfileSpec::Stdin;
    if reads_stdin {
        enter(Need::Files)?;
    }
    walk(request, reporter, |street| {
        let outside = Outside {
            images: street.images,
            contexts: street.contexts,
            caches: street.caches,
            fetches: street.fetches,
            secrets: &request.secrets,
            ssh: &request.ssh,
        };
        let options = options(request);
        let sandbox = Sandbox::default();
        let executor = Executor::new(Inputs {
            plan: &street.plan,
            store: street.store,
            records: street.caches,
            supplies: &outside,
            options: &options,
            reporter,
            cancel,
            sandbox: &sandbox,
        });
        if request.explain {
            for line in street.explanations() {
                reporter.notice(line);
            }
        }
        let need = match (executor.has_commands(), executor.has_work()) {
            (true, _) => Some(Need::Commands),
            (false, true) => Some(Need::Files),
            (false, false) => None,
        };
        let driver = match need {
            Some(need) => {
                // Where `enter` leaves, this process waits for one that uses the same store.
                street.store.relax()?;
                enter(need)?
            }
            None => RootDriver::default(),
        };
        let chains = executor
            .execute(driver)
            .map_err(|failed| match failed.span {
                Some(span) => failed.failure.at(&street.source, span),
                None => failed.failure,
            })?;
        let result = output::finish(&street, &outside, &executor, &chains)?;
        share::share(&street, &outside, &executor)?;
        if executor.has_work() || street.store.has_victims() {
            street.store.clean()?;
        }
        Ok(result)
    })
}

/// What the executor needs to know of the request.
fn options(request: &BuildRequest) -> Options {
    let run = &request.run;
    let hosts = run.add_hosts.iter().map(|(name, address)| {
        // These commands share the host's network, so its gateway to the host is the loopback.
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        HostsEntry {
            address,
            name: name.clone(),
        }
    });
    let (network, host_network_because) = network::of_build(request);
    let allows = |wanted: &Entitlement| request.allow.contains(wanted);
    Options {
        network,
        host_network_because,
        hosts: hosts.collect(),
        shm_size: run.shm_size.unwrap_or(SHM_BYTES),
        limits: limits(run),
        step_timeout: run.step_timeout,
        // Who gives it to all steps gives it to one, as buildx does.
        allow_network_host: allows(&Entitlement::NetworkHost) || run.network == Network::Host,
        allow_insecure: allows(&Entitlement::SecurityInsecure),
        jobs: run.jobs,
        encoding: output::main_encoding(request),
    }
}

fn limits(run: &RunOptions) -> Limits {
    let ulimits = run.ulimits.iter();
    Limits {
        ulimits: ulimits
            .map(|(name, soft, hard)| Ulimit {
                name: name.clone(),
                soft: *soft,
                hard: *hard,
            })
            .collect(),
        memory_bytes: run.memory_bytes,
        cpus_milli: run.cpus_milli,
        pids_max: run.pids_max,
        cgroup_parent: run.cgroup_parent.clone(),
    }
}

/// A failure in one line, as the log shows it.
fn failure_text(failure: &Failure) -> String {
    match failure {
        Failure::Room(error) | Failure::Placed { cause: error, .. } => error.to_string(),
        Failure::Diagnosed(list) => list
            .first()
            .map(|first| first.message.clone())
            .unwrap_or_default(),
    }
}
