//! What each step can observe: the material of its keys.
//!
//! | field | RUN | COPY, ADD | WORKDIR |
//! |---|---|---|---|
//! | definition: what it stands on | `base` | `base`, unless `--link` | `base` |
//! | definition: what it reads | `mount_sources` | `from`, `selection` | – |
//! | definition: times | `epoch` | `epoch` | `epoch` |
//! | definition: itself | `args` `script` `env` `cwd` `user` `mounts` `network` `hosts` `hostname` `security` `devices` `platform` | `inputs` `destination` `directory` `chown` `chmod` `link` `parents` `exclude` `unpack` | `path` `user` |
//! | content | the same with `chain` for `base` | `tree`: the entries of its layer | `tree` |
//!
//! A field that says what it says mostly (no mounts, the default network) is left out; keys are
//! made by the hundred, and records are read by the hundred.
//!
//! Never in a key: times of the context's files, proxies, ARGs that the stage does not declare, bytes of secrets
//! (their ids are), contents of cache mounts and who may share them, addresses of `--add-host`
//! (its names are), resource limits, the platform of a COPY (but for Windows, whose layers have
//! another form), names of stages, comments and formatting of the Dockerfile, the name, config and
//! digest of a base image (its layers are).

use serde_json::{Value, json};

use crate::cache::{Key, Material};
use crate::digest::{ContentDigest, DiffId};
use crate::tree::Tree;

use super::graph::{Step, StepId};
use super::op::{
    Chmod, CopyInput, CopyOp, HOSTNAME, Network, Op, RunMount, RunOp, Security, SelectionDigest,
    Source, Unpack, WorkdirOp,
};

/// The digests of the files that a step takes, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selections {
    /// What a COPY or ADD takes.
    pub copy: Option<SelectionDigest>,
    /// What each bind mount, and each cache mount with a seed, shows; same order as the mounts.
    pub mounts: Vec<Option<SelectionDigest>>,
}

/// The material of an operation alone: what makes two records of "the same step with other
/// inputs". Records are found again by its key.
pub fn operation(op: &Op) -> Material {
    match op {
        Op::Scratch => Material::new("scratch"),
        Op::Image(image) => Material::new("image").with("name", image.name.as_str()),
        Op::Run(run) => Material::new("run")
            .with("args", &run.args)
            .with("script", &run.script),
        Op::Copy(copy) => Material::new("copy")
            .with("inputs", inputs(copy))
            .with("destination", copy.destination.as_str()),
        Op::Workdir(workdir) => Material::new("workdir").with("path", workdir.path.as_str()),
    }
}

/// The material of a step's definition key. `keys` are the definition keys of the steps before it.
pub fn definition(step: &Step, keys: &[Key], selections: &Selections) -> Material {
    let key = |id: StepId| {
        keys.get(id.0)
            .map_or(Value::Null, |key| json!(key.to_string()))
    };
    let base = step.base.map_or(Value::Null, key);
    match &step.op {
        Op::Scratch => Material::new("scratch"),
        Op::Image(image) => {
            let layers = image.layers.iter().map(|layer| layer.diff_id);
            Material::new("image").with("chain", chain(layers))
        }
        Op::Run(run) => {
            let material = observed_by_run(step, run, ("base", base));
            unless(material, run.mounts.is_empty(), "mount_sources", || {
                mount_sources(run, selections, |step| json!({ "step": key(step) })).into()
            })
        }
        Op::Copy(copy) => {
            let material = observed_by_copy(step, copy)
                .with("destination", copy.destination.as_str())
                .with("directory", copy.destination_is_directory)
                .with("chown", &copy.chown);
            let material = match &copy.from {
                Source::Step(from) => material.with("from", key(*from)),
                Source::Context(_) => material.with("selection", selection(selections.copy)),
            };
            if copy.link {
                material
            } else {
                material.with("base", base)
            }
        }
        Op::Workdir(workdir) => observed_by_workdir(step, workdir)
            .with("user", workdir.user.as_str())
            .with("base", base),
    }
}

/// The material of a RUN's content key: on which layers it ran and what its mounts showed.
pub fn run_content(
    step: &Step,
    run: &RunOp,
    below: &[DiffId],
    selections: &Selections,
) -> Material {
    let chain = chain(below.iter().copied());
    observed_by_run(step, run, ("chain", Value::Array(chain))).with(
        "mount_sources",
        mount_sources(run, selections, |_| Value::Null),
    )
}

/// The material of a COPY's, ADD's or WORKDIR's content key: the entries of its layer, known before
/// any byte of it is written, whatever they come from and whatever the layers below are.
pub fn placed_content(entries: &Tree) -> Material {
    Material::new("entries").with("tree", entries.digest().to_string())
}

/// Fields that are about inputs: two records that differ only in these are the same operation on
/// other inputs.
pub(crate) const INPUTS: [&str; 8] = [
    "base",
    "chain",
    "from",
    "selection",
    "mount_sources",
    // Other words may place the same entries:
    "destination",
    "directory",
    "chown",
];

/// Adds a field unless it says what it says mostly; its absence then means that.
fn unless(
    material: Material,
    usual: bool,
    name: &'static str,
    value: impl FnOnce() -> Value,
) -> Material {
    if usual {
        material
    } else {
        material.with(name, value())
    }
}

