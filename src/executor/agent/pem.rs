//! The armour of key files (RFC 7468): which kind of key, and its bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;

/// What is between the first BEGIN and its END.
pub(super) struct Armoured<'a> {
    /// `OPENSSH PRIVATE KEY`, `RSA PRIVATE KEY`, …
    pub(super) label: &'a str,
    /// The key in its binary form.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Finds the key of a file; text around it is passed over.
pub(super) fn decode(text: &[u8]) -> Result<Armoured<'_>, KeyError> {
    let text = std::str::from_utf8(text).map_err(|_| KeyError::NoKey)?;
    let mut lines = text.lines().map(str::trim_end);
    let label = lines
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .ok_or(KeyError::NoKey)?;
    let mut digits = Zeroizing::new(String::with_capacity(text.len()));
    let mut is_ended = false;
    for line in lines {
        if line.starts_with("-----END ") {
            is_ended = true;
            break;
        }
        match line.split_once(':') {
            Some(("Proc-Type", value)) if value.contains("ENCRYPTED") => {
                return Err(KeyError::Encrypted);
            }
            Some(_) => {}
            None => digits.push_str(line.trim()),
        }
    }
    if !is_ended {
        return Err(KeyError::NoKey);
    }
    let bytes = STANDARD.decode(digits.as_bytes());
    let bytes = Zeroizing::new(bytes.map_err(|_| KeyError::NoKey)?);
    Ok(Armoured { label, bytes })
}
