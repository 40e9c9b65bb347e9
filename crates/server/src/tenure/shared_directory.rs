//! Fault tolerance on a shared directory: members of a group stand by until the one that serves has ended, or gives no sign of life for
//! a lease (`stores-and-clustering.md` §7; what differs from there is said in docs/high-availability.md).
//!
//! The directory alone grants and takes: claims are files with ascending numbers, and whoever holds one looks for a higher one behind
//! every sync and before everything that cannot be undone. What is heard over the bus only puts a take-over off, or has somebody look.

mod heartbeats;
mod pulse;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use seaway_config::{FaultToleranceOptions, StreamingOptions};
use seaway_store::{Claim, ClaimError, Standing, Standpoint};
use seaway_tenure::limits::{HEARTBEAT_FRESHNESS, STANDBY_LOOKS_EVERY};
use seaway_tenure::{Ending, Look, Member, Patience, Reason, Waiting, Watch, interval};
use tokio::time::MissedTickBehavior;

use self::heartbeats::{Claims, Ears, Heartbeats};
use self::pulse::{Found, Pulse};
use super::port::{Granted, Lost, OpenStore, Tenures};
use super::store::{self, Unfit};
use crate::bus::Bus;
use crate::limits::{FOUNDING_QUIET, HAND_OVER_PATIENCE};
use crate::phase::{Active, Phase};

/// How a store is opened with a claim.
pub type Opens = Arc<dyn Fn(&StreamingOptions, Claim) -> OpenStore + Send + Sync>;

/// Grants a tenure when the one before it has ended or run out; they are lost to other members.
pub struct SharedDirectory {
    streaming: StreamingOptions,
    opens: Opens,
    lease: Duration,
    member: Member,
    /// Whether there may be others on the bus: what they say takes a moment to get here.
    is_connected: bool,
    heartbeats: Heartbeats,
    phase: Phase,
    /// Another member was seen, or this one served: it is the directory of the group.
    has_joined: bool,
    /// The highest number that was seen in the directory. Numbers never go back: with less in it, it is not the group's directory.
    newest_seen: u64,
    trusts_locks: bool,
    /// How long another one has to be silent.
    waiting: Waiting,
    /// The tenure that was given up for another server, and until when that one may take it.
    given_up: Option<(u64, Instant)>,
    /// After tenures that failed.
    patience: Patience,
    told: Patience,
    /// The signs of life of the last tenure.
    pulse: Option<Pulse>,
}

/// Who a server is for other members.
pub struct Itself<'a> {
    /// Its ID, new with each process.
    pub server_id: &'a str,
    /// Its name, for people.
    pub name: &'a str,
    /// Whether it is connected to other servers.
    pub is_connected: bool,
}

impl SharedDirectory {
    /// A member of the group that the options name.
    ///
    /// # Errors
    /// Cluster ID and group give no subject.
    pub fn new(
        streaming: &StreamingOptions,
        options: &FaultToleranceOptions,
        itself: &Itself<'_>,
        bus: &Bus,
        phase: Phase,
    ) -> Result<SharedDirectory> {
        let member = Member {
            cluster_id: streaming.cluster_id.clone(),
            group: options.group.clone(),
            server_id: itself.server_id.to_owned(),
            encrypts: streaming.encryption.is_some(),
            name: itself.name.to_owned(),
        };
        if !member.fits() {
            bail!("cluster ID and name of the group (-ft_group) are too long together: a claim has no room for them");
        }
        let heartbeats = Heartbeats::new(bus, &streaming.cluster_id, &options.group)?;
        Ok(SharedDirectory {
            streaming: streaming.clone(),
            opens: Arc::new(open),
            lease: options.lease,
            member,
            is_connected: itself.is_connected,
            heartbeats,
            phase,
            has_joined: false,
            newest_seen: 0,
            trusts_locks: true,
            waiting: Waiting::new(options.lease),
            given_up: None,
            patience: Patience::default(),
            told: Patience::default(),
            pulse: None,
        })
    }

    /// The same with stores that are opened otherwise, on a disk that hangs for example.
    #[must_use]
    pub fn opening(self, opens: Opens) -> SharedDirectory {
        SharedDirectory { opens, ..self }
    }
}

