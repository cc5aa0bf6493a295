//! Whether a command of another processor can run here.

use std::path::Path;

use crate::platform::Platform;

/// Whether commands of `wanted` run on `host`: natively, as a 32-bit sibling, or through an
/// emulator that the kernel knows (binfmt_misc).
pub(crate) fn can_run(host: &Platform, wanted: &Platform) -> bool {
    if wanted.os != host.os {
        return false;
    }
    let native = match (host.architecture.as_str(), wanted.architecture.as_str()) {
        (one, other) if one == other => true,
        ("amd64", "386") => true,
        _ => false,
    };
    native || is_registered(&wanted.architecture, Path::new("/proc/sys/fs/binfmt_misc"))
}

/// Whether an enabled qemu-user entry for a processor is registered.
fn is_registered(architecture: &str, registry: &Path) -> bool {
    let name = match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "i386",
        "mipsle" => "mipsel",
        "mips64le" => "mips64el",
        "loong64" => "loongarch64",
        other => other,
    };
    std::fs::read_to_string(registry.join(format!("qemu-{name}")))
        .is_ok_and(|entry| entry.lines().next() == Some("enabled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_counts_only_if_it_is_enabled() {
        let registry = tempfile::tempdir().unwrap();
        assert!(!is_registered("arm64", registry.path()));
        std::fs::write(
            registry.path().join("qemu-aarch64"),
            "enabled\ninterpreter x\n",
        )
        .unwrap();
        assert!(is_registered("arm64", registry.path()));
        std::fs::write(registry.path().join("qemu-aarch64"), "disabled\n").unwrap();
        assert!(!is_registered("arm64", registry.path()));
    }

    #[test]
    fn other_systems_never_run() {
        let host = Platform::new("linux", "amd64", None);
        assert!(can_run(&host, &host));
        assert!(can_run(&host, &Platform::new("linux", "386", None)));
        assert!(!can_run(&host, &Platform::new("windows", "amd64", None)));
    }
}
