//! Small images, made from nothing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use builder::digest::{DiffId, Digest};
use builder::export::{BlobSource, ExportImage, ExportLayer, ExportSet, Style};
use builder::image::{Compression, Descriptor, History, ImageConfig};
use builder::reference::Reference;

/// Blobs in memory; counts how often one is opened.
#[derive(Default)]
pub(crate) struct Blobs {
    pub(crate) bytes: BTreeMap<Digest, Vec<u8>>,
    pub(crate) mounts: BTreeMap<Digest, Reference>,
    pub(crate) opened: AtomicUsize,
}

impl Blobs {
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.bytes.insert(digest, bytes);
        digest
    }
}

impl BlobSource for Blobs {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let bytes = self
            .bytes
            .get(&descriptor.digest)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    }

    fn mount_candidate(&self, digest: &Digest, _target: &Reference) -> Option<Reference> {
        self.mounts.get(digest).cloned()
    }

    fn is_local(&self, digest: &Digest) -> bool {
        self.bytes.contains_key(digest)
    }
}

/// A layer with one file, gzip, kept in `blobs`.
pub(crate) fn layer(blobs: &mut Blobs, name: &str, content: &[u8]) -> ExportLayer {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, content).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let size = gzip.len() as u64;
    let digest = blobs.add(gzip);
    ExportLayer {
        descriptor: Descriptor::new(Compression::Gzip.layer_media_type(true), digest, size),
        diff_id: DiffId(Digest::of(&tar)),
    }
}

fn image(architecture: &str, layers: Vec<ExportLayer>, style: &Style) -> ExportImage {
    let mut config = ImageConfig {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        created: Some("1970-01-01T00:00:00Z".to_owned()),
        ..ImageConfig::default()
    };
    config.config.cmd = Some(vec!["/bin/true".to_owned()]);
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    config.history = layers.iter().map(|_| History::default()).collect();
    ExportImage::assemble(&config, layers, style).unwrap()
}

/// An image of the layers for amd64.
pub(crate) fn set(layers: Vec<ExportLayer>) -> ExportSet {
    set_for(layers, &Style::default())
}

pub(crate) fn set_for(layers: Vec<ExportLayer>, style: &Style) -> ExportSet {
    ExportSet::assemble(vec![image("amd64", layers, style)], style).unwrap()
}

/// An index of two images that share their first layer.
pub(crate) fn two_platforms(blobs: &mut Blobs) -> ExportSet {
    let style = Style::default();
    let shared = layer(blobs, "shared", b"shared");
    let own = |blobs: &mut Blobs, name: &str| {
        let layers = vec![shared.clone(), layer(blobs, name, name.as_bytes())];
        image(name, layers, &style)
    };
    let images = vec![own(blobs, "amd64"), own(blobs, "s390x")];
    ExportSet::assemble(images, &style).unwrap()
}
