//! A store that no server uses, and the engine that knows what is in it: everything can be read, and nothing is changed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use seaway_stan_protocol::MessageView;
use seaway_store::{
    Completion, Encryption, FileStore, FileStoreError, OpenError, ReadMessages, Recovering, Standing, Store as _,
    standing,
};
use seaway_streaming::bus::Silence;
use seaway_streaming::export::ExportedChannel;
use seaway_streaming::{
    ChannelId, Effects, Engine, Event, Now, Options, ReadRequest, Records as _, Seek, Ticket, Timestamp, Unreadable,
};

use crate::error::Error;

/// What is read at once; as much is read ahead.
const READ_BYTES: u32 = 4 << 20;
const READ_MESSAGES: u32 = 16_384;
/// Nothing wakes the reader only when nothing is under way: then it looks again after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Rest {
    directory: PathBuf,
    standing: Standing,
    is_encrypted: bool,
    engine: Engine,
    messages: Messages,
}

/// The store behind the engine.
struct Messages {
    directory: PathBuf,
    store: FileStore,
    woken: Receiver<()>,
    /// Reads so far.
    tickets: u64,
}

/// What is met on the way through a channel.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A message.
    Message(MessageView<'a>),
    /// First and last of some that cannot be read, and why.
    Damaged(u64, u64, &'a str),
}

/// Where a channel's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Its number in the store.
    pub channel: ChannelId,
    /// The first that is wanted.
    pub first: u64,
    /// The last that is wanted.
    pub last: u64,
}

impl Bounds {
    /// All messages of a channel.
    #[must_use]
    pub fn of(channel: &ExportedChannel<'_>) -> Bounds {
        Bounds {
            channel: channel.id,
            first: channel.first,
            last: channel.last,
        }
    }
}

impl Rest {
    /// Opens a store. The key is needed when it is encrypted.
    ///
    /// # Errors
    /// There is no store, a server uses it, the key is missing or wrong, or it is damaged so that no server would start on it.
    pub fn open(directory: &Path, encryption: Option<Encryption>) -> Result<Rest, Error> {
        let unreadable = |error: FileStoreError| Error::Refused(explain(directory, &error));
        let standing = standing(directory).map_err(Error::io("read", directory))?;
        let is_encrypted = matches!(
            FileStore::check_fit(directory, None),
            Err(FileStoreError::Journal(OpenError::KeyRequired))
        );
        let mut engine = Engine::new(Options::default());
        let (waker, woken) = sync_channel(1);
        // One call is as good as many.
        let waking = move || {
            let _ = waker.try_send(());
        };
        let mut recovering = Recovering::of_any_cluster(&mut engine);
        let store = FileStore::open_at_rest(directory, encryption, waking, &mut recovering);
        let mut store = store.map_err(unreadable)?;
        recovering
            .finish()
            .map_err(|problem| Error::store(directory, problem))?;
        let now = Now {
            monotonic: 1,
            wall: Timestamp(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)),
        };
        let mut events = |_: Event<'_>| {};
        engine
            .start(now, &mut Effects::new(&mut store, &mut Silence, &mut events))
            .map_err(|error| Error::store(directory, error))?;
        Ok(Rest {
            directory: directory.to_owned(),
            standing,
            is_encrypted,
            engine,
            messages: Messages {
                directory: directory.to_owned(),
                store,
                woken,
                tickets: 0,
            },
        })
    }

    /// Everything but the messages.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the store is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Refuses when a server was started on the store since: what was read may not be what there was.
    ///
    /// # Errors
    /// That.
    pub fn check_undisturbed(&self) -> Result<(), Error> {
        let now = standing(&self.directory).map_err(Error::io("read", &self.directory))?;
        if now == self.standing {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "a server was started on {} while it was read: stop it, and begin again",
            self.directory.display()
        )))
    }

    /// Gives the messages of a channel in order, until whoever takes them breaks off.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn messages<B>(
        &mut self,
        bounds: Bounds,
        mut take: impl FnMut(Piece<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        if bounds.first == 0 || bounds.first > bounds.last {
            return Ok(ControlFlow::Continue(()));
        }
        let mut ticket = self.messages.ask(bounds, bounds.first);
        loop {
            let read = self.messages.wait(ticket)?;
            let next = match &read {
                Ok(messages) => messages.iter().last().map(|last| last.sequence + 1),
                Err(damage) if damage.damaged => Some(damage.to.saturating_add(1)),
                Err(failure) => return Err(Error::store(&self.directory, &failure.reason)),
            };
            // Nothing is left behind the last that was read: what is between it and the end is lost.
            let next = next.filter(|next| *next <= bounds.last);
            if let Some(next) = next {
                ticket = self.messages.ask(bounds, next);
            }
            let taken = match &read {
                Ok(messages) => self.messages.give(messages, bounds.last, &mut take)?,
                Err(damage) => take(Piece::Damaged(damage.from, damage.to.min(bounds.last), &damage.reason)),
            };
            if taken.is_break() || next.is_none() {
                return Ok(taken);
            }
        }
    }

    /// The first sequence whose time is not before this one, nanoseconds since 1970; one above the last when all are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn at_time(&mut self, channel: ChannelId, time: i64) -> Result<u64, Error> {
        self.messages.at_time(channel, time)
    }
}

