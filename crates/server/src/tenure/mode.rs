//! Who grants tenures, as the options say.

use anyhow::Result;

use super::alone::Alone;
use super::port::{Granted, Tenures};
use super::shared_directory::SharedDirectory;

/// See the module.
pub(crate) enum Mode {
    /// A server with a store of its own.
    Alone(Box<Alone>),
    /// A member of a fault-tolerance group.
    SharedDirectory(Box<SharedDirectory>),
}

impl Tenures for Mode {
    async fn next(&mut self) -> Result<Granted> {
        match self {
            Mode::Alone(alone) => alone.next().await,
            Mode::SharedDirectory(shared) => shared.next().await,
        }
    }

    fn given_up(&mut self, number: u64) {
        match self {
            Mode::Alone(alone) => alone.given_up(number),
            Mode::SharedDirectory(shared) => shared.given_up(number),
        }
    }

    fn failed(&mut self, error: anyhow::Error) -> Result<()> {
        match self {
            Mode::Alone(alone) => alone.failed(error),
            Mode::SharedDirectory(shared) => shared.failed(error),
        }
    }
}
