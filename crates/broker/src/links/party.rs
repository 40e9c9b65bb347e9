//! What another server says, and what it means (core specification §4.4, §4.5).

use std::sync::Arc;

use seaway_nats_protocol::parse::{ParseError, ParseLimits};
use seaway_nats_protocol::quote::quote;
use seaway_nats_protocol::write::{PONG, write_error};
use seaway_nats_protocol::{
    ErrorText, Parsed, RouteConnect, RouteInfo, RouteMessage, RouteOperation, parse_route_operation, subject,
};
use smallvec::SmallVec;

use super::gossip;
use super::greeting::{GREETING_LIMITS, read_info};
use super::joining::join;
use crate::account::Account;
use crate::connection::Connection;
use crate::frame::Message;
use crate::gather::{Delivered, Gatherer, Unfinished};
use crate::limits::{
    PEER_INTEREST_MAX, PEER_LINE_BYTES, PEER_PAYLOAD_BYTES, PROOF_PATIENCE, SYNC_ROOM_BYTES, WORK_PER_CONNECT,
    WORK_PER_SUBSCRIPTION,
};
use crate::lock::lock;
use crate::mesh::{Mesh, Peer, Refusal, Stranger};
use crate::origin::{Audience, Origin};
use crate::owner::{Owner, Subscription};
use crate::reason::CloseReason;
use crate::routing::{BySid, InterestProgress, interest_name};
use crate::session::{Batch, Chores, Halt, Party, Timers, Verified, end_turn};
use crate::shared::Shared;

/// What bounds lines and messages once the other server is known.
const LIMITS: ParseLimits = ParseLimits {
    max_control_line: PEER_LINE_BYTES,
    max_payload: PEER_PAYLOAD_BYTES,
    headers: true,
};

/// How far the other server has introduced itself.
enum Stage {
    /// It has dialled, and CONNECT comes next.
    Connecting,
    /// INFO comes next.
    Introducing,
    Joined(Arc<Peer>),
}

/// See the module.
pub(super) struct PeerParty {
    mesh: Arc<Mesh>,
    stage: Stage,
    /// The account of which it spoke last.
    account: Arc<Account>,
    /// Its place among those whom nobody knows.
    stranger: Option<Stranger>,
    /// How far it was told what is wanted here; `None` when it was told everything.
    telling: Option<InterestProgress>,
    /// It wants to know when it was told everything.
    pong_due: bool,
    /// What it wanted is being taken out of the table.
    chores: Chores,
    /// How far it is forgotten, once it has left.
    forgetting: Option<InterestProgress>,
    /// The first operation of what is still to be handled is a message that some have had.
    unfinished: Option<Box<Unfinished>>,
    /// A message was too large; said once.
    warned: bool,
}

/// One batch being handled.
struct Turn<'a> {
    connection: &'a Arc<Connection>,
    shared: &'a Arc<Shared>,
    timers: &'a mut Timers,
    gatherer: &'a mut Gatherer,
    /// Largest message in bytes that this server gives to its own.
    max_payload: usize,
    messages: u64,
    bytes: u64,
}

impl Turn<'_> {
    fn own(&mut self) -> &mut Vec<u8> {
        self.gatherer.own(self.connection)
    }

    /// Refuses the other server in words.
    fn refuse(&mut self, error: &ErrorText<'_>, reason: CloseReason) -> CloseReason {
        let Connection { peer, id, .. } = &**self.connection;
        tracing::error!("{peer} - rid:{id} - {}", error.text());
        write_error(self.own(), error);
        reason
    }
}

impl PeerParty {
    /// One that has dialled.
    pub(super) fn stranger(shared: &Shared, mesh: &Arc<Mesh>, stranger: Stranger) -> Self {
        Self::new(shared, mesh, Stage::Connecting, Some(stranger))
    }

