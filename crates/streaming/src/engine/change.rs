//! Changes that operators ask for: who is asked, what is told, and what has to wait.
//!
//! A change is made when it is asked for, and its outcome told once it is durable. What it leaves to be done (pending messages of what was
//! purged, the subscriptions of a channel that goes) is done in slices, and nobody waits for it.

use bytes::Bytes;

use super::Engine;
use crate::change::{Asked, Change, ChangeId, Changed, Extent, Place, Reader, Unchanged};
use crate::effects::Effects;
use crate::facts::group_name;
use crate::ledger::POISONED;
use crate::records::{Need, Position, Seek};
use crate::registry::keys::{ChannelKey, GroupKey, SubscriptionKey};
use crate::time::{Now, Timestamp};
use crate::waiting::questions::{Seeker, WaitingChange};
use crate::waiting::replies::Outcome;

/// Bytes of what a change writes down, with what the audit says of it.
const CHANGE_BYTES: usize = 2_560;

/// What became of a change that was asked for.
pub(super) enum Made {
    /// It is written down, and told of once that is durable.
    Written(Changed),
    /// There was nothing to write down.
    Nothing(Changed),
    /// It waits for something, which tells of it.
    Later,
}

/// Whose names were given.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Durable(SubscriptionKey),
    Group(GroupKey),
}

impl Engine {
    pub(super) fn change(&mut self, now: Now, asked: Asked<'_>, effects: &mut Effects<'_>) {
        let made = match asked.change {
            Change::Purge { channel, extent } => self.purge(now, &asked, channel, extent, effects),
            Change::Remove { reader, force } => self.remove_reader(now, &asked, reader, force, effects),
            Change::Move { reader, to } => self.move_reader(now, &asked, reader, to, effects),
            Change::Delete { channel, force } => self.delete_channel(now, &asked, channel, force, effects),
            Change::Disconnect { client } => self.disconnect(now, &asked, client, effects),
            Change::Settle {
                reader,
                sequence,
                verdict,
            } => self.settle(now, &asked, reader, sequence, verdict, effects),
            Change::Pause { reader, inbox } | Change::Resume { reader, inbox } => {
                self.pause_or_resume(now, &asked, reader, inbox, effects)
            }
            Change::Note { .. } => self.note(now, &asked, effects),
            Change::Limit { channel, reset, set } => self.limit(now, &asked, channel, (reset, set), effects),
        };
        match made {
            Ok(Made::Written(changed)) => self.tell_when_durable(asked.id, changed),
            Ok(Made::Nothing(changed)) if asked.is_rehearsal => effects.changed(Position(0), asked.id, Ok(changed)),
            Ok(Made::Nothing(changed)) => self.tell_of_what_is(asked.id, changed, effects),
            Ok(Made::Later) => {}
            Err(unchanged) => effects.changed(Position(0), asked.id, Err(unchanged)),
        }
    }

    /// Everything appended so far is what the change is.
    pub(super) fn tell_when_durable(&mut self, id: ChangeId, changed: Changed) {
        self.changes.insert(id, changed);
        let position = self.ledger.appended();
        self.replies.push(position, Outcome::Changed(id), b"", b"");
    }

    /// Nothing had to be changed. That may be because of a change before it, which a crash must not take back then.
    fn tell_of_what_is(&mut self, id: ChangeId, changed: Changed, effects: &mut Effects<'_>) {
        if self.ledger.is_poisoned() || self.ledger.appended() <= self.ledger.durable() {
            effects.changed(Position(0), id, Ok(changed));
        } else {
            self.tell_when_durable(id, changed);
        }
    }

    /// A change is durable.
    pub(super) fn change_recorded(&mut self, position: Position, id: ChangeId, effects: &mut Effects<'_>) {
        if let Some(changed) = self.changes.remove(&id) {
            effects.changed(position, id, Ok(changed));
        }
    }

    /// A change will not become durable any more, or nobody knows.
    pub(super) fn change_failed(&mut self, id: ChangeId, effects: &mut Effects<'_>) {
        self.changes.remove(&id);
        let unchanged = Unchanged::Unavailable(POISONED.to_owned());
        effects.changed(Position(0), id, Err(unchanged));
    }

    /// Whether a change that goes beyond a rehearsal may be written down.
    pub(super) fn admit_change(&self, effects: &mut Effects<'_>) -> Result<(), Unchanged> {
        let admission = self.ledger.admit(Need::Essential, CHANGE_BYTES, effects);
        admission.map_err(Unchanged::Unavailable)
    }

    fn note(&mut self, now: Now, asked: &Asked<'_>, effects: &mut Effects<'_>) -> Result<Made, Unchanged> {
        if asked.is_rehearsal {
            return Ok(Made::Nothing(Changed::Noted));
        }
        self.admit_change(effects)?;
        self.log_change(now, asked, Changed::Noted, effects);
        Ok(Made::Written(Changed::Noted))
    }

