//! Owners and device nodes that the kernel refuses are noted (see [`crate::tree::OWNER_NOTE`]), and
//! told to those who ask.
//!
//! With a single id, `chown` succeeds and the owner is noted in an attribute of the file, from which
//! the layer takes it; `stat` tells it. In every user namespace, a device node becomes an empty file
//! with a note of what it stands for. A note goes wherever its file goes: through renames, other
//! names, and overlay's copies, into the directory that is the layer.
//!
//! PID 1 answers. Mostly there is nothing to tell, so that is found out first, and by one call.

mod acl;
mod attribute;
mod birth;
mod caller;
mod credentials;
mod deed;
mod device;
mod guise;
mod owned;
mod owner;
mod people;
mod permission;
mod place;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;

use super::host_name;
use super::memory;
use super::protect::ProcView;
use super::seccomp::{Asked, Attributes, Deed, Making, Owning};
use super::spec::{SandboxMount, SandboxSpec};
use super::user::Identity;
use crate::sys::status;
use crate::sys::supervise::{self, Answer, Call, descriptor, low};
use crate::tree::{LAYER_NOTES, LayerNotes};
pub(super) use birth::Births;
use caller::Processes;
use credentials::Credentials;
use people::People;
use place::Place;

/// What is noted in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noting {
    /// Nothing: the kernel does as it is told.
    Nothing,
    /// Device nodes.
    Devices,
    /// The same, where layers below have such notes: they are told, too.
    ToldDevices,
    /// Device nodes and owners.
    Owners,
}

impl Noting {
    /// What is noted where this process is, on top of layers with some notes.
    pub(super) fn here(below: LayerNotes) -> Self {
        if super::rootfs::has_single_id() {
            Self::Owners
        } else if super::rootfs::in_user_namespace() && below.devices {
            Self::ToldDevices
        } else if super::rootfs::in_user_namespace() {
            Self::Devices
        } else {
            Self::Nothing
        }
    }
}

/// The notes that files may have which a command finds.
pub(super) fn below(spec: &SandboxSpec) -> LayerNotes {
    let mounted = spec.mounts.iter().map(|mount| match mount {
        SandboxMount::Overlay { lowers, .. } => of_layers(lowers),
        // A cache: commands before this one gave files away in it.
        SandboxMount::Bind(_) => LayerNotes {
            owners: true,
            devices: false,
        },
        SandboxMount::Secret { uid, gid, .. } => LayerNotes {
            owners: (*uid, *gid) != (0, 0),
            devices: false,
        },
        SandboxMount::Tmpfs { .. } => LayerNotes::default(),
    });
    mounted.fold(of_layers(&spec.lowers), LayerNotes::or)
}

/// The notes that files in directories of layers have.
fn of_layers(directories: &[PathBuf]) -> LayerNotes {
    let notes = directories.iter().map(|directory| {
        let mut mark = [0; 8];
        let length = rustix::fs::getxattr(directory, LAYER_NOTES, &mut mark[..]);
        LayerNotes::of_mark(length.ok().and_then(|length| mark.get(..length)))
    });
    notes.fold(LayerNotes::default(), LayerNotes::or)
}

/// Who answers the calls of one command.
#[derive(Debug)]
pub(super) struct Notes {
    listener: OwnedFd,
    noting: Noting,
    /// What calls are about where owners are noted, by their numbers, sorted.
    deeds: Vec<(u32, Deed)>,
    /// Who is who; with a single id the kernel takes everybody for root.
    people: People,
    births: Births,
    /// The mounts whose files have notes of all their owners.
    noted_mounts: Vec<u64>,
    processes: Processes,
    /// Whether there may be any note that a file could be asked for.
    are_any: Cell<bool>,
    /// What the host is called, for those who ask here.
    host_name: String,
}

impl Notes {
    /// Answers calls that come from `listener`. `view`: whose processes /proc shows. What is in `births`
    /// when the command has ended is to be settled then.
    pub(super) fn new(
        listener: OwnedFd,
        identity: &Identity,
        view: ProcView,
        below: LayerNotes,
        births: Births,
    ) -> Self {
        let noting = Noting::here(below);
        let (deeds, first) = match noting {
            Noting::Owners => (Deed::all(), Credentials::of(identity)),
            // The kernel knows who is who, and asks nobody.
            _ => (Vec::new(), Credentials::root()),
        };
        Self {
            listener,
            noting,
            deeds,
            people: People::new(first),
            births,
            noted_mounts: permission::noted_mounts(&[]),
            // In the cheapest case nobody is asked about a change of root.
            processes: Processes::new(view, noting == Noting::Devices),
            are_any: Cell::new(below != LayerNotes::default()),
            host_name: String::new(),
        }
    }

    /// The same for a command that has these mounts.
    pub(super) fn with(self, mounts: &[SandboxMount]) -> Self {
        Self {
            noted_mounts: permission::noted_mounts(mounts),
            ..self
        }
    }

