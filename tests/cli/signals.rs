//! Ctrl-C and its kin, on a transfer that would take for ever.

use std::net::TcpListener;
use std::thread;

use nix::sys::signal::Signal;

use super::common::{Project, Running};

/// `builder pull` from a server that takes connections and never answers. It has begun to wait.
fn stuck_pull(project: &Project) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The connections live as long as the test.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let image = format!("{address}/x:1");
    project
        .builder(["pull", "--insecure-registry", &address.to_string(), &image])
        .start()
        .wait_for("#1 pull ")
}

#[test]
fn the_first_signal_stops_with_its_code() {
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 143),
    ] {
        let project = Project::new();
        let outcome = stuck_pull(&project).signal(signal).finish();
        assert_eq!(outcome.code, code, "{signal}\n{outcome}");
        outcome.says("ERROR");
    }
}

#[test]
fn a_stopped_command_leaves_no_image() {
    let project = Project::new();
    stuck_pull(&project).signal(Signal::SIGTERM).finish();
    assert_eq!(project.builder(["images", "-q"]).success().stdout, "");
    project.is_sound();
}
