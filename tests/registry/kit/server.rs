//! An HTTP server that does what a test tells it, faults included, and remembers what it was asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// How many requests came before.
    pub(crate) number: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `GET /v2/x`, without the query.
    pub(crate) fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap();
        format!("{} {path}", self.method)
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Complete,
    /// The connection is closed after so many bytes of the body.
    Close(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays open.
    Silence(usize),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Complete,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

type Handler = dyn Fn(&Seen) -> Answer + Send + Sync;

/// A server on a free loopback port; ends on drop.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&seen), Arc::clone(&stopped));
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &*handler, &log));
                }
            }
        });
        Self {
            port,
            seen,
            stopped,
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The thread waits in accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(mut request) = read_request(&mut reader) {
        {
            let mut log = log.lock().unwrap();
            request.number = log.len();
            log.push(request.clone());
        }
        let answer = handler(&request);
        if !send(&mut stream, &answer, request.method == "HEAD") {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers = read_headers(reader)?;
    let mut body = Vec::new();
    if headers.contains_key("transfer-encoding") {
        return None;
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    reader.take(length).read_to_end(&mut body).ok()?;
    Some(Seen {
        method,
        path,
        headers,
        body,
        number: 0,
    })
}

pub(super) fn read_headers(reader: &mut impl std::io::BufRead) -> Option<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => return Some(headers),
        };
    }
}

/// Sends an answer; returns whether the connection goes on.
fn send(stream: &mut TcpStream, answer: &Answer, is_head: bool) -> bool {
    let mut head = format!("HTTP/1.1 {} x\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if answer.text("content-length").is_none() {
        write!(head, "content-length: {}\r\n", answer.body.len()).unwrap();
    }
    head.push_str("\r\n");
    if answer.end == End::Reset(0) && answer.body.is_empty() {
        reset(stream);
        return false;
    }
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    let count = match answer.end {
        End::Complete => answer.body.len(),
        End::Close(count) | End::Silence(count) | End::Reset(count) => count.min(answer.body.len()),
    };
    if !is_head && stream.write_all(&answer.body[..count]).is_err() {
        return false;
    }
    let _ = stream.flush();
    match answer.end {
        End::Complete => true,
        End::Silence(_) => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
            false
        }
        End::Close(_) => {
            let _ = stream.shutdown(Shutdown::Both);
            false
        }
        End::Reset(_) => {
            reset(stream);
            false
        }
    }
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
}
