//! The one loop over tenures.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use seaway_config::ArchiveOptions;

use super::life::{Answering, End, Life};
use super::opening::{self, Opened};
use super::port::{Confirm, Granted, OpenStore, Tenures};
use crate::archive::Archiving;
use crate::bus::{Bus, Unsettled};
use crate::engine::{Counted, Headcount, Health, Inbox, LeftBehind, Seat};
use crate::limits::{HAND_OVER_PATIENCE, LEFT_BEHIND_PATIENCE, RECOVERY_TOLD_EVERY};
use crate::partition::Partition;
use crate::phase::{Phase, Stage, Told};

/// What all lives in one process have in common.
pub struct Surroundings {
    /// What carries messages.
    pub bus: Bus,
    /// What every engine is told; the seeds in it are made anew for each.
    pub engine: seaway_streaming::Options,
    /// The server's name for other servers.
    pub server_id: String,
    /// Tells others where the server is in its life.
    pub phase: Phase,
    /// The archive of the store, if it has one.
    pub archive: Option<ArchiveOptions>,
}

/// Why the lives of a process ended although nobody asked for that.
#[derive(Debug)]
pub enum Failure {
    /// A life did not begin, or there will be none.
    Start(anyhow::Error),
    /// What serves is broken, in words. [`Lives::stop`] brings it to an end.
    Broken(String),
}

/// Why a tenure is over, in words.
enum Over {
    /// It is not this server's any more.
    Lost(String),
    /// Its store takes nothing more, and another server may do better.
    StoreFailed(String),
    /// Somebody asked this server to hand over.
    GivenAway,
}

/// A store that is open and not served yet. Who gives it up waits for no disk; it is counted until it is closed.
struct Unserved(Option<(Opened, Counted)>);

impl Unserved {
    const HELD: &str = "it is taken by value";

    fn opened(&self) -> &Opened {
        &self.0.as_ref().expect(Self::HELD).0
    }

    fn take(mut self) -> Opened {
        self.0.take().expect(Self::HELD).0
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        let kept = self.0.take();
        if kept.is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(kept));
        }
    }
}

/// The lives of the engine in this process, one after the other.
pub struct Lives<T> {
    tenures: T,
    surroundings: Surroundings,
    life: Option<Life>,
    /// Threads of the life with this number that nobody waits for: an opening, or an engine that was abandoned.
    left_behind: Option<(u64, LeftBehind)>,
}

impl<T: Tenures> Lives<T> {
    /// Nothing is asked for before [`Lives::run`].
    pub fn new(tenures: T, surroundings: Surroundings) -> Lives<T> {
        Lives {
            tenures,
            surroundings,
            life: None,
            left_behind: None,
        }
    }

    /// Serves under one tenure after the other, as they are granted; calls `begun` with the number when clients are served under
    /// it. Ends by a failure only. When it is dropped, what serves goes on until [`Lives::stop`], and what does not serve yet
    /// is given up.
    pub async fn run(&mut self, mut begun: impl FnMut(u64) -> Result<()>) -> Failure {
        if self.surroundings.phase.stage() == Stage::Stopping {
            self.surroundings.phase.wait("the last tenure was ended".to_owned());
        }
        loop {
            self.wait_for_left_behind().await;
            let granted = match self.tenures.next().await {
                Ok(granted) => granted,
                Err(error) => return Failure::Start(error),
            };
            let number = granted.number;
            let (reason, failed) = match self.live(granted, &mut begun).await {
                Ok(Over::Lost(reason)) => (reason, None),
                Ok(Over::StoreFailed(reason)) => (reason.clone(), Some(anyhow!(reason))),
                Ok(Over::GivenAway) => match self.hand_over(number).await {
                    Ok(()) => continue,
                    Err(error) => (format!("{error:#}"), Some(error)),
                },
                Err(Failure::Start(error)) => (format!("{error:#}"), Some(error)),
                Err(broken) => return broken,
            };
            if let Some(Err(error)) = failed.map(|error| self.tenures.failed(error)) {
                return Failure::Start(error);
            }
            self.abandon(number, &reason);
        }
    }

    /// Whether there is an engine that serves, or is about to.
    pub fn has_engine(&self) -> bool {
        self.life.is_some()
    }

