//! Addresses: what is one, what file name it gives, where a redirect may lead.

use std::net::IpAddr;

use reqwest::Url;

use super::HttpError;
use crate::clock::Epoch;
use crate::context::percent_decode;

/// The name of a file whose address has none (dockerfile.md §2.3).
pub const UNNAMED: &str = "__unnamed__";

/// The longest name of a file in bytes.
const NAME_MAX: usize = 255;

/// Whether a text is an http or https address, as ADD decides: by its first letters.
pub fn is_http_url(text: &str) -> bool {
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    lower.starts_with("https://") || lower.starts_with("http://")
}

/// The name that a downloaded file gets: the last component of the address's path, decoded;
/// [`UNNAMED`] if there is none. Never what the server says, never more than one component.
///
/// # Errors
/// The name has a slash or a NUL, or is too long.
pub fn file_name(address: &str) -> Result<Vec<u8>, HttpError> {
    let url = parse(address)?;
    let invalid = || HttpError::FileName { url: shown(&url) };
    let path = url.path().trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = percent_decode(name).ok_or_else(invalid)?;
    if name.contains(&b'/') || name.contains(&0) || name.len() > NAME_MAX {
        return Err(invalid());
    }
    Ok(match name.as_slice() {
        b"" | b"." | b".." => UNNAMED.as_bytes().to_vec(),
        _ => name,
    })
}

/// Parses an address.
pub(super) fn parse(address: &str) -> Result<Url, HttpError> {
    Url::parse(address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| HttpError::Address {
            url: address.chars().take(200).collect(),
        })
}

/// An address for messages: without user, password and query, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{host}{}{}",
        url.scheme(),
        port.unwrap_or_default(),
        url.path()
    )
}

/// Whether a redirect may be followed: http and https only, and from outside never to an address of
/// this machine, of its link or of a cloud's metadata service.
pub(super) fn may_redirect(from: &Url, to: &Url) -> bool {
    matches!(to.scheme(), "http" | "https") && (is_near(from) || !is_near(to))
}

/// Whether credentials for one address may go to another.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return is_near_address(address);
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn is_near_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
    }
}

/// Parses a date of HTTP, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7; the obsolete forms are
/// not read), into seconds since 1970.
pub fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if words.next() != Some("GMT") || day.len() != 2 || year.len() != 4 {
        return None;
    }
    Epoch::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).map(|epoch| epoch.0)
}
