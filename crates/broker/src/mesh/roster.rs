//! Who is in the cluster, and who may come in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use seaway_nats_protocol::RouteInfo;
use tokio::sync::{Semaphore, mpsc, watch};

use super::options::ClusterOptions;
use super::peer::Peer;
use super::strangers::Strangers;
use crate::limits::{
    DIALS_MAX, DISPLACED_MAX, GOSSIPED_URLS_MAX, HEARD_OF_MAX, MADE_UP_NAME_LETTERS, PEERS_MAX, ROUTES_MAX,
    STRANGERS_MAX,
};
use crate::lock::{lock, read, write};
use crate::reason::CloseReason;
use crate::routing::LocalInterest;
use crate::settings::authentication_time;

/// See the module.
pub(crate) struct Mesh {
    pub(crate) options: ClusterOptions,
    /// What this server's own subscribers want.
    pub(crate) interest: Arc<LocalInterest>,
    roster: RwLock<Roster>,
    /// Raised when a server came, went, has told everything, or has other addresses for clients.
    pub(crate) changes: watch::Sender<u64>,
    bound_port: AtomicU16,
    /// Servers that others tell of, on their way to whoever dials them.
    told: mpsc::Sender<Told>,
    heard_of: Mutex<Option<mpsc::Receiver<Told>>>,
    /// Connections that nobody knows.
    pub(crate) strangers: Arc<Strangers>,
    /// Connections that are being made to configured servers, and to those that others tell of.
    pub(crate) dials: [Semaphore; 2],
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// Other servers.
    peers_max: usize,
}

/// A server that another one tells of.
pub(crate) struct Told {
    pub(crate) teller: Arc<Peer>,
    pub(crate) info: RouteInfo,
}

struct Roster {
    name: String,
    /// The name was made up, so that it yields.
    is_made_up: bool,
    peers: HashMap<String, Arc<Peer>>,
    /// Addresses that are being dialled, with the server that told of each.
    dialled: HashMap<String, String>,
    /// Configured servers that have neither been reached nor failed yet.
    awaited: HashSet<String>,
}

/// Why a server is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is this one.
    Oneself,
    /// There is a connection to it.
    Duplicate,
    /// Another server has its name.
    NameTaken,
    /// It belongs to another cluster: its name, and this one's.
    OtherCluster(String, String),
    /// There are too many.
    TooMany,
}

impl Refusal {
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Refusal::Oneself | Refusal::Duplicate => CloseReason::DuplicateRoute,
            Refusal::NameTaken => CloseReason::DuplicateServerName,
            Refusal::OtherCluster(..) => CloseReason::ClusterNameConflict,
            Refusal::TooMany => CloseReason::MaximumConnectionsExceeded,
        }
    }

    /// The same for people.
    pub(crate) fn words(&self) -> String {
        match self {
            Refusal::Oneself => "it is this server".to_owned(),
            Refusal::Duplicate => "there is a connection to it".to_owned(),
            Refusal::NameTaken => "another server of the cluster has its server_name".to_owned(),
            Refusal::OtherCluster(theirs, ours) => format!("it belongs to the cluster {theirs:?}, not to {ours:?}"),
            Refusal::TooMany => "there are as many other servers in the cluster as there is room for".to_owned(),
        }
    }
}

impl Roster {
    /// Whether this server's name of the cluster yields to another server's.
    fn yields(&self, theirs: &str, is_theirs_made_up: bool) -> Result<bool, Refusal> {
        if theirs.is_empty() || self.name == theirs {
            return Ok(false);
        }
        if self.is_made_up && (!is_theirs_made_up || theirs > self.name.as_str()) {
            return Ok(true);
        }
        match is_theirs_made_up {
            true => Ok(false),
            false => Err(Refusal::OtherCluster(theirs.to_owned(), self.name.clone())),
        }
    }
}