/// `below` is what it stands on.
fn observed_by_run(step: &Step, run: &RunOp, below: (&'static str, Value)) -> Material {
    let m = Material::new("run")
        .with("args", &run.args)
        .with(below.0, below.1)
        .with("cwd", run.cwd.as_str())
        .with("env", &run.env)
        .with("epoch", step.epoch.0)
        .with("platform", run.platform.to_string());
    let m = unless(m, run.script.is_none(), "script", || json!(run.script));
    let m = unless(m, run.user.is_empty(), "user", || json!(run.user));
    let m = unless(m, run.mounts.is_empty(), "mounts", || {
        run.mounts.iter().map(mount).collect()
    });
    let m = unless(m, run.network == Network::Default, "network", || {
        json!(network(run.network))
    });
    let m = unless(m, run.hosts.is_empty(), "hosts", || json!(run.hosts));
    let m = unless(m, run.hostname == HOSTNAME, "hostname", || {
        json!(run.hostname)
    });
    let m = unless(m, run.security == Security::Sandbox, "security", || {
        json!(security(run.security))
    });
    unless(m, run.devices.is_empty(), "devices", || json!(run.devices))
}

fn observed_by_copy(step: &Step, copy: &CopyOp) -> Material {
    let m = Material::new("copy")
        .with("inputs", inputs(copy))
        .with("epoch", step.epoch.0);
    let m = unless(m, copy.chmod.is_none(), "chmod", || {
        json!(copy.chmod.as_ref().map(chmod))
    });
    let m = unless(m, !copy.link, "link", || json!(true));
    let m = unless(m, !copy.parents, "parents", || json!(true));
    let m = unless(m, copy.excludes.is_empty(), "exclude", || {
        json!(copy.excludes)
    });
    let m = unless(m, copy.unpack == Unpack::Never, "unpack", || {
        json!(unpack(copy.unpack))
    });
    windows(step, m)
}

fn observed_by_workdir(step: &Step, workdir: &WorkdirOp) -> Material {
    let material = Material::new("workdir")
        .with("path", workdir.path.as_str())
        .with("epoch", step.epoch.0);
    windows(step, material)
}

/// Layers of Windows images have a form of their own.
fn windows(step: &Step, material: Material) -> Material {
    match step.platform.os.as_str() {
        "windows" => material.with("os", "windows"),
        _ => material,
    }
}

fn inputs(copy: &CopyOp) -> Vec<Value> {
    copy.inputs
        .iter()
        .map(|input| match input {
            CopyInput::Path(path) => json!({ "path": path }),
            CopyInput::Inline { name, data } => {
                json!({ "file": name, "content": ContentDigest::of(data).to_string() })
            }
            CopyInput::Url { url, checksum } => json!({ "url": url, "checksum": checksum }),
            CopyInput::Git {
                url,
                keep_git_dir,
                checksum,
            } => json!({ "git": url, "keep_git_dir": keep_git_dir, "checksum": checksum }),
        })
        .collect()
}

/// What a mount is, without what it shows.
fn mount(mount: &RunMount) -> Value {
    match mount {
        RunMount::Bind {
            target,
            source,
            writable,
            ..
        } => json!({
            "type": "bind", "target": target, "source": source, "writable": writable,
        }),
        RunMount::Cache {
            target,
            id,
            seed,
            readonly,
            mode,
            uid,
            gid,
            sharing: _,
        } => json!({
            "type": "cache", "target": target, "id": id, "readonly": readonly,
            "source": seed.as_ref().map(|(_, source)| source),
            "mode": mode, "uid": uid, "gid": gid,
        }),
        RunMount::Tmpfs { target, size } => {
            json!({ "type": "tmpfs", "target": target, "size": size })
        }
        RunMount::Secret {
            id,
            target,
            env,
            required,
            mode,
            uid,
            gid,
        } => json!({
            "type": "secret", "id": id, "target": target, "env": env, "required": required,
            "mode": mode, "uid": uid, "gid": gid,
        }),
        RunMount::Ssh {
            id,
            target,
            required,
            mode,
            uid,
            gid,
        } => json!({
            "type": "ssh", "id": id, "target": target, "required": required,
            "mode": mode, "uid": uid, "gid": gid,
        }),
    }
}

/// What each mount shows: a selection where it is known, else what `unknown` says of its step.
fn mount_sources(
    run: &RunOp,
    selections: &Selections,
    unknown: impl Fn(StepId) -> Value,
) -> Vec<Value> {
    let shown = |(index, mount): (usize, &RunMount)| {
        let Some((from, _)) = mount.shown() else {
            return Value::Null;
        };
        match (selections.mounts.get(index).copied().flatten(), from) {
            (Some(taken), _) => selection(Some(taken)),
            (None, Source::Step(step)) => unknown(*step),
            (None, Source::Context(_)) => Value::Null,
        }
    };
    run.mounts.iter().enumerate().map(shown).collect()
}

fn chain(diff_ids: impl Iterator<Item = DiffId>) -> Vec<Value> {
    diff_ids.map(|diff_id| json!(diff_id.to_string())).collect()
}

fn selection(selection: Option<SelectionDigest>) -> Value {
    selection.map_or(Value::Null, |selection| json!(selection.0.to_string()))
}

fn chmod(chmod: &Chmod) -> String {
    match chmod {
        Chmod::Octal(mode) => format!("{mode:04o}"),
        Chmod::Symbolic(text) => text.clone(),
    }
}

fn network(network: Network) -> &'static str {
    match network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    }
}

fn security(security: Security) -> &'static str {
    match security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    }
}

fn unpack(unpack: Unpack) -> &'static str {
    match unpack {
        Unpack::Never => "never",
        Unpack::Local => "local",
        Unpack::Always => "always",
    }
}

#[cfg(test)]
mod tests;
