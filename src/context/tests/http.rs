//! Files over HTTP: revalidation, checksums, redirects and credentials.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::super::http::{
    Fetcher, HttpError, Request, UNNAMED, file_name, is_http_url, parse_http_date,
};
use super::*;
use crate::digest::Digest;

/// A server on loopback that answers each request by a function of its path and headers.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &log);
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str, &str) -> String, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let headers: Vec<_> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let headers = headers.join("\n").to_ascii_lowercase();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let response = answer(&path, &headers);
    log.lock().unwrap().push(format!("{path}\n{headers}"));
    // The client may have gone, as it should when it refuses what it gets.
    let _gone = stream.write_all(response.as_bytes());
}

fn ok(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

fn redirect(target: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn fetcher() -> (Fetcher, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    (Fetcher::new(place.path().join("kept"), 1000), place)
}

fn request(url: &str) -> Request<'_> {
    Request {
        url,
        ..Request::default()
    }
}

#[test]
fn a_file_is_fetched_once_and_then_revalidated() {
    let server = Server::new(|_, headers| {
        if headers.contains("if-none-match: \"e1\"") {
            return "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_owned();
        }
        ok(
            "ETag: \"e1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "body",
        )
    });
    let (fetcher, _place) = fetcher();
    let url = server.url("/dir/file.txt");
    let first = fetcher.fetch(&request(&url)).unwrap();
    assert_eq!(fs::read(&first.path).unwrap(), b"body");
    assert_eq!(
        (first.size, first.mtime, first.downloaded),
        (4, 784_111_777, true)
    );
    assert_eq!(first.digest, Digest::of(b"body"));
    let second = fetcher.fetch(&request(&url)).unwrap();
    assert!(!second.downloaded);
    assert_eq!((second.digest, second.mtime), (first.digest, first.mtime));
    // A damaged file is fetched again.
    fs::write(&first.path, "evil").unwrap();
    assert!(fetcher.fetch(&request(&url)).unwrap().downloaded);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_pinned_file_is_verified_and_then_needs_no_network() {
    let server = Server::new(|_, _| ok("", "body"));
    let (fetcher, _place) = fetcher();
    let url = server.url("/f");
    let pinned = |content: &[u8]| Request {
        url: &url,
        checksum: Some(Digest::of(content)),
        ..Request::default()
    };
    let error = fetcher.fetch(&pinned(b"other")).unwrap_err();
    assert!(matches!(error, HttpError::Checksum { .. }), "{error}");
    assert!(fetcher.fetch(&pinned(b"body")).unwrap().downloaded);
    assert!(!fetcher.fetch(&pinned(b"body")).unwrap().downloaded);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn credentials_go_to_their_origin_only() {
    let other = Server::new(|_, _| ok("", "there"));
    let elsewhere = other.url("/end");
    let server = Server::new(move |path, _| match path {
        "/start" => redirect("/middle"),
        _ => redirect(&elsewhere),
    });
    let (fetcher, _place) = fetcher();
    let url = server.url("/start");
    let request = Request {
        url: &url,
        authorization: Some("Bearer secret"),
        checksum: None,
    };
    fetcher.fetch(&request).unwrap();
    assert!(server.requests().iter().all(|text| text.contains("secret")));
    assert_eq!(server.requests().len(), 2);
    assert!(!other.requests()[0].contains("secret"));
}

#[test]
fn bad_answers_are_errors_and_leave_nothing() {
    let long = "x".repeat(1001);
    let server = Server::new(move |path, _| match path {
        "/loop" => redirect("/loop"),
        "/file" => redirect("file:///etc/hostname"),
        "/ftp" => redirect("ftp://host/x"),
        "/large" => ok("", &long),
        "/chunked" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}"),
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
        "/missing" => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => String::new(),
    });
    let (fetcher, place) = fetcher();
    let error = |path: &str| fetcher.fetch(&request(&server.url(path))).unwrap_err();
    assert!(matches!(error("/loop"), HttpError::Redirects { .. }));
    assert!(matches!(error("/file"), HttpError::Redirect { .. }));
    assert!(matches!(error("/ftp"), HttpError::Redirect { .. }));
    assert!(matches!(error("/large"), HttpError::TooLarge { .. }));
    assert!(matches!(error("/chunked"), HttpError::TooLarge { .. }));
    assert!(matches!(error("/short"), HttpError::Receive { .. }));
    assert!(matches!(
        error("/missing"),
        HttpError::Status { status: 404, .. }
    ));
    assert!(matches!(error("/empty"), HttpError::Transfer { .. }));
    let kept = walkdir::WalkDir::new(place.path()).into_iter().flatten();
    assert_eq!(kept.filter(|entry| entry.file_type().is_file()).count(), 0);
}

#[test]
fn names_come_from_the_address_alone() {
    for (url, name) in [
        ("http://h/a/b.txt", "b.txt"),
        ("http://h/a/b.txt?x=/y#z", "b.txt"),
        ("http://h/a/", "a"),
        ("http://h", UNNAMED),
        ("http://h/", UNNAMED),
        ("http://h/%2e%2e", UNNAMED),
        ("http://h/a%20b", "a b"),
        ("http://h/a%0Ab", "a\nb"),
    ] {
        assert_eq!(file_name(url).unwrap(), name.as_bytes(), "{url}");
    }
    for url in [
        "http://h/%2e%2e%2fx".to_owned(),
        "http://h/a%00b".to_owned(),
        "ftp://h/x".to_owned(),
        format!("http://h/{}", "x".repeat(5000)),
    ] {
        assert!(file_name(&url).is_err());
    }
    assert!(is_http_url("HTTPS://h/x") && is_http_url("http://h"));
    assert!(!is_http_url("ftp://h") && !is_http_url("httpx") && !is_http_url("é"));
    assert_eq!(parse_http_date("yesterday"), None);
    assert_eq!(
        parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(784_111_777)
    );
}

#[test]
fn redirects_from_outside_never_lead_to_this_machine() {
    use super::super::http::may_redirect_text as may;
    for near in [
        "http://127.0.0.1/x",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://localhost/",
        "http://2130706433/",
    ] {
        assert!(!may("https://example.com/a", near), "{near}");
        assert!(may("http://localhost/a", near), "{near}");
    }
    assert!(may("https://example.com/a", "http://other.example.com/b"));
    assert!(!may("http://localhost/a", "file:///etc/passwd"));
}
