//! Debian's `docker-registry` on a free loopback port, with its own storage, ended on drop.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use builder::clock::Stopwatch;
use builder::digest::Digest;
use builder::reference::Reference;

/// `user:secret`, bcrypt with the lowest cost.
const HTPASSWD: &str = "user:$2b$04$ju.8zgANHtNUPmmx0V6Gt.0mUhdD6KzyvMmR4.s7/hXDHEhEn4hwC\n";

#[derive(Clone, Copy, Default)]
pub(crate) struct DebianOptions {
    /// Basic authorization for `user` with `secret`.
    pub(crate) password: bool,
    /// TLS with a certificate of an own authority, in [`Debian::authority`].
    pub(crate) tls: bool,
}

pub(crate) struct Debian {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Debian {
    pub(crate) fn start() -> Self {
        Self::start_with(DebianOptions::default())
    }

    pub(crate) fn start_with(options: DebianOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
             delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
            at("data")
        );
        if options.tls {
            make_certificates(directory.path());
            let (certificate, key) = (at("server.crt"), at("server.key"));
            write!(
                config,
                "  tls:\n    certificate: {certificate}\n    key: {key}\n"
            )
            .unwrap();
        }
        if options.password {
            std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
            let path = at("htpasswd");
            write!(
                config,
                "auth:\n  htpasswd:\n    realm: basic\n    path: {path}\n"
            )
            .unwrap();
        }
        std::fs::write(at("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("docker-registry is needed by these tests: apt-get install docker-registry ({error})")
            });
        let debian = Self {
            child,
            port,
            directory,
        };
        debian.wait();
        debian
    }

    fn wait(&self) {
        let clock = Stopwatch::start();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                clock.elapsed() < Duration::from_secs(30),
                "docker-registry does not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn name(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host()).parse().unwrap()
    }

    /// The certificate of the authority, if TLS is on.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// The file where a blob's bytes are kept.
    pub(crate) fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.directory.path().join(format!(
            "data/docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        ))
    }

    /// The link that makes a blob part of a repository.
    pub(crate) fn blob_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.directory.path().join(format!(
            "data/docker/registry/v2/repositories/{repository}/_layers/sha256/{}/link",
            digest.hex()
        ))
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_certificates(directory: &Path) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
         -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE
         openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
         printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext
         openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
         -extfile ext -out server.crt";
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "openssl is needed by this test: apt-get install openssl"
    );
}
