//! The last houses: layers and configs become images, images become outputs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::blobs::{Blobs, into_io};
use super::error::PipelineError;
use super::request::BuildRequest;
use super::result::BuildResult;
use super::street::Street;
use super::supplies::Outside;
use crate::cache::BlobForm;
use crate::clock::Epoch;
use crate::digest::DiffId;
use crate::event::{Activity, Outcome};
use crate::executor::{self, Cell, Chain, Executor};
use crate::export::{
    self, Destination, ExportImage, ExportLayer, ExportSet, LayoutForm, OutputKind, OutputSpec,
    PushMode, RootfsSource, Style,
};
use crate::failure::Failure;
use crate::image::{self, Compression, Descriptor, ImageConfig};
use crate::layer::Encoding;
use crate::planner::graph::{StepId, Target};
use crate::planner::op::Op;
use crate::reference::Reference;

/// The encoding that most outputs want: layers are compressed in it while steps still run.
pub(super) fn main_encoding(request: &BuildRequest) -> Option<Encoding> {
    match request.outputs.iter().find(|output| wants_blobs(output)) {
        Some(output) => Some(encoding(output)),
        None if request.outputs.is_empty() => Some(Encoding::usual(Compression::Gzip)),
        None => None,
    }
}

/// The encoding of blobs that are made for no output in particular.
pub(super) fn encoding_of(request: &BuildRequest) -> Encoding {
    main_encoding(request).unwrap_or(Encoding::usual(Compression::Gzip))
}

fn wants_blobs(output: &OutputSpec) -> bool {
    matches!(
        output.kind,
        OutputKind::Image | OutputKind::Oci | OutputKind::Docker
    )
}

fn encoding(output: &OutputSpec) -> Encoding {
    let compression = output.compression.unwrap_or(Compression::Gzip);
    match output.compression_level {
        Some(level) => Encoding::with_level(compression, i64::from(level)),
        None => Encoding::usual(compression),
    }
}

/// Makes everything that was asked for.
pub(super) fn finish(
    street: &Street<'_>,
    outside: &Outside<'_>,
    executor: &Executor<'_>,
    chains: &[Vec<DiffId>],
) -> Result<BuildResult, Failure> {
    let blobs = Blobs::new(street, outside);
    let exporter = Exporter {
        street,
        executor,
        chains,
        blobs: &blobs,
    };
    let default = [OutputSpec::new(OutputKind::Image)];
    let outputs = match street.request.outputs.as_slice() {
        [] => default.as_slice(),
        outputs => outputs,
    };
    let mut reported = None;
    for output in outputs {
        let set = exporter.assemble(output)?;
        exporter.output(output, &set)?;
        // What is reported is the image, if one of the outputs is an image.
        if reported.is_none() || wants_blobs(output) && !reported_is_image(reported.as_ref()) {
            reported = Some((set, wants_blobs(output)));
        }
    }
    street.store.flush()?;
    let set = match reported {
        Some((set, _)) => set,
        None => exporter.assemble(&default[0])?,
    };
    Ok(result(street, &set))
}

fn reported_is_image(reported: Option<&(ExportSet, bool)>) -> bool {
    reported.is_some_and(|(_, is_image)| *is_image)
}

/// Images of one build, made in the form that an output wants.
struct Exporter<'a> {
    street: &'a Street<'a>,
    executor: &'a Executor<'a>,
    /// By target: diff ids, bottom first.
    chains: &'a [Vec<DiffId>],
    blobs: &'a Blobs<'a>,
}

