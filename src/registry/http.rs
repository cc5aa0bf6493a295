//! HTTP clients, one for each way of trusting, made when first needed.
//!
//! A client for plain HTTP never touches a certificate. The system's certificates are loaded for
//! the first TLS connection only; on a machine that has none, Mozilla's list is used.
//!
//! Traps of the library that this file works around: its blocking client limits the *time to the
//! answer's head, sending included,* and each read by one number, so uploads carry a limit of
//! their own ([`upload_time_max`]); its redirects would be followed without asking us.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Identity, NoProxy, Proxy, blocking};

use super::error::RegistryError;
use super::message::printable;
use super::options::{ProxyOptions, RegistryOptions};

const USER_AGENT: &str = concat!("builder/", env!("CARGO_PKG_VERSION"));
/// The slowest upload that is waited for, in bytes a second.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Whom a connection believes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Plain HTTP.
    Plain,
    /// The system's authorities and those of the options.
    System,
    /// The same and those in a directory, which may also hold a client certificate.
    Directory(PathBuf),
    /// Any certificate: the registry is listed as insecure.
    Anybody,
}

/// The clients made so far.
#[derive(Debug, Default)]
pub(super) struct Pool {
    clients: Mutex<BTreeMap<Trust, blocking::Client>>,
}

impl Pool {
    /// The client for a way of trusting.
    pub(super) fn client(
        &self,
        trust: &Trust,
        options: &RegistryOptions,
    ) -> Result<blocking::Client, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(trust) {
            return Ok(client.clone());
        }
        let client = build(trust, options)?;
        clients.insert(trust.clone(), client.clone());
        Ok(client)
    }
}

/// How long an upload of `size` bytes may take as a whole.
pub(super) fn upload_time_max(size: u64, options: &RegistryOptions) -> Duration {
    let transfer = Duration::from_secs(size / UPLOAD_BYTES_PER_SECOND_MIN);
    // A registry on an object store copies the blob before it answers.
    transfer + options.retry.silence_max.saturating_mul(10)
}

/// The directory of certificates for a host, if there is one with any.
pub(super) fn certificates_of(host: &str, options: &RegistryOptions) -> Option<PathBuf> {
    if host.contains('/') || host.starts_with('.') {
        return None;
    }
    options
        .certs_dirs
        .iter()
        .map(|directory| directory.join(host))
        .find(|directory| {
            !files_of(directory, "crt").is_empty() || !files_of(directory, "cert").is_empty()
        })
}

fn build(trust: &Trust, options: &RegistryOptions) -> Result<blocking::Client, RegistryError> {
    match assemble(trust, options, Roots::System) {
        // A machine without any authority, such as an image with nothing but this program in it.
        Err(RegistryError::Prepare { .. }) => assemble(trust, options, Roots::BuiltIn),
        other => other,
    }
}

/// Where the authorities that everybody trusts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    /// The system (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured by the loader). Certificates of
    /// it that cannot be parsed are passed over.
    System,
    /// Mozilla's list in this program, besides the system's.
    BuiltIn,
}

fn assemble(
    trust: &Trust,
    options: &RegistryOptions,
    roots: Roots,
) -> Result<blocking::Client, RegistryError> {
    let silence_max = options.retry.silence_max;
    let mut builder = blocking::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(silence_max)
        .timeout(silence_max)
        .tcp_user_timeout(silence_max)
        .tcp_nodelay(true)
        .no_proxy();
    for proxy in proxies(&options.proxy)? {
        builder = builder.proxy(proxy);
    }
    builder = match trust {
        Trust::Plain => builder.tls_certs_only([]),
        Trust::Anybody => builder
            .tls_certs_only([])
            .tls_danger_accept_invalid_certs(true),
        Trust::System => builder.tls_certs_merge(more_roots(&options.ca_files, roots)?),
        Trust::Directory(directory) => {
            let mut files = options.ca_files.clone();
            files.extend(files_of(directory, "crt"));
            if let Some(identity) = client_identity(directory)? {
                builder = builder.identity(identity);
            }
            builder.tls_certs_merge(more_roots(&files, roots)?)
        }
    };
    builder.build().map_err(|error| prepare(&error))
}

