//! The command's own process: from a copy of PID 1 to the first instruction of the image's program.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::{Gid, Uid};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Errno, SandboxError};
use super::message::{self, Report};
use super::rootfs::has_single_id;
use super::spec::{RootDriver, SandboxSpec};
use super::user::Identity;
use super::{limits, seccomp};
use crate::sys;

/// Docker's 14.
pub(super) const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// PATH for when the environment has none: Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The filter of a command in namespaces of its own. Needs CAP_SYS_ADMIN, which is dropped next;
/// the alternative, no_new_privs, would break sudo and su inside of builds.
pub(super) fn filter(spec: &SandboxSpec) -> Result<(), SandboxError> {
    if spec.insecure {
        return Ok(());
    }
    sys::seccomp::install(&seccomp::default_filter()).map_err(|error| SandboxError::Filter {
        source: error.into(),
    })
}

/// Takes everything away from this process that the command must not have. `confine` sets up what
/// needs privileges and confines, once no program can gain more: the system call filter, at least.
pub(super) fn prepare(
    spec: &SandboxSpec,
    identity: &Identity,
    control: &UnixStream,
    confine: &mut dyn FnMut() -> Result<(), SandboxError>,
) -> Result<(), SandboxError> {
    let prepare = |source| SandboxError::Prepare { source };

    // A session of its own has no terminal: nothing can be pushed into the user's (TIOCSTI).
    rustix::process::setsid().map_err(|errno| prepare(errno.into()))?;

    // Keys of the user's session stay out of reach. Where there are no keyrings, there are no keys.
    let _ = sys::process::new_session_keyring();

    for notice in limits::apply(&spec.limits.ulimits) {
        message::send(control, &Report::Notice(notice))?;
    }
    rustix::process::umask(Mode::from(0o022));

    // The host's /dev/null goes: `chown /dev/stdin` would change the host.
    own_standard_input().map_err(|error| prepare(error.into()))?;

    // As root, so that a directory that the user may not pass is no obstacle; Docker does so too.
    let entered = enter(&spec.cwd);

    if !spec.insecure {
        // No program started from here on can gain more, not even a setuid one.
        limit_bounding_set(CAPABILITIES).map_err(|source| SandboxError::Capabilities { source })?;
    }
    confine()?;
    // With one id the kernel knows root only; that the command is somebody else is noted.
    let is_noted = spec.driver == RootDriver::Overlay && has_single_id();
    if !is_noted {
        become_user(identity)?;
    }
    set_capabilities(spec, identity.uid).map_err(|source| SandboxError::Capabilities { source })?;

    if entered.is_err() {
        enter(&spec.cwd)?;
    }

    // Ours and those that the builder itself inherited from whoever started it.
    sys::process::close_on_exec_from(3).map_err(|error| prepare(error.into()))?;
    sys::process::reset_signals().map_err(|error| prepare(error.into()))
}

/// Standard input becomes the /dev/null of the sandbox.
fn own_standard_input() -> std::io::Result<()> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    sys::process::redirect(&null, 0)
}

fn enter(cwd: &str) -> Result<(), SandboxError> {
    let refused = |source| SandboxError::WorkingDirectory {
        path: cwd.to_owned(),
        source,
    };
    rustix::process::chdir(cwd).map_err(|errno| refused(errno.into()))?;
    // A directory outside of the root has no path inside (CVE-2024-21626).
    let path = rustix::process::getcwd(Vec::new()).map_err(|errno| refused(errno.into()))?;
    if path.as_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        Err(refused(Errno(libc::ENOENT)))
    }
}

fn limit_bounding_set(kept: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => (),
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            // Nobody took away what is not there.
            Err(rustix::io::Errno::PERM)
                if !rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(true) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<(), SandboxError> {
    let refused = |errno: nix::errno::Errno| SandboxError::BecomeUser {
        uid: identity.uid,
        gid: identity.gid,
        source: errno.into(),
    };
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).map_err(refused)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    nix::unistd::setresgid(gid, gid, gid).map_err(refused)?;
    nix::unistd::setresuid(uid, uid, uid).map_err(refused)
}

/// Root gets Docker's set, everybody else nothing; inheritable and ambient are always empty. (The
/// kernel has emptied permitted and effective of a user already.)
fn set_capabilities(spec: &SandboxSpec, uid: u32) -> Result<(), Errno> {
    rustix::thread::clear_ambient_capability_set()?;
    let present = rustix::thread::capabilities(None)?;
    let wanted = match (uid, spec.insecure) {
        (0, true) => present.permitted,
        (0, false) => CAPABILITIES & present.permitted,
        _ => CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: wanted,
            permitted: wanted,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

/// Looks the command up and executes it. Returns only if that failed.
pub(super) fn execute(spec: &SandboxSpec, identity: &Identity) -> Result<Infallible, SandboxError> {
    let program = spec
        .args
        .first()
        .filter(|name| !name.is_empty())
        .ok_or(SandboxError::NoCommand)?;
    let mut environment = spec.env.clone();
    let has = |name: &str| spec.env.iter().any(|(key, _)| key == name);
    if !has("PATH") {
        environment.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
    }
    if !has("HOME") {
        environment.push(("HOME".to_owned(), identity.home.clone()));
    }
    let path = environment
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or("", |(_, value)| value.as_str());
    let file = look_up(program, path)?;
    let args = c_strings(spec.args.iter().map(String::as_str), "the command")?;
    let lines: Vec<String> = environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let environment = c_strings(lines.iter().map(String::as_str), "the environment")?;
    let path = c_strings([file.as_str()], "the command")?;
    nix::unistd::execve(&path[0], &args, &environment).map_err(|errno| SandboxError::Exec {
        path: program.clone(),
        source: errno.into(),
    })
}

fn c_strings<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> Result<Vec<CString>, SandboxError> {
    texts
        .into_iter()
        .map(|text| {
            CString::new(text).map_err(|_| SandboxError::Nul {
                what: what.to_owned(),
            })
        })
        .collect()
}

/// A name without a slash is searched in PATH, as execvp(3) and Go's LookPath do; relative
/// directories in PATH are skipped.
fn look_up(program: &str, path: &str) -> Result<String, SandboxError> {
    if program.contains('/') {
        return Ok(program.to_owned());
    }
    for directory in path
        .split(':')
        .filter(|directory| directory.starts_with('/'))
    {
        let candidate = Path::new(directory).join(program);
        if is_executable(&candidate) {
            return Ok(OsStr::from_bytes(candidate.as_os_str().as_bytes())
                .to_string_lossy()
                .into_owned());
        }
    }
    Err(SandboxError::CommandNotFound {
        name: program.to_owned(),
    })
}

fn is_executable(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, FileType};
    let is_file = rustix::fs::stat(path)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
    is_file && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
