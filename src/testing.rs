//! What the unit tests of several rooms share.

use std::io::Write as _;

/// Says why the running test cannot run here. Past the capture of the test runner, so that the
/// reason is seen although the test passes.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    drop(writeln!(std::io::stderr(), "skipped {name}: {reason}"));
}
