//! Registries that want more than they should get: credentials, bytes, memory, belief.

use std::io::{self, Read as _};

use base64::Engine as _;
use builder::digest::Digest;
use builder::image::{Descriptor, MediaType};
use builder::reference::Reference;
use builder::registry::{Client, Nothing, RegistryError, RegistryOptions, Secret, Unacceptable};

use crate::common::Project;
use crate::kit::{Answer, Seen, Server, client, options, plain_client};

const BLOB: &[u8] = b"the bytes of a blob";

fn manifest_text() -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}}"#,
        MediaType::OciConfig.as_str(),
        Digest::of(b"{}")
    )
}

fn manifest() -> Answer {
    Answer::new(200)
        .header("content-type", MediaType::OciManifest.as_str())
        .body(manifest_text())
}

fn name(server: &Server) -> Reference {
    format!("{}/app:1", server.host()).parse().unwrap()
}

fn with_password(server: &Server) -> Client {
    let auth = encoded();
    client(RegistryOptions {
        inline_auth: Some(Secret(format!(
            r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
            server.host()
        ))),
        ..options()
    })
}

fn blob() -> Descriptor {
    Descriptor::new(
        "application/octet-stream",
        Digest::of(BLOB),
        BLOB.len() as u64,
    )
}

fn push_blob(
    client: &Client,
    name: &Reference,
) -> Result<builder::registry::Pushed, RegistryError> {
    let open = || Ok(Box::new(BLOB) as Box<dyn io::Read + Send>);
    client.push_blob(name, &blob(), &open, None)
}

/// A registry with Basic authorization that answers some requests with a redirect.
fn redirecting(
    status: u16,
    location: impl Fn(&Seen) -> Option<String> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request: &Seen| {
        if request.header("authorization").is_none() {
            return Answer::new(401).header("www-authenticate", "Basic realm=x");
        }
        match location(request) {
            Some(location) => Answer::new(status).header("location", location),
            None => Answer::new(404),
        }
    })
}

#[test]
fn redirects_carry_no_credentials_to_another_origin() {
    for status in [301, 302, 303, 307, 308] {
        let cdn = Server::start(|request: &Seen| {
            if request.path.contains("manifests") {
                manifest()
            } else {
                Answer::new(200).body(BLOB)
            }
        });
        let address = cdn.host();
        let registry = redirecting(status, move |request| {
            let is_read = request.method == "GET" || request.method == "HEAD";
            is_read.then(|| format!("http://{address}{}?X-Signature=s", request.path))
        });
        let client = with_password(&registry);
        client.manifest(&name(&registry)).unwrap();
        assert!(client.has_blob(&name(&registry), &blob().digest).unwrap());
        let mut bytes = Vec::new();
        client
            .blob(&name(&registry), &blob())
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, BLOB);
        assert_eq!(cdn.seen().len(), 3);
        for request in cdn.seen() {
            assert_eq!(
                request.header("authorization"),
                None,
                "{status} {}",
                request.line()
            );
            assert_eq!(request.header("referer"), None);
        }
    }
}

#[test]
fn a_redirect_within_the_origin_keeps_them() {
    let registry = Server::start(|request: &Seen| {
        match (request.header("authorization"), request.path.as_str()) {
            (None, _) => Answer::new(401).header("www-authenticate", "Basic realm=x"),
            (_, "/moved") => Answer::new(200).body(BLOB),
            _ => Answer::new(307).header("location", "/moved"),
        }
    });
    let client = with_password(&registry);
    let mut bytes = Vec::new();
    client
        .blob(&name(&registry), &blob())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, BLOB);
}

#[test]
fn redirects_to_strange_places_are_refused() {
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user:pass@127.0.0.1:1/x",
        "http://[bad",
    ] {
        let registry = redirecting(302, move |_| Some(location.to_owned()));
        let error = with_password(&registry)
            .manifest(&name(&registry))
            .unwrap_err();
        let refused = matches!(
            error,
            RegistryError::Answer { ref reason, .. } if matches!(**reason, Unacceptable::Redirect(_))
        );
        assert!(refused, "{location}: {error}");
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
}

#[test]
fn redirects_without_end_have_one() {
    let registry = redirecting(302, |request| Some(format!("{}x", request.path)));
    assert!(with_password(&registry).manifest(&name(&registry)).is_err());
    assert!(registry.seen().len() <= 8, "{}", registry.seen().len());
}

