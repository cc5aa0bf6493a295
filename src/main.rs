//! The door: helpers of the sandbox first, everybody else to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Must run before anything starts a thread: namespaces are joined per thread.
    if let Some(code) = builder::executor::sandbox::run_if_child() {
        return code;
    }
    ExitCode::SUCCESS
}
