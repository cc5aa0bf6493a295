//! What the tests are written in: servers, images, options.

mod debian;
mod image;
mod proxy;
mod server;

use std::sync::Arc;
use std::time::Duration;

use builder::registry::{Client, RegistryOptions, RetryPolicy};

pub(crate) use debian::{Debian, DebianOptions};
pub(crate) use image::{Blobs, layer, set, set_for, two_platforms};
pub(crate) use proxy::forward;
pub(crate) use server::{Answer, End, Seen, Server};

/// Options that do not wait: every pause is a millisecond at most.
pub(crate) fn options() -> RegistryOptions {
    RegistryOptions {
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(1),
            pause_max: Duration::from_millis(1),
            silence_max: Duration::from_secs(5),
            bytes_per_second_min: 1,
        },
        ..RegistryOptions::default()
    }
}

pub(crate) fn client(options: RegistryOptions) -> Client {
    Client::new(Arc::new(options))
}

pub(crate) fn plain_client() -> Client {
    client(options())
}

/// Runs a tool that checks our work, and returns what it printed; the test fails if it does.
pub(crate) fn judge(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} is needed by this test: apt-get install {program} ({error})")
        });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
