//! Networks and registries that fail: every request of a pull and of a push, in every way.

use std::io::Read as _;
use std::sync::Arc;

use builder::export::{ExportError, ExportSet, PushOptions, push};
use builder::image::{Descriptor, MediaType};
use builder::reference::Reference;
use builder::registry::{Mirror, MirrorRule, Nothing, RegistryOptions};

use proptest::prelude::*;

use crate::kit::{
    Answer, Blobs, Debian, End, Seen, Server, client, forward, layer, options, plain_client, set,
};

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Status(u16),
    RetryAfter(&'static str),
    Reset,
    CloseEarly,
    ResetBody,
}

const FAULTS: [Fault; 11] = [
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(504),
    Fault::RetryAfter("0"),
    Fault::RetryAfter("3"),
    Fault::RetryAfter("99999999999999999999999"),
    Fault::RetryAfter("soon"),
    Fault::Reset,
    Fault::CloseEarly,
    Fault::ResetBody,
];

fn faulty(fault: Fault, answer: impl FnOnce() -> Answer) -> Answer {
    match fault {
        Fault::Status(status) => Answer::new(status).body("trouble"),
        Fault::RetryAfter(value) => Answer::new(429).header("retry-after", value),
        Fault::Reset => Answer::new(200).end(End::Reset(0)),
        Fault::CloseEarly => answer().end(End::Close(1)),
        Fault::ResetBody => answer().end(End::Reset(3)),
    }
}

/// Pulls an image with its layers.
fn pull(client: &builder::registry::Client, name: &Reference) -> Vec<Vec<u8>> {
    let platform = "linux/amd64".parse().unwrap();
    let image = client.resolve_platform(name, &platform, &Nothing).unwrap();
    let read = |layer: &Descriptor| {
        let mut bytes = Vec::new();
        client
            .blob(name, layer)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    };
    image.manifest.layers.iter().map(read).collect()
}

fn sample() -> (Blobs, ExportSet) {
    let mut blobs = Blobs::default();
    let layers = vec![
        layer(&mut blobs, "a", &[1; 10_000]),
        layer(&mut blobs, "b", b"b"),
    ];
    let set = set(layers);
    (blobs, set)
}

