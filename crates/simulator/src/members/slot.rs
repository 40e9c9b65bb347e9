//! What the two threads of a member tell each other.

use std::sync::Weak;

use seaway_store::Holding;
use seaway_tenure::{Ending, Signs};

/// The signs of one tenure.
pub(super) struct Pulse {
    pub(super) holding: Weak<Holding>,
    pub(super) signs: Signs,
    pub(super) server_id: String,
    pub(super) tenure: u64,
}

/// What the threads of a member tell each other of the signs of life.
#[derive(Default)]
pub(super) enum Slot {
    /// There are none to give.
    #[default]
    Idle,
    /// Some are to be given.
    Given(Pulse),
    /// Just now, and nobody knows how long that takes.
    UnderWay,
    /// The tenure is over, or the store has gone.
    Ended(Ending),
}
