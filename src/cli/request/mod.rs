//! Words to meaning: [`BuildArgs`] and the environment to one [`BuildRequest`].
//!
//! Paths become absolute, variables get their values, shorthands are spelled out. What needs
//! the context, the Dockerfile or the network is left to the street.

mod input;
mod output;
pub(super) mod rooms;
mod run;
mod secret;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::args::values::{Call, CallMethod, EpochArg, KeyValue, NamedContext};
use super::args::{BuildArgs, GlobalArgs};
use super::{CliError, Environment, docker_config};
use crate::cache::remote::Direction;
use crate::clock::Epoch;
use crate::pipeline::policy::Policy;
use crate::pipeline::request::{BuildRequest, CacheUse, EpochSpec};
use crate::platform::Platform;
use crate::reference::Reference;

/// What one `builder build` asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The build.
    pub request: BuildRequest,
    /// What to do instead of a build.
    pub call: Call,
    /// `--iidfile`
    pub iidfile: Option<PathBuf>,
    /// `--metadata-file`
    pub metadata_file: Option<PathBuf>,
    /// Whether warnings go into the metadata (`BUILDX_METADATA_WARNINGS`).
    pub metadata_warnings: bool,
    /// What was asked for and has no effect here.
    pub notices: Vec<String>,
}

/// Makes a request of words.
pub fn build(
    args: &BuildArgs,
    global: &GlobalArgs,
    environment: &Environment,
) -> Result<Asked, CliError> {
    let mut notices = Vec::new();
    rooms::authfile(&args.registry, environment)?;
    let context = input::context(&args.context, environment)?;
    let dockerfile = input::dockerfile(args.file.as_deref(), &context, environment)?;
    let mut build_args = build_args(&args.build_arg, environment);
    let epoch = epoch(args.timestamp, &mut build_args, environment)?;
    let mut request = BuildRequest {
        root: root(global, environment)?,
        context,
        dockerfile,
        tags: deduplicated(&args.tag),
        target: args.target.clone().filter(|name| !name.is_empty()),
        build_args,
        labels: labels(&args.label),
        annotations: args
            .annotation
            .iter()
            .flat_map(|arg| arg.0.clone())
            .collect(),
        platforms: platforms(&args.platform, environment)?,
        named_contexts: named_contexts(&args.build_context, environment)?,
        cache_use: cache_use(args),
        pull: args.pull,
        outputs: rooms::outputs(&output::specs(args), environment)?,
        cache_from: rooms::remotes(
            Direction::Import,
            &args.cache_from,
            environment,
            &mut notices,
        )?,
        cache_to: rooms::remotes(Direction::Export, &args.cache_to, environment, &mut notices)?,
        secrets: secret::secrets(&args.secret, environment, &mut notices)?,
        ssh: secret::agents(&args.ssh, environment)?,
        run: run::options(args, &mut notices)?,
        allow: args.allow.iter().flatten().cloned().collect(),
        epoch,
        proxies: docker_config::proxies(environment)?,
        environment: environment.for_git(),
        registry: rooms::registry(&args.registry, environment)?,
        policy: policy(environment)?,
        explain: args.explain,
    };
    rooms::may_delete(&request, environment)?;
    let insecure = insecure(&request);
    request.registry.insecure.extend(insecure);
    if let Some(name) = &args.builder {
        notices.push(format!(
            "--builder {name} has no effect: there are no builder instances"
        ));
    }
    for flag in args.ignored.without_effect() {
        notices.push(format!("{flag} has no effect"));
    }
    let absolute = |path: &PathBuf| environment.absolute(path);
    Ok(Asked {
        request,
        call: call(args),
        iidfile: args.iidfile.as_ref().map(absolute),
        metadata_file: args.metadata_file.as_ref().map(absolute),
        metadata_warnings: environment.is_true("BUILDX_METADATA_WARNINGS"),
        notices,
    })
}

/// The registries of the outputs that say `registry.insecure=true`.
fn insecure(request: &BuildRequest) -> Vec<String> {
    let outputs = request.outputs.iter().filter(|output| output.insecure);
    let hosts = outputs.flat_map(|output| {
        let own: Vec<Reference> = output
            .names
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        let chosen = if own.is_empty() {
            request.tags.clone()
        } else {
            own
        };
        chosen.into_iter().map(|name| name.registry)
    });
    hosts.collect()
}

/// The store: `--root`, `BUILDER_ROOT`, or the default.
pub fn root(global: &GlobalArgs, environment: &Environment) -> Result<PathBuf, CliError> {
    let flag = global.root.as_ref().map(|path| environment.absolute(path));
    flag.or_else(|| environment.path("BUILDER_ROOT"))
        .or_else(|| environment.default_root())
        .ok_or(CliError::NoRoot)
}

/// What to do with the Dockerfile: `--call`, `--check`, or a build.
pub fn call(args: &BuildArgs) -> Call {
    let check = if args.check {
        CallMethod::Check
    } else {
        CallMethod::Build
    };
    args.call.unwrap_or(Call {
        method: check,
        json: false,
        ignore_status: false,
    })
}

