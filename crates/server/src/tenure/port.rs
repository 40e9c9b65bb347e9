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

/// A tenure.
pub struct Granted {
    /// Every later one on the same state, whoever gets it, has a higher number.
    pub number: u64,
    /// How to open the store under it.
    pub store: OpenStore,
    /// When it is over.
    pub lost: Lost,
}

/// Grants the right to serve: one tenure at a time.
pub trait Tenures {
    /// Waits for the next tenure. To drop the future withdraws the request; nothing was granted then.
    ///
    /// # Errors
    /// There will be none, in words for the operator.
    fn next(&mut self) -> impl Future<Output = Result<Granted>> + Send;
}