impl Exporter<'_> {
    /// The layers of a target as one file system.
    fn chain(&self, target: usize) -> Chain {
        let layers = self.chains[target].iter();
        let chain: Chain = layers.map(|diff_id| Cell::known(*diff_id)).collect();
        chain.of_os(&self.street.plan.graph.targets[target].config.os)
    }

    /// The images as one output wants them.
    fn assemble(&self, output: &OutputSpec) -> Result<ExportSet, Failure> {
        let mut annotations = self.street.request.annotations.clone();
        annotations.extend(output.annotations.iter().cloned());
        let style = Style {
            media_types: output.media_types,
            annotations,
        };
        let mut images = Vec::with_capacity(self.chains.len());
        let targets = &self.street.plan.graph.targets;
        for (target, chain) in targets.iter().zip(self.chains) {
            let layers = self.layers(target, chain, output)?;
            let config = self.config(target, chain);
            let image = ExportImage::assemble(&config, layers, &style)
                .map_err(|source| PipelineError::Document { source })?;
            images.push(image);
        }
        ExportSet::assemble(images, &style)
            .map_err(|source| PipelineError::Document { source }.into())
    }

    /// The config of a target: its history and its layers put together.
    fn config(&self, target: &Target, chain: &[DiffId]) -> ImageConfig {
        let base_count = self.base_layers(target).len().min(chain.len());
        let (base_layers, own_layers) = chain.split_at(base_count);
        let steps = self.steps_with_layers(target).into_iter();
        let made: BTreeMap<StepId, DiffId> = steps.zip(own_layers.iter().copied()).collect();
        let history: Vec<_> = target
            .history
            .iter()
            .map(|(entry, step)| {
                let layer = step.and_then(|step| made.get(&step).copied());
                (entry.clone(), layer)
            })
            .collect();
        let base_entries = target
            .config
            .history
            .len()
            .saturating_sub(target.history.len());
        image::complete(&image::Parts {
            config: &target.config,
            base_history: &target.config.history[..base_entries],
            base_layers,
            history: &history,
        })
    }

    /// The steps of a target's chain that made a layer, bottom first.
    fn steps_with_layers(&self, target: &Target) -> Vec<StepId> {
        let graph = &self.street.plan.graph;
        let mut steps = Vec::new();
        let mut next = Some(target.step);
        while let Some(id) = next {
            let step = graph.step(id);
            if !matches!(step.op, Op::Scratch | Op::Image(_)) {
                steps.push(id);
            }
            next = step.base;
        }
        steps.reverse();
        steps
    }

    /// The blobs of a target: those of the base as they are, ours in the output's encoding.
    fn layers(
        &self,
        target: &Target,
        chain: &[DiffId],
        output: &OutputSpec,
    ) -> Result<Vec<ExportLayer>, Failure> {
        let base = self.base_layers(target);
        let encoding = encoding(output);
        let mut layers = Vec::with_capacity(chain.len());
        for (number, diff_id) in chain.iter().enumerate() {
            let kept = base.get(number).filter(|_| !output.force_compression);
            let descriptor = match kept {
                Some(descriptor) => (*descriptor).clone(),
                None if !wants_blobs(output) => Descriptor::new("", diff_id.0, 0),
                None => {
                    let form = self.form(*diff_id, encoding)?;
                    let media_type = form.compression.layer_media_type(true);
                    Descriptor::new(media_type, form.digest, form.size)
                }
            };
            self.blobs.learn(&descriptor, *diff_id);
            layers.push(ExportLayer {
                descriptor,
                diff_id: *diff_id,
            });
        }
        Ok(layers)
    }

    /// A blob of one of our layers: made here, or in a shared cache by the same encoder.
    fn form(&self, diff_id: DiffId, encoding: Encoding) -> Result<BlobForm, Failure> {
        let name = executor::encoder_name(encoding);
        let shared = self.street.caches.shared(&diff_id).and_then(|(record, _)| {
            record
                .blobs
                .into_iter()
                .find(|form| form.made_by.as_deref() == Some(name.as_str()))
        });
        match shared {
            Some(form) => Ok(form),
            None => self.executor.blob(diff_id, encoding),
        }
    }

    /// The descriptors of the base image that a target's chain begins with.
    fn base_layers(&self, target: &Target) -> Vec<&Descriptor> {
        let graph = &self.street.plan.graph;
        let mut step = graph.step(target.step);
        while let Some(base) = step.base {
            step = graph.step(base);
        }
        match &step.op {
            Op::Image(image) => image.layers.iter().map(|layer| &layer.descriptor).collect(),
            _ => Vec::new(),
        }
    }

    fn names(&self, output: &OutputSpec) -> Result<Vec<Reference>, Failure> {
        if output.names.is_empty() {
            return Ok(self.street.request.tags.clone());
        }
        let parse = |name: &String| {
            name.parse()
                .map_err(|error| PipelineError::from(error).into())
        };
        output.names.iter().map(parse).collect()
    }

    fn output(&self, output: &OutputSpec, set: &ExportSet) -> Result<(), Failure> {
        let names = self.names(output)?;
        let title = match output.kind {
            OutputKind::Image => "exporting to image",
            OutputKind::Oci => "exporting to oci image format",
            OutputKind::Docker => "exporting to docker image format",
            OutputKind::Local => "exporting to client directory",
            OutputKind::Tar => "exporting to client tarball",
            OutputKind::CacheOnly => return Ok(()),
        };
        let activity = self.street.reporter.start(title);
        let done = self.write(output, set, &names, &activity);
        match &done {
            Ok(()) => activity.finish(Outcome::Done),
            Err(failure) => activity.finish(Outcome::Failed(super::failure_text(failure))),
        }
        done
    }

    fn write(
        &self,
        output: &OutputSpec,
        set: &ExportSet,
        names: &[Reference],
        activity: &Activity,
    ) -> Result<(), Failure> {
        let epoch = self
            .street
            .plan
            .graph
            .targets
            .first()
            .map_or(Epoch(0), |one| one.epoch);
        let blobs = self.blobs;
        match (output.kind, &output.dest) {
            (OutputKind::Image, _) => return self.image(output, set, names, activity),
            (OutputKind::CacheOnly, _) => {}
            (OutputKind::Docker, None) => {
                let loaded = export::load(set, names, blobs, epoch, &["docker", "podman"])?;
                activity.note(format!("{}: {}", loaded.engine, loaded.message));
            }
            (OutputKind::Oci | OutputKind::Docker, Some(Destination::Path(path)))
                if output.form == LayoutForm::Directory =>
            {
                export::write_layout(set, names, blobs, path)?;
            }
            (OutputKind::Local, Some(Destination::Path(path))) => {
                let split = output.platform_split.unwrap_or(set.images.len() > 1);
                let write = if output.delete {
                    export::replace_rootfs_directory
                } else {
                    export::write_rootfs_directory
                };
                write(set, split, self, path)?;
            }
            (_, Some(Destination::Path(path))) => {
                export::write_file(path, |out| self.stream(output, set, names, out))?;
            }
            (_, Some(Destination::Stdout) | None) => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                self.stream(output, set, names, &mut out)?;
                out.flush()
                    .map_err(|source| PipelineError::Stdout { source })?;
            }
        }
        Ok(())
    }

    /// Outputs that are one stream of bytes.
    fn stream(
        &self,
        output: &OutputSpec,
        set: &ExportSet,
        names: &[Reference],
        out: &mut dyn Write,
    ) -> Result<(), export::ExportError> {
        let epoch = self
            .street
            .plan
            .graph
            .targets
            .first()
            .map_or(Epoch(0), |one| one.epoch);
        match output.kind {
            OutputKind::Oci => export::write_oci_archive(set, names, self.blobs, epoch, out),
            OutputKind::Docker => export::write_docker_archive(set, names, self.blobs, epoch, out),
            _ => {
                let split = output.platform_split.unwrap_or(set.images.len() > 1);
                export::write_rootfs_tar(set, split, self, out)
            }
        }
    }

    /// An image in the store, and in registries if it is pushed.
    fn image(
        &self,
        output: &OutputSpec,
        set: &ExportSet,
        names: &[Reference],
        activity: &Activity,
    ) -> Result<(), Failure> {
        activity.note("exporting layers done");
        for image in &set.images {
            activity.note(format!(
                "exporting manifest {} done",
                image.manifest.descriptor.digest
            ));
            activity.note(format!(
                "exporting config {} done",
                image.config.descriptor.digest
            ));
        }
        if output.push == PushMode::No {
            return self.store(set, names, activity);
        }
        let by_digest = output.push == PushMode::ByDigest;
        let options = export::PushOptions {
            by_digest,
            activity: Some(activity),
        };
        export::push(self.street.client, set, names, self.blobs, options)?;
        Ok(())
    }

    /// Documents and blobs in the store, then the names.
    fn store(
        &self,
        set: &ExportSet,
        names: &[Reference],
        activity: &Activity,
    ) -> Result<(), Failure> {
        let store = self.street.store;
        for image in &set.images {
            for layer in &image.layers {
                if !store.has_blob(&layer.descriptor.digest) {
                    self.executor.bring(layer.diff_id)?;
                }
            }
            store.put_blob(&image.config.bytes)?;
            store.put_blob(&image.manifest.bytes)?;
        }
        if let Some(index) = &set.index {
            store.put_blob(&index.bytes)?;
        }
        if !names.is_empty() {
            store.tag_all(names, set.root().descriptor.clone())?;
            for name in names {
                activity.note(format!("naming to {name} done"));
            }
        }
        Ok(())
    }
}

fn result(street: &Street<'_>, set: &ExportSet) -> BuildResult {
    let descriptor = set.root().descriptor.clone();
    let config_digest = match set.images.as_slice() {
        [image] => Some(image.config.descriptor.digest),
        _ => None,
    };
    BuildResult {
        image_id: config_digest.unwrap_or(descriptor.digest),
        digest: descriptor.digest,
        config_digest,
        descriptor,
        names: street
            .request
            .tags
            .iter()
            .map(ToString::to_string)
            .collect(),
        warnings: street.warnings.clone(),
        platforms: set
            .images
            .iter()
            .map(|image| image.platform.clone())
            .collect(),
    }
}

impl RootfsSource for Exporter<'_> {
    fn tar(&self, image: usize, prefix: &str, out: &mut dyn Write) -> io::Result<()> {
        let chain = self.chain(image);
        self.executor
            .write_tar(&chain, prefix, out)
            .map_err(into_io)
    }

    fn extract(&self, image: usize, directory: &Path) -> io::Result<()> {
        let chain = self.chain(image);
        self.executor.extract(&chain, directory).map_err(into_io)
    }
}
