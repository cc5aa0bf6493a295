//! The words of strangers, made fit for messages: cut, cleaned, without secrets.

use std::error::Error;
use std::io;

use reqwest::Url;
use serde::Deserialize;

use super::error::{ApiError, Broken};

/// Reads the errors of an answer's body, or shows its beginning.
pub(super) fn parse_errors(body: &[u8]) -> Vec<ApiError> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: serde_json::Value,
    }
    // Token servers answer `{"details": …}` or OAuth's `{"error", "error_description"}`.
    #[derive(Deserialize)]
    struct Token {
        #[serde(alias = "error_description", alias = "message")]
        details: String,
    }
    if let Ok(Errors { errors }) = serde_json::from_slice(body) {
        let error = |one: One| ApiError {
            code: printable(&one.code, 60),
            message: match one.detail {
                serde_json::Value::String(detail) if !detail.is_empty() => {
                    printable(&format!("{} ({detail})", one.message), 300)
                }
                _ => printable(&one.message, 300),
            },
        };
        return errors.into_iter().take(10).map(error).collect();
    }
    let message = match serde_json::from_slice(body) {
        Ok(Token { details }) => printable(&details, 300),
        Err(_) => printable(
            String::from_utf8_lossy(&body[..body.len().min(400)]).trim(),
            200,
        ),
    };
    if message.is_empty() {
        return Vec::new();
    }
    vec![ApiError {
        code: String::new(),
        message,
    }]
}

/// A text of a stranger as messages may show it: control characters and direction marks become
/// spaces, and it is cut to `length_max` characters.
pub(super) fn printable(text: &str, length_max: usize) -> String {
    let clean = |c: char| {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || hidden { ' ' } else { c }
    };
    let mut out: String = text.chars().take(length_max).map(clean).collect();
    if text.chars().nth(length_max).is_some() {
        out.push('…');
    }
    out
}

/// An address without its secrets.
pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Addresses that cannot carry these have none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    printable(url.as_str(), 300)
}

/// What a failed request died of, by its chain of causes.
pub(super) fn diagnose(error: &reqwest::Error) -> (Broken, String) {
    let mut detail = String::new();
    let mut broken = Broken::Connection;
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        detail = error.to_string();
        if let Some(error) = error.downcast_ref::<io::Error>() {
            broken = match error.kind() {
                io::ErrorKind::ConnectionRefused => Broken::Refused,
                io::ErrorKind::TimedOut => Broken::Silence,
                _ => broken,
            };
        }
        if detail.contains("invalid peer certificate") {
            broken = Broken::Certificate;
        } else if detail.contains("InvalidContentType") || detail.contains("corrupt message") {
            broken = Broken::NotTls;
        } else if detail.contains("dns error") || detail.contains("failed to lookup address") {
            broken = Broken::Name;
        }
        cause = error.source();
    }
    if error.is_timeout() {
        broken = Broken::Silence;
    }
    if detail.is_empty() {
        "no further detail".clone_into(&mut detail);
    }
    (broken, printable(&detail, 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_registries_and_token_servers_are_read() {
        let show = |body: &str| super::super::error::detail(&parse_errors(body.as_bytes()));
        for (body, text) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
                ": DENIED: no",
            ),
            (
                r#"{"errors":[{"code":"X","message":"m","detail":"d"}]}"#,
                ": X: m (d)",
            ),
            (r#"{"errors":[{"code":"X","detail":{"a":1}}]}"#, ": X"),
            (
                r#"{"details":"incorrect username or password"}"#,
                ": incorrect username or password",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"gone"}"#,
                ": gone",
            ),
            (
                "<html>\u{1b}[31mlogin\n</html>",
                ": <html> [31mlogin </html>",
            ),
            ("", ""),
        ] {
            assert_eq!(show(body), text);
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert!(show(&long).len() < 400);
    }

    #[test]
    fn addresses_lose_their_secrets() {
        let url = Url::parse("https://user:pass@r.example/v2/x?_state=secret#y").unwrap();
        assert_eq!(redacted(&url), "https://r.example/v2/x");
    }
}