    /// One that was dialled, and let in.
    pub(super) fn joined(shared: &Shared, mesh: &Arc<Mesh>, peer: Arc<Peer>) -> Self {
        Self::new(shared, mesh, Stage::Joined(peer), None)
    }

    fn new(shared: &Shared, mesh: &Arc<Mesh>, stage: Stage, stranger: Option<Stranger>) -> Self {
        Self {
            mesh: Arc::clone(mesh),
            telling: matches!(stage, Stage::Joined(_)).then(InterestProgress::default),
            stage,
            account: Arc::clone(&shared.accounts.global),
            stranger,
            pong_due: false,
            chores: Chores::default(),
            forgetting: None,
            unfinished: None,
            warned: false,
        }
    }

    fn origin(connection: &Connection) -> Origin {
        Origin {
            id: connection.id,
            skip_self: true,
            audience: Audience::Here,
            is_answer: false,
            hops: 0,
        }
    }

    fn handle(&mut self, turn: &mut Turn<'_>, operation: &RouteOperation<'_>) -> Result<(), CloseReason> {
        if matches!(self.stage, Stage::Joined(_)) {
            return self.hear(turn, operation);
        }
        turn.gatherer.charge(WORK_PER_CONNECT);
        match (&self.stage, operation) {
            (Stage::Connecting, RouteOperation::Connect(json)) => self.connect(turn, json),
            (Stage::Introducing, RouteOperation::Info(json)) => self.introduce(turn, json),
            // It may introduce itself first.
            (Stage::Connecting, RouteOperation::Info(_)) => {
                Err(turn.refuse(&ErrorText::AuthorizationViolation, CloseReason::AuthenticationFailure))
            }
            // Newer servers try connections that this one does not have, and are told so by their own side.
            (_, RouteOperation::Error(text)) => {
                let Connection { peer, id, .. } = &**turn.connection;
                tracing::debug!(
                    "{peer} - rid:{id} - Route Error {}",
                    quote(&text[..text.len().min(256)])
                );
                Err(CloseReason::ClientClosed)
            }
            (_, RouteOperation::Ping) => {
                turn.own().extend_from_slice(PONG);
                Ok(())
            }
            (_, RouteOperation::Pong | RouteOperation::Ok) => Ok(()),
            _ => Err(turn.refuse(&ErrorText::AuthorizationViolation, CloseReason::AuthenticationFailure)),
        }
    }

    /// CONNECT of a server that has dialled: whether it may.
    fn connect(&mut self, turn: &mut Turn<'_>, json: &[u8]) -> Result<(), CloseReason> {
        let connect = RouteConnect::parse(json).map_err(|error| {
            tracing::error!("{} - rid:{} - {error}", turn.connection.peer, turn.connection.id);
            CloseReason::ParseError
        })?;
        if !connect.lang.is_empty() {
            return Err(turn.refuse(&ErrorText::ClientOnRoutePort, CloseReason::IncorrectPort));
        }
        if !connect.gateway.is_empty() {
            let error = ErrorText::GatewayOnRoutePort(connect.gateway.as_bytes());
            return Err(turn.refuse(&error, CloseReason::IncorrectPort));
        }
        if let Some((user, password)) = &self.mesh.options.credentials {
            // A hash cannot be presented to others, so none is configured.
            let is_right = password.check(&connect.pass) == Some(true) && *user == connect.user;
            if !is_right {
                let error = &ErrorText::AuthorizationViolation;
                return Err(turn.refuse(error, CloseReason::AuthenticationFailure));
            }
        }
        let agreed = self.mesh.may_agree(&connect.cluster, connect.cluster_dynamic);
        of_this_cluster(turn, agreed)?;
        self.stage = Stage::Introducing;
        Ok(())
    }

