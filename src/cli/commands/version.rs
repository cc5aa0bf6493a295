//! `builder version`

use super::super::Stop;
use crate::failure::ExitCode;
use crate::platform::Platform;

/// Prints name, version and platform.
pub(crate) fn version() -> Result<ExitCode, Stop> {
    let line = format!(
        "builder {} {}\n",
        env!("CARGO_PKG_VERSION"),
        Platform::host()
    );
    super::print(line.as_bytes())?;
    Ok(ExitCode::Success)
}
