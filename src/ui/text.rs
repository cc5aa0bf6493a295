//! Untrusted bytes to lines that are safe to print.
//!
//! A RUN step may write anything: half UTF-8 sequences, terminal commands that retitle windows or
//! fill the clipboard, lines without end. Here they become lines of bounded length without
//! control characters; of escape sequences only colours (SGR) may stay.

use std::fmt;

/// The longest line kept in one piece, in bytes; longer ones are cut into several.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// What becomes of colour sequences in output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// They stay; a line that has any ends with a reset.
    Keep,
    /// They go, like all other sequences.
    Strip,
}

/// Cuts a stream of bytes into lines, as a terminal would show them: `\r\n` is one end, a lone
/// `\r` starts the line again (progress bars leave their last state).
#[derive(Debug, Default)]
pub struct LineCutter {
    line: Vec<u8>,
    returned: bool,
}

impl LineCutter {
    /// Takes the next bytes and hands every line that is complete to `emit`, without its end.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    emit(&self.line);
                    self.line.clear();
                    self.returned = false;
                }
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.line.clear();
                    }
                    if self.line.len() >= LINE_BYTES_MAX {
                        let end = complete_prefix(&self.line);
                        emit(&self.line[..end]);
                        self.line.drain(..end);
                    }
                    self.line.push(byte);
                }
            }
        }
    }

    /// Hands out what is left when the stream has ended.
    pub fn finish(&mut self, emit: impl FnOnce(&[u8])) {
        if !self.line.is_empty() {
            emit(&self.line);
            self.line.clear();
        }
        self.returned = false;
    }
}

/// The length of `bytes` without a UTF-8 sequence that is cut off at its end.
fn complete_prefix(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(4);
    for start in (tail..bytes.len()).rev() {
        let length = match bytes[start] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        let cut = start + length > bytes.len() && start > 0;
        return if cut { start } else { bytes.len() };
    }
    bytes.len()
}

/// Makes one line printable: bytes that are not UTF-8 become U+FFFD, tabs stay, other control
/// characters, escape sequences and characters that reorder text (bidirectional overrides) go.
pub fn clean(line: &[u8], colors: Colors) -> String {
    if line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return String::from_utf8_lossy(line).into_owned();
    }
    let text = String::from_utf8_lossy(line);
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    let mut colored = false;
    while let Some(character) = rest.chars().next() {
        if character == '\u{1b}' || character == '\u{9b}' {
            let (length, is_color) = sequence(rest);
            if is_color && colors == Colors::Keep {
                result.push_str(&rest[..length]);
                colored = true;
            }
            rest = &rest[length..];
            continue;
        }
        if !is_hidden(character) {
            result.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    if colored {
        result.push_str("\u{1b}[0m");
    }
    result
}

/// Makes the text of a name or message printable on one line: newlines become spaces.
pub fn clean_name(text: &str) -> String {
    if text.bytes().any(|byte| byte == b'\n' || byte == b'\t') {
        let spaced = text.replace(['\n', '\t'], " ");
        return clean(spaced.as_bytes(), Colors::Strip);
    }
    clean(text.as_bytes(), Colors::Strip)
}

/// The length of the escape sequence that `text` starts with, and whether it is a colour
/// (ECMA-48: CSI, OSC and the other strings, and two-character sequences).
fn sequence(text: &str) -> (usize, bool) {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let (body, kind) = match (first, text.as_bytes().get(1)) {
        (2, _) => (first, b'['),
        (_, Some(kind)) if kind.is_ascii() => (first + 1, *kind),
        _ => return (first, false),
    };
    match kind {
        b'[' => {
            let end = text[body..].find(|c: char| !(' '..='?').contains(&c));
            match end.and_then(|end| text[body + end..].chars().next().map(|last| (end, last))) {
                Some((end, last @ '@'..='~')) => {
                    let is_plain = text[body..body + end]
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'));
                    (body + end + 1, last == 'm' && is_plain && first == 1)
                }
                Some((end, _)) => (body + end, false),
                None => (text.len(), false),
            }
        }
        // OSC, DCS, SOS, PM, APC: up to BEL or ST.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let end = text[body..].find(['\u{7}', '\u{9c}', '\u{1b}']);
            match end.map(|end| (body + end, text[body + end..].starts_with("\u{1b}\\"))) {
                Some((end, true)) => (end + 2, false),
                Some((end, false)) if text[end..].starts_with('\u{1b}') => (end, false),
                Some((end, false)) => {
                    let length = text[end..].chars().next().map_or(0, char::len_utf8);
                    (end + length, false)
                }
                None => (text.len(), false),
            }
        }
        // Character sets and the like: one or more intermediates, then a final character.
        b' '..=b'/' => {
            let end = text[body..].find(|c: char| !(' '..='/').contains(&c));
            match end.map(|end| (body + end, text[body + end..].chars().next())) {
                Some((end, Some('0'..='~'))) => (end + 1, false),
                Some((end, _)) => (end, false),
                None => (text.len(), false),
            }
        }
        b'0'..=b'~' => (body, false),
        _ => (first, false),
    }
}

