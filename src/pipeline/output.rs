//! The last houses: layers and configs become images, images become outputs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::PipelineError;
use super::images::Place;
use super::request::BuildRequest;
use super::result::BuildResult;
use super::street::Street;
use super::supplies::Outside;
use crate::cache::BlobForm;
use crate::digest::{Digest, DiffId};
use crate::event::{Activity, Outcome};
use crate::executor::{Executor, Supplies};
use crate::export::{
    self, BlobSource, Destination, ExportImage, ExportLayer, ExportSet, LayoutForm, OutputKind,
    OutputSpec, PushMode, RootfsSource, Style,
};
use crate::failure::Failure;
use crate::image::{Compression, Descriptor, ImageConfig};
use crate::layer::{self, Encoding};
use crate::planner::graph::Target;
use crate::planner::op::Op;
use crate::reference::Reference;

/// The encoding that most outputs want: layers are compressed in it while steps still run.
pub(super) fn main_encoding(request: &BuildRequest) -> Option<Encoding> {
    match request.outputs.iter().find(|output| wants_blobs(output)) {
        Some(output) => Some(encoding(output)),
        None if request.outputs.is_empty() => Some(Encoding::default()),
        None => None,
    }
}

fn wants_blobs(output: &OutputSpec) -> bool {
    matches!(output.kind, OutputKind::Image | OutputKind::Oci | OutputKind::Docker)
}

fn encoding(output: &OutputSpec) -> Encoding {
    let compression = output.compression.unwrap_or(Compression::Gzip);
    match output.compression_level {
        Some(level) => Encoding::with_level(compression, i64::from(level)),
        None => Encoding::of(compression),
    }
}

/// Images of one build, in the forms that outputs want, each made once.
struct Exporter<'a, 'b> {
    street: &'b Street<'a>,
    outside: &'b Outside<'a>,
    executor: &'b Executor<'b>,
    /// By target: diff ids, bottom first.
    chains: &'b [Vec<DiffId>],
    /// By digest of a blob: the layer it holds.
    layers: BTreeMap<Digest, DiffId>,
}

/// Makes everything that was asked for.
pub(super) fn finish(
    street: &Street<'_>,
    outside: &Outside<'_>,
    executor: &Executor<'_>,
    chains: &[Vec<DiffId>],
) -> Result<BuildResult, Failure> {
    let mut exporter =
        Exporter { street, outside, executor, chains, layers: BTreeMap::new() };
    let default = [OutputSpec::new(OutputKind::Image)];
    let outputs = match street.request.outputs.as_slice() {
        [] => default.as_slice(),
        outputs => outputs,
    };
    let mut first = None;
    for output in outputs {
        let set = exporter.output(output)?;
        first.get_or_insert(set);
    }
    street.store.flush()?;
    let set = match first {
        Some(set) => set,
        None => exporter.assemble(&default[0])?,
    };
    Ok(exporter.result(&set, street))
}
