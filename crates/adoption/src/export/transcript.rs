//! What a store holds is written in the original's files, or its tables, as it comes.

use std::ops::ControlFlow;

use seaway_original::{ClientInfo, NewMessage, Sealer, ServerInfo, SubState};
use seaway_stan_protocol::{MessageView, Subjects};
use seaway_streaming::export::ExportedChannel;
use seaway_streaming::portable::PortableSubscription;

use super::notes::is_drained;
use super::report::{ExportOptions, Exported, Note, Severity};
use super::target::{ChannelTarget, Form, Target};
use crate::error::Error;
use crate::progress::Progress;
use crate::rest::{Bounds, Piece, Rest};

/// See the module.
pub(super) struct Transcript<'a> {
    rest: &'a mut Rest,
    exported: Exported,
    options: &'a ExportOptions,
    progress: &'a Progress,
}

/// A channel, on its own: the store is read while it is written.
struct Channel {
    name: Vec<u8>,
    /// The first message that is live.
    first: u64,
    bounds: Bounds,
    /// When its last message came, where that is gone.
    drained_at: Option<i64>,
}

impl<'a> Transcript<'a> {
    /// Of a store that was surveyed.
    pub(super) fn new(
        rest: &'a mut Rest,
        surveyed: Exported,
        options: &'a ExportOptions,
        progress: &'a Progress,
    ) -> Transcript<'a> {
        Transcript {
            rest,
            exported: Exported {
                messages: 0,
                bytes: 0,
                ..surveyed
            },
            options,
            progress,
        }
    }

    /// Writes everything into what `begin` makes, and makes it durable.
    pub(super) fn write<T: Target>(
        mut self,
        begin: impl FnOnce(&ServerInfo) -> Result<T, Error>,
    ) -> Result<(Exported, T::Finished), Error> {
        let engine = self.rest.engine();
        let mut writer = begin(&server(engine.subjects(), &self.exported.cluster_id))?;
        for client in engine.exported_clients() {
            writer.client(&ClientInfo {
                id: client.name.to_vec(),
                heartbeat_inbox: client.heartbeat_inbox.to_vec(),
                connection_id: client.connection_id.to_vec(),
                protocol: client.protocol,
                ping_interval: client.ping_interval,
                ping_max_out: client.ping_max_out,
            })?;
        }
        let channels: Vec<Channel> = engine
            .exported_channels()
            .filter_map(|channel| Channel::of(&channel, T::FORM))
            .collect();
        for channel in channels {
            self.channel(&channel, &mut writer)?;
            self.progress.channel();
        }
        let finished = writer.finish()?;
        Ok((self.exported, finished))
    }

    fn channel<T: Target>(&mut self, channel: &Channel, writer: &mut T) -> Result<(), Error> {
        let sealer = self.options.seal.as_ref().map(|(key, cipher)| {
            let mut nonce = [0; 4];
            fastrand::fill(&mut nonce);
            key.sealer_of_channel(&channel.name, *cipher, nonce, channel.bounds.first)
        });
        let mut written = Written {
            channel,
            writer: writer.begin_channel(&channel.name)?,
            sealer,
            form: T::FORM,
            next: channel.bounds.first,
            exported: &mut self.exported,
            accepts_losses: self.options.accepts_losses,
            progress: self.progress,
        };
        match channel.drained_at {
            Some(time) => written.fill_to(channel.bounds.last.saturating_add(1), time)?,
            None => {
                let mut time = 0;
                let taken = self.rest.messages(channel.bounds, |piece| {
                    if let Piece::Message(message) = &piece {
                        time = message.timestamp;
                    }
                    written
                        .piece(piece)
                        .map_or_else(ControlFlow::Break, ControlFlow::Continue)
                })?;
                if let ControlFlow::Break(error) = taken {
                    return Err(error);
                }
                // What is lost at the end has the time of the last that is there.
                written.fill_to(channel.bounds.last.saturating_add(1), time)?;
            }
        }
        let mut writer = written.writer;
        for exported in self.rest.engine().exported_subscriptions(&channel.name) {
            let pending = T::FORM.pending(&exported.pending, channel.first);
            writer.subscription(&state(&exported.subscription), &pending)?;
        }
        let (filled, bytes) = writer.finish(channel.bounds.last)?;
        self.exported.filled += filled;
        self.exported.messages += filled;
        self.exported.bytes += bytes;
        Ok(())
    }
}

