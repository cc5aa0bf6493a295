//! The end of a sandbox: time limits, cancellation, and the death of the builder.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use builder::executor::sandbox::{Cancel, Exit, SandboxError};

use super::sandbox_world::{World, run, try_run};

/// Set for the process that `the_death_of_the_builder_is_the_death_of_all` kills.
const VICTIM: &str = "BUILDER_TEST_VICTIM";

/// A number of seconds to sleep that no other process of this machine sleeps.
fn mark(kind: u32) -> String {
    format!("{kind}{:07}", std::process::id())
}

/// Waits, at most ten seconds, until `done`.
fn eventually(done: impl Fn() -> bool) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if done() {
            return Some(start.elapsed());
        }
        std::thread::yield_now();
    }
    None
}

/// Tells whether a process has `word` in its command line.
fn is_running(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(word)
    })
}

#[test]
fn a_command_that_takes_too_long_is_stopped() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("echo begun; sleep 1000 & sleep 1000");
    spec.timeout = Some(Duration::from_millis(300));
    let start = Instant::now();
    let ran = run(&spec);
    assert_eq!(ran.outcome.exit, Exit::TimedOut);
    assert_eq!(ran.stdout, "begun\n");
    assert!(
        start.elapsed() < Duration::from_millis(1300),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn cancelling_kills_everything_within_a_second() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mark = mark(1);
    let spec = world.spec(&format!(
        "trap '' TERM INT HUP; sleep {mark} & sleep {mark}"
    ));
    let cancel = Cancel::new().unwrap();
    let remote = cancel.clone();
    let sleeper = mark.clone();
    let canceller = std::thread::spawn(move || {
        eventually(|| is_running(&sleeper)).unwrap();
        remote.cancel();
        Instant::now()
    });
    assert_eq!(
        try_run(&spec, &cancel).unwrap_err(),
        SandboxError::Cancelled
    );
    assert!(canceller.join().unwrap().elapsed() < Duration::from_secs(1));
    assert!(eventually(|| !is_running(&mark)).unwrap() < Duration::from_secs(1));
    // A flag that is set already stops the next one, too.
    assert_eq!(
        try_run(&world.spec("sleep 1000"), &cancel).unwrap_err(),
        SandboxError::Cancelled
    );
}

#[test]
fn the_death_of_the_builder_is_the_death_of_all() {
    let Some(mut world) = World::new() else {
        return;
    };
    if let Ok(mark) = std::env::var(VICTIM) {
        world.run(&format!("(setsid sleep {mark} &); sleep {mark}"));
        return;
    }
    let mark = mark(2);
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "sandbox_life::the_death_of_the_builder_is_the_death_of_all",
        ])
        .env(VICTIM, &mark)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| is_running(&mark)).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(eventually(|| !is_running(&mark)).unwrap() < Duration::from_secs(1));
}

#[test]
fn zombies_are_reaped() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec(
        "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; zombies=1; \
        while [ $zombies -gt 0 ]; do zombies=$(grep -l 'State:.Z' /proc/[0-9]*/status | wc -l); done",
    );
    spec.timeout = Some(Duration::from_secs(20));
    assert_eq!(run(&spec).outcome.exit, Exit::Code(0));
}