fn open(streaming: &StreamingOptions, claim: Claim) -> OpenStore {
    let (streaming, number) = (streaming.clone(), claim.number());
    Box::new(move |engine, waker, progress| store::open(&streaming, number, Some(claim), engine, waker, progress))
}

impl Tenures for SharedDirectory {
    async fn next(&mut self) -> Result<Granted> {
        if let Some(pulse) = self.pulse.take() {
            self.learn_from(pulse.ended().await);
        }
        if let Some(until) = self.patience.until() {
            tokio::time::sleep_until(until.into()).await;
        }
        tracing::info!(target: "stream", "Starting in standby mode");
        if self.newest_seen == 0 {
            self.make_directory().await?;
        }
        let (claim, reason) = self.stand_by().await?;
        self.grant(claim, &reason)
    }

    fn given_up(&mut self, number: u64) {
        self.given_up = Some((number, Instant::now() + HAND_OVER_PATIENCE));
    }

    fn failed(&mut self, error: anyhow::Error) -> Result<()> {
        // What is wrong with the options no other attempt puts right.
        if error.is::<Unfit>() {
            return Err(error);
        }
        if self.pulse.as_ref().is_some_and(Pulse::is_over) {
            return Ok(());
        }
        let wait = self.patience.failed(Instant::now());
        tracing::error!(target: "stream", "ft: {error:#}; tried again in {} s, if no other server takes over", wait.as_secs());
        Ok(())
    }
}

impl SharedDirectory {
    async fn make_directory(&self) -> Result<()> {
        let directory = self.streaming.dir.clone();
        let made = blocking(move || seaway_store::make_directory(&directory)).await?;
        made.with_context(|| format!("make the store directory {}", self.streaming.dir.display()))
    }

    /// What the end of a tenure says of the file system.
    fn learn_from(&mut self, ending: Ending) {
        match ending {
            Ending::Lawful => {}
            Ending::Robbed if self.trusts_locks => {
                self.trusts_locks = false;
                tracing::warn!(
                    target: "stream",
                    "ft: another server took over although this one had the lock and gave signs of life: file locks do not reach \
                     from one server to the other on this file system. Only the lease counts from now on"
                );
            }
            Ending::Robbed => {}
            Ending::Slow => {
                let now = Instant::now();
                self.waiting.lost_to_slowness(now);
                let milliseconds = self.waiting.time(now).as_millis();
                tracing::warn!(
                    target: "stream",
                    "ft: the disk was too slow for signs of life within {} ms (-ft_lease), and another server took over. This one takes \
                     over from a silent one after {milliseconds} ms from now on",
                    self.lease.as_millis()
                );
            }
        }
    }

    /// Looks at the directory until there is a reason to claim it, and no other server is faster.
    async fn stand_by(&mut self) -> Result<(Claim, Reason)> {
        let begun = Instant::now();
        let mut watch = Watch::new(self.lease, self.trusts_locks);
        let (mut before, mut stranger, mut is_fit) = (None, None, false);
        let mut every = tokio::time::interval(STANDBY_LOOKS_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let began = Instant::now();
            let standing = match self.standing(before.take()).await? {
                Ok(standing) => standing,
                Err(error) => {
                    self.tell(&format!("ft: error attempting to get the store lock: {error}"));
                    continue;
                }
            };
            let ended = Instant::now();
            before = Some(standing.clone());
            if let Some(text) = self.is_elsewhere(&standing) {
                self.tell(&format!("ft: {text}"));
                self.phase.stand_by(None);
                continue;
            }
            // A server of no group may take its claim back.
            if standing
                .claim
                .as_ref()
                .is_some_and(|claim| Member::read(&claim.member).is_some())
            {
                self.newest_seen = standing.number;
            }
            let holder = self.check(&standing, &mut stranger)?;
            if !std::mem::replace(&mut is_fit, true)
                && let Err(text) = self.check_fit().await?
            {
                self.tell(&format!("ft: {text}"));
            }
            self.phase.stand_by(holder);
            watch.wait_for(self.waiting.time(ended));
            let reason = watch.look(Look { began, ended }, &standing, self.heard_from(&standing));
            let is_others = |(number, until): &(u64, Instant)| standing.number <= *number && began < *until;
            self.given_up = self.given_up.filter(is_others);
            let is_heard =
                self.has_joined || (begun.elapsed() >= self.listens_for(standing.number) && stranger.is_none());
            let Some(reason) = reason.filter(|_| is_heard && self.given_up.is_none()) else {
                continue;
            };
            if let Err(text) = self.check_fit().await? {
                self.tell(&format!("ft: {text}"));
                continue;
            }
            match self.claim(standing.number).await? {
                Ok(claim) => return Ok((claim, reason)),
                Err(error @ (ClaimError::Overtaken { .. } | ClaimError::Held { .. })) => self.tell(&format!(
                    "ft: unable to get store lock at this time, going back to standby: {error}"
                )),
                Err(error) => {
                    self.tell(&format!("ft: error attempting to get the store lock: {error}"));
                    tokio::time::sleep(self.patience.failed(Instant::now())).await;
                }
            }
        }
    }