    /// The first INFO of a server that has dialled: who it is.
    fn introduce(&mut self, turn: &mut Turn<'_>, json: &[u8]) -> Result<(), CloseReason> {
        let info = understood(turn, json)?;
        if !info.route_account.is_empty() {
            let error = ErrorText::NoDedicatedRoute(info.route_account.as_bytes());
            return Err(turn.refuse(&error, CloseReason::DuplicateRoute));
        }
        of_this_cluster(turn, self.mesh.may_agree(&info.cluster, info.cluster_dynamic))?;
        let peer = join(turn.shared, &self.mesh, turn.connection, info, None).map_err(|refusal| refusal.reason())?;
        turn.timers.authenticated();
        self.stranger = None;
        self.stage = Stage::Joined(peer);
        self.telling = Some(InterestProgress::default());
        Ok(())
    }

    /// What a server says that is known.
    fn hear(&mut self, turn: &mut Turn<'_>, operation: &RouteOperation<'_>) -> Result<(), CloseReason> {
        let is_greeting = matches!(
            operation,
            RouteOperation::Info(_) | RouteOperation::Connect(_) | RouteOperation::Error(_)
        );
        // What only a server sends to which this one is known.
        if let Stage::Joined(peer) = &self.stage
            && !is_greeting
            && !peer.is_confirmed()
        {
            let info = peer.info();
            of_this_cluster(turn, self.mesh.agree(&info.cluster, info.cluster_dynamic))?;
            peer.confirm();
            let Connection { peer: seen, id, .. } = &**turn.connection;
            let name = peer.server_name.escape_debug();
            tracing::info!(
                "{seen} - rid:{id} - Server {name} ({}) is in the cluster",
                peer.server_id
            );
            // Others, and clients, hear of it from now on.
            self.mesh.changed();
            gossip::introduce(&self.mesh, peer);
        }
        match operation {
            RouteOperation::Message(message) => {
                turn.timers.was_active();
                match self.unfinished.take() {
                    None => self.deliver(turn, message),
                    Some(unfinished) => self.go_on(turn, message, unfinished),
                }
            }
            RouteOperation::Interest {
                account,
                subject,
                queue,
            } => {
                turn.gatherer.charge(WORK_PER_SUBSCRIPTION);
                return self.subscribe(turn, account, subject, *queue);
            }
            RouteOperation::NoInterest {
                account,
                subject,
                queue,
            } => {
                turn.gatherer.charge(WORK_PER_SUBSCRIPTION);
                Self::unsubscribe(turn, account, subject, *queue);
            }
            RouteOperation::Ping => match &self.telling {
                None => turn.own().extend_from_slice(PONG),
                Some(_) => self.pong_due = true,
            },
            RouteOperation::Pong => {
                turn.timers.answered(turn.connection);
                if let Stage::Joined(peer) = &self.stage
                    && peer.sync()
                {
                    self.mesh.changed();
                }
            }
            RouteOperation::Info(json) => {
                turn.gatherer.charge(WORK_PER_CONNECT);
                self.heard_info(turn, json)?;
            }
            RouteOperation::Connect(_) | RouteOperation::Ok => {}
            RouteOperation::Error(text) => return Err(self.heard_error(turn, text)),
        }
        Ok(())
    }

    /// News of the other server itself, or of a third one (§4.6).
    fn heard_info(&self, turn: &mut Turn<'_>, json: &[u8]) -> Result<(), CloseReason> {
        let info = understood(turn, json)?;
        let Stage::Joined(peer) = &self.stage else {
            return Ok(());
        };
        if info.server_id == peer.server_id {
            let agreed = match peer.is_confirmed() {
                true => self.mesh.agree(&info.cluster, info.cluster_dynamic),
                false => self.mesh.may_agree(&info.cluster, info.cluster_dynamic),
            };
            of_this_cluster(turn, agreed)?;
            if peer.renew(info) {
                self.mesh.changed();
            }
        } else {
            self.mesh.heard_of(peer, info);
        }
        Ok(())
    }

