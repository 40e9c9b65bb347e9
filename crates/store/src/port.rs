//! The port between the engine and what keeps its state.

use std::ops::Range;
use std::sync::Arc;

use seaway_journal::{Image, OpenError};
use seaway_streaming::{ChannelId, Position, Records, StoredMessage, Ticket, Unreadable};

/// Messages read for one ticket.
#[derive(Clone, Debug, Default)]
pub struct ReadMessages {
    bodies: Bodies,
    /// Sequence, timestamp and place of the body.
    entries: Vec<(u64, i64, Range<usize>)>,
}

/// Memory of a store that several answers share: what many want at once is in memory once.
pub(crate) trait Shared: std::fmt::Debug + Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];
}

#[derive(Clone, Debug)]
enum Bodies {
    Own(Vec<u8>),
    Shared(Arc<dyn Shared>),
}

impl Default for Bodies {
    fn default() -> Self {
        Bodies::Own(Vec::new())
    }
}

impl Bodies {
    fn bytes(&self) -> &[u8] {
        match self {
            Bodies::Own(bytes) => bytes,
            Bodies::Shared(shared) => shared.bytes(),
        }
    }
}

impl PartialEq for ReadMessages {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReadMessages {}

impl ReadMessages {
    /// Messages whose bodies lie at these places; sequences ascend.
    pub(crate) fn shared(bodies: Arc<dyn Shared>, entries: Vec<(u64, i64, Range<usize>)>) -> ReadMessages {
        ReadMessages {
            bodies: Bodies::Shared(bodies),
            entries,
        }
    }

    /// Adds a message; sequences ascend.
    pub fn push(&mut self, sequence: u64, timestamp: i64, body: &[u8]) {
        let mut bytes = match std::mem::take(&mut self.bodies) {
            Bodies::Own(bytes) => bytes,
            Bodies::Shared(shared) => shared.bytes().to_vec(),
        };
        let start = bytes.len();
        bytes.extend_from_slice(body);
        self.entries.push((sequence, timestamp, start..bytes.len()));
        self.bodies = Bodies::Own(bytes);
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The messages in ascending sequence.
    pub fn iter(&self) -> impl Iterator<Item = StoredMessage<'_>> {
        let bytes = self.bodies.bytes();
        self.entries.iter().map(|(sequence, timestamp, place)| StoredMessage {
            sequence: *sequence,
            timestamp: *timestamp,
            body: &bytes[place.clone()],
        })
    }
}

/// The write and sync of one batch, to be run on any thread; takes as long as the disk takes. Then the owner polls.
pub type Commit = Box<dyn FnOnce() + Send>;

/// Completes an image; takes as long as the disk takes.
pub type OpenImage = Box<dyn FnOnce() -> Result<Image, OpenError> + Send>;

/// Something the store finished on its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Everything up to here is durable.
    Durable(Position),
    /// An answer to [`Records::read`].
    Read {
        /// The request's ticket.
        ticket: Ticket,
        /// The messages, or which cannot be read, and why.
        messages: Result<ReadMessages, Unreadable>,
    },
    /// An answer to a [`Records::seek`] that said `Reading`.
    Sought {
        /// The request's ticket.
        ticket: Ticket,
        /// The sequence, or why it could not be found.
        sequence: Result<u64, String>,
    },
    /// The head of this channel is known now.
    HeadKnown(ChannelId),
    /// A checkpoint would free space or shorten a restart; the owner should write one soon.
    CheckpointNeeded,
    /// The running checkpoint was given up, in words why; another is asked for later.
    CheckpointAbandoned(String),
    /// A write or a sync failed: nothing more becomes durable. The text says what failed.
    Poisoned(String),
    /// Something an operator should read, the store goes on.
    Warning(String),
}

/// What waits in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Something appended and not submitted yet has somebody waiting for it.
    pub urgent: bool,
    /// Something appended is not submitted yet: the owner calls [`Store::submit`] within 50 ms.
    pub lazy: bool,
    /// Bytes appended and not durable yet; 0 once the store has failed, for nothing waits any more.
    pub backlog_bytes: usize,
    /// Ordinary appends of as many bytes as were asked about have to wait for the disk; they will be taken later, and a completion
    /// follows when it is worth asking again.
    pub is_behind: bool,
}

