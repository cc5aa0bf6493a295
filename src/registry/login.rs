//! `login` and `logout`: credentials are tried before they are kept.

use std::path::{Path, PathBuf};

use reqwest::Method;

use super::auth::Access;
use super::auth_file::{self, AuthFile};
use super::client::Client;
use super::credential::Credential;
use super::error::RegistryError;
use super::helper::{self, Helper};
use super::transport::Call;

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredIn {
    /// In this file, unencrypted, readable by its owner only.
    File(PathBuf),
    /// With `docker-credential-NAME`.
    Helper(String),
}

/// A successful login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOutcome {
    /// Where the credentials are now.
    pub stored_in: StoredIn,
}

impl Client {
    /// Tries a credential at a registry and, if it is accepted, gives it to the helper in charge or
    /// writes it into the login file. `registry` is a host as in image names.
    pub fn login(
        &self,
        registry: &str,
        credential: Credential,
    ) -> Result<LoginOutcome, RegistryError> {
        let home = self.inner.home(registry, "");
        self.inner.auth.set_credential(&home, credential.clone());
        self.inner.call(&Call::new(
            Method::GET,
            &home,
            String::new(),
            &Access::login(),
        ))?;
        let path = self.login_file()?;
        if let Some(name) = login_helper(path, registry)? {
            helper::store(self.helper(&name), registry, &credential).map_err(|source| {
                RegistryError::Helper {
                    registry: registry.to_owned(),
                    source,
                }
            })?;
            return Ok(LoginOutcome {
                stored_in: StoredIn::Helper(name),
            });
        }
        auth_file::change(path, registry, Some(&credential))
            .map_err(|source| in_file(path, source))?;
        Ok(LoginOutcome {
            stored_in: StoredIn::File(path.to_owned()),
        })
    }

    /// Forgets the credentials of a registry, in the login file and with the helper in charge.
    /// Returns whether the file or a helper was told so; `false` means nothing was known.
    pub fn logout(&self, registry: &str) -> Result<bool, RegistryError> {
        let path = self.login_file()?;
        let helper = login_helper(path, registry)?;
        if let Some(name) = &helper {
            helper::erase(self.helper(name), registry).map_err(|source| RegistryError::Helper {
                registry: registry.to_owned(),
                source,
            })?;
        }
        let removed =
            auth_file::change(path, registry, None).map_err(|source| in_file(path, source))?;
        Ok(removed || helper.is_some())
    }

    fn helper<'a>(&'a self, name: &'a str) -> Helper<'a> {
        Helper {
            name,
            path: self.inner.options.helper_path.as_deref(),
        }
    }

    fn login_file(&self) -> Result<&Path, RegistryError> {
        self.inner
            .options
            .login_file
            .as_deref()
            .ok_or(RegistryError::NoAuthFile)
    }
}

/// The helper that a file puts in charge of a registry.
fn login_helper(path: &Path, registry: &str) -> Result<Option<String>, RegistryError> {
    let file = AuthFile::read(path).map_err(|source| in_file(path, source))?;
    Ok(file.and_then(|file| file.helper(registry)))
}

fn in_file(path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::AuthFile {
        path: path.to_owned(),
        source,
    }
}