    /// Goes on serving until another server can take over from this one quickly.
    pub async fn prepare_to_hand_over(&self) {
        if let Some(life) = &self.life {
            // Without it the other one reads a little longer.
            let _ = tokio::time::timeout(HAND_OVER_PATIENCE, life.threads.prepare_to_stop()).await;
        }
    }

    /// Ends what serves in an orderly way; the inner error says what could not be made durable. [`Lives::run`] may follow.
    ///
    /// # Errors
    /// The ending itself broke.
    pub async fn stop(&mut self) -> Result<Result<(), String>> {
        self.surroundings.phase.enter(Stage::Stopping);
        match self.life.take() {
            Some(life) => life.stop().await,
            None => Ok(Ok(())),
        }
    }

    /// Gives the tenure to another server, in an orderly way.
    async fn hand_over(&mut self, number: u64) -> Result<()> {
        tracing::info!(target: "stream", "Tenure {number} is handed over");
        self.prepare_to_hand_over().await;
        let ended = self.stop().await?;
        self.surroundings.phase.wait(format!("tenure {number} was handed over"));
        self.tenures.given_up(number);
        ended.map_err(|reason| anyhow!("the store could not be closed: {reason}"))
    }

    /// From the grant to the end of a tenure.
    async fn live(&mut self, granted: Granted, begun: &mut impl FnMut(u64) -> Result<()>) -> Result<Over, Failure> {
        let Granted {
            number,
            store,
            mut lost,
            confirm,
        } = granted;
        let is_contested = confirm.is_some();
        tokio::select! {
            biased;
            reason = &mut lost => return Ok(Over::Lost(reason)),
            outcome = self.begin(number, store, confirm) => outcome.map_err(Failure::Start)?,
        }
        begun(number).map_err(Failure::Start)?;
        let end = async {
            match &mut self.life {
                Some(life) => life.end().await,
                None => std::future::pending().await,
            }
        };
        let asked = self.surroundings.phase.hand_over_asked();
        tokio::select! {
            biased;
            reason = &mut lost => Ok(Over::Lost(reason)),
            () = asked, if is_contested => Ok(Over::GivenAway),
            end = end => match end {
                End::StoreFailed(reason) => Ok(Over::StoreFailed(reason)),
                End::Broken(words) => Err(Failure::Broken(words)),
            },
        }
    }

    /// From the grant of a tenure to an engine that serves under it.
    async fn begin(&mut self, number: u64, store: OpenStore, confirm: Option<Confirm>) -> Result<()> {
        tracing::info!(target: "stream", "Tenure: {number}");
        let (inbox, health) = (Arc::new(Inbox::default()), Health::default());
        let phase = self.surroundings.phase.clone();
        let progress = phase.recover(number);
        let partition = self.surroundings.join_partition().await?;
        let seat = Seat::new(self.surroundings.bus.attach("streaming", Arc::clone(&inbox)));
        inbox.set_gate(seat.attachment().gate());
        tracing::info!(target: "stream", "Recovering the state...");
        let headcount = Headcount::default();
        self.left_behind = Some((number, headcount.left_behind()));
        let (counted, options) = (headcount.one_more(), self.surroundings.fresh_options());
        let (attachment, waking, shown) = (Arc::clone(seat.attachment()), Arc::clone(&inbox), Arc::clone(&progress));
        let is_contested = confirm.is_some();
        let opening = tokio::task::spawn_blocking(move || {
            // Nobody may be left to take it: it is counted as long as it is there.
            let opened = opening::open(store, options, (attachment, confirm), &waking, shown);
            opened.map(|opened| Unserved(Some((opened, counted))))
        });
        let unserved = tokio::select! {
            opened = opening => opened.context("recover the state")??,
            () = tell_progress(Told(&progress)) => unreachable!("the progress is told until the state is there"),
        };
        phase.enter(Stage::Opening);
        self.serve(unserved, seat, partition, (inbox, health), is_contested)
            .await
    }

