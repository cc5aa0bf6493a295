//! A context, a home and a store in one temporary directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Run, User, busybox, dedent, skip};

/// A directory to build, with a home and a store of its own.
#[derive(Debug)]
pub struct Project {
    directory: tempfile::TempDir,
    user: Option<User>,
    flags: Vec<String>,
}

impl Project {
    /// An empty project.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("builder-test-")
            .tempdir()
            .unwrap();
        let project = Self {
            directory,
            user: None,
            flags: Vec::new(),
        };
        for name in ["context", "home", "store"] {
            fs::create_dir(project.path(name)).unwrap();
        }
        project
    }

    /// A project whose builds know an image `busybox`, made from the machine's static busybox;
    /// `None`, with a printed reason, if there is none.
    pub fn with_busybox() -> Option<Self> {
        let layout = busybox::layout()?;
        let flag = format!("--build-context=busybox=oci-layout://{}", layout.display());
        Some(Self::new().flag(&flag))
    }

    /// Adds a flag to every build of this project.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Runs everything as another user, who then owns the project. Needs root.
    pub fn owned_by(mut self, user: User) -> Self {
        for entry in walkdir::WalkDir::new(self.directory.path()) {
            user.own(entry.unwrap().path());
        }
        fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        self.user = Some(user);
        self
    }

    /// Writes the Dockerfile; the indentation that its lines share is taken away.
    pub fn dockerfile(self, text: &str) -> Self {
        self.file("Dockerfile", dedent(text))
    }

    /// Writes a file of the context, with the directories above it.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.put(path, content);
        self
    }

    /// Writes a program of the context.
    pub fn script(self, path: &str, text: &str) -> Self {
        self.put(path, dedent(text));
        self.mode(path, 0o755)
    }

    /// Compiles a static program into the context; `None`, with a printed reason, if there is no compiler.
    pub fn program(self, name: &str, source: &str) -> Option<Self> {
        let (file, program) = (self.path(&format!("{name}.c")), self.path(name));
        fs::write(&file, source).unwrap();
        let compile = |compiler: &str| {
            let mut command = Command::new(compiler);
            command.args(["-static", "-no-pie", "-w", "-pthread", "-o"]);
            let status = command.arg(&program).arg(&file).status().ok()?;
            Some(status.success())
        };
        let compiled = ["cc", "musl-gcc"].map(compile);
        if compiled == [None, None] {
            skip("no compiler is installed");
            return None;
        }
        assert!(compiled.contains(&Some(true)), "{name} does not compile");
        let bytes = fs::read(&program).unwrap();
        Some(self.file(name, bytes).mode(name, 0o755))
    }

    /// Makes a directory of the context.
    pub fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.context().join(path)).unwrap();
        self.own(path);
        self
    }

    /// Makes a symbolic link of the context.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        symlink(target, self.context().join(path)).unwrap();
        self.own(path);
        self
    }

    /// Sets the mode of a file of the context.
    pub fn mode(self, path: &str, mode: u32) -> Self {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.context().join(path), permissions).unwrap();
        self
    }

    /// Changes a file between two builds.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.context().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let mut shown = Path::new(path);
        while !shown.as_os_str().is_empty() {
            self.own(shown.to_str().unwrap());
            shown = shown.parent().unwrap();
        }
    }

    /// Removes a file or directory of the context between two builds.
    pub fn remove(&self, path: &str) {
        let path = self.context().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Removes the store: what follows is an empty runner.
    pub fn forget_store(&self) {
        fs::remove_dir_all(self.store()).unwrap();
    }

    fn own(&self, path: &str) {
        if let Some(user) = &self.user {
            user.own(&self.context().join(path));
        }
    }

    /// The context.
    pub fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A path beside context, home and store: for outputs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `builder build --progress=plain --iidfile … --metadata-file … CONTEXT`
    pub fn build(&self) -> Run {
        let run = self.builder(["build"]).words(&self.flags);
        run.building(&self.context())
    }

    /// `builder WORDS`
    pub fn builder<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Run {
        let run = Run::new(self.directory.path(), self.user.clone());
        let run = run.env("HOME", self.home().to_str().unwrap());
        let run = run.env("BUILDER_ROOT", self.store().to_str().unwrap());
        run.words(words)
    }

    /// Asserts that the store has no damage.
    pub fn is_sound(&self) -> &Self {
        self.builder(["fsck"]).success();
        self
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}
