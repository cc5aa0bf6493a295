//! Where the requests for a repository go, and in which scheme.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::challenge::authority;

/// One place that has (or mirrors) a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `host[:port]` to connect to.
    pub(super) host: String,
    /// The repository there.
    pub(super) repository: String,
    /// The name under which credentials are filed: `docker.io`, `localhost:5000`.
    pub(super) registry: String,
    /// Whether TLS may be unverified or missing.
    pub(super) insecure: bool,
}

/// A way of speaking HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Plain.
    Http,
    /// TLS, verified.
    Https,
    /// TLS with any certificate.
    HttpsUnverified,
}

impl Endpoint {
    /// The place that a registry's name means.
    pub(super) fn of(registry: &str, repository: &str, insecure: bool) -> Self {
        let host = match registry {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            registry: registry.to_owned(),
            insecure,
        }
    }

    /// The schemes to try, in order. Loopback speaks plain HTTP first, as containerd does;
    /// registries that are listed as insecure TLS first, as Docker does.
    pub(super) fn schemes(&self) -> &'static [Scheme] {
        match (is_loopback(&self.host), self.insecure) {
            (true, false) => &[Scheme::Http, Scheme::Https],
            (true, true) => &[Scheme::Http, Scheme::HttpsUnverified],
            (false, true) => &[Scheme::HttpsUnverified, Scheme::Http],
            (false, false) => &[Scheme::Https],
        }
    }

    /// The address of a path below `/v2/`, or `None` if the host is none.
    pub(super) fn url(&self, scheme: Scheme, path: &str) -> Option<Url> {
        let name = match scheme {
            Scheme::Http => "http",
            Scheme::Https | Scheme::HttpsUnverified => "https",
        };
        let url = Url::parse(&format!("{name}://{}/v2/{path}", self.host)).ok()?;
        // The parser must not see another host than we do.
        (url.username().is_empty() && url.host_str().is_some()).then_some(url)
    }

    /// `registry/repository`, for messages.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

/// Whether `host[:port]` is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = without_port(host);
    match bare.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback(),
        Ok(IpAddr::V6(ip)) => ip == Ipv6Addr::LOCALHOST,
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

/// Whether `host[:port]` is listed: as a whole, by its host alone, or by a network of addresses.
pub(super) fn is_listed(host: &str, list: &[String]) -> bool {
    let bare = without_port(host);
    list.iter().any(|entry| {
        entry == host || entry == bare || (entry.contains('/') && is_in_network(bare, entry))
    })
}

fn is_in_network(host: &str, network: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let parts = || {
        let (base, bits) = network.split_once('/')?;
        Some((
            base.parse().ok()?,
            bits.parse::<u32>().ok()?,
            host.parse().ok()?,
        ))
    };
    let mask = |bits: u32, width: u32| (bits <= width).then_some(width - bits);
    match parts() {
        Some((IpAddr::V4(base), bits, IpAddr::V4(ip))) => {
            mask(bits, 32).is_some_and(|shift| shr4(base, shift) == shr4(ip, shift))
        }
        Some((IpAddr::V6(base), bits, IpAddr::V6(ip))) => {
            mask(bits, 128).is_some_and(|shift| shr6(base, shift) == shr6(ip, shift))
        }
        _ => false,
    }
}

fn shr4(ip: Ipv4Addr, shift: u32) -> u32 {
    ip.to_bits().checked_shr(shift).unwrap_or(0)
}

fn shr6(ip: Ipv6Addr, shift: u32) -> u128 {
    ip.to_bits().checked_shr(shift).unwrap_or(0)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if !port.contains(']') => bare,
        _ => host,
    }
}

/// Whether two addresses have one origin: scheme, host and port.
pub(super) fn same_origin(left: &Url, right: &Url) -> bool {
    left.origin() == right.origin()
}

/// Scheme, host and port as text: the key under which challenges and tokens are kept.
pub(super) fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), authority(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_only() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:5000",
            "[::1]",
            "x.localhost:1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0:1",
            "[::2]:1",
            "r.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn lists_name_hosts_ports_and_networks() {
        let list = [
            "r.example",
            "s.example:5000",
            "10.0.0.0/8",
            "fd00::/8",
            "bad/99",
        ]
        .map(str::to_owned);
        for host in [
            "r.example",
            "r.example:1",
            "s.example:5000",
            "10.1.2.3:5000",
            "[fd12::1]:5000",
        ] {
            assert!(is_listed(host, &list), "{host}");
        }
        for host in [
            "s.example",
            "s.example:5001",
            "11.0.0.1",
            "x.r.example",
            "[fe80::1]",
            "10.evil.example",
        ] {
            assert!(!is_listed(host, &list), "{host}");
        }
    }

    #[test]
    fn docker_hub_lives_elsewhere() {
        let endpoint = Endpoint::of("docker.io", "library/debian", false);
        let url = endpoint
            .url(Scheme::Https, "library/debian/manifests/12")
            .unwrap();
        assert_eq!(
            url.as_str(),
            "https://registry-1.docker.io/v2/library/debian/manifests/12"
        );
        assert_eq!(endpoint.schemes(), [Scheme::Https]);
    }
}
