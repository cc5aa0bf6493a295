//! The one place that calls the street.

use super::CliError;
use crate::event::Reporter;
use crate::executor::sandbox::Cancel;
use crate::failure::Failure;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::result::BuildResult;

/// Builds.
pub(super) fn build(
    _request: &BuildRequest,
    _reporter: &Reporter,
    _cancel: &Cancel,
    _enter: &dyn Fn() -> Result<(), Failure>,
) -> Result<BuildResult, Failure> {
    let what = "`builder build`".to_owned();
    Err(CliError::Unsupported { what }.into())
}
