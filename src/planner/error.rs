//! What can go wrong in planning that has no place in the Dockerfile, or comes from outside.
//!
//! What the user wrote wrong in the file is a [`Diagnostic`](crate::diagnostic::Diagnostic) with its
//! place.

use std::error::Error;
use std::fmt;

use crate::failure::{Explain, Failure, Kind};

/// A planning error without a place of its own.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// `--target` names nothing.
    #[error("target stage \"{name}\" could not be found")]
    TargetNotFound {
        /// The name asked for.
        name: String,
        /// The nearest stage name.
        suggestion: Option<String>,
    },
    /// The file has no FROM.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// `SOURCE_DATE_EPOCH` is not a whole number of seconds.
    #[error("invalid SOURCE_DATE_EPOCH: {value}")]
    InvalidEpoch {
        /// The value given.
        value: String,
    },
    /// `SOURCE_DATE_EPOCH` names a context or a stage.
    #[error("SOURCE_DATE_EPOCH={value} asks for the time of a source, which is not supported yet")]
    EpochOfSource {
        /// The value given.
        value: String,
    },
    /// A named context of a kind that only another frontend can hand in.
    #[error("named context `{name}` has the value `{value}`, whose kind is not supported")]
    ContextKind {
        /// The context.
        name: String,
        /// Its value.
        value: String,
    },
    /// `# syntax=` or `BUILDKIT_SYNTAX` names a frontend that is not Docker's Dockerfile.
    #[error("syntax `{value}` is not supported: this program speaks Docker's Dockerfile only")]
    Syntax {
        /// The image of the frontend.
        value: String,
    },
    /// An image could not be resolved.
    #[error("failed to resolve image `{name}` ({place})")]
    Image {
        /// The name as the Dockerfile has it.
        name: String,
        /// `Dockerfile:3`
        place: String,
        /// The nearest stage name, in case one was meant.
        suggestion: Option<String>,
        /// Why.
        #[source]
        source: Cause,
    },
}

/// The error of another room, kept whole.
#[derive(Debug)]
pub struct Cause(pub Box<dyn Explain>);

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PlanError {
    /// Wraps the failure of a port; what has a place of its own passes through.
    pub(crate) fn wrap(failure: Failure, make: impl FnOnce(Cause) -> Self) -> Failure {
        match failure {
            Failure::Room(error) => make(Cause(error)).into(),
            placed @ (Failure::Diagnosed(_) | Failure::Placed { .. }) => placed,
        }
    }
}

impl Explain for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Image { source, .. } => source.0.kind(),
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        let did_you_mean = |suggestion: &Option<String>| {
            let sentence = |name: &String| format!("did you mean `{name}`?");
            suggestion.iter().map(sentence).collect::<Vec<_>>()
        };
        match self {
            Self::TargetNotFound { suggestion, .. } => did_you_mean(suggestion),
            Self::NoStages => vec!["start a stage with `FROM image` or `FROM scratch`".to_owned()],
            Self::InvalidEpoch { .. } => {
                vec![
                    "give whole seconds since 1970, as `git log -1 --format=%ct` prints".to_owned(),
                ]
            }
            Self::EpochOfSource { .. } => vec![
                "give the number itself, or `--timestamp=git` for the commit of the context"
                    .to_owned(),
            ],
            Self::ContextKind { .. } => vec![
                "give a directory, an archive, a git address, docker-image:// or oci-layout://"
                    .to_owned(),
            ],
            Self::Syntax { .. } => {
                vec!["remove the `# syntax=` line, or name `docker/dockerfile:1`".to_owned()]
            }
            Self::Image {
                suggestion, source, ..
            } => {
                let mut hints = did_you_mean(suggestion);
                hints.extend(source.0.hints());
                hints
            }
        }
    }
}
