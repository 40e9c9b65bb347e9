//! What lies between members and clients, and between members: it may be cut anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::client::{ToClient, ToServer};

/// The last heartbeat that a member heard.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) server_id: String,
    pub(super) tenure: u64,
    pub(super) at: Instant,
}

/// An engine's place at the bus.
#[derive(Default)]
struct Port {
    /// Under which tenure somebody listens there.
    tenure: Option<u64>,
    inbox: VecDeque<ToServer>,
    /// Subscriptions whose acks are listened for, by where.
    listened: BTreeMap<String, u64>,
    heard: Option<Heard>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Network {
    ports: Vec<Port>,
    mailboxes: BTreeMap<String, VecDeque<(usize, ToClient)>>,
    /// Members that clients do not reach.
    pub(super) cut_off: BTreeSet<usize>,
    /// Pairs of members, the second of which does not hear the first.
    pub(super) deaf: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(super) fn new(members: usize) -> Network {
        Network {
            ports: (0..members).map(|_| Port::default()).collect(),
            ..Network::default()
        }
    }

    /// An engine listens from now on.
    pub(super) fn attach(&mut self, member: usize, tenure: u64) {
        let port = &mut self.ports[member];
        port.tenure = Some(tenure);
        port.inbox.clear();
        port.listened.clear();
    }

    /// The engine of this tenure listens no more, and nothing that it says is carried.
    pub(super) fn detach(&mut self, member: usize, tenure: u64) {
        let port = &mut self.ports[member];
        if port.tenure == Some(tenure) {
            port.tenure = None;
            port.inbox.clear();
            port.listened.clear();
        }
    }

    /// The process of a member has ended.
    pub(super) fn hang_up(&mut self, member: usize) {
        self.ports[member] = Port::default();
    }

    pub(super) fn is_attached(&self, member: usize, tenure: u64) -> bool {
        self.ports[member].tenure == Some(tenure)
    }

    /// Whether an engine of a member listens.
    pub(super) fn is_served_by(&self, member: usize) -> bool {
        self.ports[member].tenure.is_some()
    }

    /// A client sends: whoever listens hears it, also when two do. Whether anybody did.
    pub(super) fn send(&mut self, message: &ToServer) -> bool {
        let mut is_heard = false;
        for (member, port) in self.ports.iter_mut().enumerate() {
            if port.tenure.is_none() || self.cut_off.contains(&member) {
                continue;
            }
            let is_listened_for = match message {
                ToServer::Ack(inbox, _) => port.listened.contains_key(inbox),
                _ => true,
            };
            if is_listened_for {
                is_heard = true;
                port.inbox.push_back(message.clone());
            }
        }
        is_heard
    }

    /// The next message that an engine was sent, with the subscription that an ack is for.
    pub(super) fn receive(&mut self, member: usize, tenure: u64) -> Option<(ToServer, Option<u64>)> {
        let port = &mut self.ports[member];
        if port.tenure != Some(tenure) {
            return None;
        }
        let message = port.inbox.pop_front()?;
        let subscription = match &message {
            ToServer::Ack(inbox, _) => port.listened.get(inbox).copied(),
            _ => None,
        };
        Some((message, subscription))
    }

    pub(super) fn listen(&mut self, member: usize, tenure: u64, subject: String, subscription: u64) {
        let port = &mut self.ports[member];
        if port.tenure == Some(tenure) {
            port.listened.insert(subject, subscription);
        }
    }

    pub(super) fn unlisten(&mut self, member: usize, subscription: u64) {
        self.ports[member].listened.retain(|_, known| *known != subscription);
    }

    /// A client listens on everything that begins with its name.
    pub(super) fn begin_to_listen(&mut self, client: &str) {
        self.mailboxes.entry(client.to_owned()).or_default();
    }

    pub(super) fn stop_listening(&mut self, client: &str) {
        self.mailboxes.remove(client);
    }

    /// Whether somebody listens on a subject.
    pub(super) fn has_listener(&self, subject: &str) -> bool {
        subject
            .split('/')
            .next()
            .is_some_and(|client| self.mailboxes.contains_key(client))
    }

    /// An engine sends to a client.
    pub(super) fn carry(&mut self, member: usize, tenure: u64, message: ToClient) {
        if !self.is_attached(member, tenure) || self.cut_off.contains(&member) {
            return;
        }
        let client = message.subject.split('/').next().unwrap_or_default();
        if let Some(mailbox) = self.mailboxes.get_mut(client) {
            mailbox.push_back((member, message));
        }
    }

    /// What came for a client, and from which member.
    pub(super) fn collect(&mut self, client: &str) -> Option<(usize, ToClient)> {
        self.mailboxes.get_mut(client)?.pop_front()
    }

    /// A member says that it serves.
    pub(super) fn beat(&mut self, member: usize, heard: &Heard) {
        for (other, port) in self.ports.iter_mut().enumerate() {
            if other != member && !self.deaf.contains(&(member, other)) {
                port.heard = Some(heard.clone());
            }
        }
    }

    pub(super) fn heard(&self, member: usize) -> Option<Heard> {
        self.ports[member].heard.clone()
    }

    /// Nothing is cut any more.
    pub(super) fn mend(&mut self) {
        self.cut_off.clear();
        self.deaf.clear();
    }
}