/// Whether a character must not reach a log or a terminal.
fn is_hidden(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends formatted text.
pub(super) fn append(text: &mut String, arguments: fmt::Arguments<'_>) {
    let written = fmt::Write::write_fmt(text, arguments);
    debug_assert!(written.is_ok(), "a string takes any text");
}

/// The columns that a character takes on a terminal: 0 for marks, 2 for East Asian wide ones and
/// emoji, else 1. A terse table: good enough to cut lines, never used for meaning.
pub fn width_of(character: char) -> usize {
    match u32::from(character) {
        0..=0x1f
        | 0x7f..=0x9f
        | 0x300..=0x36f
        | 0x483..=0x489
        | 0x591..=0x5bd
        | 0x610..=0x61a
        | 0x64b..=0x65f
        | 0x1ab0..=0x1aff
        | 0x1dc0..=0x1dff
        | 0x200b..=0x200f
        | 0x20d0..=0x20ff
        | 0xfe00..=0xfe0f
        | 0xfe20..=0xfe2f
        | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The columns that a text without control characters takes.
pub fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Cuts a text to at most `columns`; a cut text ends with `…`.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.replace('\t', " ");
    }
    let mut result = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += width_of(character).max(usize::from(character == '\t'));
        if used + 1 > columns {
            break;
        }
        result.push(if character == '\t' { ' ' } else { character });
    }
    if columns > 0 {
        result.push('…');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            cutter.push(chunk, |line| lines.push(clean(line, Colors::Strip)));
        }
        cutter.finish(|line| lines.push(clean(line, Colors::Strip)));
        lines
    }

    #[test]
    fn lines_are_cut_as_a_terminal_shows_them() {
        for (chunks, expected) in [
            (vec![&b"a\nb\n"[..]], vec!["a", "b"]),
            (vec![b"a\r\nb\r\n"], vec!["a", "b"]),
            (vec![b"a\r", b"\nb"], vec!["a", "b"]),
            (vec![b"10%\r50%\r100%\n"], vec!["100%"]),
            (vec![b"\n\n"], vec!["", ""]),
            (vec![b"caf\xc3", b"\xa9\n"], vec!["café"]),
            (vec![b"no end"], vec!["no end"]),
        ] {
            assert_eq!(lines_of(&chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn endless_lines_are_cut_between_characters() {
        let line = "é".repeat(LINE_BYTES_MAX);
        let lines = lines_of(&[line.as_bytes()]);
        assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
        assert_eq!(lines.concat(), line);
    }

    #[test]
    fn only_colours_survive_and_only_when_wanted() {
        for (text, kept, stripped) in [
            ("plain\ttext", "plain\ttext", "plain\ttext"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m", "red"),
            ("\x1b]0;title\x07x", "x", "x"),
            ("\x1b]52;c;ZXZpbA==\x1b\\x", "x", "x"),
            ("\x1b]unterminated", "", ""),
            ("\x1b[2Jx\x1b[10;10Hy", "xy", "xy"),
            ("\x1b[?25lx", "x", "x"),
            ("\x1b[>4;1mx", "x", "x"),
            ("\x1b(Bx\x1b7y\x1bcz", "xyz", "xyz"),
            ("\x1bP1$r\x1b\\x", "x", "x"),
            ("a\x08\x07\x00\x7fb", "ab", "ab"),
            ("\u{9b}31mx\u{85}y", "xy", "xy"),
            ("a\u{202e}b", "ab", "ab"),
            ("\x1b", "", ""),
            ("\x1b[", "", ""),
            ("\x1b[31", "", ""),
        ] {
            assert_eq!(clean(text.as_bytes(), Colors::Keep), kept, "{text:?}");
            assert_eq!(clean(text.as_bytes(), Colors::Strip), stripped, "{text:?}");
        }
        assert_eq!(clean(b"\xff\xfe!", Colors::Strip), "\u{fffd}\u{fffd}!");
        assert_eq!(clean_name("RUN a\n\tb\x1b[2J"), "RUN a  b");
    }

    #[test]
    fn texts_fit_into_columns_of_wide_characters() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(width("日本e\u{301}"), 5);
        assert_eq!(fit("abc", 0), "");
    }

    proptest! {
        #[test]
        fn cleaned_text_has_no_control_character(bytes: Vec<u8>) {
            let text = clean(&bytes, Colors::Strip);
            prop_assert!(text.chars().all(|c| c == '\t' || !c.is_control()));
        }

        #[test]
        fn kept_escapes_are_colours(bytes in proptest::collection::vec(
            prop_oneof![Just(0x1b_u8), Just(b'['), Just(b'm'), Just(b']'), Just(0xc2), any::<u8>()],
            0..40,
        )) {
            let text = clean(&bytes, Colors::Keep);
            for part in text.split('\u{1b}').skip(1) {
                let end = part.find('m');
                prop_assert!(part.starts_with('[') && end.is_some(), "{text:?}");
                prop_assert!(part[1..end.unwrap()].bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'));
            }
        }

        #[test]
        fn chunks_do_not_change_lines(bytes: Vec<u8>, cut in 0_usize..64) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(lines_of(&[&bytes]), lines_of(&[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn fitted_texts_fit(text in "\\PC*", columns in 0_usize..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
        }
    }
}
