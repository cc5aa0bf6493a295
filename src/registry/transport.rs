//! One request: scheme, authorization, redirects, tries.

use std::io::{self, Read};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode, Url, blocking};

use super::auth::{Access, Rejection};
use super::challenge::{Challenge, authority};
use super::client::Inner;
use super::credential::Secret;
use super::endpoint::{Endpoint, Scheme, same_origin};
use super::error::{Broken, RegistryError, Request, Unacceptable};
use super::http::upload_time_max;
use super::message::{diagnose, parse_errors, printable, redacted};
use super::retry::{is_transient, parse_retry_after, pause};

const ERROR_BYTES_MAX: u64 = 64 * 1024;
const REDIRECTS_MAX: usize = 5;

/// Opens the bytes of a body, once for each try.
pub(super) type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// Nothing.
    None,
    /// Bytes and their type.
    Bytes(&'a [u8], &'a str),
    /// A blob of known size.
    Stream(Open<'a>, u64),
}

/// Where a request goes.
pub(super) enum Target<'a> {
    /// A path below `/v2/`.
    Path(String),
    /// An address on the endpoint's own origin that it handed out.
    Own(&'a Url),
}

/// One request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) endpoint: &'a Endpoint,
    pub(super) target: Target<'a>,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) payload: Payload<'a>,
    pub(super) access: &'a Access,
    /// Tries in all; `None` means the policy's.
    pub(super) attempts: Option<u32>,
}

impl<'a> Call<'a> {
    /// A request without headers and body.
    pub(super) fn new(
        method: Method,
        endpoint: &'a Endpoint,
        path: String,
        access: &'a Access,
    ) -> Self {
        Self {
            method,
            endpoint,
            target: Target::Path(path),
            headers: Vec::new(),
            payload: Payload::None,
            access,
            attempts: None,
        }
    }
}

/// A successful answer (2xx) and the address it came from.
pub(super) struct Reply {
    pub(super) response: blocking::Response,
    pub(super) request: Request,
    /// The address asked first, before redirects: upload addresses are relative to it.
    pub(super) url: Url,
}

impl Reply {
    /// The text of a header.
    pub(super) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(super) fn unacceptable(&self, reason: Unacceptable) -> RegistryError {
        RegistryError::unacceptable(self.request.clone(), reason)
    }

    /// The whole body, within a bound.
    pub(super) fn body(&mut self, bytes_max: u64) -> Result<Vec<u8>, RegistryError> {
        read_limited(&mut self.response, bytes_max, &self.request)
    }
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The registry, asked with or without authorization.
    Own(bool),
    /// A host that it redirected to.
    Stranger,
}

/// Why one try failed.
struct Failed {
    error: RegistryError,
    transient: bool,
    retry_after: Option<Duration>,
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        Self {
            error,
            transient: false,
            retry_after: None,
        }
    }
}

impl Inner {
    /// Sends a request until it succeeds, cannot, or the tries are used up.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Reply, RegistryError> {
        let attempts = call.attempts.unwrap_or(self.options.retry.attempts).max(1);
        let mut attempt = 1;
        loop {
            self.check_stop(call.endpoint)?;
            let failed = match self.attempt(call) {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            if !failed.transient || attempt >= attempts.min(tries_of(&failed.error)) {
                return Err(failed.error);
            }
            tracing::debug!(error = %failed.error, attempt, "registry request failed, trying again");
            if !self
                .stop
                .wait(pause(&self.options.retry, attempt, failed.retry_after))
            {
                self.check_stop(call.endpoint)?;
            }
            attempt += 1;
        }
    }

