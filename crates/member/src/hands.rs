//! What a replica does to the world outside its log, taken down while it decides: nothing here calls it, or the journal.

use bytes::Bytes;
use seaway_replica::{
    Checkpoint, Class, Configuration, Confirmation, FrameError, Identity, NodeId, Outgoing, Outside, Role, Stop,
    Unsent, Vote,
};

use crate::bodies::Outboxes;
use crate::members::KnownMembers;
use crate::network::Network;
use crate::news::News;

pub(crate) struct Hands {
    pub(crate) network: Box<dyn Network>,
    identity: Identity,
    pub(crate) outboxes: Outboxes,
    /// Votes to be written, with their tickets.
    pub(crate) votes: Vec<(u64, Vote)>,
    pub(crate) role: Role,
    /// In which term it serves: what of another term asks the store for anything gets nothing from the moment this changes.
    pub(crate) serving: Option<u64>,
    pub(crate) members: Vec<(u64, KnownMembers)>,
    pub(crate) confirmations: Vec<(u64, bool)>,
    /// Snapshots that will not come.
    pub(crate) not_staged: Vec<u64>,
    /// Somebody needs a newer checkpoint.
    pub(crate) checkpoint_needed: bool,
    pub(crate) news: News,
}

impl Hands {
    pub(crate) fn new(network: Box<dyn Network>, identity: Identity) -> Hands {
        Hands {
            network,
            identity,
            outboxes: Outboxes::default(),
            votes: Vec::new(),
            role: Role::Follower { leader: None },
            serving: None,
            members: Vec::new(),
            confirmations: Vec::new(),
            not_staged: Vec::new(),
            checkpoint_needed: false,
            news: News::default(),
        }
    }

    /// Sends every frame that has all its bodies.
    pub(crate) fn send_whole(&mut self) {
        while let Some((to, message, bodies)) = self.outboxes.take_whole() {
            if self.send_now(to, Class::Bulk, &message, bodies).is_err() {
                self.outboxes.fail(to);
            }
        }
    }

    fn send_now(&mut self, to: NodeId, class: Class, message: &Outgoing, bodies: Vec<Bytes>) -> Result<(), Unsent> {
        let mut head = Vec::with_capacity(128);
        let places: Vec<&[u8]> = bodies.iter().map(|body| &body[..]).collect();
        if let Err(error) = message.write_head(&self.identity, &places, &mut head) {
            self.news
                .warn(format!("What was read for member {to:016x} does not fit: {error}"));
            return Err(Unsent);
        }
        let mut frame = Vec::with_capacity(1 + bodies.len());
        frame.push(Bytes::from(head));
        frame.extend(bodies.into_iter().filter(|body| !body.is_empty()));
        self.network.send(to, class, frame)
    }
}

impl Outside for Hands {
    fn send(&mut self, to: NodeId, class: Class, message: Outgoing) -> Result<(), Unsent> {
        match class {
            Class::Control => self.send_now(to, class, &message, Vec::new()),
            Class::Bulk if self.outboxes.push(to, message) => Ok(()),
            Class::Bulk => Err(Unsent),
        }
    }

    fn write_vote(&mut self, ticket: u64, vote: Vote) {
        self.votes.push((ticket, vote));
    }

    fn role(&mut self, role: Role) {
        if self.role.leads() && !role.leads() {
            self.outboxes.clear();
        }
        self.role = role;
        self.serving = match role {
            Role::Serving { term } => Some(term),
            Role::Follower { .. } | Role::Leading { .. } => None,
        };
        self.news.role = Some(role);
    }

    fn members(&mut self, index: u64, configuration: &Configuration, about: &[u8]) {
        let members = KnownMembers {
            configuration: configuration.clone(),
            about: Bytes::copy_from_slice(about),
        };
        self.members.push((index, members));
    }

    fn fetch(&mut self, from: NodeId, snapshot: &Checkpoint) {
        self.news.warn(format!(
            "This member lacks entries that member {from:016x} does not keep any more, up to entry {}, and snapshots are not fetched yet: \
             it cannot catch up",
            snapshot.id.index
        ));
        self.not_staged.push(snapshot.number);
    }

    fn forget(&mut self, _snapshot: u64) {
        // None was begun.
    }

    fn checkpoint_needed(&mut self, _member: NodeId) {
        self.checkpoint_needed = true;
    }

    fn confirmed(&mut self, ticket: u64, confirmation: Confirmation) {
        self.confirmations.push((ticket, confirmation == Confirmation::Led));
    }

    fn refuse(&mut self, member: NodeId, error: FrameError) {
        self.network.refuse(member, error.to_string());
    }

    fn stopped(&mut self, stop: &Stop) {
        self.serving = None;
        self.news.stopped = Some(stop.clone());
    }
}
