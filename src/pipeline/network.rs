//! Which network commands get: one of the build's own, unless something that was asked for can only
//! be had on the host's.

use std::net::IpAddr;

use super::request::BuildRequest;
use crate::executor::sandbox::SandboxNetwork;
use crate::planner::op::Network;

/// The variables that name a proxy, in capitals.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY"];

/// The network of steps that do not say, and why it is the host's if nobody asked for that.
///
/// Only what the caller gave counts, never what the Dockerfile says.
pub(super) fn of_build(request: &BuildRequest) -> (SandboxNetwork, Option<String>) {
    match request.run.network {
        Network::None => (SandboxNetwork::None, None),
        Network::Host => (SandboxNetwork::Host, None),
        Network::Default => match needs_host(request) {
            Some(why) => (SandboxNetwork::Host, Some(why)),
            None => (SandboxNetwork::Private, None),
        },
    }
}

fn needs_host(request: &BuildRequest) -> Option<String> {
    let gateway = request.run.add_hosts.iter();
    if let Some((name, _)) = gateway.into_iter().find(|(_, address)| address.is_none()) {
        return Some(format!("`{name}` is its gateway (--add-host)"));
    }
    let given = request.proxies.iter().map(|(name, value)| (name, value));
    given
        .chain(&request.build_args)
        .find(|(name, value)| is_proxy(name) && is_on_loopback(value))
        .map(|(name, _)| format!("`{name}` names a proxy on its loopback"))
}

fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Whether an address like `http://user:password@host:port/` is on the loopback of its reader.
fn is_on_loopback(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        None => host.split(':').next().unwrap_or(host),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_the_loopback_are_recognised() {
        for here in [
            "http://127.0.0.1:3128",
            "http://user:p@ss@localhost:3128/",
            "LOCALHOST",
            "socks5://[::1]:1080",
            "127.3.2.1",
            "http://proxy.localhost./",
        ] {
            assert!(is_on_loopback(here), "{here}");
        }
        for elsewhere in [
            "",
            "http://proxy:3128",
            "http://10.0.0.1:3128/127.0.0.1",
            "http://127.0.0.1@proxy:3128",
            "http://[fd00::1]:3128",
            "localhost.example",
        ] {
            assert!(!is_on_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn variables_that_name_proxies_are_recognised() {
        assert!(is_proxy("http_proxy") && is_proxy("HTTPS_PROXY") && is_proxy("All_Proxy"));
        assert!(!is_proxy("no_proxy") && !is_proxy("PROXY"));
    }
}
