//! The peer that is the reference: BuildKit in Debian's Docker engine, started for the test alone with
//! its own directories and socket. It is of 2021: what it does not know yet it refuses to build, and
//! such cases say nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use super::builders::{Bench, Built};
use super::case::Case;
use super::common::skip;
use super::tree;

/// How long the engine may take to answer.
const START: Duration = Duration::from_mins(1);

/// A running engine.
#[derive(Debug)]
pub(crate) struct Docker {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts one; `None` where it does not run, and the reason is printed.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::Builder::new()
            .prefix("builder-docker-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("images")).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("socket").display()))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let daemon = match daemon {
            Ok(daemon) => daemon,
            Err(error) => {
                skip(&format!("no dockerd ({error}): scripts/test installs it"));
                return None;
            }
        };
        let mut docker = Self { directory, daemon };
        let start = Instant::now();
        while start.elapsed() < START {
            if docker.run(&["version"]).status.success() {
                return Some(docker);
            }
            if docker.daemon.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(docker.path("log")).unwrap();
        let last = log.lines().last().unwrap_or_default();
        skip(&format!("dockerd does not run here: {last}"));
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    /// A command whose `docker` is this engine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_BUILDKIT", "1");
        command
    }

    /// Runs the engine's own client.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command("docker").args(words).output().unwrap()
    }

    /// Gives it an image of an OCI layout under a name.
    pub(crate) fn load(&self, layout: &Path, name: &str) {
        let output = Command::new("skopeo")
            .args(["copy", "-q", "--dest-daemon-host", &self.host()])
            .arg(format!("oci:{}:latest", layout.display()))
            .arg(format!("docker-daemon:{name}"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo: {stderr}");
    }

    /// Builds a case as an ordinary `docker build` with some more flags does.
    pub(crate) fn build(&self, bench: &Bench, case: &Case, more: &[&str]) -> Built {
        let context = bench.path("contexts").join(&case.name);
        let (context, name) = (context.to_str().unwrap(), case.name.to_lowercase());
        let dockerfile = format!("{context}/{}", case.dockerfile_name);
        let mut words = vec![
            "build",
            "-q",
            "--network=host",
            "-t",
            &name,
            "-f",
            &dockerfile,
        ];
        let flags = case
            .flags
            .0
            .iter()
            .map(|flag| flag.replace("{context}", context));
        let flags: Vec<String> = flags.collect();
        words.extend(flags.iter().map(String::as_str));
        words.extend(more);
        words.push(context);
        let output = self.run(&words);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let image = self.path("images").join(&case.name);
        let output = Command::new("skopeo")
            .args(["copy", "-q"])
            .args(["--src-daemon-host", &self.host()])
            .arg(format!("docker-daemon:{name}:latest"))
            .arg(format!("dir:{}", image.display()))
            .output()
            .unwrap();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains("empty export"), "skopeo: {stderr}");
            return Ok((tree::Tree::new(), self.inspect(&name)));
        }
        let image = tree::of_skopeo(&image);
        Ok((image.tree, image.config))
    }
}

impl Docker {
    /// The config of an image without layers, which the engine cannot save; it tells no history.
    fn inspect(&self, name: &str) -> Value {
        let output = self.run(&["image", "inspect", name]);
        let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let image = found[0].take();
        json!({"config": image["Config"], "author": image["Author"]})
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its containerd; the mount over its own data it leaves.
        let _ = kill(
            Pid::from_raw(self.daemon.id().cast_signed()),
            Signal::SIGTERM,
        );
        let _ = self.daemon.wait();
        let _ = unmount(self.path("data"), UnmountFlags::DETACH);
    }
}
