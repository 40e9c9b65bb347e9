//! Changes that operators ask the engine for, and who waits for what comes of them.

use std::collections::HashMap;

use seaway_streaming::{Asked, Change, ChangeId, Changed, ChannelLimits, Extent, Place, Reader, Settlement, Unchanged};
use tokio::sync::oneshot;

/// A change, with names of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Messages of a channel go.
    Purge {
        /// The channel.
        channel: String,
        /// Which messages.
        extent: Extent,
    },
    /// A durable or group is forgotten.
    Remove {
        /// Which.
        reader: Named,
        /// Also with active members.
        force: bool,
    },
    /// A durable or group goes on elsewhere.
    Move {
        /// Which.
        reader: Named,
        /// Where.
        to: Place,
    },
    /// A channel goes.
    Delete {
        /// The channel.
        channel: String,
        /// Also with active subscriptions.
        force: bool,
    },
    /// A client is closed.
    Disconnect {
        /// Its ID.
        client: String,
    },
    /// One pending message counts as acknowledged, or is sent again.
    Settle {
        /// Of which durable or group.
        reader: Named,
        /// Its sequence.
        sequence: u64,
        /// Which of the two.
        verdict: Settlement,
    },
    /// A subscription is sent nothing until it goes on, or goes on.
    Pause {
        /// Which.
        reader: Named,
        /// The delivery inbox of one that is neither durable nor in a group.
        inbox: String,
        /// It is paused, and does not go on.
        pauses: bool,
    },
    /// What was changed elsewhere is remembered.
    Note {
        /// What, in words.
        words: String,
    },
    /// Limits of a channel are others.
    Limit {
        /// The channel.
        channel: String,
        /// What was set before is forgotten first.
        reset: bool,
        /// What is set.
        set: ChannelLimits,
    },
}

/// A durable or group; see [`Reader`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its channel.
    pub channel: String,
    /// Client ID of a durable that is in no group.
    pub client: String,
    /// Durable name.
    pub durable: String,
    /// Group.
    pub queue: String,
}

/// A change that is asked for.
pub struct ChangeRequest {
    /// Who asks, in words.
    pub by: String,
    /// Nothing is to be changed.
    pub is_rehearsal: bool,
    /// What.
    pub wanted: Wanted,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Changed, Unchanged>>,
}

impl Named {
    fn reader(&self) -> Reader<'_> {
        Reader {
            channel: self.channel.as_bytes(),
            client: self.client.as_bytes(),
            durable: self.durable.as_bytes(),
            queue: self.queue.as_bytes(),
        }
    }
}

impl Wanted {
    fn change(&self) -> Change<'_> {
        match self {
            Wanted::Purge { channel, extent } => Change::Purge {
                channel: channel.as_bytes(),
                extent: *extent,
            },
            Wanted::Remove { reader, force } => Change::Remove {
                reader: reader.reader(),
                force: *force,
            },
            Wanted::Move { reader, to } => Change::Move {
                reader: reader.reader(),
                to: *to,
            },
            Wanted::Delete { channel, force } => Change::Delete {
                channel: channel.as_bytes(),
                force: *force,
            },
            Wanted::Disconnect { client } => Change::Disconnect {
                client: client.as_bytes(),
            },
            Wanted::Settle {
                reader,
                sequence,
                verdict,
            } => Change::Settle {
                reader: reader.reader(),
                sequence: *sequence,
                verdict: *verdict,
            },
            Wanted::Pause { reader, inbox, pauses } => {
                let (reader, inbox) = (reader.reader(), inbox.as_bytes());
                match pauses {
                    true => Change::Pause { reader, inbox },
                    false => Change::Resume { reader, inbox },
                }
            }
            Wanted::Note { words } => Change::Note {
                words: words.as_bytes(),
            },
            Wanted::Limit { channel, reset, set } => Change::Limit {
                channel: channel.as_bytes(),
                reset: *reset,
                set: *set,
            },
        }
    }
}

/// Who waits for which change. When the engine goes they hear that there is no answer.
#[derive(Default)]
pub(super) struct Changes {
    waiting: HashMap<ChangeId, oneshot::Sender<Result<Changed, Unchanged>>>,
    begun: u64,
}

impl Changes {
    /// Somebody waits for a change that is asked for now.
    pub(super) fn begin(&mut self, answer: oneshot::Sender<Result<Changed, Unchanged>>) -> ChangeId {
        self.begun += 1;
        let id = ChangeId(self.begun);
        self.waiting.insert(id, answer);
        id
    }

    /// A change is over.
    pub(super) fn end(&mut self, id: ChangeId, outcome: Result<Changed, Unchanged>) {
        if let Some(answer) = self.waiting.remove(&id) {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

/// What the engine is asked.
pub(super) fn asked<'a>(id: ChangeId, by: &'a str, is_rehearsal: bool, wanted: &'a Wanted) -> Asked<'a> {
    Asked {
        id,
        by: by.as_bytes(),
        is_rehearsal,
        change: wanted.change(),
    }
}
