//! Layers written and read with the faces that the store has: glue between [`crate::layer`], which
//! knows streams, and directories.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::Executor;
use super::error::ExecuteError;
use super::sandbox::{has_single_id, in_user_namespace};
use super::supplies::Files;
use crate::cache::BlobForm;
use crate::cache::store::{BlobWriter, Hashing};
use crate::clock::Epoch;
use crate::context::archive::Format;
use crate::digest::DiffId;
use crate::failure::Failure;
use crate::image::Compression;
use crate::layer::{
    self, ApplyOptions, CODEC_VERSION, Contents, Encoding, LayerError, Limits, OverlayXattr,
    Ownership, Written,
};
use crate::rooted::Root;
use crate::tree::{
    Entry, LAYER_NOTES, LayerNotes, OWNER_NOTE, Tree, TreePath, View, note_of_owner, owner_note,
};

/// A plain tar: what [`write_both`] sends from one thread to the other.
pub(crate) const PLAIN: Encoding = Encoding::usual(Compression::Uncompressed);

/// No time is clamped: the entries already have theirs.
const NEVER: Epoch = Epoch(i64::MAX);

/// Contents that are found under the very path that they have in the layer.
pub(crate) struct FilesOf(pub(crate) Arc<dyn Files>);

impl Contents for FilesOf {
    fn open(&self, _index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        self.0.open(path)
    }
}

/// Contents in a layer's directory.
struct DirectoryContents(Root);

impl Contents for DirectoryContents {
    fn open(&self, _index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0.open_file(path.as_bytes())?))
    }
}

/// How layers are laid out as overlay lowers here.
pub(crate) fn lower_options<'a>(
    lower_view: &'a View,
    lowers: &'a [std::path::PathBuf],
) -> ApplyOptions<'a> {
    ApplyOptions {
        overlay: if in_user_namespace() {
            OverlayXattr::User
        } else {
            OverlayXattr::Trusted
        },
        lowers,
        lower_view,
        ownership: if has_single_id() {
            Ownership::Noted
        } else {
            Ownership::Real
        },
        clamp: None,
        limits: Limits::default(),
    }
}

impl Executor<'_> {
    /// Has a layer written into the store as the blob that the image will have, and keeps its index:
    /// its digest and the bytes of its tar.
    pub(crate) fn write_blob(
        &self,
        write: impl FnOnce(Encoding, &mut BlobWriter) -> Result<Written, ExecuteError>,
    ) -> Result<(DiffId, u64), Failure> {
        let encoding = self.input.options.encoding.unwrap_or(PLAIN);
        let store = self.input.store;
        let mut writer = store.blob_writer(Hashing::ByCaller)?;
        let written = write(encoding, &mut writer)?;
        let blob = written.blob.as_ref().map(|blob| (blob.digest, blob.size));
        let (digest, size) = writer.commit(blob)?;
        let diff_id = written.diff_id;
        self.faces.keep_tree(diff_id, written.tree)?;
        let form = BlobForm {
            compression: encoding.compression,
            digest,
            size,
            made_by: Some(encoder_name(encoding)),
        };
        store.add_blob_form(&diff_id, form)?;
        Ok((diff_id, written.size))
    }
}

/// Marks an empty directory as one whose owners are noted, if that is so here: by a note of its own.
pub(crate) fn mark_owners(directory: &Path) -> io::Result<()> {
    if has_single_id() {
        let note = owner_note((0, 0));
        rustix::fs::setxattr(
            directory,
            OWNER_NOTE,
            &note,
            rustix::fs::XattrFlags::empty(),
        )?;
    }
    Ok(())
}

/// Gives a file or directory that commands find to somebody; where there is only one id, that is noted.
pub(crate) fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    if !has_single_id() {
        return std::os::unix::fs::chown(path, Some(uid), Some(gid));
    }
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let kind = std::fs::symlink_metadata(path)?.file_type();
    let is_special = !(kind.is_file() || kind.is_dir());
    let (attribute, note) = note_of_owner(is_special, (uid, gid));
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::lsetxattr(path, attribute, &note, flags)?)
}

