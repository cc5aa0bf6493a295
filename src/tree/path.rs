//! A path inside a tree.

use std::fmt;

/// A cleaned path relative to the root of a tree: no leading slash, no empty, `.` or `..`
/// component, no NUL. The root itself is the empty path. Ordered by bytes of the components, so
/// that a directory comes directly before what is in it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans a path the way a process whose root is the tree sees it: `.` and empty components
    /// vanish, `..` goes up and stops at the root. Purely lexical. Bytes after a NUL are dropped.
    pub fn clean(path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut clean = Self::root();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => clean = clean.parent().unwrap_or_default(),
                name => clean.push(name),
            }
        }
        clean
    }

    /// The bytes, without leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default()
    }

    /// This path and one more component below it. `name` must be one component.
    #[must_use]
    pub fn join_name(&self, name: &[u8]) -> Self {
        let mut path = self.clone();
        path.push(name);
        path
    }

    /// This path and a cleaned one below it.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        if below.is_root() {
            return self.clone();
        }
        self.join_name(&below.0)
    }

    /// Whether a component has a name that means a deletion in a layer (`.wh.`).
    pub fn has_reserved_name(&self) -> bool {
        self.components().any(|name| name.starts_with(b".wh."))
    }

    /// What remains of this path below `ancestor`; `None` if it is not there. A path is below
    /// itself.
    pub fn below(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(ancestor.0.as_slice())? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// The components' borders from the top down: `a`, `a/b`, `a/b/c` for `a/b/c`.
    pub fn ancestors_and_self(&self) -> impl Iterator<Item = Self> {
        let ends = self.0.iter().enumerate();
        ends.filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end)
            .chain((!self.0.is_empty()).then_some(self.0.len()))
            .map(|end| Self(self.0[..end].to_vec()))
    }

    /// Whether `ancestor` is this path or one of its parents.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(ancestor.0.as_slice())
                .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// Wraps bytes that are already clean; `None` if they are not. The first `known` bytes are the
    /// start of a clean path and need no look.
    pub(super) fn from_clean(bytes: Vec<u8>, known: usize) -> Option<Self> {
        let border = bytes[..known].iter().rposition(|byte| *byte == b'/');
        let rest = &bytes[border.map_or(0, |border| border + 1)..];
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
        let clean = bytes.is_empty() || rest.split(|byte| *byte == b'/').all(is_name);
        (clean && !rest.contains(&0)).then_some(Self(bytes))
    }

    pub(super) fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        tree_order(&self.0, &other.0)
    }
}

/// Compares the bytes of two clean paths in tree order: a slash sorts below every other byte, so
/// that `a`, `a/b`, `a.b` come in this order.
pub(super) fn tree_order(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let shared = shared_prefix(one, other);
    let key = |bytes: &[u8]| match bytes.get(shared) {
        None => 0_u16,
        Some(b'/') => 1,
        Some(byte) => u16::from(*byte) + 2,
    };
    key(one).cmp(&key(other))
}

/// How many bytes two paths share from the start.
pub(super) fn shared_prefix(one: &[u8], other: &[u8]) -> usize {
    const WIDTH: usize = 16;
    let mut at = 0;
    for (left, right) in one.chunks_exact(WIDTH).zip(other.chunks_exact(WIDTH)) {
        if left != right {
            break;
        }
        at += WIDTH;
    }
    let rest = one[at..].iter().zip(&other[at..]);
    at + rest.take_while(|(left, right)| left == right).count()
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_never_leaves_the_root() {
        for (text, clean) in [
            ("", "/"),
            ("/", "/"),
            ("../../x", "/x"),
            ("a/./b//c/..", "/a/b"),
            ("/a/../../b/", "/b"),
        ] {
            assert_eq!(TreePath::clean(text).to_string(), clean, "{text}");
        }
    }

    #[test]
    fn order_is_that_of_a_walk() {
        let mut paths = ["a.b", "a/b", "a", "a/b/c", "", "a-"].map(TreePath::clean);
        paths.sort();
        assert_eq!(
            paths.map(|path| path.to_string()),
            ["/", "/a", "/a/b", "/a/b/c", "/a-", "/a.b"]
        );
    }

    #[test]
    fn below_respects_component_borders() {
        let base = TreePath::clean("a/b");
        assert_eq!(
            TreePath::clean("a/b/c").below(&base),
            Some(TreePath::clean("c"))
        );
        assert_eq!(TreePath::clean("a/b").below(&base), Some(TreePath::root()));
        assert_eq!(TreePath::clean("a/bc").below(&base), None);
    }
}
