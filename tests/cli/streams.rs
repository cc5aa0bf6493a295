//! Standard output that nobody reads, or that takes nothing.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

fn builder(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_builder"));
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

#[test]
fn a_closed_pipe_ends_quietly() {
    for words in [
        &["man"][..],
        &["completion", "bash"],
        &["--help"],
        &["version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = builder(words)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(
            output.stderr.is_empty(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn errors_nobody_reads_are_no_crash() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = builder(&["build", "nowhere"])
        .env("HOME", "/")
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_full_disk_is_told() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = builder(&["man"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("failed to write to standard output"),
        "{message}"
    );
}