    /// How long others are listened to before a directory in which so many tenures were is claimed for the first time: what they say takes
    /// a moment to get here, and may show that this is not their directory.
    fn listens_for(&self, tenures: u64) -> Duration {
        match (self.is_connected, tenures) {
            (false, _) => Duration::ZERO,
            (true, 0) => FOUNDING_QUIET,
            (true, _) => 2 * interval(self.lease),
        }
    }

    /// Why this is not the directory that the group has, if it is not: nothing is claimed in another one, where an empty store would be
    /// served beside the real one.
    fn is_elsewhere(&self, standing: &Standing) -> Option<String> {
        let (directory, found) = (self.streaming.dir.display(), standing.number);
        (found < self.newest_seen).then(|| {
            format!(
                "{directory} does not hold what it held: tenure {} was seen there, and {found} is the newest now. It was moved, emptied or \
                 unmounted: this server stands by until it is back",
                self.newest_seen
            )
        })
    }

    /// What the directory says; while that is what it said before, three names are looked up, however many files there are.
    async fn standing(&self, before: Option<Standing>) -> Result<std::io::Result<Standing>> {
        let directory = self.streaming.dir.clone();
        let look = move || match before {
            Some(before) => seaway_store::standing_after(&directory, &before),
            None => seaway_store::standing(&directory),
        };
        blocking(look).await
    }

    /// Claims what was seen to be claimable. Another server that saw the same may have claimed it since: it is not deposed at once again.
    async fn claim(&self, seen: u64) -> Result<std::result::Result<Claim, ClaimError>> {
        let (directory, line) = (self.streaming.dir.clone(), self.member.line());
        let claim = move || Claim::make(&directory, &line, seen);
        blocking(claim).await
    }

    /// Whether what is in the directory can be opened with the options of this server, before it is taken from somebody.
    async fn check_fit(&self) -> Result<std::result::Result<(), String>> {
        let streaming = self.streaming.clone();
        match blocking(move || store::check_fit(&streaming)).await? {
            Err(error) if error.is::<Unfit>() => Err(error),
            other => Ok(other.map_err(|error| format!("{error:#}"))),
        }
    }

    /// When the holder of the newest claim was heard last.
    fn heard_from(&self, standing: &Standing) -> Option<Instant> {
        let claim = standing.claim.as_ref()?;
        let holder = Member::read(&claim.member)?;
        let heard = self.heartbeats.ears().last()?;
        (heard.tenure == claim.number && heard.server_id == holder.server_id).then_some(heard.at)
    }

    /// Makes sure that this is one group on one directory; who serves there, if somebody does.
    ///
    /// # Errors
    /// Why this server has no business here.
    fn check(&mut self, standing: &Standing, stranger: &mut Option<Instant>) -> Result<Option<Active>> {
        let claim = standing.claim.as_ref().filter(|claim| claim.is_locked);
        let holder = claim.and_then(|claim| Some((claim.number, Member::read(&claim.member)?)));
        if let Some((_, holder)) = &holder
            && let Some(text) = holder.differs(&self.member)
            && !self.has_joined
        {
            return Err(Unfit(text).into());
        }
        if holder.is_some() {
            self.has_joined = true;
        }
        self.check_directory(standing, stranger)?;
        let alone = || claim.map(|claim| (claim.number, format!("a server of no group ({})", claim.member)));
        let named = holder.map(|(number, holder)| (number, holder.name));
        Ok(named.or_else(alone).map(|(tenure, member)| Active { member, tenure }))
    }