#[test]
fn a_pull_survives_any_fault_at_any_request() {
    let registry = Debian::start();
    let (blobs, set) = sample();
    let origin = registry.name("app:1");
    push(
        &plain_client(),
        &set,
        &[origin],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let port = registry.port();
    for fault in FAULTS {
        for position in 0..4 {
            let proxy = Server::start(move |request: &Seen| {
                if request.number == position {
                    return faulty(fault, || forward(port, request));
                }
                forward(port, request)
            });
            let name = format!("{}/app:1", proxy.host()).parse().unwrap();
            let layers = pull(&plain_client(), &name);
            for (bytes, layer) in layers.iter().zip(&set.images[0].layers) {
                assert_eq!(
                    *bytes, blobs.bytes[&layer.descriptor.digest],
                    "{fault:?} at {position}"
                );
            }
            assert!(
                proxy.seen().len() >= 5,
                "{fault:?} at {position} was not noticed"
            );
        }
    }
}

#[test]
fn a_push_survives_any_fault_at_any_request() {
    let registry = Debian::start();
    let (blobs, set) = sample();
    let port = registry.port();
    let count = 1 + 3 * 3 + 1;
    for (number, fault) in FAULTS.into_iter().enumerate() {
        for position in 0..count {
            let proxy = Server::start(move |request: &Seen| {
                if request.number == position {
                    return faulty(fault, || forward(port, request));
                }
                forward(port, request)
            });
            let repository = format!("app-{number}-{position}:1");
            let name = format!("{}/{repository}", proxy.host()).parse().unwrap();
            push(
                &plain_client(),
                &set,
                &[name],
                &blobs,
                PushOptions::default(),
            )
            .unwrap_or_else(|error| panic!("{fault:?} at {position}: {error:?}"));
            let pushed = plain_client().resolve(&registry.name(&repository)).unwrap();
            assert_eq!(pushed, set.root().descriptor, "{fault:?} at {position}");
        }
    }
}

#[test]
fn a_push_that_cannot_end_leaves_no_tag() {
    let registry = Debian::start();
    let (blobs, set) = sample();
    let port = registry.port();
    for first in 0..11 {
        let proxy = Server::start(move |request: &Seen| {
            if request.number >= first {
                return Answer::new(503);
            }
            forward(port, request)
        });
        let repository = format!("app-{first}:1");
        let name = format!("{}/{repository}", proxy.host()).parse().unwrap();
        assert!(
            push(
                &plain_client(),
                &set,
                &[name],
                &blobs,
                PushOptions::default()
            )
            .is_err()
        );
        assert!(
            plain_client().resolve(&registry.name(&repository)).is_err(),
            "{first}"
        );
    }
}

#[test]
fn a_damaged_layer_is_our_fault_and_not_tried_again() {
    let registry = Debian::start();
    let port = registry.port();
    let proxy = Server::start(move |request: &Seen| forward(port, request));
    let (mut blobs, set) = sample();
    let digest = set.images[0].layers[0].descriptor.digest;
    blobs.bytes.get_mut(&digest).unwrap()[10] ^= 1;
    let name = format!("{}/app:1", proxy.host()).parse().unwrap();
    let error = push(
        &plain_client(),
        &set,
        &[name],
        &blobs,
        PushOptions::default(),
    )
    .unwrap_err();
    assert!(
        matches!(error, ExportError::Blob { digest: found, .. } if found == digest),
        "{error:?}"
    );
    assert!(plain_client().resolve(&registry.name("app:1")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tag_never_names_something_incomplete(
        faults in proptest::collection::vec((0_usize..20, 0..FAULTS.len()), 0..12),
    ) {
        let registry = Debian::start();
        let (blobs, set) = sample();
        let port = registry.port();
        let proxy = Server::start(move |request: &Seen| {
            match faults.iter().find(|(position, _)| *position == request.number) {
                Some((_, fault)) => faulty(FAULTS[*fault], || forward(port, request)),
                None => forward(port, request),
            }
        });
        let name = format!("{}/app:1", proxy.host()).parse().unwrap();
        let pushed = push(&plain_client(), &set, &[name], &blobs, PushOptions::default());
        let found = plain_client().resolve(&registry.name("app:1"));
        prop_assert!(pushed.is_err() || found.is_ok());
        if found.is_ok() {
            for (bytes, layer) in pull(&plain_client(), &registry.name("app:1")).iter().zip(&set.images[0].layers) {
                prop_assert_eq!(bytes, &blobs.bytes[&layer.descriptor.digest]);
            }
        }
    }
}

#[test]
fn each_tools_file_names_mirrors() {
    let server = Server::start(|request: &Seen| {
        let digest = builder::digest::Digest::of(request.path.as_bytes()).to_string();
        Answer::new(200)
            .header("docker-content-digest", digest)
            .header("content-type", MediaType::OciManifest.as_str())
            .header("content-length", "10")
    });
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let host = server.host();
    std::fs::write(
        at("daemon.json"),
        format!(r#"{{"registry-mirrors": ["http://{host}"]}}"#),
    )
    .unwrap();
    let conf = format!(
        "[[registry]]\nprefix = 'quay.example/a'\n[[registry.mirror]]\nlocation = '{host}/q'\n"
    );
    std::fs::write(at("registries.conf"), conf).unwrap();
    std::fs::create_dir(at("ghcr.example")).unwrap();
    let hosts = format!("[host.\"http://{host}\"]\ncapabilities = ['pull', 'resolve']\n");
    std::fs::write(at("ghcr.example/hosts.toml"), hosts).unwrap();
    let client = client(RegistryOptions {
        daemon_files: vec![at("daemon.json")],
        registries_conf: vec![at("none.conf"), at("registries.conf")],
        certs_dirs: vec![home.path().to_owned()],
        ..options()
    });
    for name in ["debian:12", "quay.example/a/b:1", "ghcr.example/x:2"] {
        client.resolve(&name.parse().unwrap()).unwrap();
    }
    let lines = [
        "HEAD /v2/library/debian/manifests/12",
        "HEAD /v2/q/b/manifests/1",
        "HEAD /v2/x/manifests/2",
    ];
    assert_eq!(server.lines(), lines);
}

/// One big blob, served with faults.
struct Download {
    body: Arc<Vec<u8>>,
    descriptor: Descriptor,
}

fn big() -> Download {
    let body: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = builder::digest::Digest::of(&body);
    let descriptor = Descriptor::new("application/octet-stream", digest, body.len() as u64);
    Download {
        body: Arc::new(body),
        descriptor,
    }
}

fn fetch(server: &Server, descriptor: &Descriptor) -> std::io::Result<Vec<u8>> {
    let name = format!("{}/app", server.host()).parse().unwrap();
    let mut bytes = Vec::new();
    let mut reader = plain_client()
        .blob(&name, descriptor)
        .map_err(std::io::Error::other)?;
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn range_start(request: &Seen) -> usize {
    let range = request.header("range").unwrap_or("bytes=0-");
    range
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap()
}

fn part(body: &[u8], start: usize) -> Answer {
    let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
    let status = if start == 0 { 200 } else { 206 };
    let answer = Answer::new(status)
        .header("etag", "\"v1\"")
        .body(&body[start..]);
    if start == 0 {
        answer
    } else {
        answer.header("content-range", range)
    }
}

#[test]
fn a_download_goes_on_where_it_broke() {
    for end in [End::Close as fn(usize) -> End, End::Reset] {
        let download = big();
        let body = Arc::clone(&download.body);
        let server = Server::start(move |request: &Seen| {
            let answer = part(&body, range_start(request));
            if request.number < 3 {
                answer.end(end(500_000))
            } else {
                answer
            }
        });
        assert_eq!(
            fetch(&server, &download.descriptor).unwrap(),
            *download.body
        );
        let seen = server.seen();
        assert!(
            seen.len() == 4
                && seen[1..]
                    .iter()
                    .all(|request| request.header("range").is_some())
        );
        assert_eq!(seen[1].header("if-range"), Some("\"v1\""));
        let sent: usize = seen
            .iter()
            .map(|request| {
                let left = download.body.len() - range_start(request);
                if request.number < 3 {
                    left.min(500_000)
                } else {
                    left
                }
            })
            .sum();
        // A reset may throw away what the receiver had not read yet; a close may not.
        assert!(sent <= download.body.len() * 2, "{sent} bytes were sent");
    }
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let download = big();
    let body = Arc::clone(&download.body);
    let server = Server::start(move |request: &Seen| {
        let answer = Answer::new(200).body(&body[..]);
        if request.number == 0 {
            answer.end(End::Close(700_000))
        } else {
            answer
        }
    });
    assert_eq!(
        fetch(&server, &download.descriptor).unwrap(),
        *download.body
    );
}

#[test]
fn a_refused_range_starts_anew() {
    let download = big();
    let body = Arc::clone(&download.body);
    let server = Server::start(move |request: &Seen| match request.header("range") {
        Some(_) => Answer::new(416),
        None if request.number == 0 => Answer::new(200).body(&body[..]).end(End::Close(700_000)),
        None => Answer::new(200).body(&body[..]),
    });
    assert_eq!(
        fetch(&server, &download.descriptor).unwrap(),
        *download.body
    );
}

#[test]
fn a_wrong_range_is_never_spliced() {
    for wrong in ["bytes 5-9/10", "bytes 0-1599999/1600000", "junk"] {
        let download = big();
        let body = Arc::clone(&download.body);
        let server = Server::start(move |request: &Seen| match request.header("range") {
            Some(_) => Answer::new(206)
                .header("content-range", wrong)
                .body(&body[..]),
            None if request.number == 0 => {
                Answer::new(200).body(&body[..]).end(End::Close(700_000))
            }
            None => Answer::new(200).body(&body[..]),
        });
        assert_eq!(
            fetch(&server, &download.descriptor).unwrap(),
            *download.body,
            "{wrong}"
        );
    }
}

#[test]
fn changed_content_is_an_error_not_a_splice() {
    let download = big();
    let body = Arc::clone(&download.body);
    let server = Server::start(move |request: &Seen| {
        if request.number == 0 {
            return part(&body, 0).end(End::Close(700_000));
        }
        Answer::new(200)
            .header("etag", "\"v2\"")
            .body(vec![0; body.len()])
    });
    let error = fetch(&server, &download.descriptor).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the content changed between two tries"),
        "{error}"
    );
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let download = big();
    let body = Arc::clone(&download.body);
    let server = Server::start(move |request: &Seen| {
        let answer = part(&body, range_start(request));
        if request.number == 0 {
            answer.end(End::Silence(500_000))
        } else {
            answer
        }
    });
    let mut impatient = options();
    impatient.retry.silence_max = std::time::Duration::from_millis(200);
    let name = format!("{}/app", server.host()).parse().unwrap();
    let mut bytes = Vec::new();
    let mut reader = client(impatient).blob(&name, &download.descriptor).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, *download.body);
}

#[test]
fn tries_have_an_end() {
    let download = big();
    let body = Arc::clone(&download.body);
    let server =
        Server::start(move |request: &Seen| part(&body, range_start(request)).end(End::Close(10)));
    assert!(fetch(&server, &download.descriptor).is_err());
    assert!(server.seen().len() <= 5, "{}", server.seen().len());
}

/// What the message says, and the answer that causes it.
type Case = (&'static str, fn(&[u8]) -> Answer);

#[test]
fn wrong_bytes_wrong_lengths_and_encodings_fail_closed() {
    let download = big();
    let size = download.body.len();
    let cases: [Case; 6] = [
        ("has the content of", |body| {
            Answer::new(200).body(vec![0; body.len()])
        }),
        ("bytes instead of", |body| Answer::new(200).body(&body[1..])),
        ("bytes instead of", |body| {
            Answer::new(200).body([body, b"x"].concat())
        }),
        ("encoded as `gzip`", |body| {
            Answer::new(200)
                .header("content-encoding", "gzip")
                .body(body)
        }),
        ("bytes instead of", |_| {
            Answer::new(200)
                .header("content-type", "text/html")
                .body("<html>login")
        }),
        ("does not exist", |_| Answer::new(404)),
    ];
    for (text, answer) in cases {
        let body = Arc::clone(&download.body);
        let server = Server::start(move |_: &Seen| answer(&body));
        let error = fetch(&server, &download.descriptor).unwrap_err();
        assert!(error.to_string().contains(text), "{text}: {error}");
        assert!(server.seen().len() <= 2, "{size}: {}", server.seen().len());
    }
}

#[test]
fn a_lying_mirror_is_asked_once() {
    let download = big();
    let body = Arc::clone(&download.body);
    let home = Server::start(move |_: &Seen| Answer::new(200).body(&body[..]));
    let length = download.body.len();
    let liar = Server::start(move |_: &Seen| Answer::new(200).body(vec![0; length]));
    let client = client(RegistryOptions {
        mirrors: vec![MirrorRule {
            prefix: home.host(),
            mirrors: vec![Mirror::parse(&format!("http://{}", liar.host()))],
            location: None,
            blocked: false,
        }],
        ..options()
    });
    let name = format!("{}/app", home.host()).parse().unwrap();
    let read = || {
        let mut bytes = Vec::new();
        let mut reader = client.blob(&name, &download.descriptor).unwrap();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    };
    assert!(read().is_err());
    assert_eq!(read().unwrap(), *download.body);
    assert_eq!(liar.seen().len(), 1);
}

#[test]
fn a_mirror_that_is_down_is_passed_over() {
    let registry = Debian::start();
    let (blobs, set) = sample();
    let name = registry.name("app:1");
    push(
        &plain_client(),
        &set,
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let empty = Server::start(|_: &Seen| Answer::new(404));
    let gone = Server::start(|_: &Seen| Answer::new(500)).host();
    let client = client(RegistryOptions {
        mirrors: vec![MirrorRule {
            prefix: registry.host(),
            mirrors: vec![Mirror::parse(&empty.host()), Mirror::parse(&gone)],
            location: None,
            blocked: false,
        }],
        ..options()
    });
    assert_eq!(pull(&client, &name).len(), 2);
    assert_eq!(empty.lines()[0], "GET /v2/app/manifests/1");
}
