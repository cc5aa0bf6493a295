//! `RUN --mount`: fields to typed mounts (Dockerfile reference §2.2).

use crate::diagnostic::{Diagnostic, Span, suggest};
use crate::parser::ast::Mount;

use super::super::op::{RunMount, Sharing, Source};
use super::super::words::Words;
use super::path;
use crate::parser::expand::Env;

/// What a mount's meaning depends on besides its own text.
pub(crate) struct MountScope<'a> {
    /// How to expand.
    pub(crate) words: &'a Words,
    /// The stage's variables.
    pub(crate) variables: &'a dyn Env,
    /// WORKDIR.
    pub(crate) cwd: &'a str,
    /// `BUILDKIT_CACHE_MOUNT_NS`
    pub(crate) cache_namespace: &'a str,
    /// What a `from` means.
    pub(crate) source: &'a dyn Fn(&str) -> Option<Source>,
}

/// The fields of one mount, expanded.
#[derive(Default)]
struct Fields {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    readonly: Option<bool>,
    required: bool,
    size: Option<u64>,
    id: Option<String>,
    sharing: Option<Sharing>,
    env: Option<String>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.map_or("bind", |(name, _)| name)
    }
}

const SHARINGS: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

/// Checks and expands one mount.
pub(crate) fn lower(mount: &Mount, scope: &MountScope<'_>) -> Result<RunMount, Diagnostic> {
    let error = |span: Span, (message, help): (String, Option<String>)| {
        let error = scope.words.error("invalid-mount", span, message);
        match help {
            Some(help) => error.help(help),
            None => error,
        }
    };
    let mut values = Vec::with_capacity(mount.fields.len());
    for (key, word) in &mount.fields {
        let value = match word {
            Some(word) => Some(scope.words.word(word, scope.variables)?),
            None => None,
        };
        let span = word.as_ref().map_or(mount.span, |word| word.span);
        values.push((key.as_str(), value, span));
    }
    let mut fields = Fields::default();
    // The type decides what the other keys mean, wherever it stands.
    for (key, value, span) in &values {
        if let ("type", Some(value)) = (*key, value) {
            fields.kind = kind(value).map_err(|message| error(*span, message))?;
        }
    }
    for (key, value, span) in values {
        set(&mut fields, key, value).map_err(|message| error(span, message))?;
    }
    validate(&fields)
        .and_then(|()| build(fields, scope))
        .map_err(|message| error(mount.span, (message, None)))
}

/// A message and a line of help.
type Problem = (String, Option<String>);

fn kind(value: &str) -> Result<Kind, Problem> {
    choose(value, &Kind::ALL).ok_or_else(|| {
        let names = Kind::ALL.iter().map(|(name, _)| *name);
        (
            format!("unsupported mount type \"{value}\""),
            suggest(value, names).map(|name| format!("did you mean `{name}`?")),
        )
    })
}

fn choose<T: Copy>(value: &str, choices: &[(&str, T)]) -> Option<T> {
    let lower = value.to_lowercase();
    let found = choices.iter().find(|(name, _)| *name == lower)?;
    Some(found.1)
}

fn set(fields: &mut Fields, key: &str, value: Option<String>) -> Result<(), Problem> {
    let text = value.clone().unwrap_or_default();
    let invalid = || (format!("invalid value for {key}: {text}"), None);
    let unexpected = |kind: Kind| {
        let kind = kind.name();
        (
            format!("unexpected key '{key}' for mount type '{kind}'"),
            None,
        )
    };
    let flag = || match &value {
        None => Ok(true),
        Some(value) => parse_bool(value).ok_or_else(invalid),
    };
    let number = |radix: u32| {
        let number = u32::from_str_radix(&text, radix).ok();
        number.ok_or_else(|| (format!("invalid value {text} for {key}"), None))
    };
    match key {
        "type" => {}
        "from" => fields.from = value.filter(|from| !from.is_empty()),
        "source" | "src" => fields.source = value,
        "target" | "dst" | "destination" => fields.target = value,
        "readonly" | "ro" => fields.readonly = Some(flag()?),
        "readwrite" | "rw" => fields.readonly = Some(!flag()?),
        "id" => fields.id = value,
        "env" => fields.env = value,
        "mode" => fields.mode = Some(number(8)?),
        "uid" => fields.uid = Some(number(10)?),
        "gid" => fields.gid = Some(number(10)?),
        "required" if matches!(fields.kind, Kind::Secret | Kind::Ssh) => fields.required = flag()?,
        "size" if fields.kind == Kind::Tmpfs => {
            fields.size = Some(parse_size(&text).ok_or_else(invalid)?);
        }
        "required" | "size" => return Err(unexpected(fields.kind)),
        "sharing" => {
            fields.sharing = Some(choose(&text, &SHARINGS).ok_or_else(|| {
                let names = SHARINGS.iter().map(|(name, _)| *name);
                let help = suggest(&text, names).map(|name| format!("did you mean `{name}`?"));
                (format!("unsupported sharing value \"{text}\""), help)
            })?);
        }
        _ => return Err((format!("unexpected key '{key}' in '{key}={text}'"), None)),
    }
    Ok(())
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes with a unit of 1024, as go-units reads them: `64m`, `1.5GiB`, `100`.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = lower[digits.len()..]
        .trim_end_matches('b')
        .trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = digits
        .trim_end()
        .split_once('.')
        .unwrap_or((digits.trim_end(), ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?);
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()?
    };
    u64::try_from(((whole * scale + parts) << shift) / scale).ok()
}