    /// A member that says it serves under a tenure of which this directory knows nothing has another one.
    fn check_directory(&self, standing: &Standing, stranger: &mut Option<Instant>) -> Result<()> {
        let heard = self.heartbeats.ears().last();
        let fresh = heard.filter(|heard| heard.at.elapsed() < self.lease && heard.tenure > standing.number);
        let Some(heard) = fresh.filter(|_| !self.has_joined && self.heard_from(standing).is_none()) else {
            *stranger = None;
            return Ok(());
        };
        // A claim may be newer than the look, or a heartbeat older.
        if stranger.get_or_insert_with(Instant::now).elapsed() < self.lease / HEARTBEAT_FRESHNESS {
            return Ok(());
        }
        let (id, tenure, directory) = (&heard.server_id, heard.tenure, self.streaming.dir.display());
        let text = format!(
            "server {id} of the group serves under tenure {tenure}, and nothing of that is in {directory}: it is not the same directory \
             for both. Mount the file system that all members share there, without caching of names and attributes"
        );
        Err(Unfit(text).into())
    }

    /// From a claim to a tenure.
    fn grant(&mut self, claim: Claim, reason: &Reason) -> Result<Granted> {
        let (number, holding) = (claim.number(), claim.holding());
        tracing::info!(target: "stream", "Server is active");
        tracing::info!(target: "stream", "Took over: {reason}");
        self.phase.take_over(&reason.to_string());
        self.has_joined = true;
        self.newest_seen = number;
        self.told = Patience::default();
        let voice = self.heartbeats.voice(&self.member.server_id, number);
        let pulse = Pulse::begin(&holding, self.lease, voice).context("start a thread")?;
        let lost = lost(&pulse, Arc::clone(self.heartbeats.ears()), number, self.lease);
        self.pulse = Some(pulse);
        let holding = Arc::downgrade(&holding);
        let confirm = move || {
            let found = holding.upgrade().map(|holding| holding.look());
            matches!(found, Some(Ok(Standpoint::Holds)))
        };
        Ok(Granted {
            number,
            store: (self.opens)(&self.streaming, claim),
            lost,
            confirm: Some(Arc::new(confirm)),
        })
    }

    /// Tells of what may go on for long, less and less often.
    fn tell(&mut self, text: &str) {
        if self.told.is_due(Instant::now()) {
            tracing::warn!(target: "stream", "{text}");
        }
    }
}

/// Resolves when a tenure is over: the directory says so, or somebody else does and the disk does not answer.
fn lost(pulse: &Pulse, ears: Arc<Ears>, number: u64, lease: Duration) -> Lost {
    let (mut found, poke) = (pulse.found(), pulse.poke());
    let mut over = found.clone();
    let over = async move {
        let told = over.wait_for(|found| matches!(found, Found::Over(_))).await;
        let reason = told.ok().and_then(|found| found.reason());
        match reason {
            Some(reason) => reason,
            // The signs of life end with the store, and with that what could be lost.
            None => std::future::pending().await,
        }
    };
    let outbid = async move {
        let mut claims = Claims::default();
        loop {
            let heard = ears.above(number).await;
            poke();
            let stands = found.wait_for(|found| matches!(found, Found::Stands(since) if *since > heard.at));
            // The look that is under way began before, and the next one may take as long as a lease that still holds.
            if tokio::time::timeout(2 * lease, stands).await.is_err() {
                let (id, tenure) = (&heard.server_id, heard.tenure);
                return format!("server {id} serves under tenure {tenure}, and the disk does not answer");
            }
            claims.tell(&heard);
            // Anybody may say so: that costs one look at a time.
            tokio::time::sleep(interval(lease)).await;
            ears.forget();
        }
    };
    Box::pin(async move {
        tokio::select! {
            reason = over => reason,
            reason = outbid => reason,
        }
    })
}

/// Runs what waits for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| anyhow!("{error}"))
}
