//! The web console of this server: its pages beside the monitoring, and how people who log in there come in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use seaway_broker::Broker;
use seaway_config::Options;
use seaway_console::{Door, Opened};
use seaway_monitor::Source;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::monitoring::Monitoring;

/// Where the console is found, behind the base path of the monitoring.
const PATH: &str = "/console";

/// How long a way in is open.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// The pages of the monitoring, and those of the console unless it is turned off.
pub(crate) fn with_monitoring(options: &Options, broker: &Broker, source: Arc<Monitoring>) -> Router {
    let monitoring = seaway_monitor::router(Arc::clone(&source) as Arc<dyn Source>);
    if options.broker.no_console {
        return monitoring;
    }
    let base = &options.broker.http_base_path;
    let door = Arc::new(ConsoleDoor::new(options, broker));
    let console = seaway_console::router(source, door);
    let path = format!("{base}{PATH}/");
    // A proxy in front may have a path of its own before this one: only the browser knows the whole.
    let to_pages = format!("{}/", PATH.trim_start_matches('/'));
    monitoring
        .route(
            path.trim_end_matches('/'),
            get(move || async move { Redirect::temporary(&to_pages) }),
        )
        .nest(&path, console)
}

/// See [`Door`].
struct ConsoleDoor {
    broker: Broker,
    is_external: bool,
    cluster_id: String,
    discover_prefix: String,
    hosts: Vec<String>,
}

impl ConsoleDoor {
    fn new(options: &Options, broker: &Broker) -> ConsoleDoor {
        let of_machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let advertised = options
            .broker
            .client_advertise
            .iter()
            .map(|address| without_port(address).to_owned());
        let hosts = [options.broker.host.clone(), of_machine]
            .into_iter()
            .chain(options.broker.http_host.clone());
        ConsoleDoor {
            broker: broker.clone(),
            is_external: options.streaming.external.is_some(),
            cluster_id: options.streaming.cluster_id.clone(),
            discover_prefix: options.streaming.discover_prefix.clone(),
            hosts: hosts
                .chain(advertised)
                .chain(options.broker.console_hosts.clone())
                .collect(),
        }
    }
}

fn without_port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl Door for ConsoleDoor {
    fn open(&self, peer: SocketAddr) -> Result<Opened, String> {
        let opened = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((TcpListener::from_std(listener)?, address))
        });
        let (listener, address) = opened.map_err(|error| format!("the console finds no way in: {error}"))?;
        // Every process of this machine can connect: which one is ours is known by an address that nobody else guesses.
        let from = Ipv4Addr::new(127, fastrand::u8(..), fastrand::u8(..), fastrand::u8(1..255)).into();
        let (kept, released) = oneshot::channel::<()>();
        let broker = self.broker.clone();
        tokio::spawn(async move {
            let accepted = async {
                loop {
                    match listener.accept().await {
                        Ok((stream, address)) if address.ip() == from => return Some(stream),
                        Ok(_) => {}
                        Err(_) => return None,
                    }
                }
            };
            let accepted = tokio::time::timeout(OPEN_MAX, accepted).await;
            if let Ok(Some(stream)) = accepted
                && let Err(error) = broker.serve_within(stream, peer)
            {
                tracing::warn!("Console: {error}");
            }
            // Whoever logs in may be told again where to connect: nobody else is to listen there meanwhile.
            let _ = released.await;
        });
        Ok(Opened {
            address,
            from,
            kept: Box::new(kept),
        })
    }

    fn obstacle(&self) -> Option<String> {
        let words = if self.is_external {
            "messages are carried by a NATS server of somebody else, and the console logs in to the broker of this server only"
        } else if self.broker.asks_for_certificates() {
            "this server asks clients for certificates (tls { verify }), and the console has none to show: use the command line"
        } else if !self.broker.has_users() {
            "this server has no users to log in as: everybody may do everything on it, but for the console"
        } else {
            return None;
        };
        Some(words.to_owned())
    }

    fn is_host(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    fn discover_prefix(&self) -> &str {
        &self.discover_prefix
    }
}
