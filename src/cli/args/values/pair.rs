//! Names with values.

use super::{AnnotationArg, KeyValue, NamedContext, ValueError, csv};
use crate::pipeline::request::{Annotation, AnnotationLevel};
use crate::platform::Platform;
use crate::reference::Reference;

/// `--build-arg NAME[=VALUE]`
pub fn build_arg(text: &str) -> Result<KeyValue, ValueError> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(ValueError::EmptyKey(text.to_owned()));
    }
    let key = key.to_owned();
    Ok(KeyValue { key, value })
}

/// `--label KEY[=VALUE]`; without a value it is empty.
pub fn label(text: &str) -> Result<KeyValue, ValueError> {
    let KeyValue { key, value } = build_arg(text)?;
    let value = Some(value.unwrap_or_default());
    Ok(KeyValue { key, value })
}

/// `--annotation [type[platform],…:]key=value` (buildx, `ParseAnnotations`).
pub fn annotations(text: &str) -> Result<AnnotationArg, ValueError> {
    if text.is_empty() {
        return Ok(AnnotationArg(Vec::new()));
    }
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| ValueError::Annotation(text.to_owned()))?;
    let (types, key) = key.split_once(':').unwrap_or(("manifest", key));
    if key.is_empty() {
        return Err(ValueError::EmptyKey(text.to_owned()));
    }
    let annotation = |part: &str| {
        let (level, platform) = annotation_type(part)?;
        Ok(Annotation {
            level,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    };
    let list: Result<_, _> = types.split(',').map(annotation).collect();
    list.map(AnnotationArg)
}

fn annotation_type(text: &str) -> Result<(AnnotationLevel, Option<Platform>), ValueError> {
    let malformed = || ValueError::AnnotationType(text.to_owned());
    let (name, platform) = match text.split_once('[') {
        Some((name, rest)) => {
            let platform = rest.strip_suffix(']').ok_or_else(malformed)?;
            (name, Some(platform.parse().map_err(|_| malformed())?))
        }
        None => (text, None),
    };
    let level = match name {
        "manifest" => AnnotationLevel::Manifest,
        "index" => AnnotationLevel::Index,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        _ if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') => {
            return Err(malformed());
        }
        _ => return Err(ValueError::UnknownAnnotationType(name.to_owned())),
    };
    Ok((level, platform))
}

/// `--build-context NAME=VALUE` (buildx, `ParseContextNames`).
pub fn named_context(text: &str) -> Result<NamedContext, ValueError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| ValueError::Context(text.to_owned()))?;
    let bad_name = || ValueError::ContextName(name.to_owned());
    if value.is_empty() {
        return Err(ValueError::Context(text.to_owned()));
    }
    let lower = name.to_lowercase();
    let reference: Reference = lower.parse().map_err(|_| bad_name())?;
    let familiar = reference.familiar();
    let name = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    if name == "context" || name == "scratch" {
        return Err(bad_name());
    }
    let (name, value) = (name.to_owned(), value.to_owned());
    Ok(NamedContext { name, value })
}

/// `--attest`: only what turns attestations off can be honoured.
pub fn attestation(text: &str) -> Result<String, ValueError> {
    let mut kind = "";
    let mut off = false;
    let fields = csv::fields(text)?;
    for field in &fields {
        let (key, value) = csv::pair(field)?;
        match key.as_str() {
            "type" => kind = value,
            "disabled" => off = value == "true" || value == "1",
            _ => {}
        }
    }
    match (kind, off) {
        (_, true) => Ok(text.to_owned()),
        ("sbom", false) => Err(ValueError::Unsupported("an SBOM attestation")),
        _ => Err(ValueError::Unsupported("a provenance attestation")),
    }
}

/// `--provenance`
pub fn provenance(text: &str) -> Result<String, ValueError> {
    switched_off(text, "a provenance attestation")
}

/// `--sbom`
pub fn sbom(text: &str) -> Result<String, ValueError> {
    switched_off(text, "an SBOM attestation")
}

/// `--policy`
pub fn policy(text: &str) -> Result<String, ValueError> {
    switched_off(text, "a build policy")
}

fn switched_off(text: &str, what: &'static str) -> Result<String, ValueError> {
    match text {
        "false" | "0" | "disabled=true" | "disabled" => Ok(text.to_owned()),
        _ => Err(ValueError::Unsupported(what)),
    }
}

#[cfg(test)]
mod tests {
    use AnnotationLevel::{Index, Manifest};

    use super::*;

    #[test]
    fn arguments_may_have_no_value() {
        let pair = |key: &str, value: Option<&str>| KeyValue {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        assert_eq!(build_arg("A"), Ok(pair("A", None)));
        assert_eq!(build_arg("A="), Ok(pair("A", Some(""))));
        assert_eq!(build_arg("A=b=c"), Ok(pair("A", Some("b=c"))));
        assert_eq!(label("A"), Ok(pair("A", Some(""))));
        assert!(build_arg("=x").is_err() && label("").is_err());
    }

    #[test]
    fn annotations_name_their_documents() {
        let levels = |text: &str| -> Vec<(AnnotationLevel, Option<String>)> {
            let list = annotations(text).unwrap().0;
            assert!(list.iter().all(|one| one.key == "k" && one.value == "v=w"));
            list.into_iter()
                .map(|one| (one.level, one.platform.map(|platform| platform.to_string())))
                .collect()
        };
        assert_eq!(levels("k=v=w"), [(Manifest, None)]);
        assert_eq!(levels("index:k=v=w"), [(Index, None)]);
        assert_eq!(
            levels("index,manifest[linux/amd64]:k=v=w"),
            [(Index, None), (Manifest, Some("linux/amd64".to_owned()))]
        );
        for bad in [
            "k",
            "x:k=v",
            "manifest[:k=v",
            "manifest[a/b/c/d]:k=v",
            ":k=v",
            "index:=v",
        ] {
            assert!(annotations(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn context_names_are_image_names() {
        for (text, name) in [
            ("alpine=x", "alpine"),
            ("docker.io/library/alpine:latest=x", "alpine"),
            ("Alpine:3=x", "alpine:3"),
            ("a/b=x", "a/b"),
        ] {
            assert_eq!(named_context(text).unwrap().name, name, "{text}");
        }
        for bad in ["x", "=x", "x=", "a b=x", "context=x", "scratch=x"] {
            assert!(named_context(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attestations_can_only_be_switched_off() {
        assert!(provenance("false").is_ok() && sbom("false").is_ok());
        assert!(attestation("type=provenance,disabled=true").is_ok());
        for bad in ["type=sbom", "type=provenance,mode=max", "sbom"] {
            assert!(attestation(bad).is_err(), "{bad}");
        }
        assert!(provenance("mode=max").is_err() && policy("filename=x").is_err());
    }
}