impl Mesh {
    pub(crate) fn new(options: ClusterOptions) -> Self {
        let made_up = || (0..MADE_UP_NAME_LETTERS).map(|_| fastrand::alphanumeric()).collect();
        let roster = Roster {
            name: options.name.clone().unwrap_or_else(made_up),
            is_made_up: options.name.is_none(),
            peers: HashMap::new(),
            dialled: HashMap::new(),
            awaited: options.routes.iter().map(|route| route.shown()).collect(),
        };
        let (told, heard_of) = mpsc::channel(HEARD_OF_MAX);
        let connections_max = options.connections_max.unwrap_or(ROUTES_MAX).min(ROUTES_MAX);
        // Where there is less room than for all, everybody has less.
        let share = |most: usize| (most * connections_max / ROUTES_MAX).max(1);
        let dials = || Semaphore::new(share(DIALS_MAX));
        let others = share(STRANGERS_MAX) + 2 * share(DIALS_MAX) + share(DISPLACED_MAX);
        Self {
            strangers: Arc::new(Strangers::new(share(STRANGERS_MAX))),
            dials: [dials(), dials()],
            connections_max,
            peers_max: connections_max.saturating_sub(others).clamp(1, PEERS_MAX),
            told,
            heard_of: Mutex::new(Some(heard_of)),
            options,
            interest: Arc::new(LocalInterest::new()),
            roster: RwLock::new(roster),
            changes: watch::Sender::new(0),
            bound_port: AtomicU16::new(0),
        }
    }

    /// Tells whoever watches that something has changed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The cluster's name.
    pub(crate) fn name(&self) -> String {
        read(&self.roster).name.clone()
    }

    pub(crate) fn is_name_made_up(&self) -> bool {
        read(&self.roster).is_made_up
    }

    /// Whether the names of both sides' clusters keep them apart: one that was made up yields to one that was not, and of two such
    /// the smaller to the larger (§4.4).
    pub(crate) fn may_agree(&self, theirs: &str, is_theirs_made_up: bool) -> Result<(), Refusal> {
        read(&self.roster).yields(theirs, is_theirs_made_up).map(drop)
    }

    /// The same; takes over the name of a server that has shown that it belongs here, if this server's own yields.
    pub(crate) fn agree(&self, theirs: &str, is_theirs_made_up: bool) -> Result<(), Refusal> {
        let mut roster = write(&self.roster);
        if roster.yields(theirs, is_theirs_made_up)? {
            tracing::info!("The cluster name is {theirs:?} now, as another server says");
            theirs.clone_into(&mut roster.name);
            roster.is_made_up = is_theirs_made_up;
            drop(roster);
            self.changed();
        }
        Ok(())
    }

    /// Time in which another server must have introduced itself.
    pub(crate) fn authentication_time(&self) -> Duration {
        authentication_time(self.options.authentication_timeout, self.options.tls.as_ref())
    }

    pub(crate) fn set_bound_port(&self, port: u16) {
        self.bound_port.store(port, Ordering::Relaxed);
    }

    pub(crate) fn bound_port(&self) -> u16 {
        self.bound_port.load(Ordering::Relaxed)
    }