impl Messages {
    fn ask(&mut self, bounds: Bounds, from: u64) -> Ticket {
        let ticket = self.ticket();
        self.store.read(ReadRequest {
            ticket,
            channel: bounds.channel,
            from,
            messages_max: u32::try_from(bounds.last - from + 1).map_or(READ_MESSAGES, |left| left.min(READ_MESSAGES)),
            bytes_max: READ_BYTES,
        });
        ticket
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        // Above those of the engine, which asks for nothing any more.
        Ticket(1 << 62 | self.tickets)
    }

    fn wait(&mut self, wanted: Ticket) -> Result<Result<ReadMessages, Unreadable>, Error> {
        self.completion(|completion| match completion {
            Completion::Read { ticket, messages } if ticket == wanted => Some(messages),
            _ => None,
        })
    }

    fn give<B>(
        &self,
        messages: &ReadMessages,
        last: u64,
        take: &mut impl FnMut(Piece<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        for message in messages.iter().take_while(|message| message.sequence <= last) {
            let view = MessageView::decode(message.body).map_err(|_| {
                let problem = format!(
                    "message {} is not understood: another version wrote it",
                    message.sequence
                );
                Error::store(&self.directory, problem)
            })?;
            let taken = take(Piece::Message(view));
            if taken.is_break() {
                return Ok(taken);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn at_time(&mut self, channel: ChannelId, time: i64) -> Result<u64, Error> {
        let wanted = self.ticket();
        let sought = match self.store.seek(wanted, channel, time) {
            Seek::Found(sequence) => return Ok(sequence),
            Seek::Reading => self.completion(|completion| match completion {
                Completion::Sought { ticket, sequence } if ticket == wanted => Some(sequence),
                _ => None,
            })?,
        };
        sought.map_err(|problem| Error::store(&self.directory, problem))
    }

    /// Waits for something that the store finishes; nothing else is under way that anybody waits for.
    fn completion<T>(&mut self, wanted: impl Fn(Completion) -> Option<T>) -> Result<T, Error> {
        let mut completions = Vec::new();
        loop {
            self.store.poll(&mut completions);
            for completion in completions.drain(..) {
                if let Completion::Poisoned(reason) = completion {
                    return Err(Error::store(&self.directory, reason));
                }
                if let Some(found) = wanted(completion) {
                    return Ok(found);
                }
            }
            let _ = self.woken.recv_timeout(PATIENCE);
        }
    }
}

/// Why a store cannot be read, and what to do.
fn explain(directory: &Path, error: &FileStoreError) -> String {
    let shown = directory.display();
    match error {
        FileStoreError::NoStore => format!("{shown} holds no store of Seaway's: name a server's -dir"),
        FileStoreError::Journal(OpenError::Locked { holder }) => {
            let holder = if holder.is_empty() {
                String::new()
            } else {
                format!(" ({holder})")
            };
            format!("a server uses {shown}{holder}: stop it first, or read a copy")
        }
        FileStoreError::Journal(OpenError::KeyRequired) => format!(
            "the store in {shown} is encrypted: name the file with its key (--encryption-key-file), or set NATS_STREAMING_ENCRYPTION_KEY"
        ),
        error => format!("{shown}: {error}"),
    }
}
