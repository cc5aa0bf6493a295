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

impl Chmod {
    /// The mode that a file of mode `mode` gets, as chmod(1) computes it (the umask plays no part).
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(list) => list.split(',').fold(mode, |mode, clause| {
                apply_clause(clause, mode, is_directory)
            }),
        }
    }
}

fn apply_clause(clause: &str, mut mode: u32, is_directory: bool) -> u32 {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    let who = match &clause[..clause.len() - actions.len()] {
        "" => "a",
        who => who,
    };
    let classes: u32 = who.chars().fold(0, |classes, class| {
        classes
            | match class {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                _ => 0o7777,
            }
    });
    let mut rest = actions;
    while let Some(action) = rest.chars().next() {
        let end = rest[1..]
            .find(['+', '-', '='])
            .map_or(rest.len(), |at| at + 1);
        let bits = permissions(&rest[1..end], mode, is_directory) & classes;
        mode = match action {
            '+' => mode | bits,
            '-' => mode & !bits,
            // Set-id bits of directories stay unless they are named, as in GNU chmod.
            _ if is_directory => (mode & !(classes & 0o1777)) | bits,
            _ => (mode & !classes) | bits,
        };
        rest = &rest[end..];
    }
    mode
}

/// The bits that a list of permissions means, in all classes.
fn permissions(list: &str, mode: u32, is_directory: bool) -> u32 {
    let spread = |bits: u32| bits * 0o111;
    list.chars().fold(0, |bits, permission| {
        bits | match permission {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if is_directory || mode & 0o111 != 0 => 0o111,
            's' => 0o6000,
            't' => 0o1000,
            'u' => spread(mode >> 6 & 7),
            'g' => spread(mode >> 3 & 7),
            'o' => spread(mode & 7),
            _ => 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbolic_modes_are_applied_as_chmod_does() {
        for (list, mode, is_directory, result) in [
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o740, false, 0o755),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("u+s,g=u", 0o750, false, 0o4770),
            ("o=", 0o777, false, 0o770),
            ("u+r-w", 0o200, false, 0o400),
            ("+t", 0o755, true, 0o1755),
            ("g=u", 0o2750, true, 0o2770),
        ] {
            let chmod = parse(list).unwrap();
            assert_eq!(
                chmod.apply(mode, is_directory),
                result,
                "{list} on {mode:o}"
            );
        }
    }

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
