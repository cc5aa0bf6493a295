//! What hostile clients send, and arithmetic.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::pem;
use super::signer::remainder;
use super::wire::{Fields, put_number, read_message};
use super::{Agent, KeyError, Keyring, Service};

#[test]
fn remainders_are_those_of_arithmetic() {
    for (number, modulus) in [
        (0_u64, 1_u64),
        (5, 7),
        (7, 7),
        (1 << 40, 65_535),
        (u64::MAX, 3),
    ] {
        for modulus in [modulus, modulus.wrapping_mul(0x1_0001).max(1), u64::MAX] {
            let rest = remainder(&number.to_be_bytes(), &modulus.to_be_bytes());
            let rest = rest.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(rest, number % modulus, "{number} mod {modulus}");
        }
    }
}

#[test]
fn numbers_have_no_leading_zeros_and_are_positive() {
    for (bytes, expected) in [
        (&[][..], &[0, 0, 0, 0][..]),
        (&[0, 0], &[0, 0, 0, 0]),
        (&[0, 1, 2], &[0, 0, 0, 2, 1, 2]),
        (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
    ] {
        let mut out = Vec::new();
        put_number(&mut out, bytes);
        assert_eq!(out, expected);
    }
}

#[test]
fn messages_are_bounded() {
    let read = |mut bytes: &[u8]| read_message(&mut bytes).map_err(|error| error.kind());
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[0, 0, 0, 1, 11]), Ok(Some(vec![11])));
    assert_eq!(read(&[0, 0, 0, 0]), Err(std::io::ErrorKind::InvalidData));
    assert_eq!(read(&[0, 4, 0, 1, 1]), Err(std::io::ErrorKind::InvalidData));
    assert_eq!(
        read(&[0, 0, 0, 2, 1]),
        Err(std::io::ErrorKind::UnexpectedEof)
    );
    assert_eq!(Fields(&[0, 0, 0, 2, 1]).string(), None);
    assert_eq!(Fields(&[0, 0]).number(), None);
}

#[test]
fn what_is_no_key_is_told_apart() {
    let refused = |text: &str| Keyring::default().add(text.as_bytes()).unwrap_err();
    let armour = |label: &str, body: &str| {
        format!("text\n-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    assert_eq!(refused(""), KeyError::NoKey);
    assert_eq!(
        refused("-----BEGIN PRIVATE KEY-----\nAAAA\n"),
        KeyError::NoKey
    );
    assert_eq!(refused(&armour("PRIVATE KEY", "?")), KeyError::NoKey);
    assert_eq!(refused(&armour("PRIVATE KEY", "AAAA")), KeyError::Rejected);
    assert_eq!(
        refused(&armour("OPENSSH PRIVATE KEY", "AAAA")),
        KeyError::Rejected
    );
    assert_eq!(
        refused(&armour("ENCRYPTED PRIVATE KEY", "AAAA")),
        KeyError::Encrypted
    );
    let head = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA";
    assert_eq!(
        refused(&armour("RSA PRIVATE KEY", head)),
        KeyError::Encrypted
    );
    assert_eq!(
        refused(&armour("DSA PRIVATE KEY", "AAAA")).to_string(),
        "ssh: unsupported key type \"DSA PRIVATE KEY\""
    );
    let windows = armour("X", "AAAA").replace('\n', "\r\n");
    assert_eq!(
        pem::decode(windows.as_bytes()).unwrap().bytes.as_slice(),
        [0; 3]
    );
}

#[test]
fn a_client_that_talks_nonsense_ends_itself_alone() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::Keys(Arc::new(Keyring::default()));
    let service = Service::start(&agent, directory.path()).unwrap();
    let connect = || {
        let stream = UnixStream::connect(service.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    };
    let mut nonsense = connect();
    nonsense.write_all(&[0xff; 64]).unwrap();
    assert_eq!(nonsense.read(&mut [0; 8]).unwrap_or(0), 0);
    let mut good = connect();
    for (request, answer) in [
        (&[11_u8][..], &[12_u8, 0, 0, 0, 0][..]),
        (&[13, 0, 0, 0, 9], &[5]),
        (&[13], &[5]),
        (&[17, 1, 2, 3], &[5]),
        (&[19], &[5]),
    ] {
        let length = u32::try_from(request.len()).unwrap().to_be_bytes();
        good.write_all(&[&length, request].concat()).unwrap();
        assert_eq!(read_message(&mut good).unwrap().unwrap(), answer);
    }
    // The end of the service is the end of its connections, idle ones too.
    let socket = service.socket().to_owned();
    drop(service);
    assert_eq!(good.read(&mut [0; 8]).unwrap_or(0), 0);
    assert!(UnixStream::connect(socket).is_err());
}
