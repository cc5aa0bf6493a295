//! `--load`: the image goes into a running Docker or Podman through its own command.

use std::io::{BufWriter, Read};
use std::process::{Command, Stdio};

use super::archive::write_docker_archive;
use super::error::ExportError;
use super::set::ExportSet;
use super::source::BlobSource;
use crate::clock::Epoch;
use crate::reference::Reference;

const MESSAGE_BYTES_MAX: u64 = 64 * 1024;

/// What took the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// `docker` or `podman`.
    pub engine: String,
    /// What it said: `Loaded image: x:latest`.
    pub message: String,
}

/// Loads an image of one platform into the first of `engines` (commands, usually `docker` and
/// `podman`) that answers.
pub fn load(
    set: &ExportSet,
    names: &[Reference],
    blobs: &dyn BlobSource,
    epoch: Epoch,
    engines: &[&str],
) -> Result<Loaded, ExportError> {
    if set.images.len() != 1 {
        return Err(ExportError::ManyPlatforms);
    }
    let engine = engines.iter().find(|engine| is_running(engine));
    let engine = *engine.ok_or(ExportError::NoEngine)?;
    let failed = |source| ExportError::Engine {
        engine: engine.to_owned(),
        source,
    };
    let mut child = Command::new(engine)
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (written, said, complaint) = std::thread::scope(|scope| {
        let said = scope.spawn(|| read_text(stdout));
        let complaint = scope.spawn(|| read_text(stderr));
        // The pipe is closed at the end of this block: the engine waits for it.
        let written = stdin.map(|stdin| {
            let mut out = BufWriter::with_capacity(1 << 18, stdin);
            write_docker_archive(set, names, blobs, epoch, &mut out)
        });
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, String>| thread.join().unwrap_or_default();
        (written, join(said), join(complaint))
    });
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        // The engine's words say more than the pipe that it broke.
        let message = if complaint.is_empty() {
            said
        } else {
            complaint
        };
        return Err(ExportError::Load {
            engine: engine.to_owned(),
            message,
        });
    }
    written.transpose()?;
    Ok(Loaded {
        engine: engine.to_owned(),
        message: said,
    })
}

/// Whether a command exists and its daemon, if it needs one, answers.
fn is_running(engine: &str) -> bool {
    Command::new(engine)
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The beginning of an output, cleaned; the rest is read and dropped, so that nobody blocks.
fn read_text(pipe: Option<impl Read>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut bytes = Vec::new();
    // What could be read is what there is to tell.
    let _ = pipe
        .by_ref()
        .take(MESSAGE_BYTES_MAX)
        .read_to_end(&mut bytes);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    let text = String::from_utf8_lossy(&bytes);
    let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.trim().chars().map(clean).collect()
}
