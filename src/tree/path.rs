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

    fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // A slash sorts below every other byte, so that `a`, `a/b`, `a.b` come in tree order.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
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
