//! `-o`: what shall become of the result, typed.
//!
//! The form is buildx's: one CSV record of `key=value` fields, `-o DIR` for a directory and `-o -`
//! for a tar on standard output. A key or value that is not understood is an error, never passed
//! over.

use std::path::{Path, PathBuf};

use crate::diagnostic::suggest;
use crate::failure::{Explain, Kind};
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

/// Why a text is no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputSpecError {
    /// A quote is not closed, or something follows it.
    #[error("output `{text}` is not a list of key=value separated by commas")]
    Csv {
        /// The text.
        text: String,
    },
    /// No `type`.
    #[error(
        "output `{text}` has no type: write type=local|tar|oci|docker|image|registry|cacheonly"
    )]
    NoType {
        /// The text.
        text: String,
    },
    /// A type that does not exist.
    #[error("output type `{kind}` is not known")]
    Type {
        /// What was written.
        kind: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A key that the type does not have.
    #[error("output type `{kind}` has no attribute `{key}`")]
    Key {
        /// The type.
        kind: String,
        /// What was written.
        key: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A key that others have and this program has not (yet).
    #[error("output attribute `{key}={value}` is not supported")]
    Unsupported {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A value that the key does not take.
    #[error("output attribute `{key}` cannot be `{value}`: it is {expected}")]
    Value {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// `local` without `dest`.
    #[error("output type `{kind}` needs dest=PATH")]
    NoDest {
        /// The type.
        kind: &'static str,
    },
}

impl Explain for OutputSpecError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Type { nearest, .. } | Self::Key { nearest, .. } => {
                let hint = |nearest| format!("did you mean `{nearest}`?");
                nearest.map(hint).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

const TYPES: [&str; 7] = [
    "local",
    "tar",
    "oci",
    "docker",
    "image",
    "registry",
    "cacheonly",
];
const FILE_KEYS: &[&str] = &["dest", "platform-split", "mode"];
const LAYER_KEYS: &[&str] = &[
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
    "annotation",
];
const ARCHIVE_KEYS: &[&str] = &["dest", "tar"];
const IMAGE_KEYS: &[&str] = &[
    "push",
    "push-by-digest",
    "registry.insecure",
    "store",
    "unpack",
];
/// Attributes of BuildKit without a counterpart here (yet).
const FOREIGN_KEYS: &[&str] = &[
    "attestation-inline",
    "attestation-prefix",
    "buildinfo",
    "context",
    "danging-name-empty-only",
    "dangling-name-prefix",
    "name-canonical",
    "oci-artifact",
    "prefer-nondist-layers",
    "source-date-epoch",
];

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

    /// Parses the value of `-o`.
    pub fn parse(text: &str) -> Result<Self, OutputSpecError> {
        let fields = split_csv(text).ok_or_else(|| OutputSpecError::Csv {
            text: text.to_owned(),
        })?;
        if let [only] = fields.as_slice()
            && only == text
            && !text.is_empty()
            && !text.starts_with("type=")
        {
            return Ok(if text == "-" {
                Self {
                    dest: Some(Destination::Stdout),
                    ..Self::new(OutputKind::Tar)
                }
            } else {
                Self {
                    dest: Some(Destination::Path(PathBuf::from(text))),
                    ..Self::new(OutputKind::Local)
                }
            });
        }
        let mut pairs = Vec::new();
        for field in &fields {
            let (key, value) = field.split_once('=').ok_or_else(|| OutputSpecError::Csv {
                text: text.to_owned(),
            })?;
            pairs.push((key.trim(), value));
        }
        let kind = pairs
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("type"))
            .map(|(_, value)| *value)
            .ok_or_else(|| OutputSpecError::NoType {
                text: text.to_owned(),
            })?;
        let mut spec = Self::of_type(kind)?;
        for (key, value) in pairs {
            spec.set(kind, key, value)?;
        }
        spec.check(kind)
    }

    fn of_type(kind: &str) -> Result<Self, OutputSpecError> {
        Ok(match kind {
            "local" => Self::new(OutputKind::Local),
            "tar" => Self::new(OutputKind::Tar),
            "oci" => Self::new(OutputKind::Oci),
            "docker" => Self::new(OutputKind::Docker),
            "image" => Self::new(OutputKind::Image),
            "registry" => Self::registry(),
            "cacheonly" => Self::new(OutputKind::CacheOnly),
            _ => {
                return Err(OutputSpecError::Type {
                    kind: kind.to_owned(),
                    nearest: suggest(kind, TYPES),
                });
            }
        })
    }

    /// The attributes that the kind has.
    fn keys(&self) -> Vec<&'static str> {
        let groups: &[&[&str]] = match self.kind {
            OutputKind::Local | OutputKind::Tar => &[FILE_KEYS],
            OutputKind::Oci | OutputKind::Docker => &[ARCHIVE_KEYS, LAYER_KEYS],
            OutputKind::Image => &[IMAGE_KEYS, LAYER_KEYS],
            OutputKind::CacheOnly => &[],
        };
        groups.concat()
    }

    fn set(&mut self, kind: &str, key: &str, value: &str) -> Result<(), OutputSpecError> {
        let lower = key.to_ascii_lowercase();
        let allowed = self.keys();
        let unsupported = || OutputSpecError::Unsupported {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        if allowed.contains(&"annotation") && lower.starts_with("annotation") {
            let annotation = parse_annotation(key, value).ok_or_else(unsupported)?;
            self.annotations.push(annotation);
            return Ok(());
        }
        if lower != "type" && !allowed.contains(&lower.as_str()) {
            if FOREIGN_KEYS.contains(&lower.as_str()) {
                return Err(unsupported());
            }
            return Err(OutputSpecError::Key {
                kind: kind.to_owned(),
                key: key.to_owned(),
                nearest: suggest(&lower, allowed),
            });
        }
        let flag = || parse_flag(key, value);
        match lower.as_str() {
            "dest" => self.dest = Some(parse_dest(value)),
            "name" => {
                self.names = value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            }
            "push" if !flag()? => self.push = PushMode::No,
            "push" if self.push == PushMode::No => self.push = PushMode::ByTag,
            "push-by-digest" if flag()? => self.push = PushMode::ByDigest,
            "tar" if !flag()? => self.form = LayoutForm::Directory,
            "oci-mediatypes" if !flag()? => self.media_types = MediaTypes::Docker,
            "compression" => self.compression = Some(parse_compression(value)?),
            "compression-level" => self.compression_level = Some(parse_level(value)?),
            "force-compression" => self.force_compression = flag()?,
            "platform-split" => self.platform_split = Some(flag()?),
            "registry.insecure" => self.insecure = flag()?,
            // All times are rewritten here, always; the store always keeps the image; unpacking is
            // a matter of containerd's store.
            "rewrite-timestamp" | "store" if !flag()? => return Err(unsupported()),
            "unpack" if flag()? => return Err(unsupported()),
            "mode" if value != "copy" => return Err(unsupported()),
            _ => {}
        }
        Ok(())
    }

    fn check(self, kind: &str) -> Result<Self, OutputSpecError> {
        if self.kind == OutputKind::Local && !matches!(self.dest, Some(Destination::Path(_))) {
            return Err(OutputSpecError::NoDest { kind: "local" });
        }
        if self.form == LayoutForm::Directory && !matches!(self.dest, Some(Destination::Path(_))) {
            let kind = if kind == "docker" { "docker" } else { "oci" };
            return Err(OutputSpecError::NoDest { kind });
        }
        let level_max = match self.compression {
            None | Some(Compression::Gzip) => 9,
            Some(Compression::Zstd) => 22,
            Some(Compression::Uncompressed) => 0,
        };
        match self.compression_level {
            Some(level) if level > level_max => Err(OutputSpecError::Value {
                key: "compression-level".to_owned(),
                value: level.to_string(),
                expected: "0 to 9 for gzip, 0 to 22 for zstd",
            }),
            _ => Ok(self),
        }
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

fn parse_dest(value: &str) -> Destination {
    match value {
        "-" => Destination::Stdout,
        path => Destination::Path(PathBuf::from(path)),
    }
}

/// Go's `strconv.ParseBool`.
fn parse_flag(key: &str, value: &str) -> Result<bool, OutputSpecError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OutputSpecError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            expected: "true or false",
        }),
    }
}