    /// The same with a name of the host to tell.
    pub(super) fn named(self, host_name: String) -> Self {
        Self { host_name, ..self }
    }

    /// Answers calls as long as anybody is left to make some.
    pub(super) fn answer_all(&self) {
        while let Ok(Some(call)) = supervise::next(&self.listener) {
            self.serve(&call);
        }
    }

    fn serve(&self, call: &Call) {
        if self.births.settle(call.thread) {
            self.are_any.set(true);
        }
        let answer = match self.reply(call) {
            Ok(answer) => answer,
            Err(errno) => Answer::Errno(errno.raw_os_error()),
        };
        // A caller that was killed meanwhile needs no answer.
        let _ = supervise::answer(&self.listener, call, answer);
    }

    fn reply(&self, call: &Call) -> Result<Answer, Errno> {
        let (owning, making) = (Owning::HERE, Making::HERE);
        let number = u32::try_from(call.number).map_err(|_| Errno::NOSYS)?;
        if let Some((act, target)) = Attributes::of(call.abi).and_then(|calls| calls.find(number)) {
            return self.attribute(call, act, target);
        }
        if number == Asked::HERE.uname {
            return host_name::tell(call, &self.host_name);
        }
        if let Ok(position) = self
            .deeds
            .binary_search_by_key(&number, |(number, _)| *number)
        {
            return self.do_deed(call, self.deeds[position].1);
        }
        if number == making.mknod || number == making.mknodat {
            return self.make_device(call);
        }
        let changes = [owning.chown, owning.fchown, owning.lchown, owning.fchownat];
        if changes.contains(&number) {
            return self.change_owner(call, number);
        }
        if number == owning.chroot {
            if !self.people.of(call.thread).is_privileged() {
                return Err(Errno::PERM);
            }
            self.processes.expect_other_roots();
            return Ok(Answer::Continue);
        }
        if !self.are_any.get() && self.people.are_all_root() {
            return Ok(Answer::Continue);
        }
        // Whatever goes wrong here goes wrong in the call itself, with the right error.
        Ok(self.tell(call, number).unwrap_or(Answer::Continue))
    }

    /// Tells the state of a file of which something is noted; `None` if it is what the kernel says.
    fn tell(&self, call: &Call, number: u32) -> Option<Answer> {
        let owning = Owning::HERE;
        let [first, second, third, fourth, fifth, _] = call.args;
        let (place, buffer, mask) = if number == owning.fstat {
            (self.processes.number(call, descriptor(first)), second, None)
        } else if number == owning.stat || number == owning.lstat {
            let follow = number == owning.stat;
            let place = self.processes.named(call, libc::AT_FDCWD, first, follow);
            (place, second, None)
        } else if number == owning.newfstatat {
            (self.processes.at(call, first, second, fourth), third, None)
        } else {
            let place = self.processes.at(call, first, second, third);
            (place, fifth, Some(low(fourth)))
        };
        let place = place.ok()?;
        let (file, told) = if let Some(process) = self.processes.described_by(&place) {
            (place.open().ok()?, self.told_of_process(process))
        } else {
            let file = Some(place).filter(Place::may_have_notes)?.open().ok()?;
            let told = self.told(&file)?;
            (file, told)
        };
        let bytes = match mask {
            None => status::stat(&file, told),
            Some(mask) => status::statx(&file, mask, told),
        };
        let bytes = bytes.ok()?;
        if !supervise::is_waiting(&self.listener, call) {
            return None;
        }
        memory::write(call, buffer, &bytes)?;
        Some(Answer::Value(0))
    }

    /// Whose the directory of a process in /proc is: `ps` and `start-stop-daemon` ask.
    fn told_of_process(&self, process: u32) -> status::Told {
        let Credentials { users, groups, .. } = self.people.of(process);
        let owner = (users.effective, groups.effective);
        let device = None;
        status::Told { owner, device }
    }

    /// Goes on only if the caller still waits: else what was read of it is not its.
    fn still_waiting(&self, call: &Call) -> Result<(), Errno> {
        if supervise::is_waiting(&self.listener, call) {
            Ok(())
        } else {
            Err(Errno::INTR)
        }
    }

    /// What is noted of a file; `None` if nothing is.
    fn told(&self, file: &OwnedFd) -> Option<status::Told> {
        let owner = if self.noting == Noting::Owners {
            owner::noted(file)?
        } else {
            device::noted(file)?;
            let state = rustix::fs::fstat(file).ok()?;
            (state.st_uid, state.st_gid)
        };
        let device = device::noted(file).map(|device| {
            let kind = if device.is_block {
                libc::S_IFBLK
            } else {
                libc::S_IFCHR
            };
            (kind, device.major, device.minor)
        });
        Some(status::Told { owner, device })
    }
}
