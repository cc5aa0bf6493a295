//! `# syntax=`: which frontends we stand in for.

use std::collections::BTreeMap;

use crate::parser::ast::Dockerfile;
use crate::reference::Reference;

use super::error::PlanError;

/// Whether a repository has the frontend whose language [`crate::parser`] speaks: Docker's own, or
/// a mirror of it on any host.
fn is_dockers(name: &str) -> bool {
    name.ends_with("/docker/dockerfile")
        || name.ends_with("/docker/dockerfile-upstream")
        || name == "docker.io/moby/dockerfile"
}

/// Fails if the file, or `--build-arg BUILDKIT_SYNTAX`, wants a frontend that is not Docker's.
pub(crate) fn check(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
) -> Result<(), PlanError> {
    let directive = dockerfile.directives.syntax.as_ref();
    let value = match (build_args.get("BUILDKIT_SYNTAX"), directive) {
        (Some(value), _) => value.as_str(),
        (None, Some(directive)) => directive.value.as_str(),
        (None, None) => return Ok(()),
    };
    // The first word is the image, the rest its command line.
    match value.split_whitespace().next() {
        None | Some("dockerfile.v0") => Ok(()),
        Some(image) => match image.parse::<Reference>() {
            Ok(reference) if is_dockers(&reference.name()) => Ok(()),
            _ => Err(PlanError::Syntax {
                value: image.to_owned(),
            }),
        },
    }
}