    /// A server that was dialled and does not let this one in is told of by whoever dials it, again and again.
    fn heard_error(&self, turn: &Turn<'_>, text: &[u8]) -> CloseReason {
        let Connection { peer: seen, id, .. } = &**turn.connection;
        let text = quote(&text[..text.len().min(256)]);
        match &self.stage {
            Stage::Joined(peer) if peer.is_dialled && !peer.is_confirmed() => {
                tracing::debug!("{seen} - rid:{id} - Route Error {text}");
                peer.refuse(text.to_string());
            }
            _ => tracing::error!("{seen} - rid:{id} - Route Error {text}"),
        }
        CloseReason::ClientClosed
    }

    /// The account of a message; one that nobody knows here has nobody who wants it.
    fn known_account(&mut self, turn: &Turn<'_>, name: &[u8]) -> Option<Arc<Account>> {
        if self.account.name().as_bytes() != name {
            self.account = turn.shared.accounts.find(std::str::from_utf8(name).ok()?)?;
        }
        Some(Arc::clone(&self.account))
    }

    /// The account of which it speaks; `None` when there cannot be one of that name here.
    fn account(&mut self, turn: &Turn<'_>, name: &[u8]) -> Option<Arc<Account>> {
        if self.account.name().as_bytes() != name {
            let Some(account) = turn.shared.accounts.heard_of(name) else {
                tracing::debug!(
                    "{} - rid:{} - another server speaks of account {}, which is not here",
                    turn.connection.peer,
                    turn.connection.id,
                    quote(name)
                );
                if let Stage::Joined(peer) = &self.stage {
                    peer.overhear();
                }
                return None;
            };
            self.account = account;
        }
        Some(Arc::clone(&self.account))
    }

    fn subscribe(
        &mut self,
        turn: &mut Turn<'_>,
        account: &[u8],
        text: &[u8],
        queue: Option<(&[u8], u32)>,
    ) -> Result<(), CloseReason> {
        if !subject::is_pattern(text) {
            turn.gatherer.charge(1);
            tracing::debug!(
                "{} - rid:{} - another server subscribes to {}, which is no subject",
                turn.connection.peer,
                turn.connection.id,
                quote(text)
            );
            return Ok(());
        }
        let weight = queue.map_or(1, |(_, weight)| weight);
        let queue = queue.map(|(queue, _)| queue);
        let Some(account) = self.account(turn, account) else {
            return Ok(());
        };
        let name = interest_name(account.name().as_bytes(), text, queue);
        let mut subscriptions = lock(&turn.connection.subscriptions);
        if let Some(known) = subscriptions.get(&name[..])
            && known.0.owner.weight() == weight
        {
            return Ok(());
        }
        if subscriptions.len() >= PEER_INTEREST_MAX {
            drop(subscriptions);
            return Err(turn.refuse(
                &ErrorText::MaximumSubscriptionsExceeded,
                CloseReason::MaximumSubscriptionsExceeded,
            ));
        }
        let owner = Owner::Peer {
            connection: Arc::clone(turn.connection),
            account: Arc::clone(&account),
            weight,
        };
        let subscription = Subscription::new(text, queue, &name, owner);
        let old = subscriptions.replace(BySid(Arc::clone(&subscription)));
        drop(subscriptions);
        // The new one first, so that a group never has nobody there in between.
        account.routing.insert(&subscription);
        if let Some(old) = old {
            old.0.remove();
        }
        Ok(())
    }

    fn unsubscribe(turn: &mut Turn<'_>, account: &[u8], text: &[u8], queue: Option<&[u8]>) {
        let name = interest_name(account, text, queue);
        let known = lock(&turn.connection.subscriptions).take(&name[..]);
        if let Some(known) = known {
            known.0.remove();
        }
    }

