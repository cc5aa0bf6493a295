//! An image to build on without any registry: the machine's static busybox as an OCI layout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::skip;

/// A directory with an OCI layout whose only image is busybox with all its applets; made once.
/// `None`, with a printed reason, if the machine has no static busybox.
pub(super) fn layout() -> Option<PathBuf> {
    static LAYOUT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let layout = LAYOUT.get_or_init(|| {
        let program = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .map(Path::new);
        program.into_iter().find(|path| is_static(path)).map(make)
    });
    if layout.is_none() {
        skip("no static busybox (package busybox-static)");
    }
    layout.clone()
}

/// Whether a program needs no interpreter: no PT_INTERP names ld.so in its head.
fn is_static(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    let head = &bytes[..bytes.len().min(4096)];
    head.starts_with(b"\x7fELF")
        && !head
            .windows(6)
            .any(|window| window == b"ld-lin" || window == b"ld-mus")
}

fn make(busybox: &Path) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let draft = tempfile::Builder::new()
        .prefix("busybox-")
        .tempdir_in(parent)
        .unwrap();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"] },
        "history": [{ "created_by": "busybox" }],
    });
    let digest = write_layout(draft.path(), &layer(busybox), config);
    publish(draft, &parent.join(format!("busybox-{}", &digest[7..19])))
}

/// Writes an OCI layout whose only image has one layer, a plain tar; the digest of its manifest.
pub(super) fn write_layout(directory: &Path, layer: &[u8], mut config: Value) -> String {
    let layer_digest = blob(directory, layer);
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer_digest] });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &blob(directory, &config), config.len()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer_digest, layer.len())],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let digest = blob(directory, &manifest);
    let mut entry = descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        &digest,
        manifest.len(),
    );
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    digest
}

/// Moves the draft to its place; other test programs may have made the same one.
fn publish(draft: tempfile::TempDir, place: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if fs::rename(draft.path(), place).is_ok() {
        // It is not temporary any more.
        let _ = draft.keep();
    }
    place.to_owned()
}

fn blob(layout: &Path, bytes: &[u8]) -> String {
    let hex = builder::digest::Digest::of(bytes).hex();
    let directory = layout.join("blobs/sha256");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(&hex), bytes).unwrap();
    format!("sha256:{hex}")
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// The layer: busybox, a link for each applet, and the directories and users of a small system.
fn layer(busybox: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
    ] {
        append(&mut tar, (tar::EntryType::Directory, path, mode), "", &[]);
    }
    let program = fs::read(busybox).unwrap();
    append(
        &mut tar,
        (tar::EntryType::Regular, "bin/busybox", 0o755),
        "",
        &program,
    );
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n";
    append(
        &mut tar,
        (tar::EntryType::Regular, "etc/passwd", 0o644),
        "",
        passwd,
    );
    let group = b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n";
    append(
        &mut tar,
        (tar::EntryType::Regular, "etc/group", 0o644),
        "",
        group,
    );
    let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets)
        .unwrap()
        .lines()
        .filter(|name| *name != "busybox")
    {
        let path = format!("bin/{applet}");
        append(
            &mut tar,
            (tar::EntryType::Symlink, &path, 0o777),
            "busybox",
            &[],
        );
    }
    tar.into_inner().unwrap()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    (kind, path, mode): (tar::EntryType, &str, u32),
    target: &str,
    content: &[u8],
) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_path(path).unwrap();
    if !target.is_empty() {
        header.set_link_name(target).unwrap();
    }
    header.set_size(u64::try_from(content.len()).unwrap());
    for id in [
        tar::Header::set_uid,
        tar::Header::set_gid,
        tar::Header::set_mtime,
    ] {
        id(&mut header, 0);
    }
    header.set_cksum();
    tar.append(&header, content).unwrap();
}
