//! The types of an output.

use std::path::{Path, PathBuf};

use crate::image::Compression;
use crate::platform::Platform;

/// One `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// `type`; `registry` is [`OutputKind::Image`] that pushes.
    pub kind: OutputKind,
    /// `dest`; `None` means standard output, or for `docker` the running engine.
    pub dest: Option<Destination>,
    /// `name`, its list cut at commas; empty means the names of `-t`.
    pub names: Vec<String>,
    /// `push`, `push-by-digest`
    pub push: PushMode,
    /// `tar`, for `oci` and `docker`.
    pub form: LayoutForm,
    /// `oci-mediatypes`
    pub media_types: MediaTypes,
    /// `compression`; `None` keeps what layers have and makes gzip.
    pub compression: Option<Compression>,
    /// `compression-level`
    pub compression_level: Option<u32>,
    /// `force-compression`: base layers too.
    pub force_compression: bool,
    /// `platform-split`; `None` splits if there are several platforms.
    pub platform_split: Option<bool>,
    /// `mode=delete`: what is in the directory and not in the result goes.
    pub delete: bool,
    /// `registry.insecure`
    pub insecure: bool,
    /// `annotation…`
    pub annotations: Vec<OutputAnnotation>,
}

/// What kind of thing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// An image in the store, and in registries if it is pushed.
    Image,
    /// An OCI image layout, as tar or directory.
    Oci,
    /// An archive for `docker load`, or the load itself.
    Docker,
    /// The files, in a directory.
    Local,
    /// The files, in a tar.
    Tar,
    /// Nothing but a warm cache.
    CacheOnly,
}

/// Where files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `-`
    Stdout,
    /// A path.
    Path(PathBuf),
}

/// Whether and how an image is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PushMode {
    /// Not at all.
    #[default]
    No,
    /// Under its tags.
    ByTag,
    /// Under its digest alone.
    ByDigest,
}

/// How a layout is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayoutForm {
    /// In one tar.
    #[default]
    Tar,
    /// As a directory.
    Directory,
}

/// Whose media types are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's, schema 2.
    Docker,
}

/// `annotation[-LEVEL][\[PLATFORM\]].KEY=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputAnnotation {
    /// Which document gets it.
    pub level: AnnotationLevel,
    /// Only for this platform.
    pub platform: Option<Platform>,
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// The document that an annotation goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnotationLevel {
    /// The manifest.
    Manifest,
    /// The index.
    Index,
    /// The manifest's descriptor in the index.
    ManifestDescriptor,
    /// The index's descriptor in a layout.
    IndexDescriptor,
}

impl OutputSpec {
    /// An output of a kind with everything else by default.
    pub fn new(kind: OutputKind) -> Self {
        Self {
            kind,
            dest: None,
            names: Vec::new(),
            push: PushMode::No,
            form: LayoutForm::Tar,
            media_types: MediaTypes::Oci,
            compression: None,
            compression_level: None,
            force_compression: false,
            platform_split: None,
            delete: false,
            insecure: false,
            annotations: Vec::new(),
        }
    }

    /// `--push`
    pub fn registry() -> Self {
        Self {
            push: PushMode::ByTag,
            ..Self::new(OutputKind::Image)
        }
    }

    /// `--load`
    pub fn load() -> Self {
        Self::new(OutputKind::Docker)
    }

    /// The same with a relative `dest` taken from `directory`.
    #[must_use]
    pub fn rooted_at(mut self, directory: &Path) -> Self {
        if let Some(Destination::Path(path)) = &mut self.dest {
            *path = directory.join(&*path);
        }
        self
    }
}
