//! The port that grants tenures.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use seaway_store::{Progress, Store};
use seaway_streaming::Engine;

/// Calls the owner of a store that has something to tell, from any thread.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// Opens the store of a tenure and recovers the engine's state from it, which may take long and runs on a thread of its own.
/// Errors are for the operator; a store that is not understood is left as it was.
pub type OpenStore = Box<dyn FnOnce(&mut Engine, Waker, Arc<Progress>) -> Result<Box<dyn Store>> + Send>;

/// Resolves when the tenure is lost, with the reason in words; never when it cannot be.
pub type Lost = Pin<Box<dyn Future<Output = String> + Send>>;

/// Makes sure that a tenure still stands: true only when it stood at some moment after the call. May wait for a disk.
pub type Confirm = Arc<dyn Fn() -> bool + Send + Sync>;

/// A tenure.
pub struct Granted {
    /// Every later one on the same state, whoever gets it, has a higher number.
    pub number: u64,
    /// How to open the store under it.
    pub store: OpenStore,
    /// When it is over.
    pub lost: Lost,
    /// How to make sure that it still stands, when another server may take it. Then a store that fails ends it, because that one may
    /// do better, and nobody looks for another server of the name before it begins: the former holder may not know yet.
    pub confirm: Option<Confirm>,
}

/// Grants the right to serve: one tenure at a time.
pub trait Tenures {
    /// Waits for the next tenure. To drop the future withdraws the request; nothing was granted then.
    ///
    /// # Errors
    /// There will be none, in words for the operator.
    fn next(&mut self) -> impl Future<Output = Result<Granted>> + Send;

    /// Hears that the tenure with this number was given up for another server to have the next one.
    fn given_up(&mut self, number: u64) {
        let _ = number;
    }

    /// Hears that the tenure granted last did not begin, or that its store failed.
    ///
    /// # Errors
    /// The same error when there is no use in asking for another one.
    fn failed(&mut self, error: anyhow::Error) -> Result<()> {
        Err(error)
    }
}
