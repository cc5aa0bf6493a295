//! The program: a door, not a room.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Must run before anything starts a thread: namespaces are joined by a thread.
    if let Some(code) = builder::executor::sandbox::run_if_child() {
        return code;
    }
    builder::cli::main(std::env::args_os())
}
