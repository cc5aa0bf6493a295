//! `RUN --mount=type=ssh`: commands use keys that they never see, at a real sshd.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::image::tool;
use crate::common::{Project, Run, User, skip};

/// Every kind and every form that ssh-keygen writes without a passphrase.
const KEYS: [(&str, &[&str]); 8] = [
    ("ed25519", &["-t", "ed25519"]),
    ("p256", &["-t", "ecdsa", "-b", "256"]),
    ("p384", &["-t", "ecdsa", "-b", "384"]),
    ("p521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "3072"]),
    ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ("p256-pem", &["-t", "ecdsa", "-b", "256", "-m", "PEM"]),
];

/// A project whose base has the machine's ssh, with keys beside it.
struct Ssh {
    project: Project,
    user: Option<User>,
}

impl Ssh {
    fn new(user: Option<User>) -> Option<Self> {
        let mut project = Project::with_busybox()?;
        for program in ["ssh", "ssh-add"] {
            let path = PathBuf::from("/usr/bin").join(program);
            for file in std::iter::once(path.clone()).chain(libraries(&path)) {
                let shown = format!("base{}", file.display());
                project = project
                    .file(&shown, fs::read(&file).unwrap())
                    .mode(&shown, 0o755);
            }
        }
        project = project.directory("keys");
        fs::create_dir(project.path("private")).unwrap();
        for (name, words) in KEYS {
            let key = project.path("private").join(name);
            let key = key.to_str().unwrap();
            tool(
                "ssh-keygen",
                &[words, &["-q", "-N", "", "-C", name, "-f", key]].concat(),
            );
            let public = fs::read(format!("{key}.pub")).unwrap();
            project = project.file(&format!("keys/{name}.pub"), public);
        }
        if let Some(user) = &user {
            project = project.owned_by(user.clone());
        }
        Some(Self { project, user })
    }

    fn private(&self, name: &str) -> PathBuf {
        self.project.path("private").join(name)
    }

    /// `--ssh ID=KEY,…` with all keys.
    fn all_keys(&self, id: &str) -> String {
        let keys = KEYS.map(|(name, _)| self.private(name).display().to_string());
        format!("--ssh={id}={}", keys.join(","))
    }

    fn build(&self, dockerfile: &str) -> Run {
        let base = "FROM busybox AS ssh\nCOPY base /\nCOPY keys /keys\nFROM ssh\n";
        self.project
            .put("Dockerfile", format!("{base}{dockerfile}"));
        self.project.build()
    }

    /// The fingerprints of all keys, as ssh-keygen has them.
    fn fingerprints(&self) -> BTreeSet<String> {
        let of = |(name, _): (&str, &[&str])| {
            let public = format!("{}.pub", self.private(name).display());
            let line = tool("ssh-keygen", &["-lf", &public]).stdout;
            let line = String::from_utf8(line).unwrap();
            line.split(' ').nth(1).unwrap().to_owned()
        };
        KEYS.into_iter().map(of).collect()
    }
}

/// What a program needs to run elsewhere.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = tool("ldd", &[program.to_str().unwrap()]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let path = |word: &str| word.starts_with('/').then(|| PathBuf::from(word));
    listed.split_whitespace().filter_map(path).collect()
}

