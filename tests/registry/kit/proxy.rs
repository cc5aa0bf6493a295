//! Passing a request on to a real registry.

use std::fmt::Write as _;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::server::{Answer, Seen, read_headers};

/// Sends a request to a registry on this machine and returns its answer. The registry sees the
/// proxy's own name, so the addresses that it makes lead through the proxy.
pub(crate) fn forward(port: u16, request: &Seen) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nconnection: close\r\n",
        request.method, request.path
    );
    for (name, value) in &request.headers {
        if name != "connection" {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A registry may answer before it has read everything.
    let _ = stream.write_all(&request.body);
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = read_headers(&mut reader).unwrap();
    let mut answer = Answer::new(status);
    for (name, value) in &headers {
        if name != "connection" && name != "transfer-encoding" {
            answer = answer.header(name, value);
        }
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    if headers.contains_key("transfer-encoding") {
        body = unchunked(&body);
    }
    answer.body(body)
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
}
