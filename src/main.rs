<<<<<<< HEAD
//! The program: a door, not a room.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `executor::sandbox::run_if_child()` goes here: before any thread, because namespaces are
    // joined by a thread.
    builder::cli::main(std::env::args_os())
=======
//! The door: helpers of the sandbox first, everybody else to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Must run before anything starts a thread: namespaces are joined per thread.
    if let Some(code) = builder::executor::sandbox::run_if_child() {
        return code;
    }
    ExitCode::SUCCESS
>>>>>>> sandbox
}