/// How often values fell between fixed bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Upper bound of each bucket, ascending, and how many values are not above it. Values above all bounds are only in `count`.
    pub cumulative: Vec<(u64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

/// Figures for monitoring. Counters run from the start of the process; what does not exist in memory is 0 or empty there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Bytes that live messages take in them.
    pub live_bytes: u64,
    /// Bytes of memory that serve the newest messages.
    pub cache_bytes: u64,
    /// Segment files, prepared ones included.
    pub segments: u64,
    /// Batches made durable: one write and one sync each.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes per batch.
    pub batch_bytes: Histogram,
    /// Records per batch.
    pub batch_records: Histogram,
    /// Nanoseconds per batch: its write and its sync.
    pub sync_nanoseconds: Histogram,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Nanoseconds since the newest checkpoint of this process became durable.
    pub checkpoint_age_nanoseconds: Option<u64>,
    /// Position at which the newest checkpoint begins, 0 without one; compare with `position`.
    pub checkpoint_position: Position,
    /// Position of the newest record.
    pub position: Position,
    /// Bytes of the newest checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes written since the newest checkpoint began: what a restart would have to read besides it.
    pub tail_bytes: u64,
    /// Bytes appended and not durable yet; 0 once the store has failed.
    pub backlog_bytes: u64,
    /// Bytes that were copied to win space back.
    pub rewritten_bytes: u64,
    /// Segments whose live messages were copied for that.
    pub rewritten_segments: u64,
    /// Segment files that were used again.
    pub recycled_segments: u64,
    /// Bytes of files that could go and are kept until they are archived.
    pub unarchived_bytes: u64,
    /// How often what was not archived was given up.
    pub archive_given_up: u64,
}

/// Takes what a store recovers: facts in stored order (a checkpoint's first), deletions among them, then each live log.
pub trait Recovery {
    /// One fact.
    fn fact(&mut self, kind: u8, body: &[u8]);
    /// A channel was dropped.
    fn channel_deleted(&mut self, channel: ChannelId);
    /// Every fact was given. Nothing has been written yet: an error ends the opening and leaves the store as it is.
    ///
    /// # Errors
    /// Why this state is not taken.
    fn verify(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// A fact that was given up with damage before it: it tells what is lost, and counts for nothing.
    fn fact_given_up(&mut self, kind: u8, body: &[u8]) {
        let _ = (kind, body);
    }
    /// The deletion of a channel that was given up like that.
    fn deletion_given_up(&mut self, channel: ChannelId) {
        let _ = channel;
    }
    /// Messages of a channel that are lost for good, from the first to the last of them; before [`Recovery::channel`].
    fn lost(&mut self, channel: ChannelId, from: u64, to: u64) {
        let _ = (channel, from, to);
    }
    /// A channel's log as it stands, after all facts; `bytes` sums the bodies of what is there of
    /// `first..=last`.
    fn channel(&mut self, channel: ChannelId, first: u64, last: u64, bytes: u64, last_timestamp: i64);
}

/// The port: [`Records`], which the engine uses, and what its owner does with it. Used by one thread at a time, which must call
/// [`Store::submit`] and run what [`Store::take_commit`] gives to make progress, and [`Store::poll`] to hear of it.
pub trait Store: Records + Send {
    /// What waits, and whether ordinary appends of about `wanted` bytes, if any are, have to wait as well.
    fn pressure(&mut self, wanted: usize) -> Pressure;
    /// Why appends of need [`Need::Ordinary`](seaway_streaming::Need::Ordinary), or the larger ones among them, are refused now, in
    /// words.
    fn refusing(&self) -> Option<String>;
    /// Makes what was appended the next commit, unless one is under way already; the rest follows when that ends.
    fn submit(&mut self);
    /// The commit that is to be run now, if there is one. Nothing more becomes durable until it has been. Ask after
    /// [`Store::submit`] and after [`Store::poll`].
    fn take_commit(&mut self) -> Option<Commit>;
    /// Moves what was finished into `completions`, in order.
    fn poll(&mut self, completions: &mut Vec<Completion>);

    /// Begins a checkpoint as of now; false when none can be taken, and then nothing more is to be done.
    fn begin_checkpoint(&mut self) -> bool;

    /// Plans an image of everything that is durable now, for a backup, and keeps the files that it needs until it is dropped or their
    /// space is needed. What comes back reads the rest from the disk: to be run on a thread that may wait.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn image(&mut self) -> Result<OpenImage, String> {
        Err("the store is in memory and gone with the process: there is nothing to back up".to_owned())
    }

    /// Whether it is archived: then it keeps what is not, within a bound, and wants to be told the time.
    fn is_archived(&self) -> bool {
        false
    }

    /// Tells an archived store what time it is, nanoseconds since the Unix epoch: what is appended from now on was not there before. About
    /// once a second, while anything is appended, it is written down.
    fn tell_time(&mut self, timestamp: i64) {
        let _ = timestamp;
    }

    /// Plans an image for the archive, as [`Store::image`] does for a backup. What is not in the archive is kept, within a bound, until
    /// [`Image::archived`] says that everything of the image is.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn archive_image(&mut self) -> Result<OpenImage, String> {
        Err("the store is not archived".to_owned())
    }

    /// Figures for monitoring.
    fn statistics(&self) -> Statistics;
    /// Makes everything durable and lets go of files and threads.
    ///
    /// # Errors
    /// What could not be made durable, in words.
    fn close(&mut self) -> Result<(), String>;
}
