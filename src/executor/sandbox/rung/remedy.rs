//! From a failure to what the user can do: commands and file changes, word for word.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::super::error::{Errno, SandboxError};
use super::super::network::DEVICE;
use super::enter::RungError;
use super::subid::SubidError;

/// Ubuntu's, since 23.10.
const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";

/// Allows user namespaces to this program alone.
const APPARMOR_PROFILE: &str = r#"printf 'abi <abi/4.0>,\nprofile builder %s flags=(unconfined) {\n  userns,\n}\n' "$(command -v builder)" | sudo tee /etc/apparmor.d/builder && sudo apparmor_parser -r /etc/apparmor.d/builder"#;

/// Where useradd begins to hand out ranges.
const FIRST_ID: u32 = 100_000;

/// Settings that forbid user namespaces, the value that allows them, and the file they are in.
const SETTINGS: [(&str, &str, &str); 3] = [
    (
        APPARMOR,
        "0",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    ),
    (
        "kernel.unprivileged_userns_clone",
        "1",
        "/proc/sys/kernel/unprivileged_userns_clone",
    ),
    (
        "user.max_user_namespaces",
        "15000",
        "/proc/sys/user/max_user_namespaces",
    ),
];

/// What to do when a user namespace cannot be entered.
pub(super) fn for_error(error: &RungError) -> Vec<String> {
    let general = anywhere(error);
    if !general.is_empty() {
        return general;
    }
    match error {
        RungError::Subid(error) => for_subid(error),
        RungError::MapperMissing { .. } => vec![
            "install newuidmap and newgidmap: `sudo apt-get install uidmap` or `sudo dnf install shadow-utils`".to_owned(),
        ],
        RungError::Mapper { program, .. } => vec![
            format!("make sure that {program} is setuid root, and not in a container started with no-new-privileges: `sudo chmod u+s /usr/bin/{program}`"),
            "check that the ranges in /etc/subuid and /etc/subgid exist in an outer container's own map (/proc/self/uid_map)".to_owned(),
        ],
        RungError::TooFewIds { .. } => vec![
            "on the machine, give the user who starts the container subordinate ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`".to_owned(),
        ],
        RungError::Start(_) => Vec::new(),
        RungError::WriteMap { .. } => for_capabilities(&FOR_MAPS),
        RungError::Namespace(_) => for_namespaces(|path| std::fs::read_to_string(path).ok()),
    }
}

/// The capabilities with which root hands its ids on; the kernel wants the last one for root's own.
const FOR_MAPS: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::SETUID, "SETUID"),
    (CapabilitySet::SETGID, "SETGID"),
    (CapabilitySet::SETFCAP, "SETFCAP"),
];

