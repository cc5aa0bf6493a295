//! Who a process is to itself and to others, where to the kernel all are one user: what set*id(2)
//! makes of that, as the kernel reckons (`kernel/sys.c`). Pure.

use rustix::io::Errno;

use crate::executor::sandbox::user::Identity;

/// "Leave it as it is" for setreuid(2), setresuid(2) and chown(2).
pub(super) const KEEP: u32 = u32::MAX;

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    /// Whose what it makes is.
    pub(super) files: u32,
}

/// How a call changes ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// setuid, setgid
    One(u32),
    /// setreuid, setregid: real, effective
    Two(u32, u32),
    /// setresuid, setresgid: real, effective, saved
    Three(u32, u32, u32),
    /// setfsuid, setfsgid
    Files(u32),
}

impl Ids {
    /// The same in every respect.
    pub(super) fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
            files: id,
        }
    }

    /// What a change makes of them. EPERM if only the privileged may make it, EINVAL if nobody may.
    pub(super) fn after(self, change: Change, is_privileged: bool) -> Result<Self, Errno> {
        let may = |id: u32, own: &[u32]| {
            if id == KEEP || is_privileged || own.contains(&id) {
                Ok(())
            } else {
                Err(Errno::PERM)
            }
        };
        let Self {
            real,
            effective,
            saved,
            files,
        } = self;
        let chosen = |new, old| if new == KEEP { old } else { new };
        match change {
            Change::One(KEEP) => Err(Errno::INVAL),
            Change::One(id) if is_privileged => Ok(Self::all(id)),
            Change::One(id) => {
                may(id, &[real, saved])?;
                Ok(Self {
                    effective: id,
                    files: id,
                    ..self
                })
            }
            Change::Two(new_real, new_effective) => {
                may(new_real, &[real, effective])?;
                may(new_effective, &[real, effective, saved])?;
                let keeps_saved = new_real == KEEP && [KEEP, real].contains(&new_effective);
                let new = chosen(new_effective, effective);
                Ok(Self {
                    real: chosen(new_real, real),
                    effective: new,
                    saved: if keeps_saved { saved } else { new },
                    files: new,
                })
            }
            Change::Three(new_real, new_effective, new_saved) => {
                for id in [new_real, new_effective, new_saved] {
                    may(id, &[real, effective, saved])?;
                }
                let new = chosen(new_effective, effective);
                Ok(Self {
                    real: chosen(new_real, real),
                    effective: new,
                    saved: chosen(new_saved, saved),
                    files: new,
                })
            }
            // It says what was, whether it was changed or not.
            Change::Files(id) => {
                let is_allowed = id != KEEP && may(id, &[real, effective, saved, files]).is_ok();
                let files = if is_allowed { id } else { files };
                Ok(Self { files, ..self })
            }
        }
    }

    /// What executing a program makes of them that has the set-id bit of such an owner, or none.
    fn after_execution(self, owner: Option<u32>) -> Self {
        let effective = owner.unwrap_or(self.effective);
        Self {
            real: self.real,
            effective,
            saved: effective,
            files: effective,
        }
    }
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) users: Ids,
    pub(super) groups: Ids,
    /// Supplementary groups.
    pub(super) others: Vec<u32>,
    /// Whether it keeps its capabilities when it becomes somebody else than root (`PR_SET_KEEPCAPS`).
    pub(super) keeps_capabilities: bool,
    /// Whether it kept them so.
    has_capabilities: bool,
}

impl Credentials {
    /// Who a command begins as.
    pub(super) fn of(identity: &Identity) -> Self {
        let mut others = identity.groups.clone();
        // As the kernel keeps them.
        others.sort_unstable();
        Self {
            users: Ids::all(identity.uid),
            groups: Ids::all(identity.gid),
            others,
            keeps_capabilities: false,
            has_capabilities: false,
        }
    }

    /// Root, without other groups.
    pub(super) fn root() -> Self {
        Self {
            users: Ids::all(0),
            groups: Ids::all(0),
            others: Vec::new(),
            keeps_capabilities: false,
            has_capabilities: false,
        }
    }

    /// Whether it may do what root may: capabilities(7) are all there, or none.
    pub(super) fn is_privileged(&self) -> bool {
        self.users.effective == 0 || self.has_capabilities
    }

    /// Changes users; gives the one to whom what it made belonged. Errors are those of [`Ids::after`].
    pub(super) fn change_user(&mut self, change: Change) -> Result<u32, Errno> {
        let before = self.users;
        self.users = before.after(change, self.is_privileged())?;
        let is_any_root = |ids: Ids| [ids.real, ids.effective, ids.saved].contains(&0);
        if is_any_root(before) && !is_any_root(self.users) {
            self.has_capabilities = self.keeps_capabilities;
        }
        Ok(before.files)
    }

    /// The same for groups.
    pub(super) fn change_group(&mut self, change: Change) -> Result<u32, Errno> {
        let before = self.groups;
        self.groups = before.after(change, self.is_privileged())?;
        Ok(before.files)
    }

    /// Whose what it makes is.
    pub(super) fn maker(&self) -> (u32, u32) {
        (self.users.files, self.groups.files)
    }

    /// Whether it may give a file of `old` to `new`: a user and a group, either may be [`KEEP`].
    pub(super) fn may_give(&self, old: (u32, u32), new: (u32, u32)) -> bool {
        let is_owner = old.0 == self.users.files;
        let keeps_user = new.0 == KEEP || new.0 == old.0;
        let is_member = new.1 == KEEP || new.1 == self.groups.files || self.others.contains(&new.1);
        self.is_privileged() || is_owner && keeps_user && (is_member || new.1 == old.1)
    }