    /// Makes sure that no other server is there (§9.3), starts the engine's threads behind the service subscriptions, and waits
    /// until what the start recorded is durable.
    async fn serve(
        &mut self,
        unserved: Unserved,
        seat: Seat,
        partition: Option<Answering>,
        (inbox, health): (Arc<Inbox>, Health),
        is_contested: bool,
    ) -> Result<()> {
        let opened = unserved.opened();
        match opened.summary.channels {
            0 if !opened.summary.recovered => tracing::info!(target: "stream", "No recovered state"),
            channels => tracing::info!(target: "stream", "Recovered {channels} channel(s)"),
        }
        let Surroundings { bus, engine, .. } = &self.surroundings;
        if !engine.partitioning && !is_contested {
            crate::standalone::check(bus, &engine.cluster_id, &opened.engine.subjects().discover).await?;
        }
        let (threads, is_started) = unserved.take().start(seat, Arc::clone(&inbox), health.clone())?;
        self.life = Some(Life {
            threads,
            store: is_contested.then(|| health.clone()),
            partition,
            archiving: None,
        });
        match self.surroundings.bus.subscribed().await {
            Ok(()) => {}
            // The directory says who serves. Whoever waits for the connection serves as soon as it is back.
            Err(Unsettled::Silent(words)) if is_contested => tracing::warn!(target: "stream", "{words}"),
            Err(reason) => return Err(reason.into()),
        }
        tokio::select! {
            is_started = is_started => is_started.context("the engine threads ended while they started")?,
            reason = health.failed(), if is_contested => bail!("{reason}"),
        }
        if let (Some(archive), Some(life)) = (&self.surroundings.archive, &mut self.life) {
            let (inbox, report) = (Arc::clone(&inbox), health.archive().clone());
            let begun = Archiving::begin(archive, &self.surroundings.server_id, inbox, report);
            life.archiving = Some(begun.context("start the thread that archives")?);
        }
        self.surroundings.phase.serve(inbox, health);
        Ok(())
    }

    /// Leaves what serves, or is about to, at once.
    fn abandon(&mut self, number: u64, reason: &str) {
        tracing::warn!(target: "stream", "Tenure {number} was lost: {reason}");
        let waiting = format!("tenure {number} was lost: {reason}");
        self.surroundings.phase.wait(waiting);
        if let Some(life) = self.life.take() {
            self.left_behind = Some((number, life.abandon()));
        }
    }

    /// Waits until no thread of an earlier life is left: there is at most one set of them.
    async fn wait_for_left_behind(&mut self) {
        let Some((number, left)) = &mut self.left_behind else {
            return;
        };
        if tokio::time::timeout(LEFT_BEHIND_PATIENCE, left.gone()).await.is_err() {
            let (count, ended) = (left.count(), "no other is asked for before they end");
            let words = format!("{count} thread(s) of tenure {number} hang in the disk; {ended}");
            tracing::warn!(target: "stream", "Not serving: {words}");
            self.surroundings.phase.wait(words);
            left.gone().await;
            tracing::info!(target: "stream", "The threads of tenure {number} have ended");
        }
        self.left_behind = None;
    }
}

impl Surroundings {
    /// What the next engine is told.
    fn fresh_options(&self) -> seaway_streaming::Options {
        let mut options = self.engine.clone();
        options.ack_inbox_key = crate::token::secret();
        options.hash_seed = fastrand::u64(..);
        options
    }

    /// In partitioning mode, sees whether another server serves one of the channels (§9.2 step 8), and goes on answering others.
    async fn join_partition(&self) -> Result<Option<Answering>> {
        let Surroundings { bus, engine, .. } = self;
        if !engine.partitioning {
            return Ok(None);
        }
        let max_payload = bus.max_payload();
        let limits = engine.limits.clone();
        let mut partition = Partition::join(bus, &engine.cluster_id, &self.server_id, limits, max_payload)?;
        partition.announce().await?;
        // A task of its own answers while the state is recovered.
        Ok(Some(Answering::begin(partition)))
    }
}

/// Says once a second how far the recovery is, from the first second on. Does not end.
async fn tell_progress(told: Told<'_>) {
    let mut every = tokio::time::interval_at(tokio::time::Instant::now() + RECOVERY_TOLD_EVERY, RECOVERY_TOLD_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        every.tick().await;
        tracing::info!(target: "stream", "Recovering the state: {told}");
    }
}
