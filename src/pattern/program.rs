//! A compiled pattern.
//!
//! Almost every real pattern is a literal start, one kind of gap, a literal end: those are
//! answered by comparing ends. The rest keeps the set of positions that a prefix of the tokens
//! can reach, so that no pattern takes more than tokens × path length steps.

use super::syntax::{Stars, Token, next_char, scan};

/// A pattern, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    tokens: Vec<Token>,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    gap: Gap,
}

/// What stands between the literal start and the literal end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gap {
    /// Nothing: the start is the whole pattern.
    Exact,
    /// `*`
    Name,
    /// `**/`
    Dirs,
    /// `**/*`, `**`
    Path,
    /// The whole pattern is `**/` and then something within one component, which the last
    /// component must match.
    LastName(Box<Program>),
    /// Anything else: these of the tokens.
    Tokens(std::ops::Range<usize>),
}

/// How every path starts that matches a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing is known.
    Any,
    /// With this byte.
    Path(u8),
    /// The last component with this byte.
    Name(u8),
}

impl Program {
    /// Compiles a cleaned pattern; `None` if it is malformed.
    pub(super) fn new(pattern: &[u8], stars: Stars) -> Option<Self> {
        Some(Self::of(scan(pattern, stars)?))
    }

    fn of(tokens: Vec<Token>) -> Self {
        let mut gap = 0..tokens.len();
        let mut ends = [Vec::new(), Vec::new()];
        if let Some(Token::Literal(bytes)) = tokens.first() {
            ends[0].clone_from(bytes);
            gap.start = 1;
        }
        if let Some(Token::Literal(bytes)) = tokens.get(gap.start..).and_then(<[_]>::last) {
            ends[1].clone_from(bytes);
            gap.end -= 1;
        }
        let gap = match &tokens[gap.clone()] {
            [] => Gap::Exact,
            [Token::AnyName] => Gap::Name,
            [Token::AnyDirs] => Gap::Dirs,
            [Token::AnyPath] | [Token::AnyDirs, Token::AnyName] => Gap::Path,
            _ => match tokens.split_first() {
                Some((Token::AnyDirs, name)) if name.iter().all(within_name) => {
                    Gap::LastName(Box::new(Self::of(name.to_vec())))
                }
                _ => Gap::Tokens(gap),
            },
        };
        let [prefix, suffix] = ends;
        Self {
            tokens,
            prefix,
            suffix,
            gap,
        }
    }

    /// The bytes that every matching path ends with; empty if none are known.
    pub(super) fn ending(&self) -> &[u8] {
        match self.gap {
            Gap::Exact => &self.prefix,
            _ => &self.suffix,
        }
    }

    /// How every matching path starts.
    pub(super) fn start(&self) -> Start {
        let (prefix, kind): (_, fn(u8) -> Start) = match &self.gap {
            Gap::LastName(name) => (&name.prefix, Start::Name),
            _ => (&self.prefix, Start::Path),
        };
        prefix.first().copied().map_or(Start::Any, kind)
    }

