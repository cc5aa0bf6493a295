//! What a build or a plan comes to.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile};
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::planner::{Explanation, Plan};
use crate::platform::Platform;

/// The outcome of a successful build: what `-q`, `--iidfile` and `--metadata-file` tell.
#[derive(Clone, Debug)]
pub struct BuildResult {
    /// The image id: the config's digest for one platform, else the index's.
    pub image_id: Digest,
    /// The digest of the manifest, or of the index for several platforms.
    pub digest: Digest,
    /// The digest of the config, if there is one platform.
    pub config_digest: Option<Digest>,
    /// The descriptor of the manifest or index.
    pub descriptor: Descriptor,
    /// The names that the image was given, in full, in order.
    pub names: Vec<String>,
    /// Findings about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
    /// The platforms that were built.
    pub platforms: Vec<Platform>,
}

/// A plan with what is needed to print it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Why steps are not cached; empty unless it was asked for.
    pub explanations: Vec<Explanation>,
    /// The Dockerfile.
    pub source: Arc<SourceFile>,
}
