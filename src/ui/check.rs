//! Findings of `--check` in the words and the form of buildx.

use std::io::{self, Write};

use crate::diagnostic::{Diagnostic, SourceFile};

use super::text::{self, Colors};

/// Bytes of one source line that are shown.
const LINE_BYTES_MAX: usize = 2_000;
/// The line above and below an excerpt.
const RULER: &str = "--------------------";

/// Tells how many findings there are: `Check complete, 2 warnings have been found!`.
pub fn summary(count: usize, out: &mut dyn Write) -> io::Result<()> {
    match count {
        0 => writeln!(out, "Check complete, no warnings found."),
        1 => writeln!(out, "Check complete, 1 warning has been found!"),
        count => writeln!(out, "Check complete, {count} warnings have been found!"),
    }
}

/// Draws a finding after an empty line: its rule and page, its message, and the lines that it is
/// about, the first and the last, marked among their neighbours.
pub fn finding(finding: &Diagnostic, lines: (usize, usize), out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\nWARNING: {}", finding.code)?;
    if let Some(url) = &finding.url {
        write!(out, " - {url}")?;
    }
    writeln!(out, "\n{}", text::clean_name(&finding.message))?;
    excerpt(&finding.source, lines, out)
}

/// Draws lines of a source, the first and the last, marked and with neighbours: four if it is one
/// line, else two.
pub fn excerpt(
    source: &SourceFile,
    (first, last): (usize, usize),
    out: &mut dyn Write,
) -> io::Result<()> {
    let all: Vec<&str> = source.text.split('\n').collect();
    if first == 0 || first > all.len() {
        return Ok(());
    }
    let last = last.clamp(first, all.len());
    let (from, to) = with_neighbours(first, last, all.len());
    writeln!(out, "{}:{first}\n{RULER}", text::clean_name(&source.name))?;
    for (number, line) in (from..=to).zip(&all[from - 1..]) {
        let mark = if (first..=last).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let end = line.floor_char_boundary(line.len().min(LINE_BYTES_MAX));
        let line = text::clean(line[..end].trim_end_matches('\r').as_bytes(), Colors::Strip);
        writeln!(out, " {number:3} | {mark} {line}")?;
    }
    writeln!(out, "{RULER}")
}

/// Widens a range of lines as BuildKit does: a step at both ends counts as many lines as it
/// wins, and one more.
fn with_neighbours(first: usize, last: usize, count: usize) -> (usize, usize) {
    let wanted = if first == last { 4 } else { 2 };
    let (mut from, mut to, mut won) = (first, last, 0);
    while won < wanted {
        if from > 1 {
            from -= 1;
            won += 1;
        }
        if to < count {
            to += 1;
            won += 1;
        }
        won += 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, lines: (usize, usize)) -> String {
        let mut out = Vec::new();
        let source = SourceFile::new("Dockerfile", text);
        excerpt(&source, lines, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_is_marked_among_its_neighbours() {
        assert_eq!(
            drawn("a\nb\nc\nd\ne\nf\ng\n", (4, 4)),
            "Dockerfile:4\n--------------------\n   2 |     b\n   3 |     c\n   4 | >>> d\n   5 |     e\n   6 |     f\n--------------------\n"
        );
    }

    #[test]
    fn several_lines_have_fewer_neighbours() {
        assert_eq!(
            drawn("a\nb\nc\nd\ne", (2, 3)),
            "Dockerfile:2\n--------------------\n   1 |     a\n   2 | >>> b\n   3 | >>> c\n   4 |     d\n--------------------\n"
        );
    }

    #[test]
    fn the_ends_of_a_file_end_an_excerpt() {
        assert_eq!(
            drawn("a", (1, 1)),
            "Dockerfile:1\n--------------------\n   1 | >>> a\n--------------------\n"
        );
        assert_eq!(drawn("a", (2, 2)), "");
        assert_eq!(drawn("a", (0, 0)), "");
    }

    #[test]
    fn hidden_characters_and_endless_lines_are_kept_from_the_terminal() {
        let long = drawn(&format!("\x1b[2J{}\r\n", "é".repeat(5_000)), (1, 1));
        assert!(
            !long.contains(['\x1b', '\r']) && long.len() < 2_200,
            "{long}"
        );
    }

    #[test]
    fn findings_are_counted_in_words() {
        let told = |count| {
            let mut out = Vec::new();
            summary(count, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(told(0), "Check complete, no warnings found.\n");
        assert_eq!(told(1), "Check complete, 1 warning has been found!\n");
        assert_eq!(told(2), "Check complete, 2 warnings have been found!\n");
    }
}
