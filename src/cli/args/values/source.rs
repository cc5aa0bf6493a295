//! Secrets, agents, hosts, and words from a fixed list.

use super::{AddHost, Call, CallMethod, IsolationArg, SecretArg, SshArg, ValueError, csv};
use crate::executor::sandbox::Rung;
use crate::pipeline::request::Entitlement;
use crate::planner::op::Network;
use crate::reference::Reference;

/// `--secret id=…[,type=file|env][,src=…][,env=…]` (buildx, `ParseSecret`).
pub fn secret(text: &str) -> Result<SecretArg, ValueError> {
    let mut secret = SecretArg::default();
    for field in csv::fields(text)? {
        let (key, value) = csv::pair(&field)?;
        match key.as_str() {
            "id" => value.clone_into(&mut secret.id),
            "type" => match value {
                "file" => secret.is_env = false,
                "env" => secret.is_env = true,
                _ => return Err(ValueError::SecretType(value.to_owned())),
            },
            "source" | "src" => secret.file = Some(value.to_owned()),
            "env" => secret.env = Some(value.to_owned()),
            _ => return Err(ValueError::Key { key, field }),
        }
    }
    if secret.id.is_empty() {
        return Err(ValueError::SecretId);
    }
    if secret.is_env && secret.env.is_none() {
        secret.env = secret.file.take();
    }
    Ok(secret)
}

/// `--ssh default|ID[=SOCKET|KEY[,KEY…]]` (buildx, `ParseSSH`); without an id it is the default.
pub fn ssh(text: &str) -> Result<SshArg, ValueError> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let paths = paths.split(',').filter(|path| !path.is_empty());
    Ok(SshArg {
        id: if id.is_empty() { "default" } else { id }.to_owned(),
        paths: paths.map(str::to_owned).collect(),
    })
}

/// `--add-host NAME=ADDRESS`, `NAME:ADDRESS`, brackets allowed; `host-gateway` for the host.
pub fn add_host(text: &str) -> Result<AddHost, ValueError> {
    let error = || ValueError::Host(text.to_owned());
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.ok_or_else(error)?;
    let is_name = |c: char| c.is_ascii_graphic() && c != '#';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(error());
    }
    if address == "host-gateway" {
        return Ok(AddHost(name.to_owned(), None));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    let address = bare.parse().map_err(|_| error())?;
    Ok(AddHost(name.to_owned(), Some(address)))
}

/// `--allow`; nothing allows nothing.
pub fn entitlement(text: &str) -> Result<Option<Entitlement>, ValueError> {
    Ok(Some(match text {
        "" => return Ok(None),
        "network.host" => Entitlement::NetworkHost,
        "security.insecure" => Entitlement::SecurityInsecure,
        "device" => Entitlement::Device(None),
        "buildx.local.delete" => Entitlement::LocalDelete,
        _ => match text.strip_prefix("device=") {
            Some(name) if !name.is_empty() => Entitlement::Device(Some(name.to_owned())),
            _ => return Err(ValueError::Entitlement(text.to_owned())),
        },
    }))
}

/// `--network`
pub fn network(text: &str) -> Result<Network, ValueError> {
    Ok(match text {
        "" | "default" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        _ => return Err(ValueError::Network(text.to_owned())),
    })
}

/// `--isolation`; `default` is what Docker calls `auto`.
pub fn isolation(text: &str) -> Result<IsolationArg, ValueError> {
    Ok(IsolationArg::Rung(match text {
        "auto" | "default" => return Ok(IsolationArg::Auto),
        "root" => Rung::Root,
        "user-range" => Rung::UserRange,
        "user-single" => Rung::UserSingle,
        "chroot" => Rung::Chroot,
        "none" => Rung::None,
        _ => return Err(ValueError::Isolation(text.to_owned())),
    }))
}

