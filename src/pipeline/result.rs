//! What a build comes to, for `-q`, `--iidfile` and `--metadata-file`.

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::platform::Platform;

/// The outcome of a successful build.
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
