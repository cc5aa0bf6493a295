//! Access control lists (`struct posix_acl_xattr_header` of `linux/posix_acl_xattr.h`): where there is one
//! id, the kernel takes lists with this id alone. All users are one to it, so it does not matter whom a
//! list names; what it makes of modes does.

/// The attributes.
const NAMES: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

const HEADER: usize = 4;
/// A tag and rights, 16 bits each, and an id.
const ENTRY: usize = 8;

/// `ACL_USER` and `ACL_GROUP`: entries that name somebody.
const NAMED: [u8; 2] = [2, 8];

/// The value of an attribute as the kernel takes it: a list names root only. Others stay as they are.
pub(super) fn of_one_id(name: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    if !NAMES.contains(&name) {
        return value;
    }
    let entries = value.get_mut(HEADER..).unwrap_or_default();
    for entry in entries.chunks_exact_mut(ENTRY) {
        if NAMED.contains(&entry[0]) {
            entry[4..].fill(0);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_nobody_but_root() {
        let list = |user: u8, group: u8| {
            let entry = |tag: u8, id: [u8; 4]| [&[tag, 0, 7, 0][..], &id].concat();
            let nobody = [0xff; 4];
            let named = |id: u8| [id, 0, 0, id];
            let entries = [
                entry(1, nobody),
                entry(2, named(user)),
                entry(4, nobody),
                entry(8, named(group)),
                entry(16, nobody),
            ];
            [&[2, 0, 0, 0][..], &entries.concat()].concat()
        };
        for name in NAMES {
            assert_eq!(of_one_id(name, list(7, 8)), list(0, 0));
            // What is no list is the kernel's to refuse.
            assert_eq!(of_one_id(name, vec![2, 0]), [2, 0]);
            assert_eq!(of_one_id(name, vec![2, 0, 0, 0, 2, 0]), [2, 0, 0, 0, 2, 0]);
        }
        assert_eq!(of_one_id(b"user.a", list(7, 8)), list(7, 8));
    }
}
