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
    /// For connections to other servers.
    pub(crate) routes: usize,
    /// For clients that are served.
    pub(crate) clients: usize,
}

impl Shares {
    /// Shares out what the system allows now; connections to other servers have a share where there is a cluster.
    pub(crate) fn now(has_cluster: bool) -> Shares {
        Shares::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), has_cluster)
    }

    fn of(allowed: u64, has_cluster: bool) -> Shares {
        let part = |divisor: u64, least: u64, most: u64| {
            let count = (allowed / divisor).clamp(least, most);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let kept = part(8, 64, 512);
        let monitoring = part(32, 4, seaway_monitor::limits::CONNECTIONS_MAX as u64);
        // Who is logged in to the console has a connection of which both ends are here.
        let console = part(64, 2, seaway_console::SESSIONS_MAX as u64);
        let others = kept + 2 * monitoring + console + seaway_broker::SESSIONS_ENDING_MAX;
        let left = usize::try_from(allowed).unwrap_or(usize::MAX).saturating_sub(others);
        let routes = if has_cluster {
            seaway_broker::ROUTES_MAX.min(left / 4)
        } else {
            0
        };
        Shares {
            allowed,
            kept,
            monitoring,
            routes,
            clients: left - routes,
        }
    }

    /// Raises the limit as far as the system lets: a server's soft limit is meant for programs that use `select`. Says so
    /// when fewer clients will be served than `wanted`.
    ///
    /// # Errors
    /// When the limit leaves nothing for clients.
    pub(crate) fn claim(wanted: usize, has_cluster: bool) -> Result<()> {
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
            allowed,
            kept,
            routes,
            clients,
            ..
        } = Shares::now(has_cluster);
        if allowed < ALLOWED_MIN {
            bail!(
                "the system allows {allowed} open files (ulimit -n), which is too few: at least {ALLOWED_MIN} are needed"
            );
        }
        if clients < wanted {
            let for_routes = match routes {
                0 => String::new(),
                routes => format!(" and {routes} for other servers"),
            };
            tracing::info!(
                "Client connections are limited to {clients} instead of {wanted}: the system allows {allowed} open files \
                 (ulimit -n), of which {kept} are kept for the store{for_routes}"
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
            for has_cluster in [false, true] {
                let shares = Shares::of(allowed, has_cluster);
                let sum = shares.kept as u64
                    + 2 * shares.monitoring as u64
                    + (shares.routes + shares.clients) as u64
                    + seaway_broker::SESSIONS_ENDING_MAX as u64;
                assert!(sum <= allowed && shares.kept >= 64 && shares.clients > 16, "{shares:?}");
                assert!(shares.clients as u64 >= allowed / 4 || allowed < 1024, "{shares:?}");
                assert_eq!(shares.routes > 0, has_cluster, "{shares:?}");
            }
        }
    }
}
