//! Tokens and credentials: what is asked, how often, and who gets to see what.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use builder::digest::Digest;
use builder::image::MediaType;
use builder::reference::Reference;
use builder::registry::{Client, RegistryError, RegistryOptions, Secret, Unacceptable};

use crate::kit::{Answer, Seen, Server, client, options};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":2},"layers":[]}"#;

fn manifest() -> Answer {
    Answer::new(200)
        .header("content-type", MediaType::OciManifest.as_str())
        .header(
            "docker-content-digest",
            Digest::of(MANIFEST.as_bytes()).to_string(),
        )
        .body(MANIFEST)
}

fn basic(pair: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// Options with a password for a host.
fn with_password(host: &str) -> RegistryOptions {
    let auth = base64::engine::general_purpose::STANDARD.encode("user:s3cr3t-marker");
    RegistryOptions {
        inline_auth: Some(Secret(format!(
            r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#
        ))),
        ..options()
    }
}

fn name(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

/// A registry that wants tokens from `/token` on its own address, each good for one repository.
fn token_registry(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Server {
    let tokens = AtomicUsize::new(0);
    Server::start(move |request: &Seen| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            return Answer::new(200).body(answer(tokens.fetch_add(1, Ordering::SeqCst)));
        }
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="test""#);
        match request.header("authorization") {
            Some("Bearer good") => manifest(),
            _ => Answer::new(401).header("www-authenticate", challenge),
        }
    })
}

#[test]
fn one_challenge_and_one_token_serve_many_requests() {
    let server = token_registry(|_| r#"{"token": "good", "expires_in": 300}"#.to_owned());
    let client = client(options());
    let a = name(&server.host(), "a");
    client.resolve(&a).unwrap();
    assert_eq!(
        server.lines(),
        [
            "HEAD /v2/a/manifests/latest",
            "GET /token",
            "HEAD /v2/a/manifests/latest"
        ]
    );
    let query = &server.seen()[1].path;
    assert_eq!(query, "/token?service=test&scope=repository%3Aa%3Apull");
    client.manifest(&a).unwrap();
    // The challenge is known by now: another repository asks for its token at once.
    client.resolve(&name(&server.host(), "b")).unwrap();
    assert_eq!(
        server.lines()[3..],
        [
            "GET /v2/a/manifests/latest",
            "GET /token",
            "HEAD /v2/b/manifests/latest"
        ]
    );
}

#[test]
fn threads_share_one_token() {
    let server = token_registry(|_| r#"{"token": "good", "expires_in": 300}"#.to_owned());
    let client = client(options());
    let a = name(&server.host(), "a");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| client.resolve(&a).unwrap());
        }
    });
    let tokens = server
        .lines()
        .iter()
        .filter(|line| *line == "GET /token")
        .count();
    assert_eq!(tokens, 1);
}

#[test]
fn a_token_that_ran_out_is_renewed_once() {
    // The registry forgets the first token although it should live longer.
    let forgotten = Arc::new(AtomicUsize::new(0));
    let uses = Arc::clone(&forgotten);
    let server = Server::start(move |request: &Seen| {
        let host = request.header("host").unwrap();
        if request.path.starts_with("/token") {
            return Answer::new(200).body(r#"{"token": "good", "expires_in": 300}"#);
        }
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="test""#);
        let use_number = match request.header("authorization") {
            Some(_) => uses.fetch_add(1, Ordering::SeqCst),
            None => usize::MAX,
        };
        match use_number {
            0 | 2.. if use_number != usize::MAX => manifest(),
            _ => Answer::new(401).header("www-authenticate", challenge),
        }
    });
    let client = client(options());
    let a = name(&server.host(), "a");
    client.resolve(&a).unwrap();
    client.resolve(&a).unwrap();
    assert_eq!(forgotten.load(Ordering::SeqCst), 3);
}

#[test]
fn a_token_that_is_never_good_is_a_denial() {
    let server = token_registry(|_| r#"{"token": "bad"}"#.to_owned());
    let error = client(options())
        .resolve(&name(&server.host(), "a"))
        .unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::Denied {
                had_credential: false,
                ..
            }
        ),
        "{error}"
    );
    assert!(server.lines().len() <= 3, "{:?}", server.lines());
}

