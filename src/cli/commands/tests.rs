//! `build` and `plan` with a street of the test's own.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::args::{Args, Verb};
use super::super::{CliError, Environment, Stop};
use super::build;
use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::digest::Digest;
use crate::failure::{ExitCode, Failure};
use crate::image::Descriptor;
use crate::pipeline::result::BuildResult;
use crate::platform::Platform;

/// A directory for results.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `builder build WORDS --progress=none .` that comes to `result`.
    fn build(
        &self,
        words: &[&str],
        variables: &[(&str, &str)],
        result: impl FnOnce() -> Result<BuildResult, Failure>,
    ) -> Result<ExitCode, Stop> {
        let fixed = [
            "builder",
            "build",
            "--root=/nowhere",
            "--progress=none",
            "/",
        ];
        let words = fixed.iter().chain(words).map(OsString::from);
        let args = Args::read(words).unwrap();
        let Verb::Build(build_args) = &args.verb else {
            panic!("not a build");
        };
        let mut environment = Environment::of(variables.iter().copied());
        environment.directory = self.directory.path().to_owned();
        environment.is_root = true;
        build(
            (build_args, &args.global),
            &environment,
            || {},
            |_, _, _| result(),
        )
    }
}

fn result() -> BuildResult {
    let source = SourceFile::new("Dockerfile", "FROM scratch as x\n");
    let digest = Digest::of(b"manifest");
    BuildResult {
        image_id: Digest::of(b"config"),
        digest,
        config_digest: Some(Digest::of(b"config")),
        descriptor: Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, 8),
        names: vec![
            "docker.io/library/a:1".into(),
            "docker.io/library/b:2".into(),
        ],
        warnings: vec![Diagnostic::warning(
            "FromAsCasing",
            &source,
            Span::new(13, 15),
            "casing",
        )],
        platforms: vec![Platform::host()],
    }
}

fn failing() -> Failure {
    CliError::NoAgent.into()
}

#[test]
fn results_are_written_after_success() {
    let bench = Bench::new();
    let words = ["--iidfile=id", "--metadata-file=metadata"];
    let code = bench
        .build(
            &words,
            &[("BUILDX_METADATA_WARNINGS", "1")],
            || Ok(result()),
        )
        .unwrap();
    assert_eq!(code, ExitCode::Success);
    let id = fs::read_to_string(bench.path("id")).unwrap();
    assert_eq!(
        id,
        Digest::of(b"config").to_string(),
        "no newline, as Docker writes it"
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("metadata")).unwrap()).unwrap();
    assert_eq!(
        metadata["containerimage.digest"],
        Digest::of(b"manifest").to_string()
    );
    assert_eq!(metadata["containerimage.config.digest"], id);
    assert_eq!(metadata["containerimage.descriptor"]["size"], 8);
    assert_eq!(
        metadata["image.name"],
        "docker.io/library/a:1,docker.io/library/b:2"
    );
    assert!(
        metadata["buildx.build.ref"]
            .as_str()
            .unwrap()
            .starts_with("builder/builder/")
    );
    assert_eq!(
        metadata["buildx.build.warnings"][0]["range"][0]["start"]["line"],
        1
    );
}

#[test]
fn warnings_are_in_the_metadata_only_when_asked_for() {
    let bench = Bench::new();
    bench
        .build(&["--metadata-file=m"], &[], || Ok(result()))
        .unwrap();
    let metadata = fs::read_to_string(bench.path("m")).unwrap();
    assert!(!metadata.contains("warnings"), "{metadata}");
}

#[test]
fn a_failing_build_leaves_no_result_of_an_earlier_one() {
    let bench = Bench::new();
    fs::write(bench.path("id"), "old").unwrap();
    fs::write(bench.path("m"), "old").unwrap();
    let stop = bench.build(&["--iidfile=id", "--metadata-file=m"], &[], || {
        Err(failing())
    });
    assert_eq!(stop.unwrap_err().exit_code(), 1);
    assert!(!bench.path("id").exists() && !bench.path("m").exists());
}

#[test]
fn a_refused_command_touches_no_result() {
    let bench = Bench::new();
    fs::write(bench.path("id"), "old").unwrap();
    let called = Cell::new(false);
    let words = ["--iidfile=id", "--secret=id=x,src=/no/such"];
    let stop = bench.build(&words, &[], || {
        called.set(true);
        Ok(result())
    });
    assert_eq!(stop.unwrap_err().exit_code(), 1);
    assert!(!called.get());
    assert_eq!(fs::read_to_string(bench.path("id")).unwrap(), "old");
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let bench = Bench::new();
    let stop = bench
        .build(&["--iidfile=no/such/id"], &[], || Ok(result()))
        .unwrap_err();
    assert_eq!(stop.exit_code(), 3);
    assert!(
        matches!(stop, Stop::Cli(CliError::Write { path, .. }) if path.ends_with(Path::new("no/such/id")))
    );
}
