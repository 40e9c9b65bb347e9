//! What every owner of a store and an engine does between the two: recovery and completions become calls of the engine.

use seaway_streaming::{ChannelId, Engine, Input, StoredMessage};

use crate::port::{Completion, Recovery};

/// Feeds what a store recovers to an engine that has not started.
pub struct Recovering<'a> {
    engine: &'a mut Engine,
    channels: usize,
    failure: Option<String>,
    /// Whether the engine is to be of whatever cluster the store is of.
    takes_any_cluster: bool,
}

impl<'a> Recovering<'a> {
    /// Begins with an engine that knows nothing.
    pub fn new(engine: &'a mut Engine) -> Recovering<'a> {
        Recovering {
            engine,
            channels: 0,
            failure: None,
            takes_any_cluster: false,
        }
    }

    /// The same for an engine that is to know what a store holds, whichever cluster it is of.
    pub fn of_any_cluster(engine: &'a mut Engine) -> Recovering<'a> {
        Recovering {
            takes_any_cluster: true,
            ..Recovering::new(engine)
        }
    }

    /// How many channels there were.
    ///
    /// # Errors
    /// The first fact the engine did not understand: another version wrote it, or it is damaged.
    pub fn finish(self) -> Result<usize, String> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.channels),
        }
    }
}

impl Recovery for Recovering<'_> {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        if self.failure.is_none()
            && let Err(error) = self.engine.recover_fact(kind, body)
        {
            self.failure = Some(error.to_string());
        }
    }

    fn channel_deleted(&mut self, channel: ChannelId) {
        self.engine.recover_channel_deleted(channel);
    }

    fn fact_given_up(&mut self, kind: u8, body: &[u8]) {
        self.engine.recover_fact_given_up(kind, body);
    }

    fn deletion_given_up(&mut self, channel: ChannelId) {
        self.engine.recover_deletion_given_up(channel);
    }

    fn lost(&mut self, channel: ChannelId, from: u64, to: u64) {
        self.engine.recover_lost(channel, from, to);
    }

    fn verify(&mut self) -> Result<(), String> {
        if self.takes_any_cluster {
            self.engine.join_recovered_cluster();
        }
        match &self.failure {
            Some(failure) => Err(format!(
                "the store holds what this version does not understand: {failure}"
            )),
            None => self.engine.check_recovered().map_err(|error| error.to_string()),
        }
    }

    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, bytes: u64, last_timestamp: i64) {
        self.channels += 1;
        self.engine.recover_channel(channel, first, last, bytes, last_timestamp);
    }
}

impl Completion {
    /// Gives the engine's input that this is to `handle`; false when it is the owner's business.
    pub fn feed(&self, handle: impl FnOnce(Input<'_>)) -> bool {
        match self {
            Completion::Durable(position) => handle(Input::Durable(*position)),
            Completion::Read {
                ticket,
                messages: Ok(messages),
            } => {
                let messages: Vec<StoredMessage<'_>> = messages.iter().collect();
                handle(Input::Read {
                    ticket: *ticket,
                    messages: Ok(&messages),
                });
            }
            Completion::Read {
                ticket,
                messages: Err(reason),
            } => {
                handle(Input::Read {
                    ticket: *ticket,
                    messages: Err(reason),
                });
            }
            Completion::Sought { ticket, sequence } => {
                let sequence = sequence.as_ref().map(|sequence| *sequence).map_err(String::as_str);
                handle(Input::Sought {
                    ticket: *ticket,
                    sequence,
                });
            }
            Completion::HeadKnown(channel) => handle(Input::HeadKnown(*channel)),
            Completion::Poisoned(_) => handle(Input::Poisoned),
            Completion::CheckpointNeeded | Completion::CheckpointAbandoned(_) | Completion::Warning(_) => return false,
        }
        true
    }
}
