//! Texts that other rooms understand: outputs, remote caches, registries.

use std::path::{Component, Path, PathBuf};

use super::super::args::RegistryArgs;
use super::super::args::values::reference;
use super::super::{CliError, Environment, docker_config};
use crate::cache::remote::{Direction, RemoteKind, RemoteSpec};
use crate::export::{Destination, OutputKind, OutputSpec};
use crate::failure::Explain;
use crate::pipeline::request::{BuildRequest, Entitlement};
use crate::registry::{Mirror, MirrorRule, ProxyOptions, RegistryOptions, Secret};

/// `-o`: paths become absolute; a stream of bytes never goes to a terminal, and only one goes to
/// standard output.
pub(super) fn outputs(
    specs: &[String],
    environment: &Environment,
) -> Result<Vec<OutputSpec>, CliError> {
    let invalid = |reason: &str| refusal("output", reason.to_owned(), Vec::new());
    let mut outputs = Vec::with_capacity(specs.len());
    let mut streams = 0;
    // What a script leaves empty is nothing, as for buildx.
    for spec in specs.iter().filter(|spec| !spec.is_empty()) {
        let output = OutputSpec::parse(spec)
            .map_err(|error| refusal("output", error.to_string(), error.hints()))?;
        if let Some(error) = output.names.iter().find_map(|name| reference(name).err()) {
            return Err(invalid(&error.to_string()));
        }
        let output = output.rooted_at(&environment.directory);
        if is_stream(&output) {
            if environment.terminals.stdout {
                let kind = format!("{:?}", output.kind).to_lowercase();
                return Err(invalid(&format!(
                    "dest file is required for {kind} exporter. refusing to write to console"
                )));
            }
            streams += 1;
        }
        outputs.push(output);
    }
    if streams > 1 {
        return Err(invalid("multiple outputs configured to write to stdout"));
    }
    Ok(outputs)
}

/// Whether `mode=delete` may empty its directory: one below the working directory, as for buildx, or
/// any with `--allow=buildx.local.delete`; never one that the store is in.
pub(super) fn may_delete(
    request: &BuildRequest,
    environment: &Environment,
) -> Result<(), CliError> {
    let is_allowed = request.allow.contains(&Entitlement::LocalDelete);
    for output in request.outputs.iter().filter(|output| output.delete) {
        let Some(Destination::Path(dest)) = &output.dest else {
            continue;
        };
        let place = resolved(dest);
        let is_below = match (&place, resolved(&environment.directory)) {
            (Some(place), Some(directory)) => place.starts_with(&directory) && *place != directory,
            _ => false,
        };
        let shown = dest.display();
        if !is_below && !is_allowed {
            let reason = format!(
                "mode=delete would delete files in {shown}, which is not below the working directory"
            );
            let hint = "add --allow=buildx.local.delete if that is meant".to_owned();
            return Err(refusal("output", reason, vec![hint]));
        }
        if place
            .is_none_or(|place| resolved(&request.root).is_none_or(|root| root.starts_with(place)))
        {
            let reason = format!("mode=delete would delete the store, which is in {shown}");
            return Err(refusal("output", reason, Vec::new()));
        }
    }
    Ok(())
}

/// A path without links, of which the end may not be there yet; `None` if that cannot be told.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|there| {
        let real = there.canonicalize().ok()?;
        let rest = path.strip_prefix(there).ok()?;
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        rest.components().all(is_plain).then(|| real.join(rest))
    })
}

/// Whether an output goes to standard output.
fn is_stream(output: &OutputSpec) -> bool {
    match (&output.dest, output.kind) {
        (Some(Destination::Stdout), _) => true,
        (None, kind) => matches!(kind, OutputKind::Oci | OutputKind::Tar),
        (Some(Destination::Path(_)), _) => false,
    }
}

/// `--cache-from` and `--cache-to`; directories become absolute, what has no effect is told.
pub(super) fn remotes(
    direction: Direction,
    specs: &[String],
    environment: &Environment,
    notices: &mut Vec<String>,
) -> Result<Vec<RemoteSpec>, CliError> {
    let flag = match direction {
        Direction::Import => "cache-from",
        Direction::Export => "cache-to",
    };
    let mut remotes = Vec::new();
    for spec in specs {
        let parsed = RemoteSpec::parse(spec, direction)
            .map_err(|error| refusal(flag, error.to_string(), error.hints()))?;
        for mut remote in parsed {
            if let RemoteKind::Local { directory } = &mut remote.kind {
                *directory = environment.absolute(directory);
                if flag == "cache-from" && !directory.is_dir() {
                    let place = directory.display();
                    notices.push(format!("local cache import at {place} not found"));
                }
            }
            for attribute in &remote.without_effect {
                notices.push(format!("--{flag} {attribute} has no effect"));
            }
            remotes.push(remote);
        }
    }
    Ok(remotes)
}