/// An sshd on loopback that lets in whoever has one of the keys; stopped when dropped.
struct Server {
    child: Child,
    port: u16,
    user: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(ssh: &Ssh) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let host_key = path("host");
        tool(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", &host_key],
        );
        let public = |(name, _): (&str, &[&str])| {
            fs::read(format!("{}.pub", ssh.private(name).display())).unwrap()
        };
        fs::write(path("authorized"), KEYS.map(public).concat()).unwrap();
        // Where sshd keeps itself apart; Debian makes it when the service starts.
        drop(fs::create_dir("/run/sshd"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        fs::write(
            path("config"),
            format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nPidFile none\n\
                 AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
                 PasswordAuthentication no\nMaxAuthTries 20\n",
                path("authorized")
            ),
        )
        .unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path("config")])
            .stderr(fs::File::create(path("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .expect("sshd is installed by scripts/test");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(path("log")).unwrap_or_default();
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "sshd does not answer: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
        let user = user.unwrap().unwrap().name;
        Self {
            child,
            port,
            user,
            _directory: directory,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Who builds: the user of the tests, and ordinary users that root may become.
fn builders() -> Vec<Option<User>> {
    let mut builders = vec![None];
    if User::is_root() {
        builders.extend(User::with_subuids().map(Some));
        builders.extend(User::without_subuids().map(Some));
    }
    builders
}

#[test]
fn keys_from_files_log_in_at_a_real_server() {
    for user in builders() {
        let Some(ssh) = Ssh::new(user) else {
            return;
        };
        let server = Server::start(&ssh);
        let Server { port, user, .. } = &server;
        let built = ssh
            .build(&format!(
                "RUN --mount=type=ssh,required --network=host mkdir -p /root/.ssh && ssh-add -l && \
                 for key in /keys/*.pub; do ssh -F none -p {port} -i $key -o IdentitiesOnly=yes \
                 -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 -o LogLevel=ERROR {user}@127.0.0.1 echo in with $key || exit 1; done"
            ))
            .flag("--allow=network.host")
            .flag(&ssh.all_keys("default"))
            .success();
        for (name, _) in KEYS {
            built.says(&format!("in with /keys/{name}.pub"));
        }
        for fingerprint in ssh.fingerprints() {
            built.says(&fingerprint);
        }
        ssh.project.is_sound();
        assert_eq!(holders_of_keys(&ssh), Vec::<PathBuf>::new());
    }
}

#[test]
fn git_sources_use_the_keys_too() {
    for user in builders() {
        let Some(ssh) = Ssh::new(user) else {
            return;
        };
        let server = Server::start(&ssh);
        let repository = tempfile::tempdir().unwrap();
        let path = repository.path().display().to_string();
        let git = |words: &[&str]| {
            let name = [
                "-c",
                "user.name=n",
                "-c",
                "user.email=e",
                "-C",
                path.as_str(),
            ];
            tool("git", &[&name, words].concat());
        };
        git(&["init", "-q", "-b", "main"]);
        fs::write(repository.path().join("private.txt"), "private").unwrap();
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", "one"]);
        let url = format!("ssh://{}@127.0.0.1:{}{path}", server.user, server.port);
        let build = || {
            ssh.build(&format!(
                "ADD {url} /got\nRUN cat /got/private.txt | tr a-z A-Z\n"
            ))
        };
        let key = format!("--ssh=default={}", ssh.private("ed25519").display());
        build().flag(&key).success().says("PRIVATE");
        // Another name is for RUN alone.
        let other = format!("--ssh=other={}", ssh.private("ed25519").display());
        let refused = build().flag(&other).flag("--no-cache").failure(3);
        refused.says("Permission denied");
    }
}

/// Files of the store that have the last line of a private key in them: the lines before it have
/// the public half too.
fn holders_of_keys(ssh: &Ssh) -> Vec<PathBuf> {
    let last = |name: &str| {
        let key = fs::read_to_string(ssh.private(name)).unwrap();
        key.lines().nth_back(1).unwrap().as_bytes().to_vec()
    };
    let mut secrets = ["ed25519", "p256", "p384", "p521", "rsa", "rsa-pem"]
        .map(last)
        .to_vec();
    secrets.retain(|secret| secret.len() > 20);
    assert!(!secrets.is_empty());
    let has_one = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        secrets
            .iter()
            .any(|secret| bytes.windows(secret.len()).any(|part| part == secret))
    };
    let entries = walkdir::WalkDir::new(ssh.project.store());
    let files = entries
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    // Programs and libraries of the base are not searched: they are large and were there before.
    let small = files.filter(|entry| entry.metadata().unwrap().len() < 100_000);
    small
        .map(|entry| entry.path().to_owned())
        .filter(|path| has_one(path))
        .collect()
}

#[test]
fn the_socket_has_the_owner_and_the_mode_of_the_mount() {
    for user in builders() {
        let Some(ssh) = Ssh::new(user) else {
            return;
        };
        let one_id = ssh.user == User::without_subuids() && ssh.user.is_some();
        let built = ssh
            .build(
                "RUN --mount=type=ssh stat -c 'first %a %u %g %F' $SSH_AUTH_SOCK\n\
                 USER 1000\n\
                 RUN --mount=type=ssh,id=other,uid=1000,gid=7,mode=0640,target=/agent \
                 stat -c 'second %a %u %g %F' /agent && echo $SSH_AUTH_SOCK && ssh-add -l\n\
                 RUN ls /agent /run/buildkit; echo socket: $SSH_AUTH_SOCK.",
            )
            .flag(&ssh.all_keys("default"))
            .flag(&format!("--ssh=other={}", ssh.private("ed25519").display()))
            .success();
        built
            .says("first 600 0 0 socket")
            .says("(ED25519)")
            .says("socket: .");
        if !one_id {
            built.says("second 640 1000 7 socket");
        }
        built
            .says("/agent: No such file")
            .says("/run/buildkit: No such file");
    }
}

#[test]
fn a_command_cannot_change_the_agent_of_the_user() {
    for user in builders() {
        let Some(ssh) = Ssh::new(user) else {
            return;
        };
        let socket = ssh.project.path("agent.sock");
        let agent = Agent::start(&ssh, &socket);
        let built = ssh
            .build(
                "RUN --mount=type=ssh,uid=1000 ssh-add -l; ssh-add -D; ssh-add -x </dev/null; \
                 ssh-add -l | wc -l > /count\n\
                 USER 1000\n\
                 RUN --mount=type=ssh,uid=1000 echo user sees: && ssh-add -l",
            )
            .env("SSH_AUTH_SOCK", socket.to_str().unwrap())
            .flag("--ssh=default")
            .success();
        built
            .says("Failed to remove all identities")
            .says("(ED25519)");
        assert_eq!(agent.keys(), 1);
    }
}

/// The machine's ssh-agent with one key.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(ssh: &Ssh, socket: &Path) -> Self {
        let mut command = Command::new("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(socket)
            .stdout(Stdio::null());
        if let Some(user) = &ssh.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user.uid).gid(user.gid);
        }
        let child = command.spawn().unwrap();
        let started = Instant::now();
        // It is bound a moment before it listens.
        while UnixStream::connect(socket).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "ssh-agent does not answer"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let agent = Self {
            child,
            socket: socket.to_owned(),
        };
        let key = ssh.private("ed25519");
        assert!(agent.add(&["-q", key.to_str().unwrap()]).status.success());
        agent
    }

    fn add(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new("ssh-add");
        command
            .args(words)
            .env("SSH_AUTH_SOCK", &self.socket)
            .output()
            .unwrap()
    }

    fn keys(&self) -> usize {
        let listed = self.add(&["-l"]).stdout;
        String::from_utf8(listed)
            .unwrap()
            .matches("(ED25519)")
            .count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn what_is_no_agent_is_refused_before_anything_runs() {
    let Some(ssh) = Ssh::new(None) else {
        return;
    };
    let locked = ssh.project.path("locked");
    let locked = locked.to_str().unwrap();
    for form in ["RFC4716", "PEM", "PKCS8"] {
        drop(fs::remove_file(locked));
        let words = [
            "-q", "-t", "rsa", "-b", "2048", "-m", form, "-N", "secret", "-f", locked,
        ];
        tool("ssh-keygen", &words);
        refused(
            &ssh,
            &format!("--ssh=k={locked}"),
            "ssh: this private key is passphrase protected",
        );
    }
    let public = format!("{}.pub", ssh.private("rsa").display());
    refused(&ssh, &format!("--ssh=k={public}"), "ssh: no key found");
    refused(&ssh, "--ssh=k=/dev/null", "failed to parse /dev/null");
    refused(&ssh, "--ssh=k=/", "failed to open /");
    let short = ssh.project.path("short");
    let short = short.to_str().unwrap();
    tool(
        "ssh-keygen",
        &["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", short],
    );
    refused(&ssh, &format!("--ssh=k={short}"), "malformed or too short");
}

fn refused(ssh: &Ssh, flag: &str, words: &str) {
    let refused = ssh.build("RUN echo ran").flag(flag).failure(1);
    refused
        .says("failed to convert agent config for ID: \"k\"")
        .says(words)
        .never("RUN echo ran");
}

#[test]
fn repositories_behind_ssh_open_to_the_agent_of_the_build_alone() {
    let Some(ssh) = Ssh::new(None) else {
        return;
    };
    let server = Server::start(&ssh);
    let repository = ssh.project.path("repository");
    let directory = repository.to_str().unwrap();
    fs::create_dir(&repository).unwrap();
    fs::write(repository.join("Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
    fs::write(repository.join("file"), "behind ssh").unwrap();
    let author = ["-c", "user.name=a", "-c", "user.email=a@b"];
    for words in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &["commit", "-qm", "one"],
    ] {
        let place = ["-C", directory];
        tool("git", &[&place[..], &author, words].concat());
    }
    let Server { port, user, .. } = &server;
    let address = format!("ssh://{user}@127.0.0.1:{port}{directory}#main");
    let key = format!("--ssh=default={}", ssh.private("ed25519").display());
    // As a context: with the keys that are named, and with the agent of the environment.
    let context = || ssh.project.builder(["build", "--progress=plain", &address]);
    context().flag(&key).success().ran("COPY file /");
    context().failure(3).says("--ssh default");
    let socket = ssh.project.path("agent.sock");
    let _agent = Agent::start(&ssh, &socket);
    let socket = socket.display().to_string();
    context().env("SSH_AUTH_SOCK", &socket).success();
    // As a source of ADD: only if the build was given the agent.
    let dockerfile = format!("ADD ssh://{user}@127.0.0.1:{port}{directory}#main /src/");
    let add = || ssh.build(&dockerfile).env("SSH_AUTH_SOCK", &socket);
    add().flag("--ssh=default").success();
    ssh.project.forget_store();
    add().failure(3).says("--ssh default");
}

#[test]
fn a_required_agent_that_is_not_there_is_an_error() {
    let Some(project) = Project::with_busybox() else {
        skip("no base");
        return;
    };
    let project = project.dockerfile("FROM busybox\nRUN --mount=type=ssh,required true");
    project
        .build()
        .failure(1)
        .says("unset ssh forward key default");
    let project =
        project.dockerfile("FROM busybox\nRUN --mount=type=ssh test ! -e \"$SSH_AUTH_SOCK\"");
    project.build().success();
}
