//! How RUN steps run.

use super::super::CliError;
use super::super::args::values::{IsolationArg, Resource, UlimitArg};
use super::super::args::{BuildArgs, BuildLimits};
use crate::pipeline::request::RunOptions;

/// The period of a CPU quota that names none, in microseconds (cgroups v2, `cpu.max`).
const PERIOD_US: u64 = 100_000;

/// The options of RUN; what cannot be set here is told in a notice.
pub(super) fn options(args: &BuildArgs, notices: &mut Vec<String>) -> Result<RunOptions, CliError> {
    let limits = Limits::of(&args.limits, notices);
    Ok(RunOptions {
        isolation: match args.isolation {
            None | Some(IsolationArg::Auto) => None,
            Some(IsolationArg::Rung(rung)) => Some(rung),
        },
        network: args.network.unwrap_or_default(),
        add_hosts: args
            .add_host
            .iter()
            .map(|host| (host.0.clone(), host.1))
            .collect(),
        shm_size: args.shm_size.filter(|size| *size > 0),
        ulimits: ulimits(&args.ulimit),
        memory_bytes: limits.memory.filter(|size| *size > 0),
        cpus_milli: limits.cpus_milli()?,
        pids_max: args.limits.pids_limit.filter(|count| *count > 0),
        cgroup_parent: args.cgroup_parent.clone().filter(|name| !name.is_empty()),
        // As elsewhere, nothing is no limit.
        step_timeout: args.step_timeout.filter(|time| !time.is_zero()),
        jobs: args.jobs.map(std::num::NonZeroUsize::get),
    })
}

/// `--ulimit`: the last of a name counts.
fn ulimits(args: &[UlimitArg]) -> Vec<(String, u64, u64)> {
    let mut list: Vec<(String, u64, u64)> = Vec::new();
    for limit in args {
        list.retain(|(name, ..)| *name != limit.name);
        list.push((limit.name.clone(), limit.soft, limit.hard));
    }
    list
}

/// Limits from `--resource` and from flags of their own, which win.
#[derive(Default)]
struct Limits {
    memory: Option<u64>,
    cpus: Option<u64>,
    quota: Option<u64>,
    period: Option<u64>,
}

impl Limits {
    fn of(args: &BuildLimits, notices: &mut Vec<String>) -> Self {
        let mut limits = Self::default();
        for resource in &args.resource {
            match resource {
                Resource::Memory(bytes) => limits.memory = Some(*bytes),
                Resource::CpuQuota(time) => limits.quota = Some(*time),
                Resource::CpuPeriod(time) => limits.period = Some(*time),
                Resource::WithoutEffect(name) => {
                    notices.push(format!("--resource {name} has no effect"));
                }
            }
        }
        Self {
            memory: args.memory.or(limits.memory),
            cpus: args.cpus,
            quota: args.cpu_quota.or(limits.quota),
            period: args.cpu_period.or(limits.period),
        }
    }

    /// Thousandths of a processor: `--cpus`, or quota by period.
    fn cpus_milli(&self) -> Result<Option<u64>, CliError> {
        let invalid = |reason: &str| CliError::Flag {
            flag: "cpu-period",
            reason: reason.to_owned(),
            hints: Vec::new(),
        };
        if self.cpus.is_some() && self.quota.is_some() {
            return Err(invalid(
                "conflicting options: cpus and cpu-quota cannot both be set",
            ));
        }
        let period = self.period.unwrap_or(PERIOD_US);
        if period == 0 {
            return Err(invalid("0 is not a period"));
        }
        let quota = self.quota.filter(|quota| *quota > 0);
        let share = quota.map(|quota| (quota.saturating_mul(1000) / period).max(1));
        Ok(self.cpus.or(share))
    }
}
