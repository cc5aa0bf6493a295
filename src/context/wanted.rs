//! Which part of a context a build can touch ("follow paths").

use crate::pattern::{DeepGlob, Glob};

/// One thing that a build takes from a context.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Everything: `COPY .`, a bind mount of the root.
    All,
    /// A source of COPY or ADD, or of a mount: what matches, what is below it, and what it leads to
    /// if it is a link.
    Source(Glob),
    /// A source of `COPY --parents` with `**`.
    Parents {
        /// What stands before the pivot: links on its way are followed.
        way: Glob,
        /// The whole.
        glob: DeepGlob,
    },
}

/// How far a directory of the walk is wanted.
#[derive(Clone, Debug)]
pub(super) enum Reach<'a> {
    /// All that is in it.
    All,
    /// What these lead to.
    Some(Vec<Part<'a>>),
}

/// A pattern of which the components up to a directory have matched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// With the number of components that have matched.
    Glob(&'a Glob, usize),
    /// As a whole.
    Deep(&'a DeepGlob),
}

impl<'a> Reach<'a> {
    /// What is wanted of the root; `None` if nothing.
    pub(super) fn of_root(wanted: &'a [Wanted], followed: &'a [Glob]) -> Option<Self> {
        let mut parts = Vec::new();
        let globs = wanted.iter().filter_map(|wanted| match wanted {
            Wanted::Source(glob) => Some(glob),
            _ => None,
        });
        for glob in globs.chain(followed) {
            if glob.depth() == 0 {
                return Some(Self::All);
            }
            parts.push(Part::Glob(glob, 0));
        }
        for wanted in wanted {
            match wanted {
                Wanted::All => return Some(Self::All),
                Wanted::Parents { glob, .. } if glob.literal() == Some(b"") => {
                    return Some(Self::All);
                }
                Wanted::Parents { glob, .. } => parts.push(Part::Deep(glob)),
                Wanted::Source(_) => {}
            }
        }
        (!parts.is_empty()).then_some(Self::Some(parts))
    }

    /// What is wanted of a child: `None` if nothing, `Reach::Some` if at most something below it.
    pub(super) fn child(&self, path: &[u8], name: &[u8]) -> Option<Self> {
        let Self::Some(parts) = self else {
            return Some(Self::All);
        };
        let mut below = Vec::new();
        for part in parts {
            match *part {
                Part::Glob(glob, depth) => {
                    if !glob.component(depth).is_some_and(|part| part.matches(name)) {
                        continue;
                    }
                    if depth + 1 == glob.depth() {
                        return Some(Self::All);
                    }
                    below.push(Part::Glob(glob, depth + 1));
                }
                Part::Deep(glob) => {
                    if glob.matches(path) {
                        return Some(Self::All);
                    }
                    if glob.may_match_below(path) {
                        below.push(*part);
                    }
                }
            }
        }
        (!below.is_empty()).then_some(Self::Some(below))
    }

    /// The only names that can be wanted, sorted, if no wildcard asks for a listing.
    pub(super) fn names(&self) -> Option<Vec<&'a [u8]>> {
        let Self::Some(parts) = self else { return None };
        let name = |part: &Part<'a>| match *part {
            Part::Glob(glob, depth) => glob.component(depth)?.literal(),
            Part::Deep(_) => None,
        };
        let mut names = parts.iter().map(name).collect::<Option<Vec<_>>>()?;
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}
