//! The program: a door, not a room.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `executor::sandbox::run_if_child()` goes here: before any thread, because namespaces are
    // joined by a thread.
    builder::cli::main(std::env::args_os())
}
