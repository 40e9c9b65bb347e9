//! When a member of a fault-tolerance group claims the directory, how long it gives signs of life, and when its tenure is over
//! (docs/high-availability.md): functions of what was seen, what was heard and the rate of one clock. No thread, no socket and no time of
//! its own, so that the server and the simulator decide alike.

pub mod limits;
mod member;
mod patience;
mod signs;
mod waiting;
mod watch;

pub use member::Member;
pub use patience::Patience;
pub use signs::{Ending, Found, Signs, interval};
pub use waiting::Waiting;
pub use watch::{Look, Reason, Watch};
