//! The one place that calls the street.

use super::CliError;
use crate::event::Reporter;
use crate::executor::sandbox::Cancel;
use crate::failure::Failure;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::result::{BuildResult, Planned};

/// Goes to where commands can run: comes back if that is here, else does not come back and another
/// process does the whole command there.
pub(super) type Enter<'a> = dyn Fn() -> Result<(), Failure> + 'a;

/// Builds.
pub(super) fn build(
    _request: &BuildRequest,
    _reporter: &Reporter,
    _cancel: &Cancel,
    _enter: &Enter<'_>,
) -> Result<BuildResult, Failure> {
    let what = "`builder build`".to_owned();
    Err(CliError::Unsupported { what }.into())
}

/// Plans.
pub(super) fn plan(_request: &BuildRequest, _reporter: &Reporter) -> Result<Planned, Failure> {
    let what = "`builder plan`".to_owned();
    Err(CliError::Unsupported { what }.into())
}
