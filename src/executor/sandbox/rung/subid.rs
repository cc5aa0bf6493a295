//! /etc/subuid and /etc/subgid: the ranges of ids that a user may hand out (subuid(5)).

use std::path::PathBuf;

/// A run of consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    /// The first id.
    pub(super) start: u32,
    /// How many.
    pub(super) count: u32,
}

/// The fewest ids, beside root's, with which ordinary images can be unpacked: up to nobody's.
pub(super) const COUNT_MIN: u32 = 65_534;

/// The kernel takes at most 340 lines in a map; one is for the user's own id.
const RANGES_MAX: usize = 339;

/// Why a user's ranges cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubidError {
    /// The file cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
    },
    /// The user has no line.
    #[error("`{}` has no range for user `{user}`", .path.display())]
    Absent {
        /// Which file.
        path: PathBuf,
        /// Name or number.
        user: String,
    },
    /// Two ranges share ids.
    #[error("`{}` has overlapping ranges for user `{user}`", .path.display())]
    Overlap {
        /// Which file.
        path: PathBuf,
        /// Name or number.
        user: String,
    },
    /// The ranges are too small together.
    #[error("`{}` gives user `{user}` only {count} ids, 65536 are needed", .path.display())]
    TooFew {
        /// Which file.
        path: PathBuf,
        /// Name or number.
        user: String,
        /// How many.
        count: u32,
    },
}

/// Finds the ranges of a user, whom lines name by `name` or by `id`; in the file's order.
///
/// Lines that are not `who:start:count`, or whose ids do not fit 32 bits, are skipped, as
/// newuidmap skips them.
pub(super) fn ranges(
    path: PathBuf,
    text: &str,
    name: Option<&str>,
    id: u32,
) -> Result<Vec<Range>, SubidError> {
    let number = id.to_string();
    let user = name.unwrap_or(&number).to_owned();
    let mut found: Vec<Range> = Vec::new();
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let (Some(who), Some(start), Some(count), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if Some(who) != name && who != number {
            continue;
        }
        let (Ok(start), Ok(count)) = (start.parse::<u32>(), count.parse::<u32>()) else {
            continue;
        };
        // The last id of all means "none" to the kernel.
        if count == 0 || start.checked_add(count).is_none() {
            continue;
        }
        let range = Range { start, count };
        if !found.contains(&range) {
            found.push(range);
        }
    }
    if found.is_empty() {
        return Err(SubidError::Absent { path, user });
    }
    found.truncate(RANGES_MAX);
    let mut sorted = found.clone();
    sorted.sort_unstable();
    let overlaps = sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .any(|(low, high)| low.start + low.count > high.start);
    if overlaps {
        return Err(SubidError::Overlap { path, user });
    }
    let count = found
        .iter()
        .fold(0_u32, |sum, range| sum.saturating_add(range.count));
    if count < COUNT_MIN {
        return Err(SubidError::TooFew { path, user, count });
    }
    Ok(found)
}

/// The arguments of newuidmap after the process id: root inside is `own` outside, then the ranges
/// one after the other.
pub(super) fn map_arguments(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for range in ranges {
        let count = range.count.min(u32::MAX - inside);
        arguments.extend([
            inside.to_string(),
            range.start.to_string(),
            count.to_string(),
        ]);
        inside = inside.saturating_add(count);
        if inside == u32::MAX {
            break;
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Range>, SubidError> {
        ranges(PathBuf::from("/etc/subuid"), text, Some("ann"), 1000)
    }

    #[test]
    fn lines_by_name_and_by_number_count() {
        let text = "# users\nbob:1:65536\nann:100000:65536\n1000:300000:10\nbad\nann:x:1\n\
            ann:5:0\nann:4294967295:2\nann:1:2:3\n";
        let expected = vec![
            Range {
                start: 100_000,
                count: 65_536,
            },
            Range {
                start: 300_000,
                count: 10,
            },
        ];
        assert_eq!(of(text), Ok(expected.clone()));
        assert_eq!(
            map_arguments(1000, &expected).join(" "),
            "0 1000 1 1 100000 65536 65537 300000 10"
        );
    }

    #[test]
    fn useless_ranges_are_refused_with_the_reason() {
        assert!(matches!(
            of("bob:1:65536\n"),
            Err(SubidError::Absent { .. })
        ));
        assert!(matches!(
            of("ann:100000:65536\nann:165535:65536\n"),
            Err(SubidError::Overlap { .. })
        ));
        assert!(matches!(
            of("ann:100000:1000\n"),
            Err(SubidError::TooFew { count: 1000, .. })
        ));
        // The same line twice is one range.
        assert!(of("ann:100000:65536\nann:100000:65536\n").is_ok());
        // Ranges that touch do not overlap.
        assert!(of("ann:100000:65536\nann:165536:65536\n").is_ok());
    }

    #[test]
    fn a_map_never_exceeds_the_ids_there_are() {
        let huge = Range {
            start: 1,
            count: u32::MAX - 1,
        };
        let arguments = map_arguments(0, &[huge, huge]);
        assert_eq!(arguments.len(), 6);
        assert_eq!(arguments[5], (u32::MAX - 1).to_string());
    }
}
