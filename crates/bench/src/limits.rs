//! How long a run waits.

use std::time::Duration;

/// Nothing counted for this long fails a run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a receiver waits before it looks whether everything is over.
pub(crate) const READ_WAIT: Duration = Duration::from_millis(100);