fn refusal(flag: &'static str, reason: String, hints: Vec<String>) -> CliError {
    CliError::Flag {
        flag,
        reason,
        hints,
    }
}

/// The file of `--authfile`, which a command that only reads it needs.
pub(crate) fn authfile(args: &RegistryArgs, environment: &Environment) -> Result<(), CliError> {
    let Some(path) = &args.authfile else {
        return Ok(());
    };
    let path = environment.absolute(path);
    match std::fs::metadata(&path) {
        Ok(_) => Ok(()),
        Err(source) => Err(CliError::Stat { path, source }),
    }
}

/// How registries are reached: flags, then the files and variables of Docker, podman and
/// containerd. Nothing is read yet.
pub(crate) fn registry(
    args: &RegistryArgs,
    environment: &Environment,
) -> Result<RegistryOptions, CliError> {
    for path in &args.ca_file {
        let path = environment.absolute(path);
        if let Err(source) = std::fs::metadata(&path) {
            return Err(CliError::Stat { path, source });
        }
    }
    let docker = docker_config::directory(environment).map(|path| path.join("config.json"));
    let flag = args
        .authfile
        .as_ref()
        .map(|path| environment.absolute(path));
    let chosen = flag.or_else(|| environment.path("REGISTRY_AUTH_FILE"));
    let config = config_home(environment);
    let in_config = |name: &str| config.as_ref().map(|home| home.join(name));
    Ok(RegistryOptions {
        inline_auth: environment
            .text("DOCKER_AUTH_CONFIG")
            .map(|text| Secret(text.to_owned())),
        auth_files: [
            chosen.clone(),
            docker.clone(),
            Some(runtime_directory(environment).join("containers/auth.json")),
            in_config("containers/auth.json"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        login_file: chosen.or(docker),
        insecure: args.insecure_registry.clone(),
        ca_files: args
            .ca_file
            .iter()
            .map(|path| environment.absolute(path))
            .collect(),
        certs_dirs: paths(&[
            in_config("docker/certs.d"),
            in_config("containers/certs.d"),
            Some("/etc/docker/certs.d".into()),
            Some("/etc/containers/certs.d".into()),
            Some("/etc/containerd/certs.d".into()),
        ]),
        mirrors: args
            .registry_mirror
            .iter()
            .map(|text| mirror(text))
            .collect::<Result<_, _>>()?,
        daemon_files: paths(&[
            in_config("docker/daemon.json"),
            Some("/etc/docker/daemon.json".into()),
        ]),
        registries_conf: paths(&[
            environment.path("CONTAINERS_REGISTRIES_CONF"),
            in_config("containers/registries.conf"),
            Some("/etc/containers/registries.conf".into()),
        ]),
        proxy: proxy(environment),
        ..RegistryOptions::default()
    })
}

fn paths(list: &[Option<PathBuf>]) -> Vec<PathBuf> {
    list.iter().flatten().cloned().collect()
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
fn config_home(environment: &Environment) -> Option<PathBuf> {
    let home = || Some(environment.home()?.join(".config"));
    environment.path("XDG_CONFIG_HOME").or_else(home)
}

/// `$XDG_RUNTIME_DIR`, or where podman looks without it.
fn runtime_directory(environment: &Environment) -> PathBuf {
    let default = || match environment.uid {
        0 => PathBuf::from("/run"),
        uid => PathBuf::from(format!("/run/user/{uid}")),
    };
    environment.path("XDG_RUNTIME_DIR").unwrap_or_else(default)
}

/// `--registry-mirror [REGISTRY=]URL`
fn mirror(text: &str) -> Result<MirrorRule, CliError> {
    let (prefix, place) = match text.split_once('=') {
        Some((prefix, place)) if !prefix.contains("://") => (prefix, place),
        _ => ("docker.io", text),
    };
    if prefix.is_empty() || place.is_empty() || place.contains(char::is_whitespace) {
        return Err(refusal(
            "registry-mirror",
            format!("`{text}`: write [REGISTRY=]URL"),
            Vec::new(),
        ));
    }
    Ok(MirrorRule {
        prefix: prefix.to_owned(),
        mirrors: vec![Mirror::parse(place)],
        location: None,
        blocked: false,
    })
}

/// Proxies for ourselves; the lower-case name first, as curl does.
fn proxy(environment: &Environment) -> ProxyOptions {
    let value = |name: &str| {
        let lower = environment.text(&name.to_lowercase());
        lower.or_else(|| environment.text(name)).map(str::to_owned)
    };
    let all = || value("ALL_PROXY");
    ProxyOptions {
        http: value("HTTP_PROXY").or_else(all).map(Secret),
        https: value("HTTPS_PROXY").or_else(all).map(Secret),
        no_proxy: value("NO_PROXY"),
    }
}
