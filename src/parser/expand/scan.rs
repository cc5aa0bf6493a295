//! The scanner: one pass over a raw word.

use std::collections::BTreeSet;

use super::pattern::{self, Reach};
use super::problem::{ExpandError, Problem};
use super::{DEPTH, Env, Expanded, GROWTH};

/// How quotes and unset variables are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Quotes quote; an unset variable is empty.
    Word,
    /// Quotes are ordinary characters.
    Heredoc,
    /// Quotes quote; an unset variable stays as it is written.
    Unquote,
}

/// What was found wrong, and from which byte on.
type Scanned<T> = Result<T, (Problem, usize)>;

/// A word on its way.
pub(super) struct Scan<'a> {
    raw: &'a str,
    at: usize,
    escape: char,
    env: &'a dyn Env,
    mode: Mode,
    /// Whether escapes stay in the text: inside patterns.
    raw_escapes: bool,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

/// Text that grows, and the same split into words.
#[derive(Default)]
struct Out {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Out {
    /// Text in which blanks separate words.
    fn push_split(&mut self, text: &str) {
        self.text.push_str(text);
        for (index, part) in text.split(char::is_whitespace).enumerate() {
            if index > 0 && !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
            self.word.push_str(part);
        }
    }

    /// Text that belongs to the current word, blanks and all.
    fn push_whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(raw: &'a str, escape: char, env: &'a dyn Env, mode: Mode) -> Self {
        Self {
            raw,
            at: 0,
            escape,
            env,
            mode,
            raw_escapes: false,
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        }
    }

    /// The whole word as one text.
    pub(super) fn run(self) -> Result<Expanded<String>, ExpandError> {
        self.finish(|out| out.text)
    }

    /// The whole word, split.
    pub(super) fn run_words(self) -> Result<Expanded<Vec<String>>, ExpandError> {
        self.finish(|mut out| {
            if !out.word.is_empty() {
                out.words.push(out.word);
            }
            out.words
        })
    }

