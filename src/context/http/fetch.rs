//! Fetching one file.

use std::io::{Read, Write};
use std::path::PathBuf;

use reqwest::blocking::Response;
use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION,
};
use reqwest::{StatusCode, Url};

use super::HttpError;
use super::client::LazyClient;
use super::keep::{Hashes, Keep, Kept, Record};
use super::url::{may_redirect, parse, parse_http_date, same_origin, shown};
use crate::digest::{ContentDigest, Digest};

/// As many as Go's client follows.
const REDIRECTS_MAX: usize = 10;

/// Bytes that are read at a time.
const BUFFER: usize = 128 << 10;

/// What is to be fetched.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// The http or https address.
    pub url: &'a str,
    /// The value of the `Authorization` header: a secret, for this host only.
    pub authorization: Option<&'a str>,
    /// The digest that the content must have.
    pub checksum: Option<Digest>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("checksum", &self.checksum)
            .finish_non_exhaustive()
    }
}

/// A file of the web, on disk and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The kept file; not to be changed.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its digest for keys.
    pub content: ContentDigest,
    /// `Last-Modified` in seconds since 1970, or 0 (dockerfile.md §2.3).
    pub mtime: i64,
    /// Whether bytes came over the network.
    pub downloaded: bool,
}

/// Fetches files and keeps them.
#[derive(Debug)]
pub struct Fetcher {
    client: LazyClient,
    keep: Keep,
    limit: u64,
}

impl Fetcher {
    /// A fetcher that keeps files in `directory` (made when needed) and takes at most `limit` bytes
    /// of one. Nothing happens until the first fetch.
    pub fn new(directory: PathBuf, limit: u64) -> Self {
        Self {
            client: LazyClient::default(),
            keep: Keep::new(directory),
            limit,
        }
    }

    /// Fetches a file, or takes the kept one if its checksum is pinned or the server says that it
    /// has not changed.
    ///
    /// # Errors
    /// See [`HttpError`]; nothing is kept of a failed transfer.
    pub fn fetch(&self, request: &Request<'_>) -> Result<Fetched, HttpError> {
        let url = parse(request.url)?;
        let record = self.keep.record(request.url);
        if let Some(pinned) = &request.checksum
            && let Some(kept) = self.keep.body(pinned)
        {
            let record = record.as_ref().filter(|record| record.digest == *pinned);
            return Ok(reused(kept, *pinned, record));
        }
        let kept = record
            .as_ref()
            .and_then(|record| Some((record, self.keep.body(&record.digest)?)));
        let validators = kept.as_ref().map(|(record, _)| *record);
        let response = self.get(&url, request.authorization, validators)?;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some((record, kept)) = kept
        {
            verify(&url, request.checksum, record.digest)?;
            return Ok(reused(kept, record.digest, Some(record)));
        }
        if !response.status().is_success() {
            return Err(HttpError::Status {
                url: shown(&url),
                status: response.status().as_u16(),
            });
        }
        self.receive(&url, request, response)
    }

    /// Sends the request and follows redirects.
    fn get(
        &self,
        start: &Url,
        authorization: Option<&str>,
        record: Option<&Record>,
    ) -> Result<Response, HttpError> {
        let client = self.client.client()?;
        let mut url = start.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = HeaderMap::new();
            if let Some(record) = record {
                add(&mut headers, IF_NONE_MATCH, record.etag.as_deref());
                let modified = record.last_modified.as_deref();
                add(&mut headers, IF_MODIFIED_SINCE, modified);
            }
            if same_origin(start, &url) {
                add(&mut headers, AUTHORIZATION, authorization);
            }
            let sent = client.get(url.clone()).headers(headers).send();
            let response = sent.map_err(|source| HttpError::Transfer {
                url: shown(&url),
                source: source.without_url(),
            })?;
            let Some(target) = redirect(&response) else {
                return Ok(response);
            };
            let refused = |target: String| HttpError::Redirect {
                url: shown(&url),
                target,
            };
            let next = url.join(&target).map_err(|_| refused(target))?;
            if !may_redirect(start, &next) {
                return Err(refused(shown(&next)));
            }
            url = next;
        }
        Err(HttpError::Redirects { url: shown(start) })
    }

    /// Writes the body to disk, hashing, and keeps it.
    fn receive(
        &self,
        url: &Url,
        request: &Request<'_>,
        mut response: Response,
    ) -> Result<Fetched, HttpError> {
        let too_large = || HttpError::TooLarge {
            url: shown(url),
            limit: self.limit,
        };
        if response
            .content_length()
            .is_some_and(|length| length > self.limit)
        {
            return Err(too_large());
        }
        let header = |name| text(response.headers(), &name);
        let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
        let mut file = self.keep.begin()?;
        let mut hashes = Hashes::default();
        let mut buffer = vec![0; BUFFER];
        let mut left = self.limit;
        loop {
            let failed = |source| HttpError::Receive {
                url: shown(url),
                source,
            };
            let count = match response.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.map_err(failed)?,
            };
            if count == 0 {
                break;
            }
            let taken = u64::try_from(count).unwrap_or(u64::MAX);
            left = left.checked_sub(taken).ok_or_else(too_large)?;
            let written = hashes.write_all(&buffer[..count]);
            written
                .and_then(|()| file.write_all(&buffer[..count]))
                .map_err(failed)?;
        }
        let (digest, content, size) = hashes.finish();
        verify(url, request.checksum, digest)?;
        let path = self.keep.commit(file, &digest)?;
        let mtime = last_modified.as_deref().and_then(parse_http_date);
        self.keep.remember(&Record {
            address: Digest::of(request.url.as_bytes()),
            etag,
            last_modified,
            digest,
            size,
        });
        Ok(Fetched {
            path,
            size,
            digest,
            content,
            mtime: mtime.unwrap_or(0),
            downloaded: true,
        })
    }
}

fn reused(kept: Kept, digest: Digest, record: Option<&Record>) -> Fetched {
    let mtime = record.and_then(|record| parse_http_date(record.last_modified.as_deref()?));
    Fetched {
        path: kept.path,
        size: kept.size,
        digest,
        content: kept.content,
        mtime: mtime.unwrap_or(0),
        downloaded: false,
    }
}

fn verify(url: &Url, expected: Option<Digest>, actual: Digest) -> Result<(), HttpError> {
    match expected {
        Some(expected) if expected != actual => Err(HttpError::Checksum {
            url: shown(url),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// Where a response redirects to.
fn redirect(response: &Response) -> Option<String> {
    let redirects = [301, 302, 303, 307, 308].contains(&response.status().as_u16());
    redirects.then(|| text(response.headers(), &LOCATION))?
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Adds a header if there is a value and HTTP can carry it.
fn add(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(mut value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        value.set_sensitive(name == AUTHORIZATION);
        headers.insert(name, value);
    }
}
