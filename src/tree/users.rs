//! Owners by name, as `--chown` and WORKDIR resolve them (BuildKit, `file/user_linux.go`).

use super::{Kept, OwnerError, TreePath, View};

/// Numbers of an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Resolves `user[:group]` against a file system's own `/etc/passwd` and `/etc/group`.
///
/// `root` and numbers mean themselves; a user's number alone is its group's too; a user's name
/// brings its primary group. An unknown name is 0, as in BuildKit, and a name on scratch is an
/// error.
pub fn resolve_owner(view: &View, owner: &str) -> Result<Owner, OwnerError> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (owner, None),
    };
    let mut resolved = match number(user) {
        Some(id) => Owner { uid: id, gid: id },
        None if user.is_empty() => Owner::default(),
        None => user_by_name(view, user)?,
    };
    if let Some(group) = group {
        resolved.gid = match number(group) {
            Some(id) => id,
            None => group_by_name(view, group)?,
        };
    }
    Ok(resolved)
}

fn number(text: &str) -> Option<u32> {
    if text == "root" {
        return Some(0);
    }
    // Ids are 31 bits in BuildKit; anything else is a name.
    let id = text.parse::<i32>().ok()?;
    u32::try_from(id).ok()
}

fn user_by_name(view: &View, name: &str) -> Result<Owner, OwnerError> {
    let line = find_line(view, "etc/passwd", name)?;
    let field = |index: usize| line.get(index).and_then(|id| id.trim().parse().ok());
    Ok(Owner {
        uid: field(2).unwrap_or(0),
        gid: field(3).unwrap_or(0),
    })
}

fn group_by_name(view: &View, name: &str) -> Result<u32, OwnerError> {
    let line = find_line(view, "etc/group", name)?;
    Ok(line
        .get(2)
        .and_then(|id| id.trim().parse().ok())
        .unwrap_or(0))
}

/// The fields of the first line whose first field is `name`; none if there is no such line.
fn find_line(view: &View, path: &str, name: &str) -> Result<Vec<String>, OwnerError> {
    if view.is_empty() {
        return Err(OwnerError::NoUsers);
    }
    let path = TreePath::clean(path);
    let content = match view.file_content(&path) {
        Kept::Content(content) => content,
        Kept::Missing => return Ok(Vec::new()),
        Kept::NotKept => return Err(OwnerError::Unreadable { path }),
    };
    let lines = content.split(|byte| *byte == b'\n');
    let fields = lines.map(|line| line.trim_ascii().split(|byte| *byte == b':'));
    let found = fields
        .into_iter()
        .find(|fields| fields.clone().next() == Some(name.as_bytes()));
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    Ok(found.map_or_else(Vec::new, |fields| fields.map(text).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::{Entry, Kind, Tree};
    use super::*;
    use crate::digest::ContentDigest;

    fn view(passwd: &str, group: &str) -> View {
        let file = |path: &str, text: &str| Entry {
            kind: Kind::File {
                size: text.len() as u64,
                content: ContentDigest::of(text.as_bytes()),
            },
            ..Entry::directory(TreePath::clean(path), 0)
        };
        let kept = [("etc/passwd", passwd), ("etc/group", group)];
        let entries = kept.iter().map(|(path, text)| file(path, text)).collect();
        let kept = kept
            .iter()
            .map(|(path, text)| (TreePath::clean(path), text.as_bytes().to_vec()));
        View::merge(&[Arc::new(Tree::new(
            entries,
            kept.collect::<BTreeMap<_, _>>(),
        ))])
    }

    #[test]
    fn owners_resolve_as_in_buildkit() {
        let view = view(
            "root:x:0:0::/:\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n",
            "root:x:0:\nstaff:x:50:bob\n",
        );
        for (text, uid, gid) in [
            ("1", 1, 1),
            ("1:2", 1, 2),
            ("bob", 1000, 1001),
            ("bob:", 1000, 1001),
            ("bob:staff", 1000, 50),
            ("bob:7", 1000, 7),
            ("nobody-knows", 0, 0),
            ("5:nobody-knows", 5, 0),
            ("root", 0, 0),
            (":staff", 0, 50),
            ("-1", 0, 0),
        ] {
            assert_eq!(resolve_owner(&view, text), Ok(Owner { uid, gid }), "{text}");
        }
    }

    #[test]
    fn a_name_needs_users() {
        let scratch = View::new();
        assert_eq!(resolve_owner(&scratch, "bob"), Err(OwnerError::NoUsers));
        assert_eq!(resolve_owner(&scratch, "5:6"), Ok(Owner { uid: 5, gid: 6 }));
        let empty = View::merge(&[Arc::new(Tree::default())]);
        assert_eq!(resolve_owner(&empty, "bob"), Ok(Owner::default()));
    }
}
