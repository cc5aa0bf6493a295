//! The keys of one `--ssh ID=KEY,…`, and what an agent answers with them.

use super::pem;
use super::signer::Signer;
use super::wire::{
    FAILURE, Fields, IDENTITIES_ANSWER, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, put_string,
};

/// Why a file is no key that can be served. The words are those of Go's `x/crypto/ssh`, which
/// BuildKit passes on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No armoured key in the file.
    #[error("ssh: no key found")]
    NoKey,
    /// A key with a passphrase; nobody asks for it.
    #[error("ssh: this private key is passphrase protected")]
    Encrypted,
    /// A key of a kind that is not served.
    #[error("ssh: unsupported key type {0:?}")]
    Kind(String),
    /// A key that is malformed, too short, or does not fit its public half.
    #[error("ssh: the key is malformed or too short")]
    Rejected,
}

/// Keys in the order of the command line.
#[derive(Default)]
pub struct Keyring {
    /// The public key as ssh writes it, and the private one.
    keys: Vec<(Vec<u8>, Signer)>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Keyring")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Adds the key that a file's bytes hold; one that is there already is not added again.
    pub fn add(&mut self, file: &[u8]) -> Result<(), KeyError> {
        let signer = Signer::read(&pem::decode(file)?)?;
        let public = signer.public();
        if self.keys.iter().all(|(known, _)| *known != public) {
            self.keys.push((public, signer));
        }
        Ok(())
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The answer to a message.
    pub(super) fn answer(&self, message: &[u8]) -> Vec<u8> {
        let answer = match message.split_first() {
            Some((&REQUEST_IDENTITIES, _)) => Some(self.identities()),
            Some((&SIGN_REQUEST, fields)) => self.sign(fields),
            _ => None,
        };
        answer.unwrap_or_else(|| vec![FAILURE])
    }

    fn identities(&self) -> Vec<u8> {
        let mut answer = vec![IDENTITIES_ANSWER];
        let count = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        answer.extend(count.to_be_bytes());
        for (public, _) in &self.keys {
            put_string(&mut answer, public);
            // BuildKit serves keys without comment.
            put_string(&mut answer, b"");
        }
        answer
    }

    fn sign(&self, fields: &[u8]) -> Option<Vec<u8>> {
        let mut fields = Fields(fields);
        let (public, data, flags) = (fields.string()?, fields.string()?, fields.number()?);
        let (_, signer) = self.keys.iter().find(|(known, _)| known == public)?;
        let mut answer = vec![SIGN_RESPONSE];
        put_string(&mut answer, &signer.sign(data, flags)?);
        Some(answer)
    }
}
