//! The life of the engine within the life of the process: whoever serves holds a *tenure*, a numbered right to serve.
//!
//! A port grants tenures ([`Tenures`]), and one loop goes from one to the next ([`Lives`]): granted, recovering, opening, serving,
//! then stopped or lost. Store, engine threads, inbox, gate, health, clock and the attachment to the bus belong to a tenure and
//! are made anew for each; broker, monitoring, administration, signals and the log belong to the process, and clients stay connected.
//!
//! A tenure that was lost is *abandoned*: at once, whatever hangs. Threads that hang in a disk are left behind and counted, and no other
//! tenure is asked for before they have gone: there is at most one set of them, and the lock of a store is held as long as any of
//! its threads may still write.

mod adoption;
mod alone;
mod life;
mod lives;
mod mode;
mod opening;
mod port;
mod shared_directory;
mod store;

pub(crate) use alone::Alone;
pub use lives::{Failure, Lives, Surroundings};
pub(crate) use mode::Mode;
pub use port::{Confirm, Granted, Lost, OpenStore, Tenures, Waker};
pub use shared_directory::{Itself, Opens, SharedDirectory};

#[cfg(test)]
mod tests;
