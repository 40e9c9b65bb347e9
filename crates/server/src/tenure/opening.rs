//! From a store to an engine that can serve: recovery, cluster ID check, service subscriptions (`streaming-protocol.md` §9.2 steps
//! 4, 9 to 11).

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use seaway_store::Progress;
use seaway_streaming::{Engine, Service, StartSummary};
use tokio::sync::oneshot;

use super::port::{Confirm, OpenStore};
use super::store::Unfit;
use crate::bus::Attachment;
use crate::engine::{Clock, EngineBus, EngineThreads, Health, Inbox, Seat, Tag, World};

/// An engine with its state and its store, not served yet.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) summary: StartSummary,
    world: World,
    clock: Clock,
}

/// Opens the store and recovers the state. Reading a large store takes long: to be called on a thread of its own.
///
/// # Errors
/// Why the server cannot start, for the operator; a store that belongs to another cluster, or that is not understood, is
/// left as it was.
pub(super) fn open(
    store: OpenStore,
    options: seaway_streaming::Options,
    (attachment, confirm): (Arc<Attachment>, Option<Confirm>),
    inbox: &Arc<Inbox>,
    progress: Arc<Progress>,
) -> Result<Opened> {
    let mut engine = Engine::new(options);
    let waker = Arc::clone(inbox);
    let store = store(&mut engine, Box::new(move || waker.wake()), progress)?;
    let clock = Clock::start();
    let mut world = World::new(store, EngineBus::new(attachment, confirm));
    world.store.tell_time(clock.now().wall.0);
    let summary = engine
        .start(clock.now(), &mut world.effects())
        .map_err(|error| Unfit(error.to_string()))?;
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

impl Opened {
    /// Opens the service subscriptions and starts the engine's threads; the receiver hears when what the start recorded is
    /// durable.
    ///
    /// # Errors
    /// A subject of the service is none, or the operating system gave no thread.
    pub(super) fn start(
        self,
        seat: Seat,
        inbox: Arc<Inbox>,
        health: Health,
    ) -> Result<(EngineThreads, oneshot::Receiver<()>)> {
        let attachment = seat.attachment();
        for (subjects, service, name) in services(&self.engine) {
            for subject in subjects {
                tracing::debug!(target: "stream", "{name} subject: {subject}");
                subscribe(attachment, &subject, Tag::Service(service))?;
            }
        }
        subscribe(attachment, &self.world.bus.probe_answers(), Tag::Probe)?;
        // What comes back after the start is listened for.
        let watched = attachment.watch_interest(">");
        debug_assert!(watched.is_ok(), "everything is a pattern");
        let started_at = self.engine.appended();
        crate::engine::start(self.engine, self.world, started_at, seat, inbox, self.clock, health)
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