    /// The bytes, if the pattern is one path without wildcards.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        (self.gap == Gap::Exact).then_some(&self.prefix)
    }

    /// Whether the whole of `path` matches.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        if self.gap == Gap::Exact {
            return path == self.prefix;
        }
        let Some(gap) = self.gap_of(path) else {
            return false;
        };
        match &self.gap {
            Gap::LastName(name) => {
                let start = path.iter().rposition(|byte| *byte == b'/');
                name.matches(&path[start.map_or(0, |slash| slash + 1)..])
            }
            Gap::Exact => false,
            Gap::Name => !gap.contains(&b'/'),
            Gap::Dirs => gap.last().is_none_or(|byte| *byte == b'/'),
            Gap::Path => true,
            Gap::Tokens(range) => accepts(&self.tokens[range.clone()], gap),
        }
    }

    /// What is between the literal ends of a path; `None` if it does not have them.
    ///
    /// An end without bytes is not compared: its pointer is dangling, and `memcmp` with vector
    /// masks takes 80 ns to suppress the fault.
    fn gap_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let mut gap = path;
        if !self.prefix.is_empty() {
            gap = gap.strip_prefix(self.prefix.as_slice())?;
        }
        if !self.suffix.is_empty() {
            gap = gap.strip_suffix(self.suffix.as_slice())?;
        }
        Some(gap)
    }

    /// Whether some path below the directory `path` may match. Never wrongly says no.
    pub(super) fn may_match_below(&self, path: &[u8]) -> bool {
        if path.is_empty() {
            return true;
        }
        let shared = self.prefix.len().min(path.len());
        if path[..shared] != self.prefix[..shared] {
            return false;
        }
        let mut text = path.to_vec();
        text.push(b'/');
        may_go_on(&self.tokens, &text)
    }
}

/// Whether a token can never match a slash.
fn within_name(token: &Token) -> bool {
    match token {
        Token::Literal(bytes) => !bytes.contains(&b'/'),
        Token::AnyChar | Token::AnyName => true,
        Token::Class(class) => !class.contains(u32::from(b'/')),
        Token::AnyDirs | Token::AnyPath => false,
    }
}

/// Whether the tokens match the whole text.
fn accepts(tokens: &[Token], text: &[u8]) -> bool {
    let mut positions = vec![0];
    for token in tokens {
        positions = step(token, text, &positions);
        if positions.is_empty() {
            return false;
        }
    }
    positions.last() == Some(&text.len())
}

/// Whether a longer text that starts with `text` may match.
fn may_go_on(tokens: &[Token], text: &[u8]) -> bool {
    let mut positions = vec![0];
    for token in tokens {
        if positions.last() == Some(&text.len()) || *token == Token::AnyPath {
            return true;
        }
        if let Token::Literal(bytes) = token
            && positions.iter().any(|at| bytes.starts_with(&text[*at..]))
        {
            return true;
        }
        positions = step(token, text, &positions);
        if positions.is_empty() {
            return false;
        }
    }
    false
}

/// The positions after `token`, ascending, from the positions before it, ascending.
fn step(token: &Token, text: &[u8], positions: &[usize]) -> Vec<usize> {
    let one = |accept: &dyn Fn(u32) -> bool| {
        let after = |at: &usize| {
            let (char, length) = next_char(&text[*at..])?;
            accept(char).then_some(*at + length)
        };
        positions.iter().filter_map(after).collect()
    };
    match token {
        Token::Literal(bytes) => positions
            .iter()
            .filter(|at| text[**at..].starts_with(bytes))
            .map(|at| at + bytes.len())
            .collect(),
        Token::AnyChar => one(&|char| char != u32::from(b'/')),
        Token::Class(class) => one(&|char| class.contains(char)),
        Token::AnyName => through_names(text, positions),
        Token::AnyDirs => through_dirs(text, positions),
        Token::AnyPath => positions
            .first()
            .map(|at| (*at..=text.len()).collect())
            .unwrap_or_default(),
    }
}

fn through_names(text: &[u8], positions: &[usize]) -> Vec<usize> {
    let mut reached = Vec::new();
    let mut next = 0;
    for at in positions {
        if *at < next {
            continue;
        }
        let length = text[*at..].iter().take_while(|byte| **byte != b'/').count();
        reached.extend(*at..=at + length);
        next = at + length + 1;
    }
    reached
}

fn through_dirs(text: &[u8], positions: &[usize]) -> Vec<usize> {
    let Some(first) = positions.first() else {
        return Vec::new();
    };
    let after_slash = |at: &usize| *at > *first && text[at - 1] == b'/';
    let mut positions = positions.iter().peekable();
    (*first..=text.len())
        .filter(|at| positions.next_if_eq(&at).is_some() | after_slash(at))
        .collect()
}
