//! From a store on disk to an engine that can serve: recovery, cluster ID check, service subscriptions (§9.2 steps 4, 9 to 11).
//! Reading a large store takes long; all of it happens on a thread of its own.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use seaway_broker::{Attachment, Broker};
use seaway_config::{StoreKind, StreamingOptions};
use seaway_store::{
    Cipher, Encryption, FileOptions, FileStore, FileStoreError, MemoryStore, OpenError, Progress, Recovering, Store,
};
use seaway_streaming::{Engine, Service, StartSummary};
use tokio::sync::oneshot;

use crate::engine::{Clock, EngineThreads, Health, Inbox, LocalBus, Tag, World};

/// An engine with its state and its store, not served yet.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) summary: StartSummary,
    world: World,
    clock: Clock,
}

/// Opens the store and recovers the state.
///
/// # Errors
/// Why the server cannot start, for the operator; a store that belongs to another cluster, or that is not understood, is
/// left as it was.
pub(crate) fn open(
    streaming: &StreamingOptions,
    options: seaway_streaming::Options,
    broker: &Broker,
    inbox: &Arc<Inbox>,
    progress: Arc<Progress>,
) -> Result<Opened> {
    tracing::info!(target: "stream", "Recovering the state...");
    let mut engine = Engine::new(options);
    let store = open_store(streaming, &mut engine, inbox, progress)?;
    let attachment = broker.attach("streaming", Arc::clone(inbox) as Arc<dyn seaway_broker::Sink>);
    inbox.set_gate(attachment.shared_gate());
    let clock = Clock::start();
    let mut world = World::new(store, LocalBus::new(attachment));
    let summary = engine
        .start(clock.now(), &mut world.effects())
        .map_err(|error| anyhow!("{error}"))?;
    if summary.recovered {
        world.bus.await_receivers();
    }
    if !summary.recovered && summary.channels > 0 {
        tracing::warn!(
            target: "stream",
            "Server information was not recovered, however channels are present. \
             Will initialize server and restart recovery!"
        );
    }
    Ok(Opened {
        engine,
        summary,
        world,
        clock,
    })
}

fn open_store(
    streaming: &StreamingOptions,
    engine: &mut Engine,
    inbox: &Arc<Inbox>,
    progress: Arc<Progress>,
) -> Result<Box<dyn Store>> {
    if streaming.store == StoreKind::Memory {
        if streaming.encryption.is_some() {
            tracing::info!(target: "stream", "Encryption has no effect: nothing is written to disk");
        }
        return Ok(Box::new(MemoryStore::new()));
    }
    let mut recovering = Recovering::new(engine);
    let waker = Arc::clone(inbox);
    let file = FileOptions {
        synced: streaming.file_sync,
        give_up_damage: streaming.give_up_damage,
        encryption: encryption(streaming)?,
        progress,
    };
    let store = FileStore::open(&streaming.dir, file, move || waker.wake(), &mut recovering)
        .map_err(|error| explain(&streaming.dir, &error))?;
    recovering.finish().map_err(|failure| {
        let directory = streaming.dir.display();
        anyhow!("the journal in {directory} holds what this version does not understand: {failure}")
    })?;
    for warning in store.opening_warnings() {
        tracing::warn!(target: "stream", "{warning}");
    }
    Ok(Box::new(store))
}

/// How the store is encrypted (`stores-and-clustering.md` §5.1).
fn encryption(streaming: &StreamingOptions) -> Result<Option<Encryption>> {
    let Some(options) = &streaming.encryption else {
        return Ok(None);
    };
    let cipher = match options.cipher {
        seaway_config::Cipher::Aes => Cipher::Aes256Gcm,
        seaway_config::Cipher::Chacha => Cipher::ChaCha20Poly1305,
    };
    tracing::info!(target: "stream", "Store is encrypted with {}", options.cipher.name());
    let encryption = Encryption::new(cipher, options.key.expose().as_bytes().to_vec());
    encryption.map(Some).context("encrypt the store")
}

/// Which store does not open, why, and what to do about it. The text of the error names its source.
fn explain(directory: &Path, error: &FileStoreError) -> anyhow::Error {
    let advice = match error {
        // One names the directory by itself, the other has the words of §3.
        FileStoreError::Directory { .. } | FileStoreError::Journal(OpenError::Refused(_)) => return anyhow!("{error}"),
        FileStoreError::Journal(OpenError::KeyRequired) => {
            ": give the key of this store with -encryption_key, \
             or with -encrypt and in the environment variable NATS_STREAMING_ENCRYPTION_KEY"
        }
        FileStoreError::Journal(OpenError::WrongKey) => {
            ": give the key that this store was created with; \
             the environment variable NATS_STREAMING_ENCRYPTION_KEY goes before -encryption_key"
        }
        FileStoreError::Journal(OpenError::Damaged { .. }) => {
            "; nothing was changed. To give up what is damaged, and be told what that is, \
             start once with -file_truncate_bad_eof: copies of what is cut stay in the directory"
        }
        FileStoreError::Journal(OpenError::GaveUpBefore { .. }) => {
            ": file store should not be opened consecutively with the TruncateUnexpectedEOF option set to true \
             (-file_truncate_bad_eof)"
        }
        _ => "",
    };
    anyhow!("the store in {}: {error}{advice}", directory.display())
}

impl Opened {
    /// Opens the service subscriptions and starts the engine's thread; the receiver hears when what the start recorded is
    /// durable.
    ///
    /// # Errors
    /// A subject of the service is none, or the operating system gave no thread.
    pub(crate) fn start(self, inbox: &Arc<Inbox>, health: &Health) -> Result<(EngineThreads, oneshot::Receiver<()>)> {
        let bus = &self.world.bus;
        let attachment = bus.attachment();
        for (subjects, service, name) in services(&self.engine) {
            for subject in subjects {
                tracing::debug!(target: "stream", "{name} subject: {subject}");
                subscribe(attachment, &subject, Tag::Service(service))?;
            }
        }
        subscribe(attachment, &bus.probe_answers(), Tag::Probe)?;
        // What comes back after the start is listened for.
        let watched = attachment.watch_interest(">");
        debug_assert!(watched.is_ok(), "everything is a pattern");
        let started_at = self.engine.appended();
        crate::engine::start(
            self.engine,
            self.world,
            started_at,
            Arc::clone(inbox),
            self.clock,
            health.clone(),
        )
        .context("start the engine threads")
    }
}

/// What is listened on, in the order of the log's lines.
fn services(engine: &Engine) -> [(Vec<String>, Service, &'static str); 7] {
    let subjects = engine.subjects();
    let one = |subject: &String| vec![subject.clone()];
    [
        (one(&subjects.discover), Service::Connect, "Discover"),
        (one(&subjects.pings), Service::Ping, "Ping"),
        (engine.publish_subjects(), Service::Publish, "Publish"),
        (one(&subjects.subscribe), Service::Subscribe, "Subscribe"),
        (
            one(&subjects.subscription_close),
            Service::SubscriptionClose,
            "Subscription Close",
        ),
        (one(&subjects.unsubscribe), Service::Unsubscribe, "Unsubscribe"),
        (one(&subjects.close), Service::Close, "Close"),
    ]
}

/// Only publishers are held when the engine is behind.
fn subscribe(attachment: &Attachment, subject: &str, tag: Tag) -> Result<()> {
    let holdable = tag == Tag::Service(Service::Publish);
    attachment
        .subscribe(subject, tag.number(), holdable)
        .map_err(|_| anyhow!("the cluster ID or a channel gives an invalid subject: {subject}"))
}
