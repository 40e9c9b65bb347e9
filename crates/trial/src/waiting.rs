//! Waiting for what nothing announces: a condition is asked again and again until it holds or a deadline passes.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::bail;

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Lets others run before the next look.
pub fn pause() {
    std::thread::sleep(PAUSE);
}

/// Whether the condition holds before the deadline.
pub fn until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        pause();
    }
}

/// A port nobody listens on, below the range from which the system takes outgoing ports. (A client that keeps dialling a port
/// inside that range while its server is down can end up connected to itself, and then holds the port.)
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest_outgoing = range
        .split_whitespace()
        .next()
        .and_then(|low| low.parse().ok())
        .unwrap_or(32_768);
    if lowest_outgoing <= 11_000 {
        // No room below: let the system choose.
        return Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port());
    }
    for _ in 0..1000 {
        let port = fastrand::u16(10_000..lowest_outgoing);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between 10000 and {lowest_outgoing}")
}
