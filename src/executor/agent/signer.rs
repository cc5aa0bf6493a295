//! One private key: read from what its file has, and used to sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};
use ssh_key::PrivateKey;
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use zeroize::Zeroizing;

use super::KeyError;
use super::pem::Armoured;
use super::wire::{put_number, put_string};

/// `SSH_AGENT_RSA_SHA2_256`
const RSA_SHA2_256: u32 = 2;
/// `SSH_AGENT_RSA_SHA2_512`
const RSA_SHA2_512: u32 = 4;

/// A curve: its name, and how it signs.
type Curve = (&'static str, &'static EcdsaSigningAlgorithm);

const CURVES: [Curve; 3] = [
    ("nistp256", &ECDSA_P256_SHA256_FIXED_SIGNING),
    ("nistp384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ("nistp521", &ECDSA_P521_SHA512_FIXED_SIGNING),
];

/// A key that can sign. The library wipes it when it goes.
pub(super) enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(&'static str, EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl Signer {
    /// The key of a file, in any form that ssh-keygen and openssl write.
    pub(super) fn read(key: &Armoured<'_>) -> Result<Self, KeyError> {
        let der = key.bytes.as_slice();
        match key.label {
            "OPENSSH PRIVATE KEY" => Self::openssh(der),
            "RSA PRIVATE KEY" => Ok(Self::Rsa(rsa::KeyPair::from_der(der).map_err(rejected)?)),
            "EC PRIVATE KEY" => any_curve(|curve| EcdsaKeyPair::from_private_key_der(curve, der)),
            "PRIVATE KEY" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Self::Ed25519)
                .or_else(|_| rsa::KeyPair::from_pkcs8(der).map(Self::Rsa))
                .or_else(|_| any_curve(|curve| EcdsaKeyPair::from_pkcs8(curve, der))),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            other => Err(KeyError::Kind(other.to_owned())),
        }
    }

    fn openssh(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKey::from_bytes(bytes).map_err(|error| malformed(&error))?;
        let kind = |key: &PrivateKey| KeyError::Kind(key.algorithm().to_string());
        match key.key_data() {
            _ if key.is_encrypted() => Err(KeyError::Encrypted),
            KeypairData::Ed25519(pair) => {
                let (seed, public) = (pair.private.as_ref(), pair.public.as_ref());
                let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
                Ok(Self::Ed25519(pair.map_err(rejected)?))
            }
            KeypairData::Ecdsa(pair) => {
                let (name, curve) = CURVES[match pair {
                    EcdsaKeypair::NistP256 { .. } => 0,
                    EcdsaKeypair::NistP384 { .. } => 1,
                    EcdsaKeypair::NistP521 { .. } => 2,
                }];
                let (private, public) = (pair.private_key_bytes(), pair.public_key_bytes());
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, private, public);
                Ok(Self::Ecdsa(name, pair.map_err(rejected)?))
            }
            KeypairData::Rsa(pair) => rsa_of_parts(pair),
            _ => Err(kind(&key)),
        }
    }

    /// The public key as ssh writes it.
    pub(super) fn public(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        match self {
            Self::Ed25519(pair) => {
                put_string(&mut blob, b"ssh-ed25519");
                put_string(&mut blob, pair.public_key().as_ref());
            }
            Self::Ecdsa(curve, pair) => {
                put_string(&mut blob, format!("ecdsa-sha2-{curve}").as_bytes());
                put_string(&mut blob, curve.as_bytes());
                put_string(&mut blob, pair.public_key().as_ref());
            }
            Self::Rsa(pair) => {
                put_string(&mut blob, b"ssh-rsa");
                let public = pair.public_key();
                put_number(
                    &mut blob,
                    public.exponent().big_endian_without_leading_zero(),
                );
                put_number(
                    &mut blob,
                    public.modulus().big_endian_without_leading_zero(),
                );
            }
        }
        blob
    }

    /// A signature as ssh writes it; `None` for what this key does not do. SHA-1 is not done.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let mut blob = Vec::new();
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => {
                put_string(&mut blob, b"ssh-ed25519");
                put_string(&mut blob, pair.try_sign(data).ok()?.as_ref());
            }
            Self::Ecdsa(curve, pair) => {
                let pair = pair.sign(&random, data).ok()?;
                let (r, s) = pair.as_ref().split_at(pair.as_ref().len() / 2);
                let mut numbers = Vec::new();
                put_number(&mut numbers, r);
                put_number(&mut numbers, s);
                put_string(&mut blob, format!("ecdsa-sha2-{curve}").as_bytes());
                put_string(&mut blob, &numbers);
            }
            Self::Rsa(pair) => {
                let (name, padding) = if flags & RSA_SHA2_512 != 0 {
                    ("rsa-sha2-512", &RSA_PKCS1_SHA512)
                } else if flags & RSA_SHA2_256 != 0 {
                    ("rsa-sha2-256", &RSA_PKCS1_SHA256)
                } else {
                    return None;
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, data, &mut signature).ok()?;
                put_string(&mut blob, name.as_bytes());
                put_string(&mut blob, &signature);
            }
        }
        Some(blob)
    }
}