    fn finish<T>(mut self, value: impl FnOnce(Out) -> T) -> Result<Expanded<T>, ExpandError> {
        match self.until(None) {
            Ok(out) => Ok(Expanded {
                value: value(out),
                used: self.used,
                unset: self.unset,
            }),
            Err((problem, start)) => {
                let end = self.at.max(start);
                Err(ExpandError::new(self.raw, problem, start..end))
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.raw[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    /// Expands up to the end, or up to `stop`, which is taken.
    fn until(&mut self, stop: Option<char>) -> Scanned<Out> {
        let start = self.at;
        let mut out = Out::default();
        let mut buffer = [0; 4];
        while let Some(letter) = self.peek() {
            if Some(letter) == stop {
                self.next();
                return Ok(out);
            }
            match letter {
                '$' => out.push_split(&self.dollar()?),
                '\'' if self.mode != Mode::Heredoc => out.push_whole(&self.single_quote()?),
                '"' if self.mode != Mode::Heredoc => out.push_whole(&self.double_quote()?),
                _ if letter == self.escape => {
                    self.next();
                    if self.raw_escapes {
                        out.push_whole(letter.encode_utf8(&mut buffer));
                    }
                    if let Some(escaped) = self.next() {
                        out.push_whole(escaped.encode_utf8(&mut buffer));
                    }
                }
                _ => {
                    let rest = &self.raw[self.at..];
                    let ends = |c: char| {
                        Some(c) == stop || matches!(c, '$' | '\'' | '"') || c == self.escape
                    };
                    // At least this letter: in a heredoc it may be a quote.
                    let first = letter.len_utf8();
                    let more = rest[first..].find(ends);
                    let mut plain = more.map_or(rest, |more| &rest[..first + more]);
                    if out.text.len() + plain.len() > GROWTH {
                        plain = &rest[..first];
                    }
                    self.at += plain.len();
                    out.push_split(plain);
                }
            }
            if out.text.len() > GROWTH {
                return Err((Problem::TooLong, start));
            }
        }
        match stop {
            None => Ok(out),
            Some('/') => Err((Problem::Slash, start)),
            Some(_) => Err((Problem::Brace, start)),
        }
    }

    fn single_quote(&mut self) -> Scanned<String> {
        let start = self.at;
        self.next();
        let rest = &self.raw[self.at..];
        let Some(length) = rest.find('\'') else {
            self.at = self.raw.len();
            return Err((Problem::SingleQuote, start));
        };
        self.at += length + 1;
        Ok(rest[..length].to_owned())
    }

    fn double_quote(&mut self) -> Scanned<String> {
        let start = self.at;
        self.next();
        let mut text = String::new();
        while let Some(letter) = self.peek() {
            match letter {
                '"' => {
                    self.next();
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                _ if letter == self.escape => {
                    self.next();
                    if self.raw_escapes {
                        text.push(letter);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.next();
                            text.push(next);
                        }
                        Some(_) => text.push(letter),
                    }
                }
                _ => {
                    self.next();
                    text.push(letter);
                }
            }
            if text.len() > GROWTH {
                return Err((Problem::TooLong, start));
            }
        }
        Err((Problem::DoubleQuote, start))
    }

    /// `$v`, `${…}`, or a dollar sign that is none of them.
    fn dollar(&mut self) -> Scanned<String> {
        let start = self.at;
        self.next();
        if self.peek() == Some('{') {
            if self.depth >= DEPTH {
                return Err((Problem::TooDeep, start));
            }
            self.depth += 1;
            let result = self.braces(start);
            self.depth -= 1;
            return result;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match self.lookup(name) {
            Some(value) => Ok(value.to_owned()),
            None if self.mode == Mode::Unquote => Ok(self.raw[start..self.at].to_owned()),
            None => Ok(String::new()),
        }
    }

    /// `${…}`; `start` is where its dollar sign stands.
    fn braces(&mut self, start: usize) -> Scanned<String> {
        self.next();
        match self.peek() {
            None => return Err((Problem::Brace, start)),
            Some('{' | '}' | ':') => return Err((Problem::BadSubstitution, start)),
            Some(_) => {}
        }
        let name = self.name();
        let modifier = self.at;
        let Some(letter) = self.next() else {
            return Err((Problem::Brace, start));
        };
        let text = match letter {
            '}' => self.lookup(name).unwrap_or_default().to_owned(),
            '/' => self.replacement(name, start)?,
            '+' | '-' | '?' | '#' | '%' => self.modified(name, letter, false, start)?,
            ':' => match self.next() {
                Some(letter @ ('+' | '-' | '?')) => self.modified(name, letter, true, start)?,
                None => return Err((Problem::Brace, start)),
                Some(_) => return Err((self.modifier(modifier), start)),
            },
            _ => return Err((self.modifier(modifier), start)),
        };
        if self.mode == Mode::Unquote {
            return Ok(self.raw[start..self.at].to_owned());
        }
        Ok(text)
    }

    fn modifier(&self, from: usize) -> Problem {
        Problem::Modifier(self.raw[from..self.at].to_owned())
    }

    /// `${v-w}` and its kin; `colon` means that an empty variable counts as unset.
    fn modified(
        &mut self,
        name: &str,
        modifier: char,
        colon: bool,
        start: usize,
    ) -> Scanned<String> {
        let word = self.operand('}', matches!(modifier, '#' | '%'), start)?;
        let value = self.lookup(name);
        let there = value.filter(|value| !(colon && value.is_empty()));
        let text = match (modifier, there) {
            ('-', None) | ('+', Some(_)) => word,
            ('+', None) => String::new(),
            // Without expansion nothing can be missing.
            ('?', None) if self.mode == Mode::Unquote => String::new(),
            ('?', None) => {
                let message = match (word.is_empty(), value) {
                    (false, _) => word,
                    (true, None) => "is not allowed to be unset".to_owned(),
                    (true, Some(_)) => "is not allowed to be empty".to_owned(),
                };
                let name = name.to_owned();
                return Err((Problem::Required { name, message }, start));
            }
            ('#' | '%', value) => {
                let value = value.unwrap_or_default();
                let (pattern, reach) = match word.strip_prefix(modifier) {
                    Some(pattern) => (pattern, Reach::Longest),
                    None => (word.as_str(), Reach::Shortest),
                };
                let trim = match modifier {
                    '#' => pattern::without_prefix,
                    _ => pattern::without_suffix,
                };
                trim(value, pattern, reach).map_err(|problem| (problem, start))?
            }
            (_, there) => there.unwrap_or_default().to_owned(),
        };
        Ok(text)
    }

    /// `${v/p/r}` and `${v//p/r}`, behind the first slash.
    fn replacement(&mut self, name: &str, start: usize) -> Scanned<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.operand('/', true, start)?;
        let replacement = self.operand('}', true, start)?;
        let value = self.lookup(name).unwrap_or_default();
        pattern::replace(value, &pattern, &replacement, all).map_err(|problem| (problem, start))
    }

    /// Expands an operand of `${…}` up to `stop`.
    fn operand(&mut self, stop: char, raw_escapes: bool, start: usize) -> Scanned<String> {
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let out = self.until(Some(stop));
        self.raw_escapes = outer;
        match out {
            Ok(out) => Ok(out.text),
            Err((Problem::Brace | Problem::Slash, _)) if stop == '/' => {
                Err((Problem::Slash, start))
            }
            Err((Problem::SingleQuote | Problem::DoubleQuote | Problem::Brace, _)) => {
                Err((Problem::Brace, start))
            }
            Err(other) => Err(other),
        }
    }

    /// Reads a name: letters, digits and `_`; or a number; or one special character.
    fn name(&mut self) -> &'a str {
        let rest = &self.raw[self.at..];
        let length = match rest.chars().next() {
            Some(first) if first.is_ascii_digit() => rest
                .find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest
                .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .unwrap_or(rest.len()),
        };
        self.at += length;
        &rest[..length]
    }

    /// Asks for a variable and remembers the answer.
    fn lookup(&mut self, name: &str) -> Option<&'a str> {
        let value = self.env.lookup(name);
        let names = match value {
            Some(_) => &mut self.used,
            None => &mut self.unset,
        };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }
}
