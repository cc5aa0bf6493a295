//! What the planner asks of the outside world.

use crate::cache::{Key, Record};
use crate::digest::{DiffId, Digest};
use crate::failure::Failure;
use crate::image::{Descriptor, ImageConfig};
use crate::platform::Platform;
use crate::reference::Reference;

use super::op::{CopyOp, SelectionDigest};

/// A layer of a base image: named by both digests, fetched by nobody yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseLayer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The blob in its registry or layout.
    pub descriptor: Descriptor,
}

/// A base image found.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// The normalised name, if it is one of a registry.
    pub reference: Option<Reference>,
    /// The manifest of the wanted platform.
    pub manifest: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, bottom first.
    pub layers: Vec<BaseLayer>,
}

/// Finds images by name.
pub trait ImageResolver {
    /// Finds the image `name` (as the Dockerfile has it, or `docker-image://…`, `oci-layout://…` of a
    /// named context) for a platform. Called once per name and platform.
    fn resolve(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, Failure>;

    /// Finds many images, in order; one that asks a network does so at the same time for all. The
    /// planner asks in waves: one for all stages, another for what ONBUILD triggers added.
    fn resolve_all(&self, wanted: &[(String, Platform)]) -> Vec<Result<ResolvedImage, Failure>> {
        wanted
            .iter()
            .map(|(name, platform)| self.resolve(name, platform))
            .collect()
    }
}

/// A part of a context whose digest is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// What a COPY or ADD takes; its `from` is a context.
    Copy(&'a CopyOp),
    /// What a bind mount shows.
    Mount {
        /// The name of the context; empty is the main one.
        context: &'a str,
        /// What below it; `/` is all.
        source: &'a str,
    },
}

/// Knows the build contexts.
pub trait ContextProbe {
    /// The value of the named context, exactly as given on the command line; `name::platform` is tried
    /// first by the planner.
    fn named(&self, name: &str) -> Option<String>;

    /// The digest of all that `op` (whose `from` is a context) takes: its paths, after
    /// `.dockerignore` and `--exclude`; URLs and git trees by what they are now.
    fn selection(&self, op: &CopyOp) -> Result<SelectionDigest, Failure>;

    /// The digest of what a bind mount of a context takes.
    fn mounted(&self, context: &str, source: &str) -> Result<SelectionDigest, Failure>;

    /// The digests of many parts, in order; one that reads files does so in parallel.
    fn select_all(&self, wanted: &[Wanted<'_>]) -> Vec<Result<SelectionDigest, Failure>> {
        wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Copy(op) => self.selection(op),
                Wanted::Mount { context, source } => self.mounted(context, source),
            })
            .collect()
    }
}

/// Knows what was built before.
pub trait CacheProbe {
    /// The record of a key, if its layer can be had (here or in a remote).
    fn probe(&self, key: &Key) -> Option<Record>;

    /// The records of many keys, in order; a remote is asked once, not once a key.
    fn probe_all(&self, keys: &[Key]) -> Vec<Option<Record>> {
        keys.iter().map(|key| self.probe(key)).collect()
    }

    /// Records of the same operation with other inputs, newest first: what `--explain` compares
    /// with, and whether waiting for a content key can pay.
    fn similar(&self, operation: &Key) -> Vec<Record>;
}
