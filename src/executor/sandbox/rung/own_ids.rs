//! The ids that root of a container has, all of which it may hand on to a user namespace of its own:
//! with CAP_SETUID, CAP_SETGID and (for root's id) CAP_SETFCAP it needs neither newuidmap nor ranges of its own.

use super::subid::COUNT_MIN;

/// The text of a map that gives every id to itself, from that of the namespace that this process is in
/// (user_namespaces(7)); how many ids there are from 0 on without a gap, if those are too few.
pub(super) fn identity(own: &str) -> Result<String, u32> {
    let mut extents: Vec<(u32, u32)> = own.lines().filter_map(extent).collect();
    extents.sort_unstable();
    let end = extents.iter().fold(0_u32, |end, (start, count)| {
        if *start == end {
            end.saturating_add(*count)
        } else {
            end
        }
    });
    // Root's own id, and the others.
    if end <= COUNT_MIN {
        return Err(end);
    }
    let lines = extents
        .iter()
        .map(|(start, count)| format!("{start} {start} {count}\n"));
    Ok(lines.collect())
}

/// The first id inside and how many there are.
fn extent(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().map(str::parse::<u32>);
    let start = numbers.next()?.ok()?;
    let count = numbers.nth(1)?.ok()?;
    Some((start, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ids_are_handed_on_as_they_are() {
        let machine = "         0          0 4294967295\n";
        assert_eq!(identity(machine).as_deref(), Ok("0 0 4294967295\n"));
        let rootless = "0 1000 1\n1 100000 65536\n";
        assert_eq!(identity(rootless).as_deref(), Ok("0 0 1\n1 1 65536\n"));
        let disordered = "1 100000 65536\n0 1000 1\n70000 300000 5\n";
        assert_eq!(
            identity(disordered).as_deref(),
            Ok("0 0 1\n1 1 65536\n70000 70000 5\n")
        );
    }

    #[test]
    fn too_few_ids_are_counted() {
        assert_eq!(identity("0 1000 1\n"), Err(1));
        assert_eq!(identity("0 1000 1\n2 100000 65536\n"), Err(1));
        assert_eq!(identity("0 100000 65534\n"), Err(65_534));
        assert!(
            identity("0 100000 65535\n").is_ok(),
            "the last one is nobody's"
        );
        assert_eq!(identity(""), Err(0));
    }
}
