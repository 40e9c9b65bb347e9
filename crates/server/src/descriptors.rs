//! How the file descriptors that the system allows are shared out. Clients are many and come unasked: what the store needs for
//! its files is kept back from them, and so is a way in for the monitoring.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer leave nothing for clients.
const ALLOWED_MIN: u64 = 192;

/// Who gets how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// All together, as the system says.
    allowed: u64,
    /// For the store, the log and whatever else is not a connection.
    kept: usize,
    /// For each monitoring listener.
    pub(crate) monitoring: usize,
    /// For clients that are served.
    pub(crate) clients: usize,
}

impl Shares {
    /// Shares out what the system allows now.
    pub(crate) fn now() -> Shares {
        Shares::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    fn of(allowed: u64) -> Shares {
        let part = |divisor: u64, least: u64, most: u64| {
            let count = (allowed / divisor).clamp(least, most);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let kept = part(8, 64, 512);
        let monitoring = part(32, 4, seaway_monitor::limits::CONNECTIONS_MAX as u64);
        let others = kept + 2 * monitoring + seaway_broker::SESSIONS_ENDING_MAX;
        let allowed_count = usize::try_from(allowed).unwrap_or(usize::MAX);
        Shares {
            allowed,
            kept,
            monitoring,
            clients: allowed_count.saturating_sub(others),
        }
    }

    /// Raises the limit as far as the system lets: a server's soft limit is meant for programs that use `select`. Says so
    /// when fewer clients will be served than `wanted`.
    ///
    /// # Errors
    /// When the limit leaves nothing for clients.
    pub(crate) fn claim(wanted: usize) -> Result<()> {
        let limit = getrlimit(Resource::Nofile);
        // Failing leaves the limit as it was.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
        let Shares {
            allowed, kept, clients, ..
        } = Shares::now();
        if allowed < ALLOWED_MIN {
            bail!(
                "the system allows {allowed} open files (ulimit -n), which is too few: at least {ALLOWED_MIN} are needed"
            );
        }
        if clients < wanted {
            tracing::info!(
                "Client connections are limited to {clients} instead of {wanted}: the system allows {allowed} open files \
                 (ulimit -n), of which {kept} are kept for the store"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_what_is_not_there() {
        for allowed in [ALLOWED_MIN, 256, 1024, 4096, 65_536, 1 << 30, u64::MAX] {
            let shares = Shares::of(allowed);
            let sum = shares.kept as u64
                + 2 * shares.monitoring as u64
                + shares.clients as u64
                + seaway_broker::SESSIONS_ENDING_MAX as u64;
            assert!(sum <= allowed && shares.kept >= 64 && shares.clients > 16, "{shares:?}");
            assert!(shares.clients as u64 >= allowed / 4 || allowed < 1024, "{shares:?}");
        }
    }
}
