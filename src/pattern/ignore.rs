//! `.dockerignore` and `--exclude`: an ordered list of patterns, the last match decides.
//!
//! A port of the rules of moby/patternmatcher (`MatchesUsingParentResults`, as BuildKit's fsutil
//! walks with it), not of its code. Deliberate differences, all towards hiding what the author
//! meant to hide: an escape or a character inside a class never becomes a regular expression's
//! (`\d` is `d`, `[*]` is `*`), and a newline in a name is matched like any character.

use super::PatternError;
use super::program::{Program, Start};
use super::syntax::Stars;

/// Compiled rules. An empty one excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
    /// Lists of rules that may match a path, ascending; the first is for last bytes of no rule.
    lists: Vec<Vec<Candidate>>,
    /// The list for each last byte of a path.
    by_last_byte: Vec<usize>,
    exceptions: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    program: Program,
    exception: bool,
    /// Whether its pattern is one that everything at the root matches.
    is_all: bool,
}

/// What can be said of a rule's matches without looking at the rule: a handful of comparisons on
/// numbers rule out nearly all rules for nearly all paths.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    rule: usize,
    start: Start,
    /// The last four bytes, as far as they are known.
    tail: u32,
    tail_mask: u32,
}

/// What a directory hands down to its children: the rules that matched it, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited(Vec<usize>);

impl Ignore {
    /// Reads a `.dockerignore`: byte order mark, comments, blanks, leading slashes and `!` as
    /// moby/patternmatcher's `ignorefile` treats them.
    ///
    /// # Errors
    /// A pattern that `filepath.Match` rejects, or a lone `!`.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, PatternError> {
        let text = text.as_ref();
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let lines = text
            .split(|byte| *byte == b'\n')
            // The test for a comment comes before the trimming.
            .filter(|line| !line.starts_with(b"#"))
            .filter_map(file_pattern);
        Self::compile(lines)
    }

    /// Compiles patterns as `--exclude` gives them.
    ///
    /// # Errors
    /// A pattern that `filepath.Match` rejects, or a lone `!`.
    pub fn new<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PatternError> {
        Self::compile(
            patterns
                .into_iter()
                .filter_map(|pattern| file_pattern(pattern.as_ref())),
        )
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a cleaned path is excluded, its parents taken into account. A walk asks
    /// [`Ignore::enter`] and [`Ignore::excludes`] instead, which do not look at the parents again.
    pub fn excluded(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        let mut inherited = Inherited::default();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            inherited = self.enter(&path[..at], &inherited).1;
        }
        self.excludes(path, &inherited)
    }

    /// Whether nothing of a cleaned path is left: it is excluded, and no exception may bring back
    /// something below it. Of the root nothing is left after `*`, `**` or `**/*`.
    pub fn excludes_wholly(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        if path.is_empty() {
            return !self.exceptions && self.rules.iter().any(|rule| rule.is_all);
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]);
        let start = (false, Inherited::default());
        let (excluded, inherited) = ends.fold(start, |(_, inherited), end| {
            self.enter(&path[..end], &inherited)
        });
        excluded && !self.may_reinclude_below(path, &inherited)
    }

    /// Whether a path, directly in a directory that was entered, is excluded.
    pub fn excludes(&self, path: &[u8], parent: &Inherited) -> bool {
        if self.rules.is_empty() || path.is_empty() {
            return false;
        }
        // The last rule that matches decides, so the search goes backwards.
        let inherited = parent.0.last().copied();
        let own = self
            .candidates(path)
            .rev()
            .take_while(|rule| inherited.is_none_or(|inherited| *rule > inherited))
            .find(|rule| self.rules[*rule].program.matches(path));
        own.or(inherited)
            .is_some_and(|rule| !self.rules[rule].exception)
    }

    /// Whether a directory is excluded, and what it hands down. The root's parent is
    /// `Inherited::default()`, and so is what the root hands down.
    pub fn enter(&self, path: &[u8], parent: &Inherited) -> (bool, Inherited) {
        if self.rules.is_empty() || path.is_empty() {
            return (false, Inherited::default());
        }
        let mut excluded = false;
        let mut matched = Vec::new();
        let mut inherited = parent.0.iter().copied().peekable();
        let mut own = self.candidates(path).peekable();
        loop {
            let next = match (inherited.peek(), own.peek()) {
                (None, None) => break,
                (Some(rule), None) | (None, Some(rule)) => *rule,
                (Some(one), Some(other)) => *one.min(other),
            };
            let from_parent = inherited.next_if_eq(&next).is_some();
            own.next_if_eq(&next);
            let rule = &self.rules[next];
            // A rule that cannot change the answer is not asked, so it is not handed down either:
            // `dir/x`, `!dir` leaves `dir/x` excluded.
            let asked = rule.exception == excluded;
            if from_parent || (asked && rule.program.matches(path)) {
                excluded = !rule.exception;
                matched.push(next);
            }
        }
        (excluded, Inherited(matched))
    }

    /// Whether something below a directory that is excluded may still be kept; never wrongly says
    /// no. `inherited` is what the directory hands down.
    pub fn may_reinclude_below(&self, directory: &[u8], inherited: &Inherited) -> bool {
        if !self.exceptions {
            return false;
        }
        let decided_by = inherited.0.last().map_or(0, |last| last + 1);
        self.rules[decided_by..]
            .iter()
            .any(|rule| rule.exception && rule.program.may_match_below(directory))
    }

    fn compile(patterns: impl Iterator<Item = Vec<u8>>) -> Result<Self, PatternError> {
        let rules = patterns
            .map(|pattern| Rule::new(&pattern))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::index(rules))
    }

    /// Sorts rules by the last byte of what they match: most have one, and most paths end
    /// otherwise.
    fn index(rules: Vec<Rule>) -> Self {
        let last_bytes: Vec<_> = rules
            .iter()
            .map(|rule| rule.program.ending().last().copied())
            .collect();
        let list = |byte: Option<u8>| -> Vec<Candidate> {
            (0..rules.len())
                .filter(|rule| last_bytes[*rule].is_none_or(|last| Some(last) == byte))
                .map(|rule| Candidate::new(rule, &rules[rule].program))
                .collect()
        };
        let mut lists = vec![list(None)];
        let mut by_last_byte = vec![0; 256];
        for byte in 0..=u8::MAX {
            if last_bytes.contains(&Some(byte)) {
                by_last_byte[usize::from(byte)] = lists.len();
                lists.push(list(Some(byte)));
            }
        }
        Self {
            exceptions: rules.iter().any(|rule| rule.exception),
            rules,
            lists,
            by_last_byte,
        }
    }

    /// The rules that may match a path, ascending.
    fn candidates(&self, path: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
        let list = path
            .last()
            .and_then(|byte| self.by_last_byte.get(usize::from(*byte)))
            .and_then(|list| self.lists.get(*list));
        let list = list.map(Vec::as_slice).unwrap_or_default();
        let name = path.iter().rposition(|byte| *byte == b'/');
        let name_start = path.get(name.map_or(0, |slash| slash + 1)).copied();
        let path_start = path.first().copied();
        let (tail, _) = tail_of(path);
        let may_match = move |candidate: &&Candidate| {
            tail & candidate.tail_mask == candidate.tail
                && match candidate.start {
                    Start::Any => true,
                    Start::Path(byte) => path_start == Some(byte),
                    Start::Name(byte) => name_start == Some(byte),
                }
        };
        list.iter()
            .filter(may_match)
            .map(|candidate| candidate.rule)
    }
}