    /// What executing a program makes of it whose file has such a mode and such an owner.
    pub(super) fn after_execution(&self, mode: u32, owner: (u32, u32)) -> Self {
        let user = (mode & libc::S_ISUID != 0).then_some(owner.0);
        // Without the right to execute it is no set-id bit.
        let is_group = mode & (libc::S_ISGID | libc::S_IXGRP) == libc::S_ISGID | libc::S_IXGRP;
        Self {
            users: self.users.after_execution(user),
            groups: self.groups.after_execution(is_group.then_some(owner.1)),
            others: self.others.clone(),
            keeps_capabilities: false,
            has_capabilities: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32, files: u32) -> Ids {
        Ids {
            real,
            effective,
            saved,
            files,
        }
    }

    #[test]
    fn root_becomes_whoever_it_likes() {
        let root = Ids::all(0);
        let table = [
            (Change::One(7), Ok(Ids::all(7))),
            (Change::One(KEEP), Err(Errno::INVAL)),
            (Change::Two(KEEP, 7), Ok(ids(0, 7, 7, 7))),
            (Change::Two(7, KEEP), Ok(ids(7, 0, 0, 0))),
            (Change::Two(7, 7), Ok(Ids::all(7))),
            (Change::Three(KEEP, 7, KEEP), Ok(ids(0, 7, 0, 7))),
            (Change::Three(7, 8, 9), Ok(ids(7, 8, 9, 8))),
            (Change::Files(7), Ok(ids(0, 0, 0, 7))),
        ];
        for (change, expected) in table {
            assert_eq!(root.after(change, true), expected, "{change:?}");
        }
    }

    #[test]
    fn others_only_go_back_and_forth() {
        let away = ids(1, 2, 3, 2);
        let table = [
            (Change::One(1), Ok(ids(1, 1, 3, 1))),
            (Change::One(3), Ok(ids(1, 3, 3, 3))),
            (Change::One(2), Err(Errno::PERM)),
            (Change::One(0), Err(Errno::PERM)),
            (Change::Two(2, 1), Ok(ids(2, 1, 1, 1))),
            (Change::Two(3, KEEP), Err(Errno::PERM)),
            (Change::Two(KEEP, 3), Ok(ids(1, 3, 3, 3))),
            // Back to the real one: what was saved stays.
            (Change::Two(KEEP, 1), Ok(ids(1, 1, 3, 1))),
            (Change::Three(3, 3, 1), Ok(ids(3, 3, 1, 3))),
            (Change::Three(KEEP, KEEP, 0), Err(Errno::PERM)),
            (Change::Files(0), Ok(away)),
            (Change::Files(3), Ok(ids(1, 2, 3, 3))),
        ];
        for (change, expected) in table {
            assert_eq!(away.after(change, false), expected, "{change:?}");
        }
        // Who left root for good does not come back; who left it for a while does.
        let left = Ids::all(0).after(Change::One(7), true).unwrap();
        assert_eq!(left.after(Change::One(0), false), Err(Errno::PERM));
        let gone = Ids::all(0).after(Change::Three(KEEP, 7, KEEP), true);
        let back = gone.unwrap().after(Change::Three(KEEP, 0, KEEP), false);
        assert_eq!(back, Ok(Ids::all(0)));
    }

    fn user(id: u32) -> Credentials {
        Credentials {
            users: Ids::all(id),
            groups: Ids::all(id),
            others: vec![id, 50],
            ..Credentials::root()
        }
    }

    #[test]
    fn capabilities_are_kept_if_asked_for_and_until_something_is_executed() {
        for keeps in [true, false] {
            let mut credentials = Credentials::root();
            credentials.keeps_capabilities = keeps;
            assert_eq!(credentials.change_user(Change::Three(7, 7, 7)), Ok(0));
            assert_eq!(credentials.is_privileged(), keeps);
            assert_eq!(credentials.change_group(Change::One(8)).is_ok(), keeps);
            let executed = credentials.after_execution(0o755, (0, 0));
            assert!(!executed.is_privileged() && !executed.keeps_capabilities);
        }
        // For a while is no matter of keeping.
        let mut credentials = Credentials::root();
        credentials.change_user(Change::Two(KEEP, 7)).unwrap();
        assert!(!credentials.is_privileged());
    }

    #[test]
    fn set_id_programs_make_somebody_else_of_a_process() {
        let ann = user(7);
        assert_eq!(ann.after_execution(0o755, (0, 0)), ann);
        let sudo = ann.after_execution(0o4755, (0, 0));
        assert_eq!(sudo.users, ids(7, 0, 0, 0));
        assert_eq!(sudo.groups, Ids::all(7));
        assert!(sudo.is_privileged());
        let mail = ann.after_execution(0o2755, (0, 8));
        assert_eq!((mail.users, mail.groups), (Ids::all(7), ids(7, 8, 8, 8)));
        // The group's bit without the right to execute means something else.
        assert_eq!(ann.after_execution(0o2745, (0, 8)), ann);
        // What was saved is the effective one again.
        let mut switched = user(0);
        switched.users = ids(0, 7, 0, 7);
        assert_eq!(switched.after_execution(0o755, (0, 0)).users.saved, 7);
    }

    #[test]
    fn files_are_given_by_their_owners_only() {
        let ann = user(7);
        let table = [
            ((7, 7), (7, 50), true),
            ((7, 7), (KEEP, KEEP), true),
            ((7, 9), (KEEP, 9), true),
            ((7, 7), (8, KEEP), false),
            ((7, 7), (KEEP, 8), false),
            ((0, 0), (7, 7), false),
            ((0, 0), (KEEP, 7), false),
        ];
        for (old, new, may) in table {
            assert_eq!(ann.may_give(old, new), may, "{old:?} to {new:?}");
            assert!(Credentials::root().may_give(old, new));
        }
    }
}
