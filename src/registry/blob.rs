//! Blobs: streamed, verified, resumed where a connection broke.

use std::fmt;
use std::io::{self, Read};

use reqwest::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Method, StatusCode, blocking};
use sha2::{Digest as _, Sha256};

use super::auth::Access;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{Broken, RegistryError, Request, Unacceptable};
use super::message::printable;
use super::retry::{RateFloor, pause};
use super::transport::{Call, Reply};
use crate::clock::Stopwatch;
use crate::digest::{Digest, VerifyError};
use crate::image::Descriptor;
use crate::reference::Reference;

/// Progress that earns the full number of tries again, in bytes.
const PROGRESS_BYTES: u64 = 64 * 1024;

impl Client {
    /// Whether the registry itself has a blob.
    pub fn has_blob(&self, repository: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        let home = self
            .inner
            .home(&repository.registry, &repository.repository);
        self.inner
            .has_blob(&home, digest, &Access::pull(&home.repository))
    }

    /// Opens a blob, from mirrors first. The reader delivers exactly the descriptor's bytes or
    /// fails; it goes on by itself where a connection broke. Foreign addresses (`urls`) are never
    /// followed. Errors while reading carry a [`RegistryError`] or a [`VerifyError`]; after a
    /// `VerifyError`, opening the blob again asks another place if there is one.
    pub fn blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, RegistryError> {
        let honest = |place: &Endpoint| !self.inner.is_liar(&place.host, &descriptor.digest);
        let all = self.inner.places(repository)?;
        let mut places: Vec<Endpoint> = all.iter().filter(|place| honest(place)).cloned().collect();
        if places.is_empty() {
            places = all;
        }
        let mut reader = BlobReader {
            client: self.clone(),
            places,
            current: 0,
            expected: descriptor.digest,
            size: descriptor.size,
            state: State::new(self),
        };
        reader.open()?;
        Ok(reader)
    }
}

impl super::client::Inner {
    pub(super) fn has_blob(
        &self,
        place: &Endpoint,
        digest: &Digest,
        access: &Access,
    ) -> Result<bool, RegistryError> {
        let path = format!("{}/blobs/{digest}", place.repository);
        match self.call(&Call::new(Method::HEAD, place, path, access)) {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads a config into memory; the caller has checked its size.
pub(super) fn read_config(
    client: &Client,
    repository: &Reference,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, RegistryError> {
    let mut reader = client.blob(repository, descriptor)?;
    let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size).unwrap_or(0));
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(from_io(error, &reader)),
    }
}

fn from_io(error: io::Error, reader: &BlobReader) -> RegistryError {
    match error.downcast::<RegistryError>() {
        Ok(error) => error,
        Err(error) => RegistryError::unacceptable(
            reader.request(),
            Unacceptable::Unexpected(printable(&error.to_string(), 200)),
        ),
    }
}

/// The bytes of a blob on their way. See [`Client::blob`].
pub struct BlobReader {
    client: Client,
    places: Vec<Endpoint>,
    current: usize,
    expected: Digest,
    size: u64,
    state: State,
}

/// How far a download is.
struct State {
    response: Option<blocking::Response>,
    /// Bytes handed out, and their hash.
    offset: u64,
    hasher: Sha256,
    /// The strong validator of the representation that was begun.
    etag: Option<String>,
    /// Whether asking for a range is worth it.
    ranges: bool,
    failures: u32,
    offset_at_failure: u64,
    floor: RateFloor,
    ended: bool,
}

impl State {
    fn new(client: &Client) -> Self {
        Self {
            response: None,
            offset: 0,
            hasher: Sha256::new(),
            etag: None,
            ranges: true,
            failures: 0,
            offset_at_failure: 0,
            floor: RateFloor::new(&client.inner.options.retry),
            ended: false,
        }
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BlobReader")
            .field("expected", &self.expected)
            .field("size", &self.size)
            .field("offset", &self.state.offset)
            .finish_non_exhaustive()
    }
}

impl BlobReader {
    fn request(&self) -> Request {
        let place = &self.places[self.current];
        Request {
            method: "GET".to_owned(),
            url: format!(
                "{}/v2/{}/blobs/{}",
                place.host, place.repository, self.expected
            ),
        }
    }

    /// Opens the blob at the current offset at the first place that has it.
    fn open(&mut self) -> Result<(), RegistryError> {
        let mut result = Ok(());
        for _ in 0..self.places.len() {
            result = self.open_here();
            match &result {
                Err(error) if error.is_place_at_fault() && self.places.len() > 1 => {
                    self.current = (self.current + 1) % self.places.len();
                    self.state.etag = None;
                    self.state.ranges = true;
                }
                _ => break,
            }
        }
        result.map_err(|error| match error.status() {
            Some(404) => RegistryError::NoBlob {
                repository: self.places[0].name(),
                digest: self.expected,
            },
            _ => error,
        })
    }

    fn open_here(&mut self) -> Result<(), RegistryError> {
        let place = self.places[self.current].clone();
        let access = Access::pull(&place.repository);
        let path = format!("{}/blobs/{}", place.repository, self.expected);
        let mut call = Call::new(Method::GET, &place, path, &access);
        let offset = self.state.offset;
        if offset > 0 && self.state.ranges {
            call.headers.push((RANGE, format!("bytes={offset}-")));
            if let Some(etag) = &self.state.etag {
                call.headers.push((IF_RANGE, etag.clone()));
            }
        }
        let reply = match self.client.inner.call(&call) {
            Err(error) if error.status() == Some(416) && offset > 0 => {
                self.state.ranges = false;
                call.headers.clear();
                self.client.inner.call(&call)?
            }
            other => other?,
        };
        self.accept(reply)
    }