    /// Sends a request and reads the whole answer, trying again also if the answer breaks off.
    pub(super) fn call_body(
        &self,
        call: &Call<'_>,
        bytes_max: u64,
    ) -> Result<(Reply, Vec<u8>), RegistryError> {
        let mut attempt = 1;
        loop {
            let mut reply = self.call(call)?;
            match reply.body(bytes_max) {
                Ok(body) => return Ok((reply, body)),
                Err(RegistryError::Transport { .. }) if attempt < self.options.retry.attempts => {
                    self.stop.wait(pause(&self.options.retry, attempt, None));
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One try: at most one renewal of the authorization, and redirects.
    fn attempt(&self, call: &Call<'_>) -> Result<Reply, Failed> {
        let mut renewed = false;
        loop {
            let (response, url, header) = self.send_somehow(call)?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED
                && !renewed
                && self.renew(call, &response, &url, header.as_ref())?
            {
                renewed = true;
                continue;
            }
            return if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                self.follow(call, response, url, header)
            } else {
                self.judge_status(call, response, url, Origin::Own(header.is_some()))
            };
        }
    }

    /// Deals with a 401; returns whether another try can do better: with a new token, or with a
    /// password that was not sent before.
    fn renew(
        &self,
        call: &Call<'_>,
        response: &blocking::Response,
        url: &Url,
        header: Option<&Secret>,
    ) -> Result<bool, RegistryError> {
        let Some(challenge) = challenge_of(response.headers()) else {
            return Ok(false);
        };
        let is_basic = challenge == Challenge::Basic;
        let rejection = Rejection {
            url,
            challenge,
            header,
        };
        self.take_challenge(call.endpoint, call.access, rejection);
        let next = self.authorization(call.endpoint, url, call.access)?;
        Ok(next.is_some() && (!is_basic || next.as_ref() != header))
    }

    /// Sends in the scheme that works for the host, finding it out if need be.
    fn send_somehow(
        &self,
        call: &Call<'_>,
    ) -> Result<(blocking::Response, Url, Option<Secret>), Failed> {
        let host = &call.endpoint.host;
        let known = self.known_scheme(call.endpoint);
        let schemes = match &known {
            Some(scheme) => std::slice::from_ref(scheme),
            None => call.endpoint.schemes(),
        };
        let mut first: Option<Failed> = None;
        let mut doubtful = None;
        for scheme in schemes {
            let url = match &call.target {
                Target::Path(path) => call.endpoint.url(*scheme, path),
                Target::Own(url) => Some((*url).clone()),
            };
            let url = url.ok_or_else(|| RegistryError::Prepare {
                detail: format!("`{}` is not a host", printable(host, 100)),
            })?;
            let header = self.authorization(call.endpoint, &url, call.access)?;
            match self.send(call, &url, *scheme, header.as_ref()) {
                Ok(response)
                    if known.is_none() && *scheme == Scheme::Http && wants_tls(&response) =>
                {
                    doubtful = Some((response, url, header));
                }
                Ok(response) => {
                    self.remember_scheme(call.endpoint, *scheme);
                    return Ok((response, url, header));
                }
                Err(failed) => first = first.or(Some(failed)),
            }
        }
        // It looked like a server of TLS. If no TLS was to be had, it meant what it said; if there is
        // TLS but no trust, that is the thing to tell.
        let is_tls = |failed: &Failed| {
            let broken = Broken::Certificate;
            matches!(&failed.error, RegistryError::Transport { broken: found, .. } if *found == broken)
        };
        if let Some(answer) = doubtful.filter(|_| !first.as_ref().is_some_and(is_tls)) {
            return Ok(answer);
        }
        Err(first.unwrap_or_else(|| {
            RegistryError::Prepare {
                detail: format!("`{}` speaks neither HTTP nor TLS", printable(host, 100)),
            }
            .into()
        }))
    }

    fn send(
        &self,
        call: &Call<'_>,
        url: &Url,
        scheme: Scheme,
        header: Option<&Secret>,
    ) -> Result<blocking::Response, Failed> {
        let trust = self.trust(&call.endpoint.host, scheme);
        let client = self.pool.client(&trust, &self.options)?;
        let mut builder = client.request(call.method.clone(), url.clone());
        for (name, value) in &call.headers {
            builder = builder.header(name, value);
        }
        if let Some(header) = header {
            builder = builder.header(AUTHORIZATION, &header.0);
        }
        match call.payload {
            Payload::None if call.method == Method::GET || call.method == Method::HEAD => {}
            Payload::None => builder = builder.body(Vec::new()),
            Payload::Bytes(bytes, media_type) => {
                builder = builder
                    .header(CONTENT_TYPE, media_type)
                    .body(bytes.to_vec());
            }
            Payload::Stream(open, size) => {
                let reader = open().map_err(|source| RegistryError::Transport {
                    request: Request::new(&call.method, url),
                    broken: Broken::Connection,
                    detail: source.to_string(),
                })?;
                builder = builder
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .timeout(upload_time_max(size, &self.options))
                    .body(blocking::Body::sized(reader, size));
            }
        }
        builder
            .send()
            .map_err(|error| transport_failure(&error, &call.method, url))
    }

    /// Follows the redirects of a GET or HEAD. Other origins get no authorization, and no origin
    /// leads from TLS to plain HTTP.
    fn follow(
        &self,
        call: &Call<'_>,
        mut response: blocking::Response,
        asked: Url,
        header: Option<Secret>,
    ) -> Result<Reply, Failed> {
        let mut url = asked.clone();
        for _ in 0..REDIRECTS_MAX {
            let refuse = |location: &str| {
                RegistryError::unacceptable(
                    Request::new(&call.method, &url),
                    Unacceptable::Redirect(location.to_owned()),
                )
            };
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let next = location
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| refuse(&printable(location.unwrap_or_default(), 200)))?;
            let safe = matches!(call.method, Method::GET | Method::HEAD)
                && (next.scheme() == "https"
                    || (next.scheme() == "http" && url.scheme() == "http"))
                && next.username().is_empty()
                && next.password().is_none()
                && next.host_str().is_some();
            if !safe {
                return Err(refuse(&redacted(&next)).into());
            }
            let own = same_origin(&next, &asked);
            let trust = match self.known_scheme(call.endpoint) {
                Some(scheme) if own => self.trust(&call.endpoint.host, scheme),
                _ => self.stranger_trust(&next),
            };
            let client = self.pool.client(&trust, &self.options)?;
            let mut builder = client.request(call.method.clone(), next.clone());
            for (name, value) in &call.headers {
                builder = builder.header(name, value);
            }
            if let Some(header) = header.as_ref().filter(|_| own) {
                builder = builder.header(AUTHORIZATION, &header.0);
            }
            response = builder
                .send()
                .map_err(|error| transport_failure(&error, &call.method, &next))?;
            url = next;
            if !response.status().is_redirection() {
                let origin = if own {
                    Origin::Own(header.is_some())
                } else {
                    Origin::Stranger
                };
                return self.judge_status(call, response, url, origin);
            }
        }
        Err(RegistryError::unacceptable(
            Request::new(&call.method, &asked),
            Unacceptable::Redirect(format!("{} after {REDIRECTS_MAX} others", authority(&url))),
        )
        .into())
    }

    fn judge_status(
        &self,
        call: &Call<'_>,
        mut response: blocking::Response,
        url: Url,
        origin: Origin,
    ) -> Result<Reply, Failed> {
        let status = response.status();
        let request = Request::new(&call.method, &url);
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Reply {
                response,
                request,
                url,
            });
        }
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| parse_retry_after(value.to_str().ok()?));
        let mut body = Vec::new();
        // The status tells enough if the body does not come.
        let _ = response
            .by_ref()
            .take(ERROR_BYTES_MAX)
            .read_to_end(&mut body);
        let answer = parse_errors(&body);
        let error = match (status.as_u16(), origin) {
            (401 | 403, Origin::Own(had_header)) => RegistryError::Denied {
                action: call.access.action,
                registry: call.endpoint.registry.clone(),
                repository: call.endpoint.name(),
                had_credential: had_header && self.credential(call.endpoint)?.is_some(),
                answer,
            },
            _ => RegistryError::Status {
                request,
                status,
                answer,
            },
        };
        // A signed address of an object store runs out; the registry hands out a new one.
        let expired = status == StatusCode::FORBIDDEN && origin == Origin::Stranger;
        Err(Failed {
            error,
            transient: expired || is_transient(status.as_u16()),
            retry_after,
        })
    }
}

