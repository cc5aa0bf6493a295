//! Images and named contexts: what a name that is no stage stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Span;
use crate::failure::Failure;
use crate::platform::Platform;
use crate::reference::Reference;

use super::error::PlanError;
use super::ports::{ContextProbe, ImageResolver, ResolvedImage};
use super::stage::StageTable;
use super::words::Words;

/// The outside world of planning.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Finds images.
    pub images: &'a dyn ImageResolver,
    /// Knows the contexts.
    pub contexts: &'a dyn ContextProbe,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("World").finish_non_exhaustive()
    }
}

/// A name that is no stage, wanted for a platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExternalId {
    /// As the Dockerfile has it, expanded; for a stage that a context replaces, the stage's name.
    pub(crate) name: String,
    /// The platform.
    pub(crate) platform: Platform,
}

/// What it stands for.
#[derive(Clone, Debug)]
pub(crate) enum External {
    /// An image.
    Image {
        /// What to show: the name with its digest.
        name: String,
        /// The image.
        image: Arc<ResolvedImage>,
    },
    /// The files of a named context; the name under which it was given.
    Files(String),
    /// `docker-image://scratch`
    Scratch,
}

/// What is known about names outside the file, shared by all target platforms.
#[derive(Debug)]
pub(crate) struct Externals<'a> {
    world: World<'a>,
    /// Images by the resolver's name and platform: each is asked for once.
    images: BTreeMap<(String, Platform), Arc<ResolvedImage>>,
    found: BTreeMap<ExternalId, External>,
    /// Whether an image that cannot be found is left out instead of being an error.
    forgiving: bool,
}

impl<'a> Externals<'a> {
    /// Knows nothing yet.
    pub(crate) fn new(world: World<'a>) -> Self {
        Self {
            world,
            images: BTreeMap::new(),
            found: BTreeMap::new(),
            forgiving: false,
        }
    }

    /// Knows nothing yet, and does not mind: images that cannot be found stay unknown.
    pub(crate) fn forgiving(world: World<'a>) -> Self {
        Self {
            forgiving: true,
            ..Self::new(world)
        }
    }

    /// Whether a named context replaces the stage of this name.
    pub(crate) fn replaces_stage(&self, name: &str, platform: &Platform) -> bool {
        self.context(name, platform).is_some()
    }

    /// What `id` stands for; it was [required](Self::require) before.
    pub(crate) fn find(&self, id: &ExternalId) -> Option<&External> {
        self.found.get(id)
    }

    /// Finds out what names stand for, all images at once. `wanted` tells for each name where it is
    /// used first.
    pub(crate) fn require(
        &mut self,
        wanted: &BTreeMap<ExternalId, Span>,
        table: &StageTable<'_>,
        words: &Words,
    ) -> Result<(), Failure> {
        let mut images = Vec::new();
        for (id, span) in wanted {
            if self.found.contains_key(id) {
                continue;
            }
            match self.classify(id, *span, words)? {
                Classified::Known(external) => {
                    self.found.insert(id.clone(), external);
                }
                Classified::Image(name) => images.push((id, *span, name)),
            }
        }
        let mut asked: Vec<(String, Platform)> = images
            .iter()
            .map(|(id, _, name)| (name.clone(), id.platform.clone()))
            .filter(|pair| !self.images.contains_key(pair))
            .collect();
        asked.sort();
        asked.dedup();
        if !asked.is_empty() {
            let answers = self.world.images.resolve_all(&asked);
            for (pair, answer) in asked.into_iter().zip(answers) {
                if self.forgiving && answer.is_err() {
                    continue;
                }
                let image = answer.map_err(|failure| {
                    let first = images.iter().find(|(_, _, name)| *name == pair.0);
                    let (name, span) = first.map_or((pair.0.as_str(), Span::default()), |found| {
                        (found.0.name.as_str(), found.1)
                    });
                    PlanError::wrap(failure, |source| PlanError::Image {
                        name: name.to_owned(),
                        place: words.place(span),
                        suggestion: table.suggestion(name),
                        source,
                    })
                })?;
                self.images.insert(pair, Arc::new(image));
            }
        }
        for (id, _, name) in images {
            if let Some(image) = self.images.get(&(name, id.platform.clone())) {
                let external = External::Image {
                    name: shown_name(&id.name, image),
                    image: Arc::clone(image),
                };
                self.found.insert(id.clone(), external);
            }
        }
        Ok(())
    }

    fn classify(&self, id: &ExternalId, span: Span, words: &Words) -> Result<Classified, Failure> {
        if let Some((name, value)) = self.context(&id.name, &id.platform) {
            return classify_context(name, value);
        }
        if let Err(error) = id.name.parse::<Reference>() {
            let message = format!("failed to parse stage name \"{}\": {error}", id.name);
            return Err(words.error("invalid-image-name", span, message).into());
        }
        Ok(Classified::Image(id.name.clone()))
    }

    /// The named context that `name` means, and its value: `name::platform` first, Docker Hub's
    /// short form, and without `:latest`.
    fn context(&self, name: &str, platform: &Platform) -> Option<(String, String)> {
        if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return None;
        }
        let short = name.parse::<Reference>().map(|reference| {
            let familiar = reference.familiar();
            familiar
                .strip_suffix(":latest")
                .unwrap_or(&familiar)
                .to_owned()
        });
        let mut candidates = vec![name.to_owned()];
        candidates.extend(short.ok().filter(|short| short != name));
        candidates
            .iter()
            .map(|name| format!("{name}::{platform}"))
            .chain(candidates.iter().cloned())
            .find_map(|name| {
                let value = self.world.contexts.named(&name)?;
                Some((name, value))
            })
    }
}

enum Classified {
    Known(External),
    /// The name for the resolver.
    Image(String),
}

fn classify_context(name: String, value: String) -> Result<Classified, Failure> {
    if value == "docker-image://scratch" {
        return Ok(Classified::Known(External::Scratch));
    }
    if value.starts_with("docker-image://") || value.starts_with("oci-layout://") {
        return Ok(Classified::Image(value));
    }
    if value.starts_with("target:") || value.starts_with("input:") {
        return Err(PlanError::ContextKind { name, value }.into());
    }
    Ok(Classified::Known(External::Files(name)))
}

/// `docker.io/library/debian:12@sha256:…`
fn shown_name(written: &str, image: &ResolvedImage) -> String {
    match &image.reference {
        Some(reference) if reference.digest.is_some() => reference.to_string(),
        Some(reference) => format!("{reference}@{}", image.manifest),
        None => format!("{written}@{}", image.manifest),
    }
}
