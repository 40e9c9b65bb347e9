//! HTTP as far as trials need it: one request on a connection of its own, JSON both ways.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may be in coming; a process that is being killed may never send it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// What a server may answer at most, in bytes. The longest are a screenshot and the list of all orders.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A server's answer.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null when it is not JSON.
    pub json: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request and reads the answer to its end.
///
/// # Errors
/// Nobody listens, the connection breaks, or what comes is not HTTP.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        let length = body.len();
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        ));
    }
    text.push_str("\r\n");
    text.push_str(body.as_deref().unwrap_or_default());
    stream.write_all(text.as_bytes())?;
    read(stream)
}

/// Like [`request`] with the method GET.
///
/// # Errors
/// See [`request`].
pub fn get(port: u16, path: &str) -> std::io::Result<Answer> {
    request(port, "GET", path, &[], None)
}

/// Reads until the answer is whole: not everybody closes the connection after it.
fn read(stream: TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        match parse(&bytes) {
            Err(error) if count > 0 && error.kind() == ErrorKind::UnexpectedEof => {}
            outcome => return outcome,
        }
    }
}

/// An answer. One that is shorter than it says is an unexpected end: more is to come, or its sender was killed.
fn parse(bytes: &[u8]) -> std::io::Result<Answer> {
    let broken = |what: &str| Error::new(ErrorKind::InvalidData, format!("the answer {what}"));
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "the answer ended within its head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| broken("has no status"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .ok_or_else(|| broken("does not say how long it is"))?;
    let body = body
        .get(..length)
        .ok_or_else(|| Error::new(ErrorKind::UnexpectedEof, "the answer ended within its body"))?;
    Ok(Answer {
        status,
        headers,
        json: serde_json::from_slice(body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(body).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = parse(b"HTTP/1.1 201 Created\r\nContent-Length: 8\r\nRetry-After: 1\r\n\r\n{\"a\": 1}").unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json["a"], 1);
    }

    #[test]
    fn half_an_answer_is_none() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 201",
            b"HTTP/1.1 201 Created\r\nContent-Length: 8\r\n\r\n{\"a\"",
        ] {
            assert_eq!(parse(bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{bytes:?}");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\nno end").is_err());
    }
}
