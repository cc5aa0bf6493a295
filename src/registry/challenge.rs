//! `WWW-Authenticate` (RFC 9110 §11.6.1; distribution-spec's token authentication), and which
//! token servers a registry may name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reqwest::Url;

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token that a server gives out.
    Bearer {
        /// The token server.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
        /// What the registry thinks the request needs.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Picks the strongest scheme that is understood out of all `WWW-Authenticate` values.
    pub(super) fn pick<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<Self> = values.filter_map(Self::parse).collect();
        let bearer = challenges
            .iter()
            .find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(challenges.first()).cloned()
    }

    fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        Some(Self::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope").filter(|scope| !scope.is_empty()),
        })
    }
}

/// Reads `name=value, name="quoted value"`; the first of equal names counts.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let mut value = String::new();
        let mut end = after.len();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            for (at, c) in quoted.char_indices() {
                if !escaped && c == '"' {
                    end = at + 2;
                    break;
                }
                escaped = !escaped && c == '\\';
                if !escaped {
                    value.push(c);
                }
            }
        } else {
            end = after.find(',').unwrap_or(after.len());
            after[..end].trim().clone_into(&mut value);
        }
        parameters.entry(name).or_insert(value);
        rest = &after[end..];
    }
    parameters
}

/// Why a token server is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RealmError {
    /// It is not an address.
    #[error("it is not an address")]
    Address,
    /// It is neither `https:` nor, for a registry spoken to in plain HTTP, `http:` there.
    #[error("it would be spoken to without TLS")]
    Scheme,
    /// It is an address inside this machine or network, and the registry is not.
    #[error("it is inside this machine or network and the registry is not")]
    Inside,
    /// It carries a user or password.
    #[error("it carries a user name")]
    UserInfo,
}

/// What may be sent to a token server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RealmTrust {
    /// The request for a token, and the registry's credentials.
    Credentials,
    /// The request alone.
    Anonymous,
}

/// Judges a realm that the registry at `registry` (its own address) named. `allowed` are further
/// hosts that may get its credentials; `insecure` says whether a host may be spoken to without TLS.
pub(super) fn judge(
    realm: &Url,
    registry: &Url,
    allowed: Option<&BTreeSet<String>>,
    insecure: &dyn Fn(&str) -> bool,
) -> Result<RealmTrust, RealmError> {
    let (Some(host), Some(own)) = (realm.host_str(), registry.host_str()) else {
        return Err(RealmError::Address);
    };
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err(RealmError::UserInfo);
    }
    let same_origin = realm.origin() == registry.origin();
    match realm.scheme() {
        "https" => {}
        "http" if same_origin => {}
        "http" if registry.scheme() == "http" && insecure(&authority(realm)) => {}
        "http" => return Err(RealmError::Scheme),
        _ => return Err(RealmError::Address),
    }
    let named =
        allowed.is_some_and(|hosts| hosts.contains(host) || hosts.contains(&authority(realm)));
    if !same_origin && !named && is_inside(host) && !is_inside(own) {
        return Err(RealmError::Inside);
    }
    let trusted = same_origin || named || host == own || are_related(own, host);
    Ok(if trusted {
        RealmTrust::Credentials
    } else {
        RealmTrust::Anonymous
    })
}

/// `host` or `host:port` as an address writes it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether a host is this machine, a private or link-local network, or no address at all.
fn is_inside(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => inside_v4(ip),
        Ok(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => inside_v4(ip),
            None => {
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local()
            }
        },
        Err(_) => false,
    }
}

fn inside_v4(ip: std::net::Ipv4Addr) -> bool {
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_broadcast()
        || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
}

