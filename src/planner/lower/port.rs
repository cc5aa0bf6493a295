//! EXPOSE: `[ip:][host:]port[-port][/protocol]` to single ports.

use std::net::IpAddr;

/// The ports of one word, each `80/tcp`; an error in BuildKit's words.
pub(crate) fn ports(word: &str) -> Result<Vec<String>, String> {
    let mut parts = word.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(format!("no port specified: {container}<empty>"));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        unknown => return Err(format!("invalid proto: {unknown}")),
    };
    if !address.is_empty() {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address: {address}"));
        }
    }
    let (first, last) =
        port_range(range).ok_or_else(|| format!("invalid containerPort: {range}"))?;
    if !host.is_empty() {
        let (host_first, host_last) =
            port_range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if first != last && last - first != host_last - host_first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {range} and {host}"
            ));
        }
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// `8000-9000` or `8000`.
fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_single_ports() {
        for (word, expected) in [
            ("80", Ok(vec!["80/tcp"])),
            ("53/UDP", Ok(vec!["53/udp"])),
            ("8000-8002", Ok(vec!["8000/tcp", "8001/tcp", "8002/tcp"])),
            ("127.0.0.1:80:8080", Ok(vec!["8080/tcp"])),
            ("[::1]:80:8080/sctp", Ok(vec!["8080/sctp"])),
            ("80:90", Ok(vec!["90/tcp"])),
            ("80/", Ok(vec!["80/tcp"])),
            ("", Err("no port specified: <empty>")),
            ("/tcp", Err("no port specified: /tcp<empty>")),
            ("65536", Err("invalid containerPort: 65536")),
            ("+1", Err("invalid containerPort: +1")),
            ("9-8", Err("invalid containerPort: 9-8")),
            ("1-2-3", Err("invalid containerPort: 1-2-3")),
            ("80/http", Err("invalid proto: http")),
            ("x:80:80", Err("invalid IP address: x")),
            (
                "1-2:80-82",
                Err("invalid ranges specified for container and host Ports: 80-82 and 1-2"),
            ),
        ] {
            let expected = expected
                .map(|ports| ports.into_iter().map(str::to_owned).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(ports(word), expected, "{word}");
        }
    }
}