#[test]
fn a_challenge_of_a_redirects_target_is_not_answered() {
    let spy = Server::start(|request: &Seen| {
        let host = request.header("host").unwrap();
        Answer::new(401)
            .header("www-authenticate", "Basic realm=x")
            .header(
                "www-authenticate",
                format!(r#"Bearer realm="http://{host}/token""#),
            )
    });
    let address = spy.host();
    let registry = redirecting(307, move |_| Some(format!("http://{address}/x")));
    assert!(with_password(&registry).manifest(&name(&registry)).is_err());
    assert!(
        spy.seen()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert!(
        spy.lines().iter().all(|line| line == "GET /x"),
        "{:?}",
        spy.lines()
    );
}

#[test]
fn an_upload_goes_nowhere_else() {
    let spy = Server::start(|_: &Seen| Answer::new(201));
    let address = spy.host();
    for location in [
        format!("http://{address}/upload"),
        format!("//{address}/upload"),
        "https://127.0.0.1:9/upload".to_owned(),
        "file:///tmp/x".to_owned(),
        format!("http://user@{address}/upload"),
    ] {
        let shown = location.clone();
        let registry = Server::start(move |request: &Seen| match request.method.as_str() {
            _ if request.header("authorization").is_none() => {
                Answer::new(401).header("www-authenticate", "Basic realm=x")
            }
            "HEAD" => Answer::new(404),
            _ => Answer::new(202).header("location", location.clone()),
        });
        let error = push_blob(&with_password(&registry), &name(&registry)).unwrap_err();
        let refused = matches!(
            error,
            RegistryError::Answer { ref reason, .. } if matches!(**reason, Unacceptable::UploadElsewhere(_))
        );
        assert!(refused, "{shown}: {error}");
    }
    assert_eq!(spy.seen().len(), 0);
}

#[test]
fn a_redirected_upload_is_refused_with_its_bytes() {
    for status in [301, 302, 307, 308] {
        let spy = Server::start(|_: &Seen| Answer::new(201));
        let address = spy.host();
        let registry = Server::start(move |request: &Seen| match request.method.as_str() {
            "HEAD" => Answer::new(404),
            "POST" => Answer::new(202).header("location", "/upload?state=1"),
            _ => Answer::new(status).header("location", format!("http://{address}/x")),
        });
        assert!(push_blob(&plain_client(), &name(&registry)).is_err());
        assert_eq!(spy.seen().len(), 0, "{status}");
    }
}

#[test]
fn documents_that_lie_are_refused() {
    let text = manifest_text();
    let both = text.replacen('{', r#"{"manifests":[],"#, 1);
    let twice = text.replacen('{', r#"{"schemaVersion":2,"#, 1);
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(5 << 20));
    let deep = format!(
        r#"{{"layers":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let oci = MediaType::OciManifest.as_str();
    for (content_type, body) in [
        (oci, both),
        (oci, twice),
        (oci, huge),
        (oci, deep),
        (oci, format!("{text}x")),
        (MediaType::OciIndex.as_str(), text.clone()),
        ("text/html", "<html>please log in</html>".to_owned()),
        (oci, String::new()),
        (oci, text.replace("sha256:", "sha512:")),
    ] {
        let shown = body.chars().take(60).collect::<String>();
        let registry = Server::start(move |_: &Seen| {
            Answer::new(200)
                .header("content-type", content_type)
                .body(body.clone())
        });
        let error = plain_client().manifest(&name(&registry)).unwrap_err();
        assert!(
            matches!(error, RegistryError::Answer { .. }),
            "{shown}: {error}"
        );
        assert!(error.to_string().len() < 600, "{error}");
    }
}

#[test]
fn a_pinned_digest_is_what_counts() {
    let other = Digest::of(b"another manifest");
    for stated in [None, Some(other.to_string()), Some("sha512:00".to_owned())] {
        let shown = format!("{stated:?}");
        let registry = Server::start(move |_: &Seen| {
            let answer = manifest();
            match &stated {
                Some(stated) => answer.header("docker-content-digest", stated.clone()),
                None => answer,
            }
        });
        let pinned = name(&registry).at(other);
        let error = plain_client().manifest(&pinned).unwrap_err();
        assert!(
            matches!(error, RegistryError::Answer { .. }),
            "{shown}: {error}"
        );
        // A tag that is said to have another digest than its bytes have.
        let by_tag = plain_client().manifest(&name(&registry));
        assert_eq!(by_tag.is_ok(), shown == "None", "{shown}");
    }
    let registry = Server::start(|_: &Seen| {
        manifest().header("docker-content-digest", Digest::of(b"x").to_string())
    });
    assert!(plain_client().resolve(&name(&registry).at(other)).is_err());
}

#[test]
fn an_index_of_itself_ends() {
    let registry = Server::start(|request: &Seen| {
        // Each index names one that is one level deeper, without end.
        let level: usize = request.path.len();
        let text = |level: usize| {
            format!(
                r#"{{"schemaVersion":2,"x":{level},"manifests":[{{"mediaType":"{}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
                MediaType::OciIndex.as_str(),
                Digest::of(b"never")
            )
        };
        Answer::new(200)
            .header("content-type", MediaType::OciIndex.as_str())
            .body(text(level))
    });
    let platform = "linux/amd64".parse().unwrap();
    assert!(
        plain_client()
            .resolve_platform(&name(&registry), &platform, &Nothing)
            .is_err()
    );
    assert!(registry.seen().len() <= 5);
}

#[test]
fn a_config_beyond_its_bound_is_not_fetched() {
    let text = manifest_text().replace("\"size\":2", "\"size\":99999999");
    let registry = Server::start(move |_: &Seen| {
        Answer::new(200)
            .header("content-type", MediaType::OciManifest.as_str())
            .body(text.clone())
    });
    let platform = "linux/amd64".parse().unwrap();
    let error = plain_client()
        .resolve_platform(&name(&registry), &platform, &Nothing)
        .unwrap_err();
    assert!(
        error.to_string().contains("more than 4194304 bytes"),
        "{error}"
    );
    assert_eq!(registry.seen().len(), 1);
}

#[test]
fn an_error_text_is_bounded_and_clean() {
    let registry = Server::start(|_: &Seen| {
        let text = format!("\u{1b}[2J\u{202e}evil\r\n{}", "x".repeat(3 << 20));
        Answer::new(400)
            .header("content-type", "text/plain")
            .body(text)
    });
    let error = plain_client()
        .manifest(&name(&registry))
        .unwrap_err()
        .to_string();
    assert!(error.len() < 500 && error.contains("evil"), "{error}");
    assert!(!error.contains(['\u{1b}', '\u{202e}', '\r', '\n']));
}

#[test]
fn foreign_addresses_of_layers_are_never_visited() {
    let spy = Server::start(|_: &Seen| Answer::new(200).body(BLOB));
    let registry = Server::start(|_: &Seen| Answer::new(404));
    let mut descriptor = blob();
    descriptor.urls = vec![format!("http://{}/layer", spy.host())];
    let error = plain_client()
        .blob(&name(&registry), &descriptor)
        .unwrap_err();
    assert!(matches!(error, RegistryError::NoBlob { .. }));
    assert_eq!(spy.seen().len(), 0);
}

#[test]
fn a_stopped_client_stops() {
    let registry = Server::start(|_: &Seen| Answer::new(503).header("retry-after", "3600"));
    let mut slow = options();
    slow.retry.pause_max = std::time::Duration::from_hours(1);
    let client = client(slow);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.resolve(&name(&registry)));
        while registry.seen().is_empty() {
            std::thread::yield_now();
        }
        client.stop();
        let error = asked.join().unwrap().unwrap_err();
        assert!(matches!(error, RegistryError::Stopped { .. }), "{error}");
    });
}

/// A registry that wants a password, then refuses whatever is sent or asked; its upload address
/// holds a secret of its own.
fn refusing() -> Server {
    Server::start(|request: &Seen| match request.method.as_str() {
        _ if request.header("authorization").is_none() => {
            Answer::new(401).header("www-authenticate", "Basic realm=x")
        }
        "HEAD" => Answer::new(404),
        "POST" => Answer::new(202).header("location", "/upload?_state=s3cr3t-marker"),
        _ => Answer::new(503),
    })
}

/// The password as it is written in a request and in `config.json`.
fn encoded() -> String {
    base64::engine::general_purpose::STANDARD.encode("user:s3cr3t-marker")
}

#[test]
fn no_secret_reaches_a_message() {
    let registry = refusing();
    let client = with_password(&registry);
    let pushed = push_blob(&client, &name(&registry)).unwrap_err();
    let pulled = client.manifest(&name(&registry)).unwrap_err();
    let shown = format!("{pushed} {pushed:?} {pulled} {pulled:?} {client:?}");
    assert!(!shown.contains("s3cr3t-marker"), "{shown}");
    assert!(!shown.contains(&encoded()), "{shown}");
}

// The whole program, because a log is a process's: what one thread of a test program collects
// lacks the events that another thread came to first (tracing decides once an event whether
// anybody listens).
#[test]
fn no_secret_reaches_a_log() {
    let registry = refusing();
    let auth = format!(
        r#"{{"auths": {{"{}": {{"auth": "{}"}}}}}}"#,
        registry.host(),
        encoded()
    );
    let project = Project::new()
        .dockerfile("FROM scratch\nCOPY hello /")
        .file("hello", "hi");
    let tag = format!("{}/app:1", registry.host());
    let outcome = project
        .build()
        .words(["--debug", "--push"])
        .tag(&tag)
        .env("BUILDER_LOG", "trace")
        .env("DOCKER_AUTH_CONFIG", &auth)
        .failure(3);
    outcome
        .says("upload broke, starting anew")
        .says("503 Service Unavailable")
        .does_not_say("s3cr3t-marker")
        .does_not_say(&encoded());
}
