//! `--cache-from` and `--cache-to`, in Docker's words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::failure::{Explain, Kind};
use crate::image::Compression;
use crate::reference::Reference;

/// Which option the text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `--cache-from`
    Import,
    /// `--cache-to`
    Export,
}

/// `mode=` of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Only layers of the final image.
    #[default]
    Min,
    /// Layers of all stages.
    Max,
}

/// Where a shared cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// A repository of a registry.
    Registry {
        /// The repository; its tag, if any, is not used: each record has its own.
        reference: Reference,
        /// `registry.insecure=true`: plain HTTP, or TLS without verification.
        insecure: bool,
    },
    /// A directory, as it was given: the command line makes it absolute.
    Local {
        /// `src` or `dest`.
        directory: PathBuf,
    },
}

/// One `--cache-from` or `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSpec {
    /// Where it is.
    pub kind: RemoteKind,
    /// What is exported.
    pub mode: CacheMode,
    /// Whether a failing export is only a warning.
    pub ignore_error: bool,
    /// How exported layers are compressed; `None` means as the image's.
    pub compression: Option<Compression>,
    /// `compression-level`
    pub compression_level: Option<i32>,
    /// `force-compression`: convert layers that exist in another form.
    pub force_compression: bool,
    /// Attributes that Docker has and that mean nothing here, to be named in a notice: a cache here
    /// is one record per key and has no manifest of its own.
    pub without_effect: Vec<String>,
}