/// `--call METHOD[,format=json][,ignorestatus=true]`
pub fn call(text: &str) -> Result<Call, ValueError> {
    let fields = csv::fields(text)?;
    let (method, attributes) = fields
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first, rest));
    let method = match method {
        "" | "build" => CallMethod::Build,
        "check" | "lint" => CallMethod::Check,
        "outline" => CallMethod::Outline,
        "targets" => CallMethod::Targets,
        other => return Err(ValueError::Call(other.to_owned())),
    };
    let mut call = Call {
        method,
        json: false,
        ignore_status: false,
    };
    for field in attributes {
        let (key, value) = csv::pair(field)?;
        match (key.as_str(), value) {
            ("format", "json") => call.json = true,
            ("format", "text") => call.json = false,
            ("ignorestatus", "true" | "1") => call.ignore_status = true,
            ("ignorestatus", "false" | "0") => call.ignore_status = false,
            _ => {
                let field = field.clone();
                return Err(ValueError::Key { key, field });
            }
        }
    }
    Ok(call)
}

/// `--tag`
pub fn tag(text: &str) -> Result<Reference, ValueError> {
    let reference: Reference = reference(text)?;
    match reference.digest {
        Some(_) => Err(ValueError::TagDigest),
        None => Ok(reference),
    }
}

/// An image name.
pub fn reference(text: &str) -> Result<Reference, ValueError> {
    text.parse().map_err(|source| ValueError::Tag {
        text: text.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_files_or_variables() {
        let parsed = |text: &str| {
            let secret = secret(text).unwrap();
            (secret.id, secret.file, secret.env)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parsed("id=a"), ("a".into(), None, None));
        assert_eq!(parsed("id=a,src=/x"), ("a".into(), some("/x"), None));
        assert_eq!(parsed("ID=a,source=/x"), ("a".into(), some("/x"), None));
        assert_eq!(parsed("id=a,env=V"), ("a".into(), None, some("V")));
        assert_eq!(parsed("type=env,id=a,src=V"), ("a".into(), None, some("V")));
        assert_eq!(
            parsed("\"id=a\",\"src=/x,y\""),
            ("a".into(), some("/x,y"), None)
        );
        for (bad, message) in [
            ("a", "invalid field 'a' must be a key=value pair"),
            ("src=/x", "secret missing ID"),
            ("id=a,type=vault", "unsupported secret type \"vault\""),
            ("id=a,mode=1", "unexpected key 'mode' in 'mode=1'"),
        ] {
            assert_eq!(secret(bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn hosts_have_addresses() {
        for (text, name, address) in [
            ("a:1.2.3.4", "a", Some("1.2.3.4")),
            ("a=::1", "a", Some("::1")),
            ("a:[::1]", "a", Some("::1")),
            ("a:::1", "a", Some("::1")),
            ("a:host-gateway", "a", None),
        ] {
            let expected = AddHost(name.into(), address.map(|text| text.parse().unwrap()));
            assert_eq!(add_host(text), Ok(expected), "{text}");
        }
        for bad in ["a", "a:", ":1.2.3.4", "a:b", "a b:1.2.3.4", "a\nb:1.2.3.4"] {
            assert_eq!(add_host(bad), Err(ValueError::Host(bad.into())), "{bad}");
        }
    }

    #[test]
    fn words_come_from_lists() {
        assert_eq!(
            entitlement("device=x"),
            Ok(Some(Entitlement::Device(Some("x".into()))))
        );
        assert!(entitlement("device=").is_err() && entitlement("all").is_err());
        assert!(network("bridge").is_err() && isolation("hyperv").is_err());
        let call_of = |text| call(text).map(|call| (call.method, call.json, call.ignore_status));
        assert_eq!(
            call_of("check,format=json"),
            Ok((CallMethod::Check, true, false))
        );
        assert_eq!(
            call_of("lint,ignorestatus=1"),
            Ok((CallMethod::Check, false, true))
        );
        assert!(call("convertllb").is_err() && call("check,format=yaml").is_err());
        assert_eq!(ssh("a=/x,/y").unwrap().paths, ["/x", "/y"]);
        for text in ["", "=", "=/x"] {
            assert_eq!(ssh(text).unwrap().id, "default");
        }
        assert_eq!(entitlement(""), Ok(None));
    }

    #[test]
    fn tags_have_no_digest() {
        let pinned = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(tag(&pinned), Err(ValueError::TagDigest));
        assert_eq!(
            tag("a/B").unwrap_err().to_string(),
            "invalid tag \"a/B\": invalid reference format: repository name `a/B` must be lowercase"
        );
    }
}