/// How often an error is worth another try, whatever the policy says: a name that is misspelt or a
/// port where nothing listens is usually so for good.
fn tries_of(error: &RegistryError) -> u32 {
    match error {
        RegistryError::Transport {
            broken: Broken::Refused | Broken::Name,
            ..
        } => 3,
        _ => u32::MAX,
    }
}

fn challenge_of(headers: &HeaderMap) -> Option<Challenge> {
    Challenge::pick(
        headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok()),
    )
}

/// Whether a server says that it was spoken to in plain HTTP by mistake. Go's and nginx's servers
/// both answer 400, and neither is a registry's answer.
fn wants_tls(response: &blocking::Response) -> bool {
    response.status() == StatusCode::BAD_REQUEST
        && !response
            .headers()
            .contains_key("docker-distribution-api-version")
        && response
            .headers()
            .get(CONTENT_TYPE)
            .is_none_or(|value| !value.as_bytes().starts_with(b"application/json"))
}

fn transport_failure(error: &reqwest::Error, method: &Method, url: &Url) -> Failed {
    let (broken, detail) = diagnose(error);
    Failed {
        error: RegistryError::Transport {
            request: Request::new(method, url),
            broken,
            detail,
        },
        // A name or a certificate does not get better within seconds.
        transient: !matches!(broken, Broken::Certificate | Broken::NotTls),
        retry_after: None,
    }
}

/// Reads a body to its end, within a bound.
pub(super) fn read_limited(
    response: &mut blocking::Response,
    bytes_max: u64,
    request: &Request,
) -> Result<Vec<u8>, RegistryError> {
    let too_large =
        || RegistryError::unacceptable(request.clone(), Unacceptable::TooLarge { max: bytes_max });
    if response
        .content_length()
        .is_some_and(|length| length > bytes_max)
    {
        return Err(too_large());
    }
    let mut body = Vec::new();
    response
        .take(bytes_max + 1)
        .read_to_end(&mut body)
        .map_err(|error| RegistryError::Transport {
            request: request.clone(),
            broken: Broken::Connection,
            detail: printable(&error.to_string(), 200),
        })?;
    if body.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(body)
}
