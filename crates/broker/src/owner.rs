//! Who subscribes: clients on sockets, in-process parties and other servers. The routing table is told no more of them than it asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use smallvec::SmallVec;

use crate::account::Account;
use crate::connection::Connection;
use crate::gate::Gate;
use crate::imports::ServiceImport;
use crate::lock::lock;
use crate::origin::Origin;
use crate::routing::{Handle, RoutingTable};
use crate::sink::{BatchPool, Sink};

/// The broker's table of subscriptions.
pub(crate) type Routing = RoutingTable<Owner>;
pub(crate) type Subscription = crate::routing::Subscription<Owner>;
pub(crate) type Target = crate::routing::Target<Owner>;
pub(crate) type Group = crate::routing::Group<Owner>;

/// Who receives.
pub(crate) enum Owner {
    /// A client on a socket, in its account.
    Connection {
        connection: Arc<Connection>,
        account: Arc<Account>,
    },
    /// An in-process sink; it gets the tag with every message.
    Attachment {
        shared: Arc<AttachmentShared>,
        tag: u64,
        /// Publishers that reach it may be held at the gate.
        holdable: bool,
        /// Other servers are told, so that their clients reach it too.
        announced: bool,
    },
    /// A service of another account, for whoever asks in this one.
    Service(Arc<ServiceImport>),
    /// Whoever waits in another account for answers of a service in this one.
    Answers(Arc<ServiceImport>),
    /// Somebody behind another server, over the connection to it.
    Peer {
        connection: Arc<Connection>,
        account: Arc<Account>,
        /// How many there are: members of a queue group, or 1.
        weight: u32,
    },
}

impl Owner {
    /// How many subscribers it stands for.
    pub(crate) fn weight(&self) -> u32 {
        self.remote().unwrap_or(1)
    }

    /// Where it subscribed.
    pub(crate) fn account(&self) -> &Arc<Account> {
        match self {
            Owner::Connection { account, .. } | Owner::Peer { account, .. } => account,
            Owner::Attachment { shared, .. } => &shared.account,
            Owner::Service(import) => import.importer(),
            Owner::Answers(import) => import.exporter(),
        }
    }
}

impl Handle for Owner {
    fn id(&self) -> u64 {
        match self {
            Owner::Connection { connection, .. } | Owner::Peer { connection, .. } => connection.id,
            Owner::Attachment { shared, .. } => shared.id,
            Owner::Service(import) | Owner::Answers(import) => import.id,
        }
    }

    fn withholds(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        match self {
            Owner::Connection { connection, .. } => connection.admission.withholds(subject, queue),
            Owner::Attachment { .. } | Owner::Service(_) | Owner::Answers(_) | Owner::Peer { .. } => false,
        }
    }

    fn answers(&self) -> bool {
        match self {
            Owner::Connection { connection, .. } => connection.admission.answers(),
            Owner::Attachment { .. } | Owner::Service(_) | Owner::Answers(_) | Owner::Peer { .. } => false,
        }
    }

    fn remote(&self) -> Option<u32> {
        match self {
            Owner::Peer { weight, .. } => Some(*weight),
            Owner::Connection { .. } | Owner::Attachment { .. } | Owner::Service(_) | Owner::Answers(_) => None,
        }
    }

    fn is_announced(&self) -> bool {
        match self {
            Owner::Connection { .. } | Owner::Answers(_) => true,
            Owner::Attachment { announced, .. } => *announced,
            // Every server asks for its own clients.
            Owner::Service(_) | Owner::Peer { .. } => false,
        }
    }
}

impl Subscription {
    /// Takes it out of the table of its account. Returns false when somebody else already did.
    pub(crate) fn remove(self: &Arc<Self>) -> bool {
        let account = self.owner.account();
        let has_left = account.routing.remove(self);
        if has_left
            && !self.is_shadow()
            && let Owner::Connection { connection, .. } = &self.owner
        {
            account.unsubscribed();
            for shadow in connection.take_shadows(self.sid()) {
                shadow.remove();
            }
        }
        has_left
    }

    /// Who gets what it matches may have changed.
    pub(crate) fn raise(&self) {
        self.owner.account().routing.raise(self.subject());
        if let Owner::Connection { connection, .. } = &self.owner {
            for shadow in connection.shadows_of(self.sid()) {
                shadow.owner.account().routing.raise(shadow.subject());
            }
        }
    }

    /// Removes it from the table and from its owner.
    pub(crate) fn end(self: &Arc<Self>) {
        if !self.remove() {
            return;
        }
        let subscription = self;
        match &subscription.owner {
            Owner::Connection { connection, .. } | Owner::Peer { connection, .. } => {
                let mut subscriptions = lock(&connection.subscriptions);
                let same = subscriptions
                    .get(subscription.sid())
                    .is_some_and(|known| Arc::ptr_eq(&known.0, subscription));
                if same {
                    subscriptions.remove(subscription.sid());
                }
            }
            Owner::Attachment { shared, tag, .. } => shared.forget(*tag, subscription),
            Owner::Service(_) | Owner::Answers(_) => {}
        }
    }
}

/// What the broker's hot paths see of an attachment.
pub(crate) struct AttachmentShared {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) account: Arc<Account>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) pool: Arc<BatchPool>,
    /// By tag; most tags have one.
    pub(crate) subscriptions: Mutex<HashMap<u64, SmallVec<[Arc<Subscription>; 1]>>>,
    /// There will be no more of them; changed under their lock.
    pub(crate) detached: AtomicBool,
    /// It answers accounts that import its services.
    pub(crate) serves_importers: AtomicBool,
}

impl AttachmentShared {
    pub(crate) fn new(id: u64, name: &str, account: Arc<Account>, sink: Arc<dyn Sink>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            account,
            sink,
            gate: Arc::new(Gate::default()),
            pool: Arc::default(),
            subscriptions: Mutex::default(),
            detached: AtomicBool::new(false),
            serves_importers: AtomicBool::new(false),
        }
    }

    /// Whether it takes what another account brings: requests if it is there for those, and never answers, which would be requests
    /// with what whoever waited for them may do.
    pub(crate) fn takes(&self, origin: Origin) -> bool {
        self.serves_importers.load(Ordering::Acquire) && !origin.is_answer
    }

    fn forget(&self, tag: u64, subscription: &Arc<Subscription>) {
        let mut subscriptions = lock(&self.subscriptions);
        if let Some(list) = subscriptions.get_mut(&tag) {
            list.retain(|known| !Arc::ptr_eq(known, subscription));
        }
    }
}