/// `--build-arg`: a name without a value takes it from the environment, or is dropped.
fn build_args(args: &[KeyValue], environment: &Environment) -> BTreeMap<String, String> {
    let value = |arg: &KeyValue| {
        let value = arg.value.clone();
        value.or_else(|| environment.set(&arg.key).map(str::to_owned))
    };
    args.iter()
        .filter_map(|arg| Some((arg.key.clone(), value(arg)?)))
        .collect()
}

fn labels(args: &[KeyValue]) -> BTreeMap<String, String> {
    args.iter()
        .map(|arg| (arg.key.clone(), arg.value.clone().unwrap_or_default()))
        .collect()
}

/// The variable that fixes the epoch (reproducible-builds.org).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The epoch: `--timestamp`, then `SOURCE_DATE_EPOCH` as a build argument, then as a variable. A
/// fixed one also becomes the build argument, as buildx passes it on.
fn epoch(
    flag: Option<EpochArg>,
    build_args: &mut BTreeMap<String, String>,
    environment: &Environment,
) -> Result<EpochSpec, CliError> {
    let chosen = match flag {
        Some(flag) => flag,
        None => default_epoch(build_args, environment)?,
    };
    Ok(match chosen {
        EpochArg::Base => EpochSpec::Base,
        EpochArg::Git => EpochSpec::Git,
        EpochArg::Now => EpochSpec::Now,
        EpochArg::Fixed(epoch) => {
            build_args.insert(EPOCH.to_owned(), epoch.0.to_string());
            EpochSpec::Fixed(epoch)
        }
    })
}

/// The epoch without a flag: whole seconds in a build argument or a variable.
fn default_epoch(
    build_args: &BTreeMap<String, String>,
    environment: &Environment,
) -> Result<EpochArg, CliError> {
    let argument = build_args.get(EPOCH).map(String::as_str);
    let word = argument.or_else(|| environment.text(EPOCH));
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return Ok(EpochArg::Base);
    };
    match Epoch::parse(word) {
        Some(epoch) if epoch.0 >= 0 => Ok(EpochArg::Fixed(epoch)),
        _ => Err(CliError::Variable {
            name: EPOCH,
            reason: format!("{word}: write seconds since 1970"),
        }),
    }
}

/// `--platform`, each once, or `DOCKER_DEFAULT_PLATFORM`.
fn platforms(args: &[Platform], environment: &Environment) -> Result<Vec<Platform>, CliError> {
    if !args.is_empty() {
        return Ok(deduplicated(args));
    }
    let Some(text) = environment.text("DOCKER_DEFAULT_PLATFORM") else {
        return Ok(Vec::new());
    };
    let parse = |part: &str| {
        part.trim()
            .parse()
            .map_err(
                |error: crate::platform::ParsePlatformError| CliError::Variable {
                    name: "DOCKER_DEFAULT_PLATFORM",
                    reason: error.to_string(),
                },
            )
    };
    text.split(',').map(parse).collect()
}

/// `--build-context`; paths become absolute, addresses and image names stay.
fn named_contexts(
    args: &[NamedContext],
    environment: &Environment,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut contexts = BTreeMap::new();
    for NamedContext { name, value } in args {
        let value = match value.strip_prefix("oci-layout://") {
            Some(path) => {
                let path = environment.absolute(path.as_ref());
                format!("oci-layout://{}", path.display())
            }
            None if value.contains("://") || input::is_address(value) => value.clone(),
            None if value.starts_with("target:") || value.starts_with("input:") => value.clone(),
            None => directory(name, environment.absolute(value.as_ref()))?,
        };
        contexts.insert(name.clone(), value);
    }
    Ok(contexts)
}

/// A directory that is there, whether or not the build comes to use it.
fn directory(name: &str, path: PathBuf) -> Result<String, CliError> {
    let refused = |source| CliError::NamedContext {
        name: name.to_owned(),
        path: path.clone(),
        source,
    };
    if !std::fs::metadata(&path).map_err(refused)?.is_dir() {
        return Err(refused(std::io::ErrorKind::NotADirectory.into()));
    }
    Ok(path.display().to_string())
}

fn cache_use(args: &BuildArgs) -> CacheUse {
    match (args.no_cache, args.no_cache_filter.as_slice()) {
        (true, _) => CacheUse::None,
        (false, []) => CacheUse::All,
        (false, stages) => CacheUse::Except(stages.to_vec()),
    }
}

/// The largest policy that is read, in bytes.
const POLICY_BYTES_MAX: u64 = 4 << 20;

/// The policy whose file `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names.
fn policy(environment: &Environment) -> Result<Policy, CliError> {
    const NAME: &str = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
    let Some(path) = environment.path(NAME) else {
        return Ok(Policy::default());
    };
    let invalid = |reason: String| CliError::Variable { name: NAME, reason };
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(POLICY_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| invalid(format!("failed to read {}: {error}", path.display())))?;
    Policy::parse(&bytes).map_err(|error| invalid(error.to_string()))
}

fn deduplicated<T: Clone + PartialEq>(list: &[T]) -> Vec<T> {
    let mut result: Vec<T> = Vec::with_capacity(list.len());
    for item in list {
        if !result.contains(item) {
            result.push(item.clone());
        }
    }
    result
}