/// Whether a registry and a token server belong together, as far as names can tell: the server is
/// below the registry (whose owner gives out those names), above it, or beside it under one domain.
fn are_related(registry: &str, server: &str) -> bool {
    if registry.parse::<IpAddr>().is_ok() || server.parse::<IpAddr>().is_ok() {
        return false;
    }
    let below = |inner: &str, outer: &str| {
        inner
            .strip_suffix(outer)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    let parent = |host: &str| host.split_once('.').map(|(_, parent)| parent.to_owned());
    below(server, registry)
        || (is_registered(server) && below(registry, server))
        || parent(registry).is_some_and(|up| is_registered(&up) && parent(server) == Some(up))
}

/// Whether a domain looks like one that somebody registered: two labels, unless they look like
/// `co.uk`.
fn is_registered(domain: &str) -> bool {
    // Domains under which strangers get names of their own.
    const SHARED: [&str; 9] = [
        "azurecr.io",
        "github.io",
        "amazonaws.com",
        "cloudfront.net",
        "run.app",
        "web.app",
        "pages.dev",
        "workers.dev",
        "herokuapp.com",
    ];
    let labels: Vec<&str> = domain.split('.').collect();
    let second_level =
        matches!(labels.as_slice(), [second, top] if top.len() == 2 && second.len() <= 3);
    labels.len() >= 2 && !second_level && !SHARED.contains(&domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (text, expected) in [
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
                Some(bearer(
                    "https://a/t",
                    Some("s"),
                    Some("repository:x:pull,push"),
                )),
            ),
            (
                r#"bearer  Service=s , REALM="a\"b" , error=invalid"#,
                Some(bearer("a\"b", Some("s"), None)),
            ),
            ("Bearer service=s", None),
            ("Negotiate", None),
            (
                r#"Bearer realm="unterminated"#,
                Some(bearer("unterminated", None, None)),
            ),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
        let both = ["Basic", r#"Bearer realm="r""#];
        assert_eq!(
            Challenge::pick(both.into_iter()),
            Some(bearer("r", None, None))
        );
    }

    use RealmTrust::{Anonymous, Credentials};

    /// Registry, the realm that it names, and the verdict.
    const REALMS: [(&str, &str, Result<RealmTrust, RealmError>); 24] = [
        (
            "https://registry-1.docker.io",
            "https://auth.docker.io/token",
            Ok(Credentials),
        ),
        (
            "https://registry.gitlab.com",
            "https://gitlab.com/jwt/auth",
            Ok(Credentials),
        ),
        (
            "https://icr.io",
            "https://us.icr.io/oauth/token",
            Ok(Credentials),
        ),
        ("https://ghcr.io", "https://ghcr.io/token", Ok(Credentials)),
        (
            "https://r.example:5000",
            "https://r.example:5001/t",
            Ok(Credentials),
        ),
        (
            "https://a.azurecr.io",
            "https://evil.azurecr.io/t",
            Ok(Anonymous),
        ),
        ("https://r.example", "https://evil.test/t", Ok(Anonymous)),
        ("https://a.co.uk", "https://b.co.uk/t", Ok(Anonymous)),
        (
            "https://r.example",
            "https://idp.elsewhere.example/t",
            Ok(Credentials),
        ),
        (
            "https://r.example",
            "http://r.example/t",
            Err(RealmError::Scheme),
        ),
        (
            "https://r.example",
            "http://auth.r.example/t",
            Err(RealmError::Scheme),
        ),
        (
            "https://r.example",
            "file:///etc/passwd",
            Err(RealmError::Address),
        ),
        (
            "https://r.example",
            "https://127.0.0.2/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://10.0.0.1/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://169.254.169.254/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://0.0.0.0/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://[::]/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://[::ffff:10.0.0.1]/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://localhost/t",
            Err(RealmError::Inside),
        ),
        (
            "https://r.example",
            "https://u:p@r.example/t",
            Err(RealmError::UserInfo),
        ),
        (
            "http://127.0.0.1:5000",
            "http://127.0.0.1:5001/t",
            Ok(Credentials),
        ),
        (
            "http://127.0.0.1:5000",
            "http://evil.test/t",
            Err(RealmError::Scheme),
        ),
        (
            "http://127.0.0.1:5000",
            "http://127.0.0.1:5000/t",
            Ok(Credentials),
        ),
        ("http://10.0.0.5", "http://10.0.0.5/t", Ok(Credentials)),
    ];

    #[test]
    fn realms_are_judged_by_where_they_lead() {
        let allowed = BTreeSet::from(["idp.elsewhere.example".to_owned()]);
        let insecure = |host: &str| host.starts_with("127.") || host == "lab.example:80";
        for (registry, realm, expected) in REALMS {
            let judged = judge(&url(realm), &url(registry), Some(&allowed), &insecure);
            assert_eq!(judged, expected, "{registry} names {realm}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "(Bearer |basic )?[a-c=\"\\\\, é]{0,40}") {
            let _ = Challenge::parse(&text);
        }
    }
}
