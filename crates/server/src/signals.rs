//! The signals a server listens to (`streaming-protocol.md` §7.7), from before it can be seen to its end.

use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::logging::LogHandle;
use crate::reload::Asked;

/// Exit code after SIGTERM (§7.4).
const EXIT_TERMINATED: u8 = 143;

/// What ended the serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGUSR2, and all clients have gone.
    LameDuck,
    /// Something broke that cannot break.
    Failed,
}

impl Ended {
    /// The exit code (§7.4).
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Ended::Interrupted | Ended::LameDuck => 0,
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
    lame_duck: Signal,
    reload: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reopen: signal(SignalKind::user_defined1())?,
            lame_duck: signal(SignalKind::user_defined2())?,
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

    /// Does what signals ask for until one ends the server; `reload` reads the configuration again, for whoever asks by `asked` too, and `lame_duck`, if there is one,
    /// lets all clients go. Once that has begun SIGTERM does not cut it short.
    pub(crate) async fn serve(
        &mut self,
        log: &LogHandle,
        (asked, mut reload): (&mut mpsc::Receiver<Asked>, impl FnMut(Option<Asked>)),
        lame_duck: Option<impl Future<Output = ()>>,
    ) -> Ended {
        let (has_lame_duck, mut is_leaving) = (lame_duck.is_some(), false);
        let mut leaving = pin!(async {
            if let Some(lame_duck) = lame_duck {
                lame_duck.await;
            }
        });
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ended::Interrupted,
                _ = self.terminate.recv(), if !is_leaving => return Ended::Terminated,
                _ = self.reopen.recv() => log.reopen(),
                _ = self.lame_duck.recv() => is_leaving = has_lame_duck,
                () = &mut leaving, if is_leaving => return Ended::LameDuck,
                _ = self.reload.recv() => reload(None),
                Some(asked) = asked.recv() => reload(Some(asked)),
            }
        }
    }
}
