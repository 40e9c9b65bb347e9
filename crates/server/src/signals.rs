//! The signals a server listens to (`streaming-protocol.md` §7.7), from before it can be seen to its end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::LogHandle;

/// Exit code after SIGTERM (§7.4).
const EXIT_TERMINATED: u8 = 143;

/// What ended the serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Something broke that cannot break.
    Failed,
}

impl Ended {
    /// The exit code (§7.4).
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Ended::Interrupted => 0,
            Ended::Terminated => EXIT_TERMINATED,
            Ended::Failed => 1,
        }
    }
}

/// The signals; as long as this exists none of them ends the process by itself, and afterwards neither.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reopen: Signal,
    ignored: Signal,
    reload: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reopen: signal(SignalKind::user_defined1())?,
            ignored: signal(SignalKind::user_defined2())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the server; others wait.
    pub(crate) async fn end(&mut self) -> Ended {
        tokio::select! {
            _ = self.interrupt.recv() => Ended::Interrupted,
            _ = self.terminate.recv() => Ended::Terminated,
        }
    }

    /// Does what signals ask for until one ends the server; `reload` reads the configuration again.
    pub(crate) async fn serve(&mut self, log: &LogHandle, mut reload: impl FnMut()) -> Ended {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ended::Interrupted,
                _ = self.terminate.recv() => return Ended::Terminated,
                _ = self.reopen.recv() => log.reopen(),
                _ = self.ignored.recv() => {}
                _ = self.reload.recv() => reload(),
            }
        }
    }
}
