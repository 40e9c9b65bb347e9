//! A follower's checkpoints: what its entries come to is folded into facts beside it, since it has no engine that could say them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use seaway_journal::disk::Disk;
use seaway_journal::{FoldError, FoldFor, FoldJob, Folded};
use seaway_store::Recovering;
use seaway_store::journaled::Replaying;
use seaway_streaming::{
    Admission, ChannelId, Effects, Engine, Event, Head, Input, Lookup, Need, Now, Options, Position, ReadRequest,
    Records, Seek, Ticket, Urgency, bus::Silence,
};

use crate::limits::CHECKPOINT_BACKLOG_BYTES;
use crate::log::JournalLog;
use crate::news::News;

/// A whole state, as the facts of a checkpoint: kinds and bodies.
pub type Facts = VecDeque<(u8, Vec<u8>)>;

/// Knows what facts mean, and so can say in facts what a journal comes to.
pub trait Folder: Send + Sync {
    /// Runs the job, which reads from the disk and takes long, and says the state that it finds.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn fold(&self, job: FoldJob, disk: &dyn Disk) -> Result<(Folded, Facts), String>;
}

type Outcome = Result<(Folded, Facts), String>;

/// How far a follower's checkpoint is.
#[derive(Default)]
pub(crate) enum Folding {
    /// None is being made.
    #[default]
    Idle,
    /// To be run by whoever steps.
    Planned(FoldJob),
    /// On a thread.
    Running(Receiver<Outcome>),
    /// Its facts go to the journal, as fast as that writes them.
    Writing(Facts),
}

/// A follower's checkpoints.
#[derive(Default)]
pub(crate) struct Checkpoints {
    pub(crate) folder: Option<Arc<dyn Folder>>,
    /// One would free space or shorten a restart.
    pub(crate) is_wanted: bool,
    folding: Folding,
}

impl Checkpoints {
    pub(crate) fn new(folder: Option<Arc<dyn Folder>>) -> Checkpoints {
        Checkpoints {
            folder,
            ..Checkpoints::default()
        }
    }

    /// Begins a checkpoint that is wanted, when whoever serves does not write it, goes on with it, or ends it; never waits.
    pub(crate) fn go_on(&mut self, serves: bool, log: &mut JournalLog, news: &mut News) {
        match std::mem::take(&mut self.folding) {
            Folding::Idle if self.is_wanted && !serves => self.begin(log, news),
            Folding::Idle => {}
            Folding::Planned(job) => self.folding = Folding::Planned(job),
            Folding::Running(outcome) => match outcome.try_recv() {
                Ok(outcome) => self.folded(outcome, log, news),
                Err(TryRecvError::Empty) => self.folding = Folding::Running(outcome),
                Err(TryRecvError::Disconnected) => self.folded(Err("its thread ended".to_owned()), log, news),
            },
            Folding::Writing(facts) => self.write(facts, log),
        }
    }

    /// Whether facts of a fold wait to be written.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.folding, Folding::Writing(_))
    }

    fn begin(&mut self, log: &mut JournalLog, news: &mut News) {
        let (Some(_), Some(upto)) = (&self.folder, log.durable_entry()) else {
            return;
        };
        match log.journal_mut().fold(upto, FoldFor::Checkpoint) {
            Ok(job) => self.run(job, log, news),
            // There is nothing new yet, or somebody reads the store: asked again when something happens.
            Err(FoldError::Passed(_) | FoldError::NotDurable(_) | FoldError::Unavailable(_)) => {}
            Err(error) => news.warn(format!("No checkpoint is written: {error}")),
        }
    }

    fn run(&mut self, job: FoldJob, log: &mut JournalLog, news: &mut News) {
        self.is_wanted = false;
        let (Some(waker), Some(disk), Some(folder)) = (log.waker(), log.disk(), self.folder.clone()) else {
            self.folding = Folding::Planned(job);
            return;
        };
        let (sender, outcome) = channel();
        let body = move || {
            // Nobody is left to tell when the member has gone.
            let _ = sender.send(folder.fold(job, disk.as_ref()));
            waker();
        };
        match std::thread::Builder::new().name("fold".to_owned()).spawn(body) {
            Ok(_) => self.folding = Folding::Running(outcome),
            Err(error) => self.folded(Err(error.to_string()), log, news),
        }
    }

    /// Runs the fold that is planned, when no threads do; whether there was one.
    pub(crate) fn step(&mut self, log: &mut JournalLog, news: &mut News) -> bool {
        if !matches!(self.folding, Folding::Planned(_)) {
            return false;
        }
        if let Folding::Planned(job) = std::mem::take(&mut self.folding)
            && let (Some(folder), Some(disk)) = (self.folder.clone(), log.disk())
        {
            self.folded(folder.fold(job, disk.as_ref()), log, news);
        }
        true
    }

    fn folded(&mut self, outcome: Outcome, log: &mut JournalLog, news: &mut News) {
        match outcome {
            Err(error) => news.warn(format!("A checkpoint was given up: {error}")),
            // One may be written by who serves by now, or the journal was opened again: then another is asked for.
            Ok((folded, facts)) => {
                if log.begin_checkpoint(Some(&folded)).is_ok() {
                    self.write(facts, log);
                }
            }
        }
    }

    fn write(&mut self, mut facts: Facts, log: &mut JournalLog) {
        while let Some((kind, body)) = facts.front() {
            let journal = log.journal_mut();
            if journal.checkpoint_backlog_bytes() > CHECKPOINT_BACKLOG_BYTES {
                self.folding = Folding::Writing(facts);
                return;
            }
            if journal.checkpoint_fact(*kind, body).is_err() {
                // It was given up, which was told, and is asked for again.
                return;
            }
            facts.pop_front();
        }
        log.finish_checkpoint();
    }
}