/// What to do where some of these are not there.
fn for_capabilities(wanted: &[(CapabilitySet, &'static str)]) -> Vec<String> {
    let own = rustix::thread::capabilities(None);
    let own = own.map_or(CapabilitySet::all(), |own| own.effective);
    give_capabilities(&missing(own, wanted))
}

/// The names of those that are not there.
fn missing(own: CapabilitySet, wanted: &[(CapabilitySet, &'static str)]) -> Vec<&'static str> {
    let absent = wanted.iter().filter(|(set, _)| !own.contains(*set));
    absent.map(|(_, name)| *name).collect()
}

/// How a container gets capabilities.
fn give_capabilities(names: &[&str]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let flags: Vec<String> = names
        .iter()
        .map(|name| format!("--cap-add {name}"))
        .collect();
    let (flags, list) = (flags.join(" "), names.join(", "));
    vec![format!(
        "in Docker or podman: start the container with `{flags}`; in Kubernetes: `securityContext: {{ capabilities: {{ add: [{list}] }} }}`"
    )]
}

fn for_subid(error: &SubidError) -> Vec<String> {
    match error {
        SubidError::Unreadable { .. } | SubidError::Absent { .. } | SubidError::TooFew { .. } => {
            let user = match error {
                SubidError::Absent { user, .. } | SubidError::TooFew { user, .. } => user,
                _ => "$(id -un)",
            };
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            let start = free_start(&[read("/etc/subuid"), read("/etc/subgid")]);
            vec![give_range(user, start)]
        }
        SubidError::Overlap { path, .. } => {
            vec![format!("make the ranges in {} disjoint", path.display())]
        }
    }
}

/// The first id, from 100000 on, above all ranges that somebody has.
fn free_start(texts: &[String]) -> u32 {
    let ends = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| {
            let mut numbers = line.trim().split(':').skip(1).map(str::parse::<u32>);
            let (start, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            start.checked_add(count)
        });
    ends.fold(FIRST_ID, u32::max)
}

/// The command that gives a user a range; one who is only a number is not known to usermod.
fn give_range(user: &str, start: u32) -> String {
    if user.parse::<u32>().is_ok() {
        return format!("echo {user}:{start}:65536 | sudo tee -a /etc/subuid /etc/subgid");
    }
    let last = start.saturating_add(65_535);
    format!("sudo usermod --add-subuids {start}-{last} --add-subgids {start}-{last} {user}")
}

/// What to do when namespaces are refused; `read` gives the content of a file.
fn for_namespaces(read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut remedies: Vec<String> = Vec::new();
    for (name, wanted, path) in SETTINGS {
        let forbids = match (name, read(path)) {
            (_, None) => false,
            (APPARMOR, Some(text)) => text.trim() == "1",
            (_, Some(text)) => text.trim() == "0",
        };
        if forbids {
            if name == APPARMOR {
                remedies.push(APPARMOR_PROFILE.to_owned());
            }
            remedies.push(format!("sudo sysctl -w {name}={wanted}"));
        }
    }
    if remedies.is_empty() {
        remedies.extend(in_container(""));
    }
    remedies
}

/// What to do when a container's own protection is in the way; `capability` is what must be added.
fn in_container(capability: &str) -> [String; 2] {
    let (docker, pod) = match capability {
        "" => (String::new(), String::new()),
        name => (
            format!("--cap-add {name} "),
            format!("capabilities: {{ add: [{name}] }}, "),
        ),
    };
    [
        format!(
            "in Docker or podman: start the container with `{docker}--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`"
        ),
        format!(
            "in Kubernetes: `hostUsers: false` in the pod's spec, and in the container's `securityContext: {{ {pod}seccompProfile: {{ type: Unconfined }}, appArmorProfile: {{ type: Unconfined }}, procMount: Unmasked }}`"
        ),
    ]
}

/// What to do about what can go wrong in any place.
fn anywhere(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let remedy = match number_of(error) {
        Some(libc::EMFILE | libc::ENFILE) => "allow more open files: `ulimit -n 1024`",
        Some(libc::EROFS) => {
            "put the store where it can be written, in a container on a volume, with --root DIR"
        }
        Some(libc::ENOSPC) => {
            "make room on the file system of the store, or put it elsewhere with --root DIR"
        }
        Some(libc::ENOENT) if !Path::new("/proc/self/exe").exists() => {
            "mount /proc: the builder starts itself again from there"
        }
        _ => return Vec::new(),
    };
    vec![remedy.to_owned()]
}

/// The number of the error at the end of a chain.
fn number_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let number = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref::<Errno>() {
        Some(errno) => Some(errno.0),
        None => error.downcast_ref::<std::io::Error>()?.raw_os_error(),
    };
    chain.filter_map(number).last()
}

/// The capabilities that commands need by chroot.
const FOR_CHROOT: [(CapabilitySet, &str); 6] = [
    (CapabilitySet::CHOWN, "CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "FOWNER"),
    (CapabilitySet::SETGID, "SETGID"),
    (CapabilitySet::SETUID, "SETUID"),
    (CapabilitySet::SYS_CHROOT, "SYS_CHROOT"),
];

/// What to do when a sandbox cannot be made by root (of whatever namespace).
pub(super) fn for_sandbox(error: &SandboxError) -> Vec<String> {
    let general = anywhere(error);
    if !general.is_empty() {
        return general;
    }
    match error {
        SandboxError::Unshare { .. }
        | SandboxError::MakePrivate { .. }
        | SandboxError::NewFileSystem { .. }
        | SandboxError::PivotRoot { .. } => in_container("SYS_ADMIN").to_vec(),
        SandboxError::Device { name, .. } => vec![format!(
            "give the container a /dev with {name}, as container runtimes do by default"
        )],
        SandboxError::Filter { .. } => vec![
            "use a seccomp profile that allows seccomp(2), as Docker's default one does".to_owned(),
        ],
        SandboxError::Overlay { .. } => vec![
            "in a container, put the store on a volume with --root DIR: an overlay cannot be stacked on the container's own".to_owned(),
            "put the store on ext4, xfs, btrfs or tmpfs with --root DIR; overlayfs needs Linux 5.12".to_owned(),
        ],
        _ => Vec::new(),
    }
}

/// What to do when a sandbox cannot be made in a user namespace: it takes no capability of a container,
/// but a profile may refuse what the namespace would allow.
pub(super) fn for_sandbox_of_user(error: &SandboxError) -> Vec<String> {
    let general = anywhere(error);
    match error {
        _ if !general.is_empty() => general,
        SandboxError::Unshare { .. }
        | SandboxError::MakePrivate { .. }
        | SandboxError::NewFileSystem { .. }
        | SandboxError::PivotRoot { .. } => {
            for_namespaces(|path| std::fs::read_to_string(path).ok())
        }
        _ => for_sandbox(error),
    }
}

/// What to do when root cannot even chroot: in most cases capabilities were taken from a container.
pub(super) fn for_chroot(error: &SandboxError) -> Vec<String> {
    match for_capabilities(&FOR_CHROOT).as_slice() {
        [] => for_sandbox(error),
        given => {
            let general = anywhere(error);
            let leave = "leave the container its default capabilities: no `--cap-drop`, in Kubernetes no `drop: [ALL]`";
            let all = general.into_iter().chain(given.iter().cloned());
            all.chain([leave.to_owned()]).collect()
        }
    }
}

/// What to do when a user has no namespaces: root may have what needs none.
pub(super) fn for_user(has_namespaces: bool) -> Vec<String> {
    let remedy =
        "run as root: in a container with its default capabilities RUN needs no namespaces then";
    Vec::from_iter((!has_namespaces).then(|| remedy.to_owned()))
}

/// What to do when a build cannot have a network of its own, for which reason it is told.
pub(super) fn for_link(reason: &str, device: Option<std::io::ErrorKind>) -> Vec<String> {
    let container = "in Docker or podman: start the container with `--device /dev/net/tun`";
    match device {
        Some(std::io::ErrorKind::NotFound) => {
            vec!["sudo modprobe tun".to_owned(), container.to_owned()]
        }
        Some(_) => vec![
            format!("sudo chmod 0666 {DEVICE}"),
            container.to_owned(),
        ],
        None if reason.contains("is not installed") => vec![
            "install slirp4netns or pasta: `sudo apt-get install slirp4netns` or `sudo dnf install slirp4netns`"
                .to_owned(),
        ],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named_with_the_value_that_allows() {
        let ubuntu = |path: &str| {
            Some(if path.ends_with("apparmor_restrict_unprivileged_userns") {
                "1\n".to_owned()
            } else {
                "15000\n".to_owned()
            })
        };
        assert_eq!(
            for_namespaces(ubuntu),
            [
                APPARMOR_PROFILE,
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            ]
        );
        let none_left = |path: &str| {
            path.ends_with("max_user_namespaces")
                .then(|| "0".to_owned())
        };
        assert_eq!(
            for_namespaces(none_left),
            ["sudo sysctl -w user.max_user_namespaces=15000"]
        );
        assert!(for_namespaces(|_| None)[0].contains("seccomp=unconfined"));
        assert!(!for_namespaces(|_| None)[0].contains("cap-add"));
    }

    #[test]
    fn what_is_wrong_anywhere_has_its_remedy() {
        let open = |number| SandboxError::Open {
            path: "/store".into(),
            source: Errno(number),
        };
        assert!(for_sandbox(&open(libc::EROFS))[0].contains("--root DIR"));
        assert!(for_sandbox(&open(libc::EMFILE))[0].contains("ulimit -n"));
        assert!(for_sandbox(&open(libc::EIO)).is_empty());
        let started = RungError::Start(std::io::Error::from_raw_os_error(libc::EMFILE));
        assert!(for_error(&started)[0].contains("ulimit -n"));
        let inside = RungError::Namespace(open(libc::EMFILE));
        assert!(for_error(&inside)[0].contains("ulimit -n"));
        let refused = SandboxError::MakePrivate {
            source: Errno(libc::EACCES),
        };
        assert!(for_sandbox(&refused)[0].contains("--cap-add SYS_ADMIN"));
        assert!(!for_sandbox_of_user(&refused).concat().contains("SYS_ADMIN"));
        let none = missing(CapabilitySet::SETUID, &FOR_MAPS);
        assert_eq!(none, ["SETGID", "SETFCAP"]);
        assert!(give_capabilities(&none)[0].contains("`--cap-add SETGID --cap-add SETFCAP`"));
        assert!(give_capabilities(&none)[0].contains("add: [SETGID, SETFCAP]"));
        assert!(give_capabilities(&[]).is_empty());
    }

    #[test]
    fn a_range_that_is_proposed_is_nobodys() {
        let free = |texts: &[&str]| {
            free_start(
                &texts
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(free(&["", ""]), 100_000);
        assert_eq!(free(&["a:100000:65536\n", "a:1000:10\n"]), 165_536);
        assert_eq!(
            free(&["a:100000:65536\n", "b:300000:65536\n# x\n"]),
            365_536
        );
        assert_eq!(free(&["a:4294967295:65536\n"]), 100_000);
        assert_eq!(
            give_range("ann", 165_536),
            "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann"
        );
        assert_eq!(
            give_range("1234", 100_000),
            "echo 1234:100000:65536 | sudo tee -a /etc/subuid /etc/subgid"
        );
    }
}