fn parse_compression(value: &str) -> Result<Compression, OutputSpecError> {
    match value {
        "uncompressed" => Ok(Compression::Uncompressed),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "estargz" => Err(OutputSpecError::Unsupported {
            key: "compression".to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(OutputSpecError::Value {
            key: "compression".to_owned(),
            value: value.to_owned(),
            expected: "uncompressed, gzip or zstd",
        }),
    }
}

fn parse_level(value: &str) -> Result<u32, OutputSpecError> {
    value.parse().map_err(|_| OutputSpecError::Value {
        key: "compression-level".to_owned(),
        value: value.to_owned(),
        expected: "0 to 9 for gzip, 0 to 22 for zstd",
    })
}

/// Parses the key of an annotation attribute; the annotation's own key keeps its case.
fn parse_annotation(key: &str, value: &str) -> Option<OutputAnnotation> {
    let rest = key.get("annotation".len()..)?;
    let (level, rest) = if let Some(rest) = rest.strip_prefix("-manifest-descriptor") {
        (AnnotationLevel::ManifestDescriptor, rest)
    } else if let Some(rest) = rest.strip_prefix("-index-descriptor") {
        (AnnotationLevel::IndexDescriptor, rest)
    } else if let Some(rest) = rest.strip_prefix("-manifest") {
        (AnnotationLevel::Manifest, rest)
    } else if let Some(rest) = rest.strip_prefix("-index") {
        (AnnotationLevel::Index, rest)
    } else {
        (AnnotationLevel::Manifest, rest)
    };
    let (platform, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (platform, rest) = rest.split_once(']')?;
            (Some(platform.parse().ok()?), rest)
        }
        None => (None, rest),
    };
    let key = rest.strip_prefix('.').filter(|key| !key.is_empty())?;
    Some(OutputAnnotation {
        level,
        platform,
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// Cuts one CSV record (RFC 4180) into its fields.
fn split_csv(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => split_quoted(quoted)?,
            None => match rest.split_once(',') {
                Some((field, after)) => (field.to_owned(), Some(after)),
                None => (rest.to_owned(), None),
            },
        };
        if !rest.starts_with('"') && field.contains('"') {
            return None;
        }
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

fn split_quoted(text: &str) -> Option<(String, Option<&str>)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if after.is_empty() {
            return Some((field, None));
        } else {
            return Some((field, Some(after.strip_prefix(',')?)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> OutputSpec {
        OutputSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn path(text: &str) -> Option<Destination> {
        Some(Destination::Path(PathBuf::from(text)))
    }

    #[test]
    fn short_forms_are_a_directory_and_a_tar_on_stdout() {
        assert_eq!(parse("out").kind, OutputKind::Local);
        assert_eq!(parse("out").dest, path("out"));
        assert_eq!(parse("a=b").dest, path("a=b"));
        assert_eq!(parse("-").kind, OutputKind::Tar);
        assert_eq!(parse("-").dest, Some(Destination::Stdout));
        assert_eq!(parse("out").rooted_at(Path::new("/w")).dest, path("/w/out"));
        assert_eq!(parse("/out").rooted_at(Path::new("/w")).dest, path("/out"));
    }

    #[test]
    fn every_attribute_is_typed() {
        let spec = parse(
            "type=oci,dest=x.tar,compression=zstd,compression-level=19,oci-mediatypes=false,\
             force-compression=true,\"name=a:1,b:2\",annotation-index[linux/arm64].K.x=V",
        );
        assert_eq!(spec.dest, path("x.tar"));
        assert_eq!(spec.compression, Some(Compression::Zstd));
        assert_eq!(spec.compression_level, Some(19));
        assert_eq!(spec.media_types, MediaTypes::Docker);
        assert!(spec.force_compression);
        assert_eq!(spec.names, ["a:1", "b:2"]);
        let annotation = &spec.annotations[0];
        assert_eq!(annotation.level, AnnotationLevel::Index);
        assert_eq!(annotation.platform, "linux/arm64".parse().ok());
        assert_eq!(
            (annotation.key.as_str(), annotation.value.as_str()),
            ("K.x", "V")
        );
        assert_eq!(
            parse("type=oci,dest=d,tar=false").form,
            LayoutForm::Directory
        );
    }

    #[test]
    fn registry_is_an_image_that_is_pushed() {
        assert_eq!(parse("type=registry").push, PushMode::ByTag);
        assert_eq!(parse("type=image").push, PushMode::No);
        assert_eq!(parse("type=image,push=true").push, PushMode::ByTag);
        for text in [
            "type=image,push-by-digest=true,push=true",
            "push=true,push-by-digest=1,type=image",
        ] {
            assert_eq!(parse(text).push, PushMode::ByDigest, "{text}");
        }
    }

    #[test]
    fn nothing_is_passed_over() {
        for (text, message) in [
            ("type=ocy,dest=x", "output type `ocy` is not known"),
            ("type=local", "output type `local` needs dest=PATH"),
            ("type=local,dest=-", "output type `local` needs dest=PATH"),
            ("type=oci,tar=false", "output type `oci` needs dest=PATH"),
            ("type=oci,dst=x", "output type `oci` has no attribute `dst`"),
            (
                "type=local,dest=x,compression=gzip",
                "output type `local` has no attribute `compression`",
            ),
            (
                "type=oci,tar=maybe",
                "output attribute `tar` cannot be `maybe`: it is true or false",
            ),
            (
                "type=oci,compression=lz4",
                "output attribute `compression` cannot be `lz4`: it is uncompressed, gzip or zstd",
            ),
            (
                "type=oci,compression-level=10",
                "output attribute `compression-level` cannot be `10`: it is 0 to 9 for gzip, 0 to 22 for zstd",
            ),
            (
                "type=local,dest=x,mode=delete",
                "output attribute `mode=delete` is not supported",
            ),
            (
                "type=image,prefer-nondist-layers=true",
                "output attribute `prefer-nondist-layers=true` is not supported",
            ),
            (
                "type=image,annotation=x",
                "output attribute `annotation=x` is not supported",
            ),
            (
                "dest=x,push=true",
                "output `dest=x,push=true` has no type: write type=local|tar|oci|docker|image|registry|cacheonly",
            ),
            (
                "type=oci,\"dest=x",
                "output `type=oci,\"dest=x` is not a list of key=value separated by commas",
            ),
            (
                "type=oci,x",
                "output `type=oci,x` is not a list of key=value separated by commas",
            ),
        ] {
            assert_eq!(OutputSpec::parse(text).unwrap_err().to_string(), message);
        }
        let hints = |text| OutputSpec::parse(text).unwrap_err().hints();
        assert_eq!(hints("type=ocy"), ["did you mean `oci`?"]);
        assert_eq!(hints("type=oci,dst=x"), ["did you mean `dest`?"]);
    }
}
