//! What the engine acts on: a store and a bus.

use seaway_store::Store;
use seaway_streaming::{Effects, Events};

use super::bus::EngineBus;

/// A store and a bus.
pub(crate) struct World {
    pub(crate) store: Box<dyn Store>,
    pub(crate) bus: EngineBus,
    log: fn(seaway_streaming::Event<'_>),
}

impl World {
    pub(crate) fn new(store: Box<dyn Store>, bus: EngineBus) -> World {
        World {
            store,
            bus,
            log: crate::events::log,
        }
    }

    /// Both, for one call of the engine.
    pub(crate) fn effects(&mut self) -> Effects<'_> {
        let events: &mut dyn Events = &mut self.log;
        Effects::new(&mut *self.store, &mut self.bus, events)
    }
}