    /// All servers there is a connection to.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        read(&self.roster).peers.values().cloned().collect()
    }

    /// Those among them that have let this one in.
    pub(crate) fn confirmed(&self) -> Vec<Arc<Peer>> {
        let roster = read(&self.roster);
        let confirmed = roster.peers.values().filter(|peer| peer.is_confirmed());
        confirmed.cloned().collect()
    }

    /// The server with this id, if there is a connection to it.
    pub(crate) fn find(&self, server_id: &str) -> Option<Arc<Peer>> {
        read(&self.roster).peers.get(server_id).cloned()
    }

    /// Addresses of the other servers for clients, each once; not of those that may still refuse this one.
    pub(crate) fn client_urls(&self) -> Vec<String> {
        let mut urls = BTreeSet::new();
        for peer in read(&self.roster).peers.values().filter(|peer| peer.is_confirmed()) {
            for url in peer.client_urls() {
                if urls.len() < GOSSIPED_URLS_MAX {
                    urls.insert(url);
                }
            }
        }
        urls.into_iter().collect()
    }

    /// Lets a server in, or says why not. Of two connections to one server the first stays. But when both servers dial each other at the
    /// same moment, the one dialled by the server with the lower id does, as both see it.
    pub(crate) fn enter(&self, newcomer: &Arc<Peer>, own_id: &str) -> Result<(), Refusal> {
        if newcomer.server_id == own_id {
            return Err(Refusal::Oneself);
        }
        let mut roster = write(&self.roster);
        if let Some(known) = roster.peers.get(&newcomer.server_id)
            && !known.connection.outbound.is_closed()
        {
            let crossed = !newcomer.is_dialled && known.is_dialled && !known.is_confirmed();
            if !(crossed && own_id > newcomer.server_id.as_str()) {
                known.doubt();
                return Err(Refusal::Duplicate);
            }
            known.connection.outbound.close(CloseReason::DuplicateRoute);
        }
        let has_name = |peer: &&Arc<Peer>| {
            peer.server_name == newcomer.server_name
                && peer.server_id != newcomer.server_id
                && !peer.connection.outbound.is_closed()
        };
        if roster.peers.values().find(has_name).is_some() {
            return Err(Refusal::NameTaken);
        }
        if roster.peers.len() >= self.peers_max {
            return Err(Refusal::TooMany);
        }
        roster.peers.insert(newcomer.server_id.clone(), Arc::clone(newcomer));
        drop(roster);
        self.changed();
        Ok(())
    }

    /// A connection has ended; another one to the same server stays.
    pub(crate) fn leave(&self, peer: &Arc<Peer>) {
        let mut roster = write(&self.roster);
        let is_this = |known: &Arc<Peer>| Arc::ptr_eq(known, peer);
        if roster.peers.get(&peer.server_id).is_some_and(is_this) {
            roster.peers.remove(&peer.server_id);
        }
        drop(roster);
        self.changed();
    }

    /// Another server tells of one. When many are told of at once some are left out until the next time.
    pub(crate) fn heard_of(&self, teller: &Arc<Peer>, info: RouteInfo) {
        let teller = Arc::clone(teller);
        let _ = self.told.try_send(Told { teller, info });
    }

    /// Where servers come from that others tell of; once.
    pub(crate) fn take_heard_of(&self) -> Option<mpsc::Receiver<Told>> {
        lock(&self.heard_of).take()
    }

    /// Notes that an address is being dialled because `teller` told of it; false when it is already, or one server tells of more
    /// than a cluster has.
    pub(crate) fn begin_dialling(&self, address: &str, teller: &str) -> bool {
        let mut roster = write(&self.roster);
        let dialled = &mut roster.dialled;
        let of_teller = dialled.values().filter(|known| *known == teller).count();
        if dialled.len() >= HEARD_OF_MAX || of_teller >= PEERS_MAX || dialled.contains_key(address) {
            return false;
        }
        dialled.insert(address.to_owned(), teller.to_owned());
        true
    }

    pub(crate) fn end_dialling(&self, address: &str) {
        write(&self.roster).dialled.remove(address);
    }

    /// A configured server has been reached and has told everything, or has failed to be reached.
    pub(crate) fn was_tried(&self, address: &str) {
        if write(&self.roster).awaited.remove(address) {
            self.changed();
        }
    }

    /// Whether every configured server was tried, and everybody who is there has told everything.
    pub(crate) fn is_formed(&self) -> bool {
        let roster = read(&self.roster);
        roster.awaited.is_empty() && roster.peers.values().all(|peer| peer.is_synced())
    }

    /// Tells all servers what has changed in what is wanted here.
    pub(crate) fn tell_news(&self) {
        for peer in read(&self.roster).peers.values() {
            if let Some(announcer) = peer.connection.announcer.get() {
                announcer.tell(&peer.connection.outbound);
            }
        }
    }

    /// Makes the connections' own tasks do that, unless it is much.
    pub(crate) fn tell_news_soon(&self) {
        for peer in read(&self.roster).peers.values() {
            let Some(announcer) = peer.connection.announcer.get() else {
                continue;
            };
            if announcer.is_behind() {
                announcer.tell(&peer.connection.outbound);
            } else {
                peer.connection.outbound.waiter.wake();
            }
        }
    }
}
