//! COPY and ADD: sources named, destinations placed, one layer written. Nothing is mounted, and the
//! base is not unpacked: both sides are trees.

mod archive;
mod error;
mod place;
mod select;
mod source;

pub use error::CopyError;

use place::{Destination, Layout, Placer};
use source::Sources;

use super::Executor;
use super::chain::Chain;
use super::contents::write_both;
use super::error::ExecuteError;
use super::step::{Made, Receipt};
use crate::clock::Epoch;
use crate::digest::ContentDigest;
use crate::failure::Failure;
use crate::layer;
use crate::pattern::Ignore;
use crate::planner::graph::Step;
use crate::planner::key;
use crate::planner::op::{CopyInput, CopyOp, SelectionDigest, Source, Unpack, WorkdirOp};
use crate::tree::{Owner, Tree, View, resolve_owner, selection_digest};

/// The digest of all that an operation takes from a tree: what its definition key holds of a
/// context, and what its content key holds of a stage.
pub fn selection(op: &CopyOp, view: &View) -> Result<SelectionDigest, CopyError> {
    let excludes = excludes(op)?;
    let mut parts = Vec::new();
    for input in &op.inputs {
        let CopyInput::Path(path) = input else {
            continue;
        };
        parts.extend_from_slice(&(path.len() as u64).to_le_bytes());
        parts.extend_from_slice(path.as_bytes());
        for named in source::named(view, 0, path, op.parents, excludes.as_ref())? {
            let name = named.given.as_bytes();
            parts.extend_from_slice(&(name.len() as u64).to_le_bytes());
            parts.extend_from_slice(name);
            parts.extend_from_slice(selection_digest(named.select()).as_bytes());
        }
    }
    Ok(SelectionDigest(ContentDigest::of(&parts)))
}

fn excludes(op: &CopyOp) -> Result<Option<Ignore>, CopyError> {
    if op.excludes.is_empty() {
        return Ok(None);
    }
    Ignore::new(&op.excludes)
        .map(Some)
        .map_err(|source| CopyError::Pattern {
            pattern: op.excludes.join(", "),
            source,
        })
}

impl Executor<'_> {
    /// Copies files on top of `base`.
    pub(crate) fn copy(
        &self,
        step: &Step,
        op: &CopyOp,
        base: &Chain,
        receipt: &mut Receipt,
    ) -> Result<Made, Failure> {
        let mut sources = Sources::gather(self, op)?;
        let below = if op.link {
            None
        } else {
            Some(self.faces.view(base)?)
        };
        let owner = match (&op.chown, &below) {
            (None, _) => None,
            (Some(owner), Some(view)) => Some(chown(view, owner)?),
            (Some(owner), None) => Some(chown(&View::new(), owner)?),
        };
        let mut target = Placer::new(Destination {
            base: below.as_ref(),
            path: &op.destination,
            is_directory: op.destination_is_directory,
            owner: owner.map(|owner| (owner.uid, owner.gid)),
            chmod: op.chmod.as_ref(),
            epoch: step.epoch,
        })?;
        sources.place(self, op, excludes(op)?.as_ref(), &mut target)?;
        let layout = target.finish()?;
        self.write_placed((step, base), layout, &sources, receipt)
    }

    /// Makes a directory and what leads to it, owned by the user in force.
    pub(crate) fn workdir(
        &self,
        step: &Step,
        op: &WorkdirOp,
        base: &Chain,
        receipt: &mut Receipt,
    ) -> Result<Made, Failure> {
        let view = self.faces.view(base)?;
        let owner = if op.user.is_empty() {
            Owner::default()
        } else {
            resolve_owner(&view, &op.user).map_err(|source| ExecuteError::WorkdirOwner {
                path: op.path.clone(),
                source,
            })?
        };
        let mut target = Placer::new(Destination {
            base: Some(&view),
            path: &op.path,
            is_directory: true,
            owner: Some((owner.uid, owner.gid)),
            chmod: None,
            epoch: step.epoch,
        })?;
        target.make_destination()?;
        let layout = target.finish()?;
        self.write_placed((step, base), layout, &Sources::none(), receipt)
    }

    /// Copies the contents of a directory of a source into an empty directory of the host.
    pub(crate) fn copy_contents(
        &self,
        from: &Source,
        source: &str,
        directory: &std::path::Path,
    ) -> Result<(), Failure> {
        let op = CopyOp {
            from: from.clone(),
            inputs: vec![CopyInput::Path(source.to_owned())],
            destination: "/".to_owned(),
            destination_is_directory: true,
            chown: None,
            chmod: None,
            link: true,
            parents: false,
            excludes: Vec::new(),
            unpack: Unpack::Never,
        };
        let mut sources = Sources::gather(self, &op)?;
        let mut target = Placer::new(Destination {
            base: None,
            path: &op.destination,
            is_directory: true,
            owner: None,
            chmod: None,
            epoch: Epoch(i64::MAX),
        })?;
        sources.place(self, &op, None, &mut target)?;
        let Layout { entries, origins } = target.finish()?;
        let contents = sources.contents(self, origins)?;
        let failed = |source| ExecuteError::Snapshot {
            name: "cache mount".to_owned(),
            source,
        };
        write_both(&entries, &contents, directory).map_err(failed)?;
        Ok(())
    }

    /// Writes the layer of placed entries, unless a layer of the same entries is known.
    fn write_placed(
        &self,
        (step, base): (&Step, &Chain),
        layout: Layout,
        sources: &Sources,
        receipt: &mut Receipt,
    ) -> Result<Made, Failure> {
        let mut layout = layout.clamped(step.epoch);
        if base.is_windows() {
            layout = layout.wrapped(step.epoch);
        }
        let Layout { entries, origins } = layout;
        let tree = Tree::new(entries, std::collections::BTreeMap::new());
        let material = key::placed_content(&tree);
        if let Some(record) = self.content_hit(step, &material) {
            return Ok(Made::Known(Box::new(record)));
        }
        receipt.materials.push(material);
        let contents = sources.contents(self, origins)?;
        let failed = |source| ExecuteError::Snapshot {
            name: step.name.clone(),
            source,
        };
        // The tar of a Windows layer says more than a directory could keep.
        if base.is_windows() || !self.needs_directory(step.id) {
            let (entries, epoch) = (tree.entries(), step.epoch);
            let (diff_id, size) = self.write_blob(|encoding, blob| {
                layer::write_layer(entries, &contents, epoch, Some(encoding), blob).map_err(failed)
            })?;
            return Ok(Made::Layer { diff_id, size });
        }
        let draft = self.faces.draft()?;
        let written = write_both(tree.entries(), &contents, draft.fs()).map_err(failed)?;
        let diff_id = written.diff_id;
        self.faces.keep_tree(diff_id, written.tree)?;
        self.input.store.keep_dir(&diff_id, draft)?;
        Ok(Made::Layer {
            diff_id,
            size: written.size,
        })
    }
}

/// The owner that `--chown` names.
fn chown(view: &View, owner: &str) -> Result<Owner, CopyError> {
    resolve_owner(view, owner).map_err(|source| CopyError::Owner {
        owner: owner.to_owned(),
        source,
    })
}