/// The authorities besides the system's.
fn more_roots(files: &[PathBuf], roots: Roots) -> Result<Vec<Certificate>, RegistryError> {
    let mut more = Vec::new();
    for path in files {
        more.extend(read_certificates(path)?);
    }
    // With authorities of its own the library does not complain that the system has none.
    let alone = !more.is_empty() && rustls_native_certs::load_native_certs().certs.is_empty();
    if alone || roots == Roots::BuiltIn {
        let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        more.extend(built_in.filter_map(|der| Certificate::from_der(der).ok()));
    }
    Ok(more)
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, RegistryError> {
    Certificate::from_pem_bundle(&read_pem(path)?).map_err(|error| unusable(path, &error))
}

fn client_identity(directory: &Path) -> Result<Option<Identity>, RegistryError> {
    for path in files_of(directory, "cert") {
        let key = path.with_extension("key");
        if key.is_file() {
            let mut pem = read_pem(&path)?;
            pem.push(b'\n');
            pem.extend(read_pem(&key)?);
            return Identity::from_pem(&pem)
                .map(Some)
                .map_err(|error| unusable(&key, &error));
        }
    }
    Ok(None)
}

fn read_pem(path: &Path) -> Result<Vec<u8>, RegistryError> {
    use std::io::Read as _;
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| unusable(path, &error))?;
    Ok(pem)
}

/// The files of a directory with an extension, sorted; none if it cannot be read.
fn files_of(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn proxies(options: &ProxyOptions) -> Result<Vec<Proxy>, RegistryError> {
    let direct = format!(
        "localhost,127.0.0.0/8,::1,{}",
        options.no_proxy.as_deref().unwrap_or_default()
    );
    let mut proxies = Vec::new();
    for (address, make) in [
        (
            &options.http,
            Proxy::http::<String> as fn(String) -> reqwest::Result<Proxy>,
        ),
        (&options.https, Proxy::https::<String>),
    ] {
        if let Some(address) = address.as_ref().filter(|text| !text.0.is_empty()) {
            let proxy = make(address.0.clone()).map_err(|error| prepare(&error))?;
            proxies.push(proxy.no_proxy(NoProxy::from_string(&direct)));
        }
    }
    Ok(proxies)
}

fn prepare(error: &reqwest::Error) -> RegistryError {
    let (_, detail) = super::message::diagnose(error);
    RegistryError::Prepare { detail }
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> RegistryError {
    RegistryError::Certificate {
        path: path.to_owned(),
        detail: printable(&error.to_string(), 200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_trusting_can_be_made() {
        let options = RegistryOptions::default();
        for trust in [Trust::Plain, Trust::System, Trust::Anybody] {
            assemble(&trust, &options, Roots::BuiltIn).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        std::fs::write(
            &path,
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        let trust = Trust::Directory(directory.path().to_owned());
        let error = build(&trust, &RegistryOptions::default()).unwrap_err();
        assert!(error.to_string().contains("ca.crt"), "{error}");
    }

    #[test]
    fn a_proxys_address_must_be_one() {
        let mut options = RegistryOptions::default();
        options.proxy.http = Some(crate::registry::Secret("http://user:pw@[bad".to_owned()));
        let error = build(&Trust::Plain, &options).unwrap_err().to_string();
        assert!(!error.contains("pw"), "{error}");
    }

    #[test]
    fn uploads_may_take_as_long_as_they_are_large() {
        let options = RegistryOptions::default();
        assert!(upload_time_max(10 << 30, &options) > Duration::from_hours(24));
        assert!(upload_time_max(0, &options) >= Duration::from_mins(5));
    }
}