/// Marks the directory of a layer with the notes that its files have, where there are any: the
/// sandbox asks for them only then.
pub(crate) fn mark_notes<C>(directory: &Path, entries: &[Entry<C>]) -> io::Result<()> {
    if !in_user_namespace() {
        return Ok(());
    }
    let mark = LayerNotes::of(entries).mark();
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(directory, LAYER_NOTES, mark, flags) {
        // Without attributes of users there is no note to look for, and no mark either; in a command of
        // another builder they are refused.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a directory's owners are real, or noted, as they are here; and its devices and deletions, which
/// differ where the same root builds now as root of the machine, now in a user namespace.
pub(crate) fn fits_owners(directory: &Path) -> bool {
    let is_marked = |name| rustix::fs::getxattr(directory, name, &mut [0_u8; 64][..]).is_ok();
    is_marked(OWNER_NOTE) == has_single_id()
        && (!may_be_both() || is_marked(LAYER_NOTES) == in_user_namespace())
}

/// Whether the store may be that of root on the machine, or in the container: only then may directories in
/// it have been made outside of user namespaces.
fn may_be_both() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(1) == Some("0")
}

/// The name of an encoder, as blob forms state it: `gzip-6-v1`.
pub fn encoder_name(encoding: Encoding) -> String {
    let compression = match encoding.compression {
        Compression::Uncompressed => "plain",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    format!("{compression}-{}-v{CODEC_VERSION}", encoding.level)
}

/// Writes a layer as a directory, and gives what it is: one pass over the contents.
pub(crate) fn write_both(
    entries: &[Entry],
    contents: &dyn Contents,
    directory: &Path,
) -> Result<Written, LayerError> {
    let failed = |source| LayerError::Write { source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let below = View::new();
    let written = std::thread::scope(|scope| {
        let applied = scope.spawn(|| layer::apply(reader, directory, &lower_options(&below, &[])));
        let written = layer::write_layer(entries, contents, NEVER, Some(PLAIN), writer);
        let applied = applied.join();
        // Whoever failed first is the cause: the other one saw a closed pipe.
        match applied {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    mark_notes(directory, entries).map_err(failed)?;
    Ok(written)
}

/// Writes the blob of a layer from its directory and its index.
pub(crate) fn write_directory(
    directory: &Path,
    tree: &Tree,
    encoding: Encoding,
    out: impl Write + Send,
) -> Result<Written, LayerError> {
    let root = Root::open(directory).map_err(|source| LayerError::Read { source })?;
    let contents = DirectoryContents(root);
    layer::write_layer(tree.entries(), &contents, NEVER, Some(encoding), out)
}

/// Opens an archive as a plain tar; `None` if it is none (a compressed file that is no tar is
/// just a file).
pub(crate) fn open_archive<'a>(bytes: impl Read + Send + 'a) -> Option<Box<dyn Read + Send + 'a>> {
    let mut plain = layer::decompress(bytes).ok()?;
    let mut header = Vec::with_capacity(512);
    // Damaged compressed data is no archive either: it is copied as it is.
    (&mut plain).take(512).read_to_end(&mut header).ok()?;
    // A tar without any entry is no archive to BuildKit.
    let is_empty = header.iter().all(|byte| *byte == 0);
    if is_empty || Format::detect(&header) != Some(Format::Tar) {
        return None;
    }
    Some(Box::new(io::Cursor::new(header).chain(plain)))
}

/// A reader whose bytes also go to a writer.
pub(crate) struct Tee<R, W> {
    reader: R,
    writer: W,
}

impl<R, W> Tee<R, W> {
    /// Copies what is read from `reader` to `writer`.
    pub(crate) fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..count])?;
        Ok(count)
    }
}
