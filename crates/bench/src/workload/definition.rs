//! What a workload is.

use anyhow::Result;

use crate::context::Context;
use crate::outcome::Outcome;
use crate::point::Point;

/// What a workload needs on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any NATS server.
    Core,
    /// Any streaming server.
    Streaming,
    /// A NATS server with JetStream.
    JetStream,
    /// A directory.
    Disk,
}

/// A workload.
pub struct Workload {
    /// Its stable name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it runs against.
    pub needs: Needs,
    /// Parameters that mean something to it.
    pub parameters: &'static [&'static str],
    /// What it is run with when nothing is said.
    pub defaults: fn() -> Point,
    /// How many channels it makes on a streaming server.
    pub(crate) channels: fn(&Point) -> u64,
    /// Runs it.
    pub(crate) run: fn(&mut Context, &Point) -> Result<Outcome>,
}