    fn deliver(&mut self, turn: &mut Turn<'_>, received: &RouteMessage<'_>) {
        turn.messages += 1;
        turn.bytes += received.body.len() as u64;
        let Some(account) = self.known_account(turn, received.account) else {
            return;
        };
        let max_payload = turn.max_payload;
        if received.body.len() > max_payload {
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    "{} - rid:{} - a message of {} bytes from another server is not delivered, this server's max_payload is {max_payload}: \
                     it should be the same in the whole cluster",
                    turn.connection.peer,
                    turn.connection.id,
                    received.body.len()
                );
            }
            return;
        }
        let delivered = with_message(received, |message| {
            let (routing, origin) = (&account.routing, Self::origin(turn.connection));
            turn.gatherer.deliver(routing, received.subject, message, origin)
        });
        self.delivered(delivered);
    }

    /// Goes on with a message that some have had.
    fn go_on(&mut self, turn: &mut Turn<'_>, received: &RouteMessage<'_>, unfinished: Box<Unfinished>) {
        let Some(account) = self.known_account(turn, received.account) else {
            return;
        };
        let delivered = with_message(received, |message| {
            let (routing, origin) = (&account.routing, Self::origin(turn.connection));
            turn.gatherer.go_on(routing, unfinished, message, origin)
        });
        self.delivered(delivered);
    }

    fn delivered(&mut self, delivered: Delivered) {
        if let Delivered::InPart(unfinished) = delivered {
            self.unfinished = Some(unfinished);
        }
    }
}

impl Party for PeerParty {
    fn handle_batch(
        &mut self,
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
        timers: &mut Timers,
        gatherer: &mut Gatherer,
        data: &[u8],
        _verified: Option<Verified>,
    ) -> Batch {
        let mut turn = Turn {
            connection,
            shared,
            timers,
            gatherer,
            max_payload: shared.settings().max_payload,
            messages: 0,
            bytes: 0,
        };
        turn.own();
        let (mut consumed_all, mut needed, mut yielded) = (0, 0, false);
        let end: Option<CloseReason> = loop {
            let limits = match self.stage {
                Stage::Joined(_) => &LIMITS,
                Stage::Connecting | Stage::Introducing => &GREETING_LIMITS,
            };
            match parse_route_operation(&data[consumed_all..], limits) {
                Ok(Parsed::Operation { operation, consumed }) => {
                    let handled = self.handle(&mut turn, &operation);
                    // What is unfinished is parsed again in the next turn.
                    if self.unfinished.is_none() {
                        consumed_all += consumed;
                    }
                    if let Err(reason) = handled {
                        break Some(reason);
                    }
                    if turn.gatherer.is_turn_over() {
                        yielded = true;
                        break None;
                    }
                }
                Ok(Parsed::Incomplete { needed: length }) => {
                    needed = length;
                    break None;
                }
                Err(error) => break Some(refuse(&mut turn, error)),
            }
        };
        let came = (turn.messages, turn.bytes);
        let aftermath = end_turn(shared, connection, gatherer, Self::origin(connection), came);
        Batch {
            consumed: consumed_all,
            needed,
            yielded,
            aftermath,
            end: end.map(Halt::Close),
        }
    }

    fn woken(&mut self, _shared: &Shared, connection: &Connection, timers: &mut Timers) {
        if let Stage::Joined(peer) = &self.stage
            && peer.take_doubt()
        {
            timers.doubt(connection, PROOF_PATIENCE);
        }
        if let Some(announcer) = connection.announcer.get() {
            announcer.tell(&connection.outbound);
        }
    }

    /// Telling everything goes on as the other server takes it.
    fn has_work(&mut self, connection: &Connection) -> bool {
        if connection.outbound.is_closed() {
            return !self.chores.are_done() || self.forgetting.is_some();
        }
        self.telling.is_some() && {
            let outbound = &connection.outbound;
            outbound.pending() <= SYNC_ROOM_BYTES.min(outbound.bounds.max_pending / 8)
                || outbound.stall(&outbound.waiter).is_none()
        }
    }