/// A key on whichever curve takes it.
fn any_curve<E>(
    read: impl Fn(&'static EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, E>,
) -> Result<Signer, KeyError> {
    let mut pairs = CURVES
        .iter()
        .filter_map(|(name, curve)| Some(Signer::Ecdsa(name, read(curve).ok()?)));
    pairs.next().ok_or(KeyError::Rejected)
}

/// An RSA key of OpenSSH's file, which leaves out what can be computed.
fn rsa_of_parts(pair: &RsaKeypair) -> Result<Signer, KeyError> {
    let bytes = |number: &ssh_key::Mpint| {
        let digits = number.as_positive_bytes().ok_or(KeyError::Rejected)?;
        Ok::<_, KeyError>(Zeroizing::new(digits.to_vec()))
    };
    let (public, private) = (pair.public(), pair.private());
    let (d, p, q) = (
        bytes(private.d())?,
        bytes(private.p())?,
        bytes(private.q())?,
    );
    let components = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: bytes(public.n())?,
            e: bytes(public.e())?,
        },
        dP: remainder(&d, &less_one(&p)),
        dQ: remainder(&d, &less_one(&q)),
        qInv: bytes(private.iqmp())?,
        d,
        p,
        q,
    };
    let pair = rsa::KeyPair::from_components(&components).map_err(rejected)?;
    Ok(Signer::Rsa(pair))
}

/// An odd number less one.
fn less_one(odd: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut even = Zeroizing::new(odd.to_vec());
    if let Some(last) = even.last_mut() {
        *last &= 0xfe;
    }
    even
}

/// `number mod modulus`, both big-endian, bit by bit. The library checks what comes of it.
pub(super) fn remainder(number: &[u8], modulus: &[u8]) -> Zeroizing<Vec<u8>> {
    // A leading byte takes what the doubling pushes out.
    let modulus = Zeroizing::new([&[0], modulus].concat());
    let mut rest = Zeroizing::new(vec![0_u8; modulus.len()]);
    for bit in (0..number.len() * 8).map(|at| number[at / 8] >> (7 - at % 8) & 1) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | u16::from(carry);
            [carry, *byte] = doubled.to_be_bytes();
        }
        if rest.as_slice() >= modulus.as_slice() {
            let mut borrow = false;
            for (byte, less) in rest.iter_mut().zip(modulus.iter()).rev() {
                let (once, first) = byte.overflowing_sub(*less);
                let (twice, second) = once.overflowing_sub(borrow.into());
                (*byte, borrow) = (twice, first || second);
            }
        }
    }
    rest
}

fn rejected(_: aws_lc_rs::error::KeyRejected) -> KeyError {
    KeyError::Rejected
}

fn malformed(error: &ssh_key::Error) -> KeyError {
    match error {
        ssh_key::Error::Encrypted => KeyError::Encrypted,
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            KeyError::Kind("of an unknown algorithm".to_owned())
        }
        _ => KeyError::Rejected,
    }
}
