//! From text to [`OutputSpec`].

use std::path::PathBuf;

use super::csv::split_csv;
use super::error::OutputSpecError;
use super::spec::{
    AnnotationLevel, Destination, LayoutForm, MediaTypes, OutputAnnotation, OutputKind, OutputSpec,
    PushMode,
};
use crate::diagnostic::suggest;
use crate::image::Compression;

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
                    .collect();
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
            "mode" => {
                self.delete = match value {
                    "copy" => false,
                    "delete" => true,
                    _ => {
                        return Err(OutputSpecError::Value {
                            key: "mode".to_owned(),
                            value: value.to_owned(),
                            expected: "copy or delete",
                        });
                    }
                }
            }
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