/// Why a text is not a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRemoteError {
    /// Unbalanced quotes.
    #[error("`{text}` is not a list of KEY=VALUE")]
    Syntax {
        /// The text.
        text: String,
    },
    /// No `type=`.
    #[error("type required form> \"type=value\"")]
    NoType,
    /// A kind that Docker has and this program has not yet.
    #[error("the cache type `{kind}` is not supported yet")]
    NotYet {
        /// Which.
        kind: String,
    },
    /// A kind that nobody has.
    #[error("unknown cache type `{kind}`")]
    UnknownType {
        /// Which.
        kind: String,
    },
    /// An attribute that the kind does not have.
    #[error("the cache type `{kind}` has no attribute `{name}`")]
    UnknownAttribute {
        /// The kind.
        kind: &'static str,
        /// The attribute.
        name: String,
    },
    /// An attribute that must be there.
    #[error("the cache type `{kind}` needs `{name}=…`")]
    Required {
        /// The kind.
        kind: &'static str,
        /// The attribute.
        name: &'static str,
    },
    /// An attribute with a value it cannot have.
    #[error("invalid value `{value}` of `{name}`: expected {expected}")]
    Value {
        /// The attribute.
        name: String,
        /// The value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

impl Explain for ParseRemoteError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotYet { .. } | Self::UnknownType { .. } | Self::NoType => {
                "use type=registry,ref=HOST/NAME or type=local,src=DIR (to import), dest=DIR (to \
                 export)"
            }
            Self::UnknownAttribute {
                kind: "registry", ..
            } => REGISTRY_HINT,
            Self::UnknownAttribute { .. } => LOCAL_HINT,
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

const REGISTRY_HINT: &str = "it has ref, mode, ignore-error, compression, compression-level, \
                             force-compression, oci-mediatypes, image-manifest, registry.insecure";
const LOCAL_HINT: &str = "it has src or dest, mode, ignore-error, compression, compression-level, \
                          force-compression, oci-mediatypes, image-manifest, tag, digest, reset";

impl RemoteSpec {
    /// Parses the value of an option. Words without `=` are repositories, one cache each, as in
    /// Docker: `--cache-from me/app,me/lib`.
    pub fn parse(text: &str, direction: Direction) -> Result<Vec<Self>, ParseRemoteError> {
        let fields = split(text).ok_or_else(|| ParseRemoteError::Syntax {
            text: text.to_owned(),
        })?;
        if fields.iter().all(|field| !field.contains('=')) {
            let reference = |field: &String| Ok(Self::of(registry_kind(field, false)?));
            return fields.iter().map(reference).collect();
        }
        let mut attributes = BTreeMap::new();
        for field in &fields {
            let Some((name, value)) = field.split_once('=') else {
                let text = field.clone();
                return Err(ParseRemoteError::Syntax { text });
            };
            attributes.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
        Ok(vec![Self::from_attributes(attributes, direction)?])
    }

    fn of(kind: RemoteKind) -> Self {
        Self {
            kind,
            mode: CacheMode::Min,
            ignore_error: false,
            compression: None,
            compression_level: None,
            force_compression: false,
            without_effect: Vec::new(),
        }
    }

    fn from_attributes(
        mut attributes: BTreeMap<String, String>,
        direction: Direction,
    ) -> Result<Self, ParseRemoteError> {
        let Some(kind) = attributes.remove("type") else {
            return Err(ParseRemoteError::NoType);
        };
        let (kind, name) = match kind.as_str() {
            "registry" => (take_registry(&mut attributes)?, "registry"),
            "local" => (take_local(&mut attributes, direction)?, "local"),
            "inline" | "gha" | "s3" | "azblob" => return Err(ParseRemoteError::NotYet { kind }),
            _ => return Err(ParseRemoteError::UnknownType { kind }),
        };
        let mut spec = Self::of(kind);
        for (attribute, value) in attributes {
            spec.set(name, attribute, value)?;
        }
        Ok(spec)
    }

    fn set(
        &mut self,
        kind: &'static str,
        name: String,
        value: String,
    ) -> Result<(), ParseRemoteError> {
        match (name.as_str(), kind) {
            ("mode", _) => {
                self.mode = match value.as_str() {
                    "min" => CacheMode::Min,
                    "max" => CacheMode::Max,
                    _ => return Err(invalid(name, value, "min or max")),
                };
            }
            ("ignore-error", _) => self.ignore_error = boolean(name, value)?,
            ("compression", _) => {
                self.compression = Some(match value.as_str() {
                    "uncompressed" => Compression::Uncompressed,
                    "gzip" => Compression::Gzip,
                    "zstd" => Compression::Zstd,
                    _ => return Err(invalid(name, value, "uncompressed, gzip or zstd")),
                });
            }
            ("compression-level", _) => {
                let level = value
                    .parse()
                    .map_err(|_| invalid(name, value, "a number"))?;
                self.compression_level = Some(level);
            }
            ("force-compression", _) => self.force_compression = boolean(name, value)?,
            ("image-manifest" | "oci-mediatypes", _) | ("tag" | "digest" | "reset", "local") => {
                self.without_effect.push(name);
            }
            _ => return Err(ParseRemoteError::UnknownAttribute { kind, name }),
        }
        Ok(())
    }
}

fn take_registry(
    attributes: &mut BTreeMap<String, String>,
) -> Result<RemoteKind, ParseRemoteError> {
    let (kind, name) = ("registry", "ref");
    let reference = attributes.remove(name).filter(|value| !value.is_empty());
    let reference = reference.ok_or(ParseRemoteError::Required { kind, name })?;
    let name = "registry.insecure";
    let insecure = match attributes.remove(name) {
        Some(value) => boolean(name.to_owned(), value)?,
        None => false,
    };
    registry_kind(&reference, insecure)
}

fn registry_kind(reference: &str, insecure: bool) -> Result<RemoteKind, ParseRemoteError> {
    let parsed = reference.trim().parse();
    let reference =
        parsed.map_err(|_| invalid("ref".to_owned(), reference.to_owned(), "an image name"))?;
    Ok(RemoteKind::Registry {
        reference,
        insecure,
    })
}

fn take_local(
    attributes: &mut BTreeMap<String, String>,
    direction: Direction,
) -> Result<RemoteKind, ParseRemoteError> {
    let kind = "local";
    let name = match direction {
        Direction::Import => "src",
        Direction::Export => "dest",
    };
    let directory = attributes.remove(name).filter(|value| !value.is_empty());
    let directory = directory.ok_or(ParseRemoteError::Required { kind, name })?;
    let directory = PathBuf::from(directory);
    Ok(RemoteKind::Local { directory })
}

fn invalid(name: String, value: String, expected: &'static str) -> ParseRemoteError {
    ParseRemoteError::Value {
        name,
        value,
        expected,
    }
}

/// Go's `strconv.ParseBool`.
fn boolean(name: String, value: String) -> Result<bool, ParseRemoteError> {
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(name, value, "true or false")),
    }
}

/// Splits one line of CSV (RFC 4180): a field that begins with a quote ends with one and may hold
/// commas; two quotes in it are one.
fn split(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if field.trim().is_empty() {
            return None;
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}
