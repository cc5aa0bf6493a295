//! From a failure to what the user can do: commands and file changes, word for word.

use super::super::error::SandboxError;
use super::enter::RungError;
use super::subid::SubidError;

/// Settings that forbid user namespaces, the value that allows them, and the file they are in.
const SETTINGS: [(&str, &str, &str); 3] = [
    (
        "kernel.apparmor_restrict_unprivileged_userns",
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
    match error {
        RungError::Subid(error) => for_subid(error),
        RungError::MapperMissing { .. } => vec![
            "install newuidmap and newgidmap: `sudo apt-get install uidmap` or `sudo dnf install shadow-utils`".to_owned(),
        ],
        RungError::Mapper { program, .. } => vec![
            format!("make sure that {program} is setuid root, and not in a container started with no-new-privileges: `sudo chmod u+s /usr/bin/{program}`"),
            "check that the ranges in /etc/subuid and /etc/subgid exist in an outer container's own map (/proc/self/uid_map)".to_owned(),
        ],
        RungError::WriteMap { .. } | RungError::Start(_) => Vec::new(),
        RungError::Namespace(_) => for_namespaces(|path| std::fs::read_to_string(path).ok()),
    }
}

fn for_subid(error: &SubidError) -> Vec<String> {
    match error {
        SubidError::Unreadable { .. } | SubidError::Absent { .. } | SubidError::TooFew { .. } => {
            let user = match error {
                SubidError::Absent { user, .. } | SubidError::TooFew { user, .. } => user,
                _ => "$(id -un)",
            };
            vec![format!(
                "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            )]
        }
        SubidError::Overlap { path, .. } => {
            vec![format!("make the ranges in {} disjoint", path.display())]
        }
    }
}

/// What to do when namespaces are refused; `read` gives the content of a file.
fn for_namespaces(read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut remedies: Vec<String> = Vec::new();
    for (name, wanted, path) in SETTINGS {
        let forbids = match (name, read(path)) {
            (_, None) => false,
            ("kernel.apparmor_restrict_unprivileged_userns", Some(text)) => text.trim() == "1",
            (_, Some(text)) => text.trim() == "0",
        };
        if forbids {
            remedies.push(format!("sudo sysctl -w {name}={wanted}"));
        }
    }
    if remedies.is_empty() {
        remedies.extend(in_container());
    }
    remedies
}

/// What to do when a container's own protection is in the way.
fn in_container() -> [String; 2] {
    [
        "in Docker or podman: start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`".to_owned(),
        "in Kubernetes: `hostUsers: false` with `securityContext: { seccompProfile: { type: Unconfined }, appArmorProfile: { type: Unconfined }, procMount: Unmasked }`".to_owned(),
    ]
}

/// What to do when a sandbox cannot be made by root (of whatever namespace).
pub(super) fn for_sandbox(error: &SandboxError) -> Vec<String> {
    match error {
        SandboxError::Unshare { .. }
        | SandboxError::MakePrivate { .. }
        | SandboxError::NewFileSystem { .. }
        | SandboxError::PivotRoot { .. } => in_container().to_vec(),
        SandboxError::Device { .. } => vec![
            "put the store on a volume that is not mounted `nodev`, and leave the container CAP_MKNOD".to_owned(),
        ],
        SandboxError::Filter { .. } => vec![
            "use a seccomp profile that allows seccomp(2), as Docker's default one does".to_owned(),
        ],
        SandboxError::Overlay { .. } => vec![
            "put the store on ext4, xfs, btrfs or tmpfs with --root DIR; overlayfs needs Linux 5.12".to_owned(),
            "in a container, put the store on a volume: an overlay cannot be stacked on an overlay's own upper".to_owned(),
        ],
        _ => Vec::new(),
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
            ["sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"]
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
    }
}
