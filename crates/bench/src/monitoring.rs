//! Polls a server's monitoring while it is measured, as an operator's tools do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the end is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// What is asked for each time.
const PATHS: [&str; 4] = [
    "/varz",
    "/streaming/serverz",
    "/streaming/storez",
    "/streaming/channelsz?subs=1",
];

/// How often everything was asked for, and how long that took at worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    pub(crate) rounds: u64,
    pub(crate) longest: Duration,
}

/// Polls until the flag is set.
pub(crate) fn poll(address: &str, is_over: &AtomicBool) -> Result<Polled> {
    let mut polled = Polled::default();
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        if Instant::now() < next {
            std::thread::sleep(GLANCE);
            continue;
        }
        next += INTERVAL;
        let start = Instant::now();
        for path in PATHS {
            get(address, path).with_context(|| format!("ask {address} for {path}"))?;
        }
        polled.longest = polled.longest.max(start.elapsed());
        polled.rounds += 1;
    }
    Ok(polled)
}

/// The body of a page.
pub(crate) fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    body(&String::from_utf8_lossy(&answer))
}

fn body(answer: &str) -> Result<String> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of headers")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("the answer is {:?}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_an_answer() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").expect("an answer"), "{}");
        let error = body("HTTP/1.0 404 Not Found\r\n\r\n").expect_err("not there");
        assert!(error.to_string().contains("404"));
        assert!(body("").is_err());
    }
}
