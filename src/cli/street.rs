//! The one place that calls the street.

use crate::executor::sandbox::RootDriver;
use crate::failure::Failure;
use crate::pipeline::Need;

pub(super) use crate::pipeline::{answer, build, plan};

/// Goes to where commands can run: comes back if that is here, else does not come back and another
/// process does the whole command there.
pub(super) type Enter<'a> = dyn Fn(Need) -> Result<RootDriver, Failure> + 'a;