/// BuildKit's rules about which keys go together.
fn validate(fields: &Fields) -> Result<(), String> {
    let kind = fields.kind;
    if matches!(kind, Kind::Bind | Kind::Tmpfs) {
        for (key, value) in [
            ("mode", fields.mode),
            ("uid", fields.uid),
            ("gid", fields.gid),
        ] {
            if value.is_some() {
                return Err(format!(
                    "{key} not allowed for \"{}\" type mounts",
                    kind.name()
                ));
            }
        }
    }
    if kind == Kind::Secret {
        if fields.from.is_some() {
            return Err("secret mount should not have a from".to_owned());
        }
        if fields.sharing.is_some() {
            return Err("secret mount should not define sharing".to_owned());
        }
        let given = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
        if !given(&fields.source) && !given(&fields.target) && !given(&fields.id) {
            return Err("invalid secret mount. one of source, target required".to_owned());
        }
        if given(&fields.source) && given(&fields.id) {
            return Err("both source and id can't be set".to_owned());
        }
    }
    if fields.sharing.is_some() && kind != Kind::Cache {
        return Err(format!(
            "invalid cache sharing set for {} mount",
            kind.name()
        ));
    }
    if fields.env.is_some() && kind != Kind::Secret {
        return Err(format!(
            "unexpected key 'env' for mount type '{}'",
            kind.name()
        ));
    }
    if kind == Kind::Ssh && fields.source.is_some() {
        return Err("ssh does not support source".to_owned());
    }
    Ok(())
}

fn build(fields: Fields, scope: &MountScope<'_>) -> Result<RunMount, String> {
    let from = match &fields.from {
        None => None,
        Some(name) => {
            Some((scope.source)(name).ok_or_else(|| format!("invalid from flag value {name}"))?)
        }
    };
    let written = fields.target.clone().unwrap_or_default();
    let target = path::join(scope.cwd, &written);
    let mounted = || match target.as_str() {
        "/" => Err(format!("invalid mount target \"{target}\"")),
        _ => Ok(target.clone()),
    };
    let source = path::join("/", fields.source.as_deref().unwrap_or_default());
    Ok(match fields.kind {
        Kind::Bind => RunMount::Bind {
            target: mounted()?,
            from: from.unwrap_or_else(|| Source::Context(String::new())),
            source,
            writable: fields.readonly == Some(false),
        },
        Kind::Cache => RunMount::Cache {
            target: mounted()?,
            id: cache_id(fields.id.as_deref(), &written, scope.cache_namespace),
            sharing: fields.sharing.unwrap_or_default(),
            seed: from.map(|from| (from, source)),
            readonly: fields.readonly == Some(true),
            mode: fields.mode.unwrap_or(0o755),
            uid: fields.uid.unwrap_or(0),
            gid: fields.gid.unwrap_or(0),
        },
        Kind::Tmpfs => RunMount::Tmpfs {
            target: mounted()?,
            size: fields.size.filter(|size| *size > 0),
        },
        Kind::Secret => secret(fields, &target)?,
        Kind::Ssh => RunMount::Ssh {
            id: fields
                .id
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            target: if written.is_empty() {
                None
            } else {
                Some(mounted()?)
            },
            required: fields.required,
            mode: fields.mode.unwrap_or(0o600),
            uid: fields.uid.unwrap_or(0),
            gid: fields.gid.unwrap_or(0),
        },
    })
}

/// The identity of a cache: its id, else its target as written, below the namespace if there is one.
fn cache_id(id: Option<&str>, target: &str, namespace: &str) -> String {
    let id = match id {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ if target.starts_with('/') => path::join("/", target),
        _ => path::clean(target),
    };
    match namespace {
        "" => id,
        namespace => format!("{namespace}/{id}"),
    }
}

fn secret(fields: Fields, target: &str) -> Result<RunMount, String> {
    let given = |value: Option<String>| value.filter(|text| !text.is_empty());
    let written = given(fields.target);
    let id = match (given(fields.source), given(fields.id), &written) {
        (Some(id), _, _) | (None, Some(id), _) => id,
        (None, None, Some(written)) => path::base_name(written).to_owned(),
        (None, None, None) => return Err("one of source, target required".to_owned()),
    };
    let file = match (&written, &fields.env) {
        (Some(_), _) if target == "/" => {
            return Err(format!("invalid mount target \"{target}\""));
        }
        (Some(_), _) => Some(target.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(format!("/run/secrets/{}", path::base_name(&id))),
    };
    Ok(RunMount::Secret {
        id,
        target: file,
        env: fields.env,
        required: fields.required,
        mode: fields.mode.unwrap_or(0o400),
        uid: fields.uid.unwrap_or(0),
        gid: fields.gid.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_units_of_1024() {
        for (text, bytes) in [
            ("100", Some(100)),
            ("64m", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2kb", Some(2048)),
            ("1 g", Some(1 << 30)),
            ("", None),
            ("x", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("1q", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_cache_is_named_by_id_or_target_within_its_namespace() {
        for (id, target, namespace, name) in [
            (None, "/root/.cache/", "", "/root/.cache"),
            (None, "cache", "", "cache"),
            (Some("go"), "/x", "", "go"),
            (Some(""), "/x", "ci", "ci//x"),
            (Some("go"), "/x", "ci", "ci/go"),
        ] {
            assert_eq!(cache_id(id, target, namespace), name);
        }
    }
}