    /// Judges the head of an answer and brings it to the current offset.
    fn accept(&mut self, reply: Reply) -> Result<(), RegistryError> {
        let encoding = reply
            .header(CONTENT_ENCODING)
            .filter(|text| *text != "identity");
        if let Some(encoding) = encoding {
            let reason = Unacceptable::Encoding(printable(encoding, 40));
            return Err(reply.unacceptable(reason));
        }
        let offset = self.state.offset;
        let is_part = reply.response.status() == StatusCode::PARTIAL_CONTENT;
        if is_part {
            let range = reply.header(CONTENT_RANGE).and_then(parse_content_range);
            let fits = range.is_some_and(|(start, total)| {
                start == offset && total.is_none_or(|total| total == self.size)
            });
            if !fits || offset == 0 {
                self.state.ranges = false;
                return Err(reply.unacceptable(Unacceptable::Header("Content-Range")));
            }
        }
        let left = if is_part {
            self.size - offset
        } else {
            self.size
        };
        let length = reply
            .header("content-length")
            .and_then(|text| text.parse::<u64>().ok());
        if let Some(actual) = length.filter(|actual| *actual != left) {
            return Err(reply.unacceptable(Unacceptable::Size {
                expected: left,
                actual,
            }));
        }
        if reply.header(ACCEPT_RANGES) == Some("none") {
            self.state.ranges = false;
        }
        let etag = reply.header(ETAG).filter(|etag| etag.starts_with('"'));
        self.state.etag = etag.map(str::to_owned);
        let request = reply.request;
        let mut response = reply.response;
        if !is_part && offset > 0 {
            self.skip(&mut response, &request)?;
        }
        self.state.response = Some(response);
        Ok(())
    }

    /// Reads over what was handed out already, which must be the same bytes again.
    fn skip(
        &self,
        response: &mut blocking::Response,
        request: &Request,
    ) -> Result<(), RegistryError> {
        let mut hasher = Sha256::new();
        let mut left = self.state.offset;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let limit = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let count = response
                .read(&mut buffer[..limit])
                .map_err(|error| broken(&error, request))?;
            if count == 0 {
                return Err(broken(&io::ErrorKind::UnexpectedEof.into(), request));
            }
            hasher.update(&buffer[..count]);
            left -= count as u64;
        }
        if hasher.finalize() == self.state.hasher.clone().finalize() {
            return Ok(());
        }
        Err(RegistryError::unacceptable(
            request.clone(),
            Unacceptable::Changed,
        ))
    }

    /// Counts a failure, waits, and opens the rest; the error if the tries are used up.
    fn resume(&mut self, mut error: RegistryError) -> Result<(), RegistryError> {
        self.state.response = None;
        loop {
            let state = &mut self.state;
            if state.offset >= state.offset_at_failure + PROGRESS_BYTES {
                state.failures = 0;
                state.offset_at_failure = state.offset;
            }
            state.failures += 1;
            let policy = &self.client.inner.options.retry;
            if state.failures >= policy.attempts {
                return Err(error);
            }
            tracing::debug!(%error, offset = state.offset, "download broke, resuming");
            self.client
                .inner
                .stop
                .wait(pause(policy, state.failures, None));
            self.client.inner.check_stop(&self.places[self.current])?;
            match self.open() {
                Ok(()) => return Ok(()),
                Err(next @ RegistryError::Transport { .. }) => error = next,
                Err(next) if is_bad_range(&next) => error = next,
                Err(other) => return Err(other),
            }
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            let request = self.request();
            let Some(response) = self.state.response.as_mut() else {
                self.resume(broken(&io::ErrorKind::NotConnected.into(), &request))?;
                continue;
            };
            let clock = Stopwatch::start();
            let failure = match response.read(buffer) {
                Ok(0) => broken(&io::ErrorKind::UnexpectedEof.into(), &request),
                Ok(count) if self.state.floor.count(clock, count) => return Ok(count),
                // Too slow to be alive; what came is read again.
                Ok(_) => broken(&io::ErrorKind::TimedOut.into(), &request),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => broken(&error, &request),
            };
            self.client.inner.check_stop(&self.places[self.current])?;
            self.resume(failure)?;
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        self.state.ended = true;
        self.state.response = None;
        let actual = Digest::from_bytes(self.state.hasher.clone().finalize().into());
        if actual == self.expected {
            return Ok(0);
        }
        let place = &self.places[self.current];
        self.client.inner.remember_liar(&place.host, &self.expected);
        let expected = self.expected;
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            VerifyError::Content { expected, actual },
        ))
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.state.ended {
            return Ok(0);
        }
        if self.state.offset == self.size {
            return self.end();
        }
        let left = usize::try_from(self.size - self.state.offset).unwrap_or(usize::MAX);
        let limit = left.min(buffer.len());
        let count = self
            .read_some(&mut buffer[..limit])
            .map_err(io::Error::other)?;
        self.state.hasher.update(&buffer[..count]);
        self.state.offset += count as u64;
        Ok(count)
    }
}

fn broken(error: &io::Error, request: &Request) -> RegistryError {
    RegistryError::Transport {
        request: request.clone(),
        broken: match error.kind() {
            io::ErrorKind::TimedOut => Broken::Silence,
            _ => Broken::Connection,
        },
        detail: printable(&error.to_string(), 200),
    }
}

fn is_bad_range(error: &RegistryError) -> bool {
    let bad = Unacceptable::Header("Content-Range");
    matches!(error, RegistryError::Answer { reason, .. } if **reason == bad)
}

/// Reads `bytes START-END/TOTAL`; the total may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_and_clients_cross_threads() {
        fn crosses<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}
        crosses::<BlobReader>();
        is_shared::<Client>();
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "",
            "bytes */10",
            "items 5-9/10",
            "bytes 5/10",
            "bytes a-b/c",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