impl Channel {
    /// None for one that the original cannot store.
    fn of(channel: &ExportedChannel<'_>, form: Form) -> Option<Channel> {
        if form.unstorable(channel.name).is_some() {
            return None;
        }
        let mut bounds = Bounds::of(channel);
        if channel.last == 0 {
            // So that there is nothing between the bounds.
            bounds.first = 1;
        }
        let is_drained = is_drained(channel);
        if is_drained {
            bounds.first = channel.last;
        }
        Some(Channel {
            name: channel.name.to_vec(),
            first: channel.first,
            bounds,
            drained_at: is_drained.then_some(channel.last_timestamp),
        })
    }
}

/// A channel's messages on their way.
struct Written<'a, C> {
    channel: &'a Channel,
    writer: C,
    sealer: Option<Sealer>,
    form: Form,
    /// The sequence that comes next.
    next: u64,
    exported: &'a mut Exported,
    accepts_losses: bool,
    progress: &'a Progress,
}

impl<C: ChannelTarget> Written<'_, C> {
    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Error> {
        match piece {
            Piece::Message(message) => {
                self.fill_to(message.sequence, message.timestamp)?;
                self.message(&message)
            }
            Piece::Damaged(first, last, reason) => {
                let text = format!("they are damaged: empty messages are in their place ({reason})");
                let note = Note::new(Severity::Loss, "messages_damaged", text);
                self.exported.note(note.of(&self.channel.name).about(first, last));
                if self.accepts_losses {
                    Ok(())
                } else {
                    Err(damaged(&self.channel.name, first, last, reason))
                }
            }
        }
    }

    /// Empty messages in the place of missing ones, with the time of the one behind them, as the original makes them in files (§3.7); in its
    /// tables there are gaps (§1.4).
    fn fill_to(&mut self, sequence: u64, timestamp: i64) -> Result<(), Error> {
        if self.form == Form::Tables {
            return Ok(());
        }
        while self.next < sequence {
            self.message(&MessageView {
                sequence: self.next,
                timestamp,
                ..MessageView::default()
            })?;
            self.exported.filled += 1;
        }
        Ok(())
    }

    fn message(&mut self, message: &MessageView<'_>) -> Result<(), Error> {
        let data = match &mut self.sealer {
            None => message.data,
            Some(sealer) => sealer
                .seal(message.data)
                .map_err(|_| Error::Refused(format!("message {} is too long to be encrypted", message.sequence)))?,
        };
        let bytes = self.form.counted_bytes()
            + self.writer.message(&NewMessage {
                sequence: message.sequence,
                timestamp_ns: message.timestamp,
                reply: message.reply,
                data,
            })?;
        self.next = message.sequence + 1;
        self.exported.messages += 1;
        self.exported.bytes += bytes;
        self.progress.message(bytes);
        Ok(())
    }
}

fn damaged(channel: &[u8], first: u64, last: u64, reason: &str) -> Error {
    let channel = seaway_stan_protocol::quote(channel);
    let messages = match first == last {
        true => format!("message {first} of channel {channel} is"),
        false => format!("messages {first} to {last} of channel {channel} are"),
    };
    Error::Refused(format!(
        "{messages} damaged ({reason}); nothing was written. To export the rest, say so with --accept-losses"
    ))
}

fn server(subjects: &Subjects, cluster_id: &str) -> ServerInfo {
    let bytes = |text: &str| text.as_bytes().to_vec();
    ServerInfo {
        cluster_id: bytes(cluster_id),
        discovery: bytes(&subjects.discover),
        publish: bytes(&subjects.publish_prefix),
        subscribe: bytes(&subjects.subscribe),
        unsubscribe: bytes(&subjects.unsubscribe),
        close: bytes(&subjects.close),
        sub_close: bytes(&subjects.subscription_close),
        // Written, and used for nothing (§1.3).
        acks: bytes(&format!("_STAN.ack.{cluster_id}")),
        node_id: Vec::new(),
    }
}

/// A durable group's name is written as one with the queue's (§1.3). Numbers are given by the writer.
fn state(subscription: &PortableSubscription<'_>) -> SubState {
    let is_group = !subscription.queue.is_empty();
    let is_durable = !subscription.durable.is_empty();
    SubState {
        id: 0,
        client_id: subscription.client.to_vec(),
        queue_group: match is_group && is_durable {
            true => [subscription.durable, b":", subscription.queue].concat(),
            false => subscription.queue.to_vec(),
        },
        inbox: subscription.inbox.to_vec(),
        ack_inbox: subscription.ack_inbox.to_vec(),
        max_in_flight: subscription.max_in_flight,
        ack_wait_seconds: subscription.ack_wait,
        durable_name: if is_group {
            Vec::new()
        } else {
            subscription.durable.to_vec()
        },
        last_sent: subscription.last_sent,
        is_durable,
        is_closed: is_durable && !is_group && !subscription.is_online,
    }
}
