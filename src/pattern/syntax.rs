//! The notation: text to [`Token`]s.
//!
//! One scanner serves both dialects. What Go's `filepath.Match` rejects is rejected in both, as
//! moby/patternmatcher does by calling `filepath.Match` once for its error.

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// These bytes.
    Literal(Vec<u8>),
    /// `?`: one character, not a slash.
    AnyChar,
    /// `[a-z]`: one character of a set.
    Class(Class),
    /// `*`: characters but slashes.
    AnyName,
    /// `**/`: nothing, or anything that ends with a slash.
    AnyDirs,
    /// `**` at an end: anything.
    AnyPath,
}

/// A set of characters. As in Go, a negated one contains the slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<(u32, u32)>,
}

impl Class {
    /// Whether a character is in the set.
    pub(super) fn contains(&self, char: u32) -> bool {
        let listed = |(low, high): &(u32, u32)| *low <= char && char <= *high;
        self.ranges.iter().any(listed) != self.negated
    }
}

/// What `*` beside `*` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stars {
    /// Nothing more: `filepath.Match`.
    Single,
    /// Across directories: moby/patternmatcher.
    Double,
}

/// The character of bytes that are no UTF-8, one byte each, as Go decodes them.
const REPLACEMENT: u32 = 0xFFFD;

/// The first character of `bytes` and its length; `None` at the end.
pub(super) fn next_char(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u32::from(first), 1));
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = head.utf8_chunks().next()?.valid();
    Some(
        valid
            .chars()
            .next()
            .map_or((REPLACEMENT, 1), |char| (u32::from(char), char.len_utf8())),
    )
}

/// Reads a pattern; `None` if `filepath.Match` rejects it.
pub(super) fn scan(pattern: &[u8], stars: Stars) -> Option<Vec<Token>> {
    let mut tokens = Tokens::default();
    let mut rest = pattern;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' if stars == Stars::Double && rest.first() == Some(&b'*') => {
                rest = double_star(&mut tokens, &rest[1..]);
            }
            b'*' => tokens.push(Token::AnyName),
            b'?' => tokens.push(Token::AnyChar),
            b'[' => {
                let (class, after) = class(rest)?;
                tokens.push(Token::Class(class));
                rest = after;
            }
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                tokens.escaped = true;
                tokens.literal(*escaped);
                rest = after;
            }
            other => tokens.literal(*other),
        }
    }
    Some(tokens.finish())
}

/// Reads what follows `**`. At the end it takes everything; before more it takes whole
/// directories, and one slash after it belongs to it.
fn double_star<'a>(tokens: &mut Tokens, rest: &'a [u8]) -> &'a [u8] {
    let rest_after_slash = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest_after_slash.is_empty() {
        tokens.push(Token::AnyPath);
    } else {
        tokens.bare_start = tokens.list.is_empty() && rest_after_slash.len() == rest.len();
        tokens.push(Token::AnyDirs);
    }
    rest_after_slash
}

/// Reads a class after its `[`.
fn class(mut rest: &[u8]) -> Option<(Class, &[u8])> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            return Some((Class { negated, ranges }, &rest[1..]));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            (high, rest) = class_char(&rest[1..])?;
        }
        ranges.push((low, high));
    }
}

/// Reads one end of a range; Go's `getEsc`.
fn class_char(rest: &[u8]) -> Option<(u32, &[u8])> {
    let rest = match rest.first()? {
        b'-' | b']' => return None,
        b'\\' => &rest[1..],
        _ => rest,
    };
    let (char, length) = next_char(rest)?;
    let invalid = char == REPLACEMENT && length == 1;
    let after = &rest[length..];
    // A class that ends with the pattern is open.
    (!invalid && !after.is_empty()).then_some((char, after))
}

/// Tokens with neighbouring literals joined.
#[derive(Default)]
struct Tokens {
    list: Vec<Token>,
    /// The pattern starts with `**` and no slash follows.
    bare_start: bool,
    /// Some character was escaped.
    escaped: bool,
}

impl Tokens {
    fn push(&mut self, token: Token) {
        // `**` followed by `**` or `*` followed by `*` is the same as one of them.
        let repeated = matches!(token, Token::AnyName | Token::AnyDirs | Token::AnyPath)
            && self.list.last() == Some(&token);
        if !repeated {
            self.list.push(token);
        }
    }

    fn literal(&mut self, byte: u8) {
        if let Some(Token::Literal(bytes)) = self.list.last_mut() {
            bytes.push(byte);
        } else {
            self.list.push(Token::Literal(vec![byte]));
        }
    }

    /// Applies patternmatcher's shortcut: `**` and then only plain characters is a comparison of
    /// the end of the path, so that `**b` matches `xab` although `**[b]` does not.
    fn finish(mut self) -> Vec<Token> {
        let plain = self.list.len() == 2 && matches!(self.list[1], Token::Literal(_));
        if self.bare_start && plain && !self.escaped {
            self.list[0] = Token::AnyPath;
        }
        self.list
    }
}