impl Candidate {
    fn new(rule: usize, program: &Program) -> Self {
        let (tail, tail_mask) = tail_of(program.ending());
        Self {
            rule,
            start: program.start(),
            tail,
            tail_mask,
        }
    }
}

/// The last four bytes as a number, the last one lowest, and a mask of those that are there.
fn tail_of(bytes: &[u8]) -> (u32, u32) {
    let last = bytes.iter().rev().take(4).enumerate();
    last.fold((0, 0), |(tail, mask), (at, byte)| {
        let shift = 8 * at;
        (tail | u32::from(*byte) << shift, mask | 0xFF << shift)
    })
}

impl Rule {
    fn new(pattern: &[u8]) -> Result<Self, PatternError> {
        let (exception, pattern) = match pattern.strip_prefix(b"!") {
            Some(b"") => return Err(PatternError::IllegalException),
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let program =
            Program::new(pattern, Stars::Double).ok_or_else(|| PatternError::syntax(pattern))?;
        Ok(Self {
            program,
            exception,
            is_all: matches!(pattern, b"*" | b"**" | b"**/*"),
        })
    }
}

/// One line as a cleaned pattern, `!` kept; `None` for a blank one.
fn file_pattern(line: &[u8]) -> Option<Vec<u8>> {
    let line = trim(line);
    if line.is_empty() {
        return None;
    }
    let (exception, pattern) = match line.strip_prefix(b"!") {
        Some(rest) => (true, trim(rest)),
        None => (false, line),
    };
    let mut result = if exception { vec![b'!'] } else { Vec::new() };
    if !pattern.is_empty() {
        result.extend_from_slice(&clean(pattern));
    }
    Some(result)
}

/// Go's `strings.TrimSpace`; of text that is no UTF-8, only ASCII blanks.
fn trim(line: &[u8]) -> &[u8] {
    std::str::from_utf8(line).map_or_else(|_| line.trim_ascii(), |text| text.trim().as_bytes())
}

/// Go's `filepath.Clean`, then one leading slash dropped. A relative `..` at the start stays, and
/// so matches nothing.
fn clean(pattern: &[u8]) -> Vec<u8> {
    let rooted = pattern.starts_with(b"/");
    let mut names: Vec<&[u8]> = Vec::new();
    for name in pattern.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if names.last().is_some_and(|last| *last != b"..") => drop(names.pop()),
            b".." if rooted => {}
            name => names.push(name),
        }
    }
    match names.is_empty() {
        true if rooted => b"/".to_vec(),
        true => b".".to_vec(),
        false => names.join(&b'/'),
    }
}
