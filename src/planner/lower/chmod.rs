//! `--chmod`: octal, or a symbolic list as chmod(1) reads it.

use super::super::op::Chmod;

/// Checks a mode; the error is BuildKit's sentence.
pub(crate) fn parse(text: &str) -> Result<Chmod, String> {
    let invalid = || {
        format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let mode = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
        return if mode <= 0o7777 {
            Ok(Chmod::Octal(mode))
        } else {
            Err(invalid())
        };
    }
    if text.split(',').all(is_clause) {
        Ok(Chmod::Symbolic(text.to_owned()))
    } else {
        Err(invalid())
    }
}

/// `[ugoa]*([-+=]([rwxXst]*|[ugo]))+`
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    if !actions.starts_with(['+', '-', '=']) {
        return false;
    }
    actions.split(['+', '-', '=']).skip(1).all(|permissions| {
        matches!(permissions, "u" | "g" | "o") || permissions.chars().all(|c| "rwxXst".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_symbolic() {
        for octal in [("0", 0), ("755", 0o755), ("07777", 0o7777)] {
            assert_eq!(parse(octal.0), Ok(Chmod::Octal(octal.1)));
        }
        for good in ["u=rwX,go=rX", "+x", "a-w", "u+s,g=u", "ug=rw,o=", "u+r-w"] {
            assert_eq!(parse(good), Ok(Chmod::Symbolic(good.to_owned())), "{good}");
        }
        for bad in [
            "", "8", "10000", "-1", "u", "rwx", "u=rz", "u=r,", "u=ug", "０",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