    /// The channel of a change.
    pub(super) fn channel_to_change(&self, name: &[u8]) -> Result<ChannelKey, Unchanged> {
        let found = self.channels.find(name);
        let key = found.ok_or_else(|| Unchanged::NotFound(format!("there is no channel {}", quoted(name))))?;
        if self.channels[key].is_being_deleted() {
            let text = format!("channel {} is being deleted", quoted(name));
            return Err(Unchanged::Conflict(text));
        }
        Ok(key)
    }

    /// The durable or group of a change.
    pub(super) fn reader_to_change(&self, reader: Reader<'_>) -> Result<(ChannelKey, Named), Unchanged> {
        let key = self.channel_to_change(reader.channel)?;
        let channel = &self.channels[key];
        let text = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let on = quoted(reader.channel);
        let found = if reader.queue.is_empty() {
            let durable = channel.durable(&text(reader.client), &text(reader.durable));
            let missing = || {
                let (durable, client) = (quoted(reader.durable), quoted(reader.client));
                format!("client {client} has no durable {durable} on channel {on}")
            };
            durable.map(Named::Durable).ok_or_else(missing)
        } else {
            let name = group_name(&text(reader.durable), &text(reader.queue));
            let missing = || match reader.durable {
                b"" => format!("there is no queue group {} on channel {on}", quoted(reader.queue)),
                durable => {
                    let (durable, queue) = (quoted(durable), quoted(reader.queue));
                    format!("there is no queue group {queue} with the durable name {durable} on channel {on}")
                }
            };
            channel.group(&name).map(Named::Group).ok_or_else(missing)
        };
        Ok((key, found.map_err(Unchanged::NotFound)?))
    }

    /// The first sequence that is not older than a time. None when that has to be looked up first: then the change is asked for again.
    pub(super) fn sequence_at(
        &mut self,
        asked: &Asked<'_>,
        key: ChannelKey,
        time: Timestamp,
        effects: &mut Effects<'_>,
    ) -> Result<Option<u64>, Unchanged> {
        let channel = &self.channels[key];
        if channel.log().messages() == 0 {
            return Ok(Some(channel.log().last() + 1));
        }
        let Some(ticket) = self.questions.seek() else {
            let text = "too many requests wait for a time to be looked up";
            return Err(Unchanged::Unavailable(text.to_owned()));
        };
        if let Seek::Found(sequence) = effects.records.seek(ticket, channel.id(), time.0) {
            return Ok(Some(sequence));
        }
        let waiting = WaitingChange::new(asked, channel.name().clone(), channel.id());
        self.questions.wait_for_seek(ticket, Seeker::Change(waiting));
        Ok(None)
    }

    /// The time of a change was found: it is the same change, with a sequence.
    pub(super) fn change_sought(
        &mut self,
        now: Now,
        waiting: &WaitingChange,
        sequence: Result<u64, &str>,
        effects: &mut Effects<'_>,
    ) {
        let found = self.channels.find(&waiting.channel);
        let is_same = found.is_some_and(|key| self.channels[key].id() == waiting.channel_id);
        let unchanged = match sequence {
            Ok(sequence) if is_same => return self.change(now, waiting.with(sequence), effects),
            Ok(_) => {
                let channel = quoted(&waiting.channel);
                Unchanged::NotFound(format!(
                    "channel {channel} was deleted while a time was looked up in it"
                ))
            }
            Err(reason) => Unchanged::Unavailable(format!("the time could not be looked up: {reason}")),
        };
        effects.changed(Position(0), waiting.id, Err(unchanged));
    }
}

impl WaitingChange {
    fn new(asked: &Asked<'_>, channel: Bytes, channel_id: crate::ids::ChannelId) -> WaitingChange {
        let text = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        WaitingChange {
            id: asked.id,
            by: text(asked.by),
            is_rehearsal: asked.is_rehearsal,
            channel,
            channel_id,
            reader: match asked.change {
                Change::Move { reader, .. } => Some((text(reader.client), text(reader.durable), text(reader.queue))),
                _ => None,
            },
        }
    }

    fn with(&self, sequence: u64) -> Asked<'_> {
        let channel = &self.channel[..];
        let change = match &self.reader {
            None => Change::Purge {
                channel,
                extent: Extent::UpTo(sequence.saturating_sub(1)),
            },
            Some((client, durable, queue)) => Change::Move {
                reader: Reader {
                    channel,
                    client,
                    durable,
                    queue,
                },
                to: Place::Sequence(sequence),
            },
        };
        Asked {
            id: self.id,
            by: &self.by,
            is_rehearsal: self.is_rehearsal,
            change,
        }
    }
}

/// A name in words to an operator.
pub(super) fn quoted(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}
