//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// Exit code of a process that a second Ctrl-C ended, as shells have it.
const EXIT_INTERRUPTED: i32 = 130;

/// The signals that end a command.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on these signals do not end the process by themselves.
    pub(crate) fn listen() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends the process at the next signal, whatever it is doing.
    pub(crate) fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            self.requested().await;
            std::process::exit(EXIT_INTERRUPTED);
        });
    }
}