#[test]
fn a_token_server_that_talks_without_end_is_cut_off() {
    let server = token_registry(|_| format!(r#"{{"token": "{}"}}"#, "x".repeat(2 << 20)));
    let error = client(options())
        .resolve(&name(&server.host(), "a"))
        .unwrap_err();
    let is_bound = matches!(
        error,
        RegistryError::Answer { ref reason, .. } if matches!(**reason, Unacceptable::TooLarge { .. })
    );
    assert!(is_bound, "{error}");
}

#[test]
fn an_identity_token_is_traded_not_shown() {
    let server = token_registry(|_| r#"{"access_token": "good"}"#.to_owned());
    let host = server.host();
    let text = format!(r#"{{"auths": {{"{host}": {{"identitytoken": "refresh"}}}}}}"#);
    let client = client(RegistryOptions {
        inline_auth: Some(Secret(text)),
        ..options()
    });
    client.resolve(&name(&host, "a")).unwrap();
    let seen = server.seen();
    let trade = seen
        .iter()
        .find(|request| request.path.starts_with("/token"))
        .unwrap();
    assert_eq!(trade.method, "POST");
    let body = String::from_utf8(trade.body.clone()).unwrap();
    assert!(body.contains("grant_type=refresh_token") && body.contains("refresh_token=refresh"));
    assert!(
        seen.iter()
            .all(|request| !request.path.contains("refresh_token"))
    );
}

#[test]
fn passwords_go_to_no_look_alike() {
    let server = token_registry(|_| r#"{"token": "good"}"#.to_owned());
    let port = server.host().rsplit_once(':').unwrap().1.to_owned();
    for other in [
        "127.0.0.1".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}0"),
    ] {
        client(with_password(&other))
            .resolve(&name(&server.host(), "a"))
            .unwrap();
    }
    let leaked =
        |request: &Seen| request.header("authorization") == Some(&basic("user:s3cr3t-marker"));
    assert!(!server.seen().iter().any(leaked));
    client(with_password(&server.host()))
        .resolve(&name(&server.host(), "a"))
        .unwrap();
    assert!(server.seen().iter().any(leaked));
}

#[test]
fn a_forbidden_token_server_is_not_asked() {
    let spy = Server::start(|_: &Seen| Answer::new(200).body(r#"{"token": "good"}"#));
    let address = spy.host();
    for realm in [
        "http://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://user:pass@{address}/token"),
        "http://registry.example/token".to_owned(),
    ] {
        let challenge = format!(r#"Bearer realm="{realm}",service="x""#);
        let server = Server::start(move |_: &Seen| {
            Answer::new(401).header("www-authenticate", challenge.clone())
        });
        let options = with_password(&server.host());
        let error = client(options)
            .resolve(&name(&server.host(), "a"))
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::Realm { .. }),
            "{realm}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cr3t-marker"));
    }
    assert_eq!(spy.seen().len(), 0);
}

#[test]
fn a_helper_is_asked_only_when_the_registry_asks() {
    let server = Server::start(|request: &Seen| {
        let public = request.path.starts_with("/v2/public/");
        if public || request.header("authorization") == Some(&basic("me:word")) {
            manifest()
        } else {
            Answer::new(401).header("www-authenticate", "Basic realm=x")
        }
    });
    let bin = tempfile::tempdir().unwrap();
    let log = bin.path().join("log");
    let script = format!(
        "echo \"$1 $server\" >> {}\n\
         echo '{{\"ServerURL\": \"x\", \"Username\": \"me\", \"Secret\": \"word\"}}'",
        log.display()
    );
    install_helper(bin.path(), &script);
    let client = with_helper(&server, bin.path());
    client.resolve(&name(&server.host(), "public/a")).unwrap();
    assert!(!log.exists());
    client.resolve(&name(&server.host(), "private/a")).unwrap();
    client.manifest(&name(&server.host(), "private/a")).unwrap();
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        format!("get {}\n", server.host())
    );
}

#[test]
fn a_password_that_ran_out_is_asked_for_again() {
    let server = Server::start(|request: &Seen| {
        let expected = if request.number < 2 { "me:1" } else { "me:2" };
        if request.header("authorization") == Some(&basic(expected)) {
            manifest()
        } else {
            Answer::new(401).header("www-authenticate", "Basic realm=x")
        }
    });
    let bin = tempfile::tempdir().unwrap();
    let count = bin.path().join("count").display().to_string();
    let script = format!(
        "echo x >> {count}\n\
         echo '{{\"Username\": \"me\", \"Secret\": \"'$(grep -c x {count})'\"}}'"
    );
    install_helper(bin.path(), &script);
    let client = with_helper(&server, bin.path());
    client.resolve(&name(&server.host(), "a")).unwrap();
    client.resolve(&name(&server.host(), "a")).unwrap();
    client.resolve(&name(&server.host(), "a")).unwrap();
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\nx\n");
}

/// Puts `docker-credential-test` into a directory.
fn install_helper(directory: &Path, script: &str) {
    let helper = directory.join("docker-credential-test");
    std::fs::write(&helper, format!("#!/bin/sh\nread server\n{script}\n")).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_helper(server: &Server, directory: &Path) -> Client {
    let text = format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, server.host());
    client(RegistryOptions {
        inline_auth: Some(Secret(text)),
        helper_path: Some(format!("{}:/usr/bin:/bin", directory.display()).into()),
        ..options()
    })
}

#[test]
fn a_helper_that_fails_or_is_no_name_says_so() {
    let server =
        Server::start(|_: &Seen| Answer::new(401).header("www-authenticate", "Basic realm=x"));
    for (helper, text) in [
        ("../../bin/sh", "not allowed"),
        ("is-not-installed", "failed to start"),
    ] {
        let config = format!(r#"{{"credHelpers": {{"{}": "{helper}"}}}}"#, server.host());
        let client = client(RegistryOptions {
            inline_auth: Some(Secret(config)),
            ..options()
        });
        let error = client.resolve(&name(&server.host(), "a")).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(text), "{cause}");
    }
}