    fn work(&mut self, _shared: &Shared, connection: &Connection) {
        if !self.chores.are_done() {
            return self.chores.go_on(connection);
        }
        let Some(announcer) = connection.announcer.get() else {
            self.forgetting = None;
            return;
        };
        if let Some(forgetting) = &mut self.forgetting {
            if announcer.forget(forgetting) {
                self.forgetting = None;
            }
            return;
        }
        if let Some(telling) = &mut self.telling
            && announcer.tell_all(&connection.outbound, telling)
        {
            self.telling = None;
            if std::mem::take(&mut self.pong_due) {
                connection.outbound.send(&mut PONG.to_vec(), 0, 0);
            }
        }
    }

    fn leave(&mut self, _shared: &Shared, connection: &Connection, _reason: CloseReason) {
        self.telling = None;
        if let Stage::Joined(peer) = &self.stage {
            self.mesh.leave(peer);
        }
        if let Some(announcer) = connection.announcer.get() {
            announcer.leave();
            self.forgetting = Some(InterestProgress::default());
        }
        self.chores.end_all(connection);
    }

    fn left(&mut self, shared: &Shared, connection: &Arc<Connection>, reason: CloseReason) {
        shared.unregister(connection, None);
        self.account = Arc::clone(&shared.accounts.global);
        shared.accounts.forget_unwanted();
        let Connection { peer, id, .. } = &**connection;
        // Whoever has left is a stranger again as long as it reads its last words.
        let enter = || self.mesh.strangers.enter(peer.ip());
        self.stranger.get_or_insert_with(enter).is(connection);
        match &self.stage {
            Stage::Joined(known) if known.is_confirmed() => {
                tracing::info!(
                    "{peer} - rid:{id} - Router connection closed: {reason} (server {})",
                    known.server_id
                );
            }
            Stage::Connecting | Stage::Introducing | Stage::Joined(_) => {
                tracing::debug!("{peer} - rid:{id} - Router connection closed: {reason}");
            }
        }
    }
}

fn understood(turn: &Turn<'_>, json: &[u8]) -> Result<RouteInfo, CloseReason> {
    read_info(json).map_err(|text| {
        tracing::error!("{} - rid:{} - {text}", turn.connection.peer, turn.connection.id);
        CloseReason::ParseError
    })
}

/// Tells a server of another cluster that it is at the wrong address.
fn of_this_cluster(turn: &mut Turn<'_>, agreed: Result<(), Refusal>) -> Result<(), CloseReason> {
    match agreed {
        Err(Refusal::OtherCluster(theirs, ours)) => {
            let error = ErrorText::OtherCluster(theirs.as_bytes(), ours.as_bytes());
            Err(turn.refuse(&error, CloseReason::ClusterNameConflict))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refuse(turn: &mut Turn<'_>, error: ParseError) -> CloseReason {
    match error {
        ParseError::UnknownOperation => {
            turn.refuse(&ErrorText::UnknownProtocolOperation, CloseReason::ProtocolViolation)
        }
        ParseError::ControlLineExceeded => turn.refuse(
            &ErrorText::MaximumControlLineExceeded,
            CloseReason::MaximumControlLineExceeded,
        ),
        ParseError::PayloadExceeded => {
            turn.refuse(&ErrorText::MaximumPayloadViolation, CloseReason::MaximumPayloadExceeded)
        }
        ParseError::Arguments | ParseError::HeadersNotSupported => {
            let Connection { peer, id, .. } = &**turn.connection;
            tracing::error!("{peer} - rid:{id} - {error}");
            CloseReason::ParseError
        }
    }
}

fn with_message<T>(received: &RouteMessage<'_>, use_it: impl FnOnce(&Message<'_>) -> T) -> T {
    let mut queues: SmallVec<[&[u8]; 4]> = received.queues.iter().collect();
    queues.sort_unstable();
    use_it(&Message {
        subject: received.subject,
        reply: received.reply,
        header_size: received.header_size,
        parts: std::slice::from_ref(&received.body),
        size: received.body.len(),
        size_text: Some(received.size_text),
        tail: received.tail,
        queues: Some(&queues),
    })
}
