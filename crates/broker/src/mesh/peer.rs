//! One other server, as long as there is a connection to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use seaway_nats_protocol::RouteInfo;
use tokio::sync::Semaphore;

use crate::connection::Connection;
use crate::limits::DIALS_PER_TELLER;
use crate::lock::lock;

/// See the module.
pub(crate) struct Peer {
    pub(crate) connection: Arc<Connection>,
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    /// This server has dialled.
    pub(crate) is_dialled: bool,
    /// The configuration names it.
    pub(crate) is_configured: bool,
    /// `nats-route://host:port/`, where others reach it.
    pub(crate) address: String,
    /// What it said last.
    info: Mutex<RouteInfo>,
    /// It has sent something that only a server sends to which this one is known.
    confirmed: AtomicBool,
    /// Why it does not let this server in.
    refusal: OnceLock<String>,
    /// It has told everything that was wanted there when it came.
    synced: AtomicBool,
    /// It has to show that it is still there.
    doubted: AtomicBool,
    /// Something that it wants in accounts that are not here was not kept.
    unheard: AtomicBool,
    /// Connections that are being made to servers of which it told.
    pub(crate) dials: Semaphore,
}

impl Peer {
    pub(crate) fn new(
        connection: &Arc<Connection>,
        info: RouteInfo,
        is_dialled: bool,
        is_configured: bool,
        address: String,
    ) -> Self {
        Self {
            connection: Arc::clone(connection),
            server_id: info.server_id.clone(),
            server_name: info.server_name.clone(),
            is_dialled,
            is_configured,
            address,
            info: Mutex::new(info),
            confirmed: AtomicBool::new(false),
            refusal: OnceLock::new(),
            synced: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            dials: Semaphore::new(DIALS_PER_TELLER),
        }
    }

    /// What it said of itself last.
    pub(crate) fn info(&self) -> RouteInfo {
        lock(&self.info).clone()
    }

    /// Takes over what it says now; whether its clients' addresses have changed.
    pub(crate) fn renew(&self, new: RouteInfo) -> bool {
        let mut info = lock(&self.info);
        let has_changed = info.connect_urls != new.connect_urls || info.ldm != new.ldm;
        *info = new;
        has_changed
    }

    /// Addresses under which its clients reach it.
    pub(crate) fn client_urls(&self) -> Vec<String> {
        let info = lock(&self.info);
        if info.ldm {
            Vec::new()
        } else {
            info.connect_urls.clone()
        }
    }

    pub(crate) fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    /// It does not let this server in, in its words.
    pub(crate) fn refuse(&self, words: String) {
        let _ = self.refusal.set(words);
    }

    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// It has told everything; whether that is news.
    pub(crate) fn sync(&self) -> bool {
        !self.synced.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Makes its connection's task ask whether it is still there.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
        self.connection.outbound.waiter.wake();
    }

    /// Something that it wants was not kept.
    pub(crate) fn overhear(&self) {
        self.unheard.store(true, Ordering::Release);
    }

    /// Whether something that it wants was not kept, so that it has to tell everything again.
    pub(crate) fn was_overheard(&self) -> bool {
        self.unheard.load(Ordering::Acquire)
    }

    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }
}
