//! Image in; store, registry, layout, archive, directory or tar out.

/// One `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {}
