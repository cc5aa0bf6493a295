//! Pushing blobs and manifests: only what is missing, to the registry itself alone.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode, Url};

use super::auth::Access;
use super::client::{Client, Inner};
use super::endpoint::{Endpoint, same_origin};
use super::error::{RegistryError, Unacceptable};
use super::message::{printable, redacted};
use super::retry::pause;
use super::transport::{Call, Open, Payload, Reply, Target};
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::reference::Reference;

/// How a blob came to be where it was pushed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was taken over from another repository of the registry.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

impl Client {
    /// Sees to it that the repository of `target` has a blob. If `mount_from` is another repository
    /// of the same registry, the blob is taken from there without sending it; else it is sent only
    /// if it is missing. `open` is called for each try to send.
    pub fn push_blob(
        &self,
        target: &Reference,
        descriptor: &Descriptor,
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
        mount_from: Option<&Reference>,
    ) -> Result<Pushed, RegistryError> {
        let home = self.inner.home(&target.registry, &target.repository);
        let digest = &descriptor.digest;
        let from = mount_from.filter(|from| {
            from.registry == target.registry && from.repository != target.repository
        });
        let mut session = None;
        if let Some(from) = from {
            match self.inner.mount(&home, digest, &from.repository)? {
                Mount::Done => return Ok(Pushed::Mounted),
                Mount::Session(url) => session = Some(url),
                Mount::Refused => {}
            }
        }
        let access = Access::push(&home.repository);
        if session.is_none() && self.inner.has_blob(&home, digest, &access)? {
            return Ok(Pushed::Existed);
        }
        self.inner.upload(&home, descriptor, open, session)?;
        Ok(Pushed::Uploaded)
    }

    /// Puts a manifest or index under the tag of `target`, or under its digest if `target` has one
    /// or has no tag. Returns the digest of the bytes.
    pub fn push_manifest(
        &self,
        target: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let home = self.inner.home(&target.registry, &target.repository);
        let digest = Digest::of(bytes);
        let name = match &target.tag {
            Some(tag) if target.digest.is_none() => tag.clone(),
            _ => digest.to_string(),
        };
        let access = Access::push(&home.repository);
        let path = format!("{}/manifests/{name}", home.repository);
        let mut call = Call::new(Method::PUT, &home, path, &access);
        call.payload = Payload::Bytes(bytes, media_type);
        let reply = self.inner.call(&call)?;
        let stated = reply.header("docker-content-digest");
        match stated.map(str::parse::<Digest>) {
            Some(Ok(actual)) if actual != digest => Err(reply.unacceptable(Unacceptable::Digest {
                expected: digest,
                actual,
            })),
            _ => Ok(digest),
        }
    }