/// Folds what the streaming engine wrote.
pub struct EngineFolder {
    /// The engine's options, as it serves with.
    pub options: Options,
}

impl Folder for EngineFolder {
    fn fold(&self, job: FoldJob, disk: &dyn Disk) -> Result<(Folded, Facts), String> {
        let mut engine = Engine::new(self.options.clone());
        let mut recovering = Recovering::new(&mut engine);
        let mut replaying = Replaying {
            recovery: &mut recovering,
            progress: Arc::default(),
        };
        let folded = job.run(disk, &mut replaying).map_err(|error| error.to_string())?;
        recovering.finish()?;
        let mut facts = TakenDown::default();
        let mut nobody = Silence;
        let mut events = |_: Event<'_>| {};
        let mut effects = Effects::new(&mut facts, &mut nobody, &mut events);
        let now = Now::default();
        engine.start(now, &mut effects).map_err(|error| error.to_string())?;
        // As many as there are slices of facts: each writes some.
        while !facts.is_finished {
            let mut effects = Effects::new(&mut facts, &mut nobody, &mut events);
            engine.handle(now, Input::CheckpointStep, &mut effects);
        }
        Ok((folded, facts.facts))
    }
}

/// Records that go nowhere, and the facts of a checkpoint.
#[derive(Default)]
struct TakenDown {
    facts: Facts,
    is_finished: bool,
    position: u64,
}

impl TakenDown {
    fn nowhere(&mut self) -> Position {
        self.position += 1;
        Position(self.position)
    }
}

impl Records for TakenDown {
    fn append_message(&mut self, _channel: ChannelId, _sequence: u64, _timestamp: i64, _body: &[&[u8]]) -> Position {
        self.nowhere()
    }

    fn append_fact(&mut self, _kind: u8, _body: &[u8], _urgency: Urgency) -> Position {
        self.nowhere()
    }

    fn trim(&mut self, _channel: ChannelId, _first: u64) -> Position {
        self.nowhere()
    }

    fn delete_channel(&mut self, _channel: ChannelId) -> Position {
        self.nowhere()
    }

    fn admission(&mut self, _need: Need, _bytes: usize) -> Admission {
        Ok(())
    }

    fn durable(&self) -> Position {
        Position::default()
    }

    fn head(&mut self, _channel: ChannelId) -> Head {
        Head::Reading
    }

    fn live_bytes(&self, _channel: ChannelId, _messages: u64) -> u64 {
        0
    }

    fn seek(&mut self, _ticket: Ticket, _channel: ChannelId, _timestamp: i64) -> Seek {
        Seek::Reading
    }

    fn read(&mut self, _request: ReadRequest) {}

    fn message(&self, _channel: ChannelId, _sequence: u64) -> Lookup<'_> {
        Lookup::Cold
    }

    fn checkpoint_fact(&mut self, kind: u8, body: &[u8]) {
        self.facts.push_back((kind, body.to_vec()));
    }

    fn finish_checkpoint(&mut self) {
        self.is_finished = true;
    }
}
