//! Where a transcript goes: the original's files, or its tables.

use seaway_original::{
    ChannelWriter, ClientInfo, NewMessage, SubState, TablesChannel, TablesWriter, Unsealed, Writer, unstorable,
    unstorable_in_tables,
};

use crate::error::Error;

/// In which of its forms the original is to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Files,
    Tables,
}

impl Form {
    /// Why a channel cannot be stored so; none when it can.
    pub(super) fn unstorable(self, channel: &[u8]) -> Option<&'static str> {
        match self {
            Form::Files => unstorable(channel),
            Form::Tables => unstorable_in_tables(channel),
        }
    }

    /// What of a subscription's unacknowledged messages is written, of a channel whose first message is this: in tables what is gone is not.
    pub(super) fn pending(self, pending: &[(u64, u64)], first: u64) -> Vec<(u64, u64)> {
        let from = match self {
            Form::Files => 0,
            Form::Tables => first,
        };
        let ranges = pending.iter().filter(|(_, last)| *last >= from);
        ranges.map(|(first, last)| (from.max(*first), *last)).collect()
    }

    /// Bytes that the original counts for a message besides its encoding.
    pub(super) fn counted_bytes(self) -> u64 {
        match self {
            Form::Files => 40,
            Form::Tables => 0,
        }
    }
}

/// See the module.
pub(super) trait Target {
    const FORM: Form;
    type Channel<'a>: ChannelTarget
    where
        Self: 'a;
    /// What is left when all of it is durable.
    type Finished;

    fn client(&mut self, client: &ClientInfo) -> Result<(), Error>;
    fn begin_channel<'a>(&'a mut self, name: &'a [u8]) -> Result<Self::Channel<'a>, Error>;
    fn finish(self) -> Result<Self::Finished, Error>;
}

/// A channel: its messages, then its subscriptions.
pub(super) trait ChannelTarget {
    /// Gives back the bytes that the message is encoded in.
    fn message(&mut self, message: &NewMessage<'_>) -> Result<u64, Error>;
    fn subscription(&mut self, state: &SubState, pending: &[(u64, u64)]) -> Result<(), Error>;
    /// The channel's last sequence was this one. Messages that were added for that, and their bytes.
    fn finish(self, last: u64) -> Result<(u64, u64), Error>;
}

impl Target for Writer {
    const FORM: Form = Form::Files;
    type Channel<'a> = ChannelWriter<'a>;
    type Finished = ();

    fn client(&mut self, client: &ClientInfo) -> Result<(), Error> {
        Ok(Writer::client(self, client)?)
    }
    fn begin_channel<'a>(&'a mut self, name: &'a [u8]) -> Result<ChannelWriter<'a>, Error> {
        Ok(Writer::begin_channel(self, name)?)
    }
    fn finish(self) -> Result<(), Error> {
        Ok(Writer::finish(self)?)
    }
}

impl ChannelTarget for ChannelWriter<'_> {
    fn message(&mut self, message: &NewMessage<'_>) -> Result<u64, Error> {
        Ok(ChannelWriter::message(self, message)?)
    }
    fn subscription(&mut self, state: &SubState, pending: &[(u64, u64)]) -> Result<(), Error> {
        Ok(ChannelWriter::subscription(self, state, pending)?)
    }
    /// Every sequence has a message here.
    fn finish(self, _: u64) -> Result<(u64, u64), Error> {
        ChannelWriter::finish(self)?;
        Ok((0, 0))
    }
}

impl Target for TablesWriter {
    const FORM: Form = Form::Tables;
    type Channel<'a> = TablesChannel<'a>;
    type Finished = Unsealed;

    fn client(&mut self, client: &ClientInfo) -> Result<(), Error> {
        Ok(TablesWriter::client(self, client)?)
    }
    fn begin_channel<'a>(&'a mut self, name: &'a [u8]) -> Result<TablesChannel<'a>, Error> {
        Ok(TablesWriter::begin_channel(self, name)?)
    }
    fn finish(self) -> Result<Unsealed, Error> {
        Ok(TablesWriter::finish(self)?)
    }
}

impl ChannelTarget for TablesChannel<'_> {
    fn message(&mut self, message: &NewMessage<'_>) -> Result<u64, Error> {
        Ok(TablesChannel::message(self, message)?)
    }
    fn subscription(&mut self, state: &SubState, pending: &[(u64, u64)]) -> Result<(), Error> {
        Ok(TablesChannel::subscription(self, state, pending)?)
    }
    fn finish(self, last: u64) -> Result<(u64, u64), Error> {
        Ok(TablesChannel::finish(self, last)?)
    }
}
