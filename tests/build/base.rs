//! A Debian base image, made by mmdebstrap and served by docker-registry on loopback.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::image::tool;

/// A registry on a free port of loopback, stopped when dropped.
pub(crate) struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`
    pub host: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty registry.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let host = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: {host}}}\n",
                storage.display()
            ),
        )
        .unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed by scripts/test");
        let started = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "docker-registry does not answer"
            );
            std::thread::yield_now();
        }
        Self {
            child,
            host,
            _directory: directory,
        }
    }

    /// A registry that has `debian:bookworm`.
    pub(crate) fn with_debian() -> Self {
        let registry = Self::start();
        let target = format!("docker://{}/debian:bookworm", registry.host);
        let source = format!("oci:{}:bookworm", debian().display());
        tool(
            "skopeo",
            &["copy", "--dest-tls-verify=false", &source, &target],
        );
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An OCI layout with a minimal Debian, made once.
pub(crate) fn debian() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm");
        if !place.join("index.json").exists() {
            let draft = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            make_debian(draft.path());
            // Ordinary users build on it, too.
            tool(
                "chmod",
                &["-R", "a+rX", draft.path().join("layout").to_str().unwrap()],
            );
            drop(std::fs::remove_dir_all(&place));
            std::fs::rename(draft.path().join("layout"), &place).unwrap();
        }
        place
    })
}

/// mmdebstrap makes the root file system, umoci the image: nothing of ours.
fn make_debian(draft: &Path) {
    let rootfs = draft.join("rootfs");
    let layout = draft.join("layout");
    let image = format!("{}:bookworm", layout.display());
    tool(
        "mmdebstrap",
        &[
            "--variant=minbase",
            "--quiet",
            "bookworm",
            rootfs.to_str().unwrap(),
        ],
    );
    tool("umoci", &["init", "--layout", layout.to_str().unwrap()]);
    tool("umoci", &["new", "--image", &image]);
    tool(
        "umoci",
        &["insert", "--image", &image, rootfs.to_str().unwrap(), "/"],
    );
    tool(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "--config.cmd=bash",
            "--created=2024-01-01T00:00:00Z",
        ],
    );
    drop(std::fs::remove_dir_all(rootfs));
}

/// A static busybox of another processor, taken out of its package: nothing of it is run to make it.
pub(crate) fn busybox_for(architecture: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("busybox-{architecture}"));
    if !place.exists() {
        let draft = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = draft.path().join("root");
        let wanted = format!("--arch={architecture}");
        let words = ["--variant=extract", "--quiet", "--include=busybox-static"];
        let words = [&words[..], &[&wanted, "bookworm", root.to_str().unwrap()]].concat();
        tool("mmdebstrap", &words);
        std::fs::rename(root.join("bin/busybox"), &place).unwrap();
    }
    place
}

/// GETs an address of loopback: the body.
pub(crate) fn get(address: &str) -> std::io::Result<String> {
    use std::io::Write;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}
