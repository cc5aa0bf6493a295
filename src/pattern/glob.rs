//! Globs of COPY, ADD and `--parents`.

use super::PatternError;
use super::program::Program;
use super::syntax::Stars;

/// A source of COPY or ADD: Go's `filepath.Match` on each component.
///
/// A walk asks [`Glob::component`] at each depth and so enters only directories whose path may
/// begin a match.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    components: Vec<Component>,
}

/// One component of a [`Glob`].
#[derive(Clone, Debug)]
pub struct Component(Program);

impl Glob {
    /// Compiles a pattern. It is cleaned first: leading slashes, `.`, `..` at the root and empty
    /// components vanish; what remains of `/` or `.` is the root, with no component.
    ///
    /// # Errors
    /// [`PatternError::Syntax`] where `filepath.Match` says `ErrBadPattern`.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let components = cleaned(pattern.as_bytes())
            .into_iter()
            .map(|name| {
                Program::new(name, Stars::Single)
                    .map(Component)
                    .ok_or_else(|| PatternError::syntax(pattern.as_bytes()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: pattern.to_owned(),
            components,
        })
    }

    /// A glob that matches exactly one path, whatever characters it has.
    pub fn literal(path: &[u8]) -> Self {
        let escape = |name: &[u8]| {
            let mut escaped = Vec::with_capacity(name.len());
            for byte in name {
                if b"*?[\\".contains(byte) {
                    escaped.push(b'\\');
                }
                escaped.push(*byte);
            }
            escaped
        };
        Self {
            text: String::from_utf8_lossy(path).into_owned(),
            components: cleaned(path)
                .into_iter()
                .filter_map(|name| Program::new(&escape(name), Stars::Single))
                .map(Component)
                .collect(),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has a wildcard: then matching nothing is no error (dockerfile.md §2.3).
    pub fn has_wildcards(&self) -> bool {
        self.components.iter().any(|part| part.literal().is_none())
    }

    /// The number of components; a path that matches has as many.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// The component at a depth, 0 being the one directly below the root.
    pub fn component(&self, depth: usize) -> Option<&Component> {
        self.components.get(depth)
    }

    /// The same pattern below another directory: the components of `directory`, literally, then
    /// those of `self` from `depth` on.
    #[must_use]
    pub fn rebased(&self, directory: &[u8], depth: usize) -> Self {
        let mut rebased = Self::literal(directory);
        let rest = self.components.iter().skip(depth).cloned();
        rebased.components.extend(rest);
        rebased.text.clone_from(&self.text);
        rebased
    }

    /// Whether a cleaned path matches as a whole.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        let mut names = names(path.as_ref());
        self.components
            .iter()
            .all(|part| names.next().is_some_and(|name| part.matches(name)))
            && names.next().is_none()
    }
}

impl Component {
    /// Whether one component of a path matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.matches(name)
    }

    /// The only name that matches, if there is no wildcard.
    pub fn literal(&self) -> Option<&[u8]> {
        self.0.literal()
    }
}

/// A source of `COPY --parents`: `*`, `?` and `[…]` within a component, `**` across them, matched
/// by moby/patternmatcher's rules.
#[derive(Clone, Debug)]
pub struct DeepGlob {
    text: String,
    program: Program,
}

impl DeepGlob {
    /// Compiles a pattern, cleaned as [`Glob::new`] does.
    ///
    /// # Errors
    /// [`PatternError::Syntax`] where `filepath.Match` says `ErrBadPattern`.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let clean = cleaned(pattern.as_bytes()).join(&b'/');
        let program = Program::new(&clean, Stars::Double)
            .ok_or_else(|| PatternError::syntax(pattern.as_bytes()))?;
        Ok(Self {
            text: pattern.to_owned(),
            program,
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a cleaned path matches as a whole.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        self.program.matches(path.as_ref())
    }

    /// Whether some path below the directory may match; never wrongly says no.
    pub fn may_match_below(&self, directory: impl AsRef<[u8]>) -> bool {
        self.program.may_match_below(directory.as_ref())
    }

    /// The only path that matches, if there is no wildcard.
    pub fn literal(&self) -> Option<&[u8]> {
        self.program.literal()
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The components of a path as a process sees it whose root is the tree.
fn cleaned(path: &[u8]) -> Vec<&[u8]> {
    let mut clean = Vec::new();
    for name in names(path) {
        match name {
            b"." => {}
            b".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    clean
}