    /// What the tag or digest of `target` names at the registry itself now, asked with the right to
    /// push; `None` if nothing.
    pub fn pushed(&self, target: &Reference) -> Result<Option<Digest>, RegistryError> {
        let home = self.inner.home(&target.registry, &target.repository);
        match self
            .inner
            .head_manifest(&home, target, &Access::push(&home.repository))
        {
            Ok(found) => Ok(found.map(|descriptor| descriptor.digest)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What became of a mount.
enum Mount {
    Done,
    /// The registry did not mount but opened an upload instead.
    Session(Url),
    Refused,
}

impl Inner {
    fn mount(&self, home: &Endpoint, digest: &Digest, from: &str) -> Result<Mount, RegistryError> {
        let access = Access::mount(&home.repository, from);
        let path = format!(
            "{}/blobs/uploads/?mount={digest}&from={from}",
            home.repository
        );
        match self.call(&Call::new(Method::POST, home, path, &access)) {
            Ok(reply) if reply.response.status() == StatusCode::CREATED => Ok(Mount::Done),
            Ok(reply) => Ok(Mount::Session(upload_url(&reply)?)),
            // Who may push here may still not read there; the bytes go the long way then.
            Err(RegistryError::Denied { .. }) => Ok(Mount::Refused),
            Err(error) if matches!(error.status(), Some(400..=499)) => Ok(Mount::Refused),
            Err(error) => Err(error),
        }
    }

    fn start_upload(&self, home: &Endpoint, access: &Access) -> Result<Url, RegistryError> {
        let path = format!("{}/blobs/uploads/", home.repository);
        let reply = self.call(&Call::new(Method::POST, home, path, access))?;
        upload_url(&reply)
    }

    /// Sends a blob in one request; a broken try starts anew with another session.
    fn upload(
        &self,
        home: &Endpoint,
        descriptor: &Descriptor,
        open: Open<'_>,
        mut session: Option<Url>,
    ) -> Result<(), RegistryError> {
        let access = Access::push(&home.repository);
        let mut attempt = 1;
        loop {
            let url = match session.take() {
                Some(url) => url,
                None => self.start_upload(home, &access)?,
            };
            let error = match self.put_blob(home, descriptor, open, &url) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let transient = match &error {
                RegistryError::Transport { .. } => true,
                RegistryError::Status { status, .. } => {
                    // 404: the session is gone; 416: it holds bytes of another try.
                    super::retry::is_transient(status.as_u16())
                        || matches!(status.as_u16(), 404 | 416)
                }
                _ => false,
            };
            if !transient || attempt >= self.options.retry.attempts {
                return Err(error);
            }
            tracing::debug!(%error, digest = %descriptor.digest, "upload broke, starting anew");
            self.stop.wait(pause(&self.options.retry, attempt, None));
            self.check_stop(home)?;
            attempt += 1;
        }
    }

    fn put_blob(
        &self,
        home: &Endpoint,
        descriptor: &Descriptor,
        open: Open<'_>,
        session: &Url,
    ) -> Result<(), RegistryError> {
        let access = Access::push(&home.repository);
        let mut url = session.clone();
        url.query_pairs_mut()
            .append_pair("digest", &descriptor.digest.to_string());
        // What goes wrong with our own bytes must not look like the registry's fault.
        let source = Complaint::default();
        let open = || match open() {
            Ok(inner) => Ok(Box::new(Telling {
                inner,
                left: descriptor.size,
                complaint: source.clone(),
            }) as Box<dyn Read + Send>),
            Err(error) => Err(source.keep(error)),
        };
        let call = Call {
            target: Target::Own(&url),
            payload: Payload::Stream(&open, descriptor.size),
            attempts: Some(1),
            ..Call::new(Method::PUT, home, String::new(), &access)
        };
        let result = self.call(&call).map(drop);
        match (result, source.take()) {
            (Err(_), Some(source)) => Err(RegistryError::Source {
                digest: descriptor.digest,
                source,
            }),
            (result, _) => result,
        }
    }
}

/// An error of the bytes to push, kept for the one who opened them.
#[derive(Clone, Default)]
struct Complaint(Arc<Mutex<Option<io::Error>>>);

impl Complaint {
    /// Keeps an error and returns a likeness of it.
    fn keep(&self, error: io::Error) -> io::Error {
        let likeness = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        likeness
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A reader that tells what went wrong with it. It reads to the very end before it hands out the
/// last bytes: the HTTP library would stop at the size, before a verifying reader can object.
struct Telling {
    inner: Box<dyn Read + Send>,
    left: u64,
    complaint: Complaint,
}

impl Telling {
    fn read_checked(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.inner.read(&mut buffer[..limit])?;
        self.left -= count as u64;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.left == 0 && count > 0 && read_one(&mut self.inner)? {
            let text = "there is more than the promised size";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}

/// Whether one more byte can be read.
fn read_one(reader: &mut impl Read) -> io::Result<bool> {
    loop {
        match reader.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|count| count > 0),
        }
    }
}

impl Read for Telling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read_checked(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(self.complaint.keep(error))
            }
            other => other,
        }
    }
}

/// The address of an upload session. It must be on the registry's own origin: neither bytes nor
/// credentials go anywhere else. A registry behind a proxy that ends TLS may call itself `http:`;
/// that is corrected, not followed.
fn upload_url(reply: &Reply) -> Result<Url, RegistryError> {
    let location = reply
        .header(LOCATION)
        .ok_or_else(|| reply.unacceptable(Unacceptable::Header("Location")))?;
    let mut url = reply
        .url
        .join(location)
        .map_err(|_| reply.unacceptable(Unacceptable::UploadElsewhere(printable(location, 200))))?;
    if reply.url.scheme() == "https"
        && url.scheme() == "http"
        && url.host_str() == reply.url.host_str()
    {
        // Both schemes are special, so the change cannot fail; if it did, the origin would differ.
        let port = reply.url.port();
        let _ = url.set_scheme("https");
        if url.port().is_none() {
            let _ = url.set_port(port);
        }
    }
    let plain = url.username().is_empty() && url.password().is_none();
    if same_origin(&url, &reply.url) && plain {
        return Ok(url);
    }
    Err(reply.unacceptable(Unacceptable::UploadElsewhere(redacted(&url))))
}
