//! Several members on one directory, who pause and end between any two operations on it (docs/journal-format.md §13): what anybody
//! reported durable stays, and stays the same. Each rule that is left out is found.
//!
//! `SEAWAY_MEMBERS_SEED=N` repeats one seed, `SEAWAY_MEMBERS_SEEDS=N` tries so many.

#![allow(clippy::unwrap_used, reason = "tests")]

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::members::{Chances, SharedDirectory};
use seaway_journal::planted::{Fault, plant};
use seaway_journal::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

const LOG: LogId = LogId(1);

/// What everybody reported, and what must therefore be.
#[derive(Default)]
struct Oracle {
    next_id: u64,
    facts: BTreeSet<u64>,
    positions: BTreeMap<u64, u64>,
    messages: BTreeMap<u64, u64>,
    last_sequence: u64,
    last_position: u64,
    /// The highest sequence that any trim asked for.
    trimmed_below: u64,
    openings: u64,
    reports: u64,
    deposed: u64,
    overtaken: u64,
    checkpoints: u64,
    removals: u64,
    objection: Option<String>,
}

impl Oracle {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn object(&mut self, text: String) {
        self.objection.get_or_insert(text);
    }

    fn see_message(&mut self, who: &str, sequence: u64, id: u64) {
        let known = *self.messages.entry(sequence).or_insert(id);
        if known != id {
            self.object(format!("{who}: message {sequence} is {id}, and was {known}"));
        }
    }
}

/// What a start is given.
#[derive(Default)]
struct Found {
    facts: Vec<u64>,
    log: Option<RecoveredLog>,
}

fn id_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

impl Replay for Found {
    fn fact(&mut self, _kind: u8, body: &[u8]) {
        self.facts.push(id_of(body));
    }
    fn trim(&mut self, _log: LogId, _first: u64, _body: &[u8]) {}
    fn delete(&mut self, _log: LogId, _body: &[u8]) {}
    fn log_recovered(&mut self, log: RecoveredLog) {
        self.log = Some(log);
    }
}

fn options(member: usize) -> Options {
    let mut options = Options::new([member as u8 + 1; 16]);
    options.segment_bytes_max = 64 << 10;
    options.tail_cache_bytes = 8 << 10;
    options.checkpoint_bytes = 16 << 10;
    options.holder = format!("member {member}");
    options
}

enum Record {
    Fact,
    Message(u64),
    Trim,
}

/// One life of a member.
struct Life<'a> {
    member: usize,
    who: String,
    directory: &'a SharedDirectory,
    oracle: &'a Mutex<Oracle>,
    disk: Arc<dyn Disk>,
    journal: Journal,
    facts: BTreeSet<u64>,
    /// Appended and not yet durable.
    pending: Vec<(Position, u64, Record)>,
    first: u64,
    last: u64,
    wants_checkpoint: bool,
}

fn oracle(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap()
}

impl Life<'_> {
    fn append(&mut self) {
        let mut told = oracle(self.oracle);
        match self.directory.random(10) {
            0..3 => {
                let id = told.id();
                let body = [&id.to_le_bytes()[..], &vec![1; (id % 90) as usize]].concat();
                let position = self.journal.append_fact(1, &body, true);
                self.facts.insert(id);
                self.pending.push((position, id, Record::Fact));
            }
            3..9 => {
                let id = told.id();
                let length = [100, 900, 6_000][(id % 3) as usize];
                self.last += 1;
                let parts: [&[u8]; 2] = [&id.to_le_bytes(), &vec![2; length]];
                let position = self.journal.append_message(LOG, self.last, 0, &parts);
                self.pending.push((position, id, Record::Message(self.last)));
            }
            _ if self.last > self.first + 4 => {
                self.first = self.last - self.directory.random(4);
                told.trimmed_below = told.trimmed_below.max(self.first);
                let id = told.id();
                let position = self.journal.trim(LOG, self.first, &[]);
                self.pending.push((position, id, Record::Trim));
            }
            _ => {}
        }
    }

    /// Runs some jobs, and says what became durable.
    fn step(&mut self, jobs: u64) -> bool {
        for _ in 0..jobs {
            let Some(job) = self.journal.next_job() else {
                return false;
            };
            let outcome = job.run(self.disk.as_ref());
            self.journal.completed(outcome);
            self.report();
        }
        true
    }

    fn report(&mut self) {
        // Who ended says nothing any more.
        if self.directory.is_over() || self.directory.is_killed(self.member) {
            return;
        }
        let mut completions = Vec::new();
        self.journal.poll(&mut completions);
        let mut told = oracle(self.oracle);
        for completion in completions {
            match completion {
                Completion::CheckpointNeeded => self.wants_checkpoint = true,
                Completion::CheckpointDone(_) => told.checkpoints += 1,
                Completion::Durable(position) => {
                    told.reports += 1;
                    let durable = self.pending.iter().take_while(|(at, ..)| *at <= position).count();
                    for (position, id, record) in self.pending.drain(..durable) {
                        let known = *told.positions.entry(position).or_insert(id);
                        if known != id {
                            let who = &self.who;
                            told.object(format!("{who}: position {position} is {id}, and was {known}"));
                        }
                        told.last_position = told.last_position.max(position);
                        match record {
                            Record::Fact => _ = told.facts.insert(id),
                            Record::Message(sequence) => {
                                told.see_message(&self.who, sequence, id);
                                told.last_sequence = told.last_sequence.max(sequence);
                            }
                            Record::Trim => {}
                        }
                    }
                }
                Completion::Read { messages, .. } => match messages {
                    Ok(messages) => {
                        for (sequence, _, body) in messages.iter() {
                            told.see_message(&self.who, sequence, id_of(body));
                        }
                    }
                    // Somebody who takes over removes what a deposed one still reads.
                    Err(_) if self.is_deposed() => {}
                    Err(error) => told.object(format!("{}: {error}", self.who)),
                },
                _ => {}
            }
        }
    }

    fn is_deposed(&self) -> bool {
        let newest = newest_epoch(self.directory.disk()).unwrap_or(u64::MAX);
        newest > self.journal.epoch() || self.directory.is_over() || self.directory.is_killed(self.member)
    }

    fn checkpoint(&mut self) {
        self.wants_checkpoint = false;
        if self.journal.begin_checkpoint().is_err() {
            return;
        }
        for id in &self.facts {
            let body = [&id.to_le_bytes()[..], &vec![1; (id % 90) as usize]].concat();
            self.journal.checkpoint_fact(1, &body).unwrap();
        }
        self.journal.finish_checkpoint().unwrap();
    }

    /// Serves for a while.
    fn serve(&mut self, holding: Option<&Holding>) {
        if self.last >= self.first {
            self.journal.read(1, LOG, self.first, 1_000, 1 << 20);
        }
        for _ in 0..5 + self.directory.random(80) {
            for _ in 0..self.directory.random(6) {
                self.append();
            }
            if self.wants_checkpoint || self.directory.random(25) == 0 {
                self.checkpoint();
            }
            self.journal.submit();
            let jobs = 1 + self.directory.random(8);
            self.step(jobs);
            if let Some(holding) = holding.filter(|_| self.directory.random(8) == 0) {
                let _ = holding.tick();
            }
            if self.journal.poison_reason().is_some() {
                oracle(self.oracle).deposed += u64::from(holding.is_some_and(|holding| holding.deposed().is_some()));
                return;
            }
        }
        if self.directory.random(2) == 0 {
            self.journal.submit();
            while self.journal.poison_reason().is_none() && self.step(1) {
                self.journal.submit();
            }
            self.journal.mark_end(self.disk.as_ref());
        }
    }
}

/// Waits until it is to claim: when nobody holds the newest claim and locks tell, or at any moment, as if a lease had run out.
/// The highest number that it saw; none when the directory takes no part any more.
fn stand_by(directory: &SharedDirectory, disk: &dyn Disk, locks_work: bool, patience: u64) -> Option<u64> {
    loop {
        let standing = standing_on(disk).ok()?;
        let is_free = standing.claim.is_none_or(|claim| !claim.is_locked);
        if locks_work && is_free || directory.random(patience) == 0 {
            return Some(standing.number);
        }
    }
}

/// Checks what a start found against what was reported, and takes it for reported.
fn judge(who: &str, told: &mut Oracle, opened: &Opened, found: &Found) {
    told.openings += 1;
    let facts: BTreeSet<u64> = found.facts.iter().copied().collect();
    if let Some(missing) = told.facts.iter().find(|id| !facts.contains(id)) {
        let text = format!("{who}: fact {missing} is lost");
        told.object(text);
    }
    let (first, last) = found.log.map_or((1, 0), |log| (log.first, log.last));
    if last < told.last_sequence || first > told.trimmed_below.max(1) || opened.position < told.last_position {
        let text = format!(
            "{who}: messages {first} to {last} and position {} of {}, {} and {}",
            opened.position, told.trimmed_below, told.last_sequence, told.last_position
        );
        told.object(text);
    }
    told.facts.extend(facts);
    told.last_sequence = told.last_sequence.max(last);
    told.last_position = told.last_position.max(opened.position);
}

/// One life: claims, opens, serves.
fn live(member: usize, directory: &SharedDirectory, told: &Mutex<Oracle>, locks_work: bool) {
    let disk = directory.member(member);
    let mut who = format!("member {member}");
    let patience = [5, 40, 200][directory.random(3) as usize];
    let Some(seen) = stand_by(directory, disk.as_ref(), locks_work, patience) else {
        return;
    };
    let mut options = options(member);
    let is_alone = locks_work && directory.random(6) == 0;
    if !is_alone {
        let Ok(claim) = Claim::make_on(Arc::clone(&disk), &who, seen) else {
            return;
        };
        options.claim = Some(claim);
    }
    let claim = options.claim.clone();
    let mut found = Found::default();
    let (journal, opened) = match Journal::open(&disk, options, &mut found) {
        Ok(opened) => opened,
        Err(OpenError::Overtaken { .. }) => {
            oracle(told).overtaken += 1;
            return;
        }
        Err(OpenError::Locked { .. } | OpenError::NoSpace(_)) => return,
        // A sync that fails, or a directory that takes no part any more.
        Err(OpenError::Io { source, .. }) if source.kind() != std::io::ErrorKind::NotFound => return,
        Err(_) if directory.is_over() || directory.is_killed(member) => return,
        Err(error) => return oracle(told).object(format!("{who}: {error}")),
    };
    // A store that has the directory for itself goes on when one look is not answered, as all are that the dead ask for.
    if directory.is_over() || directory.is_killed(member) {
        return;
    }
    who = format!("{who}, tenure {}", opened.epoch);
    judge(&who, &mut oracle(told), &opened, &found);
    let (first, last) = found.log.map_or((1, 0), |log| (log.first, log.last));
    let mut life = Life {
        member,
        who,
        directory,
        oracle: told,
        disk,
        journal,
        facts: found.facts.into_iter().collect(),
        pending: Vec::new(),
        first,
        last,
        wants_checkpoint: false,
    };
    let holding = claim.map(|claim| claim.holding());
    life.serve(holding.as_deref());
    let removed = life.journal.statistics();
    oracle(told).removals += removed.recycled + removed.checkpoints;
}

/// Leaves the directory also when the thread panics, or the others would wait for it.
struct Leaving<'a>(&'a SharedDirectory, usize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

struct Ran {
    oracle: Oracle,
    counts: (u64, u64, u64),
    files: Vec<(String, Vec<u8>)>,
}

fn run(seed: u64, members: usize, chances: Chances, fault: Option<Fault>) -> Result<Ran, String> {
    let directory = SharedDirectory::new(seed, members, chances);
    let told = Mutex::new(Oracle::default());
    let panicked = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..members)
            .map(|member| {
                let (directory, told) = (&directory, &told);
                scope.spawn(move || {
                    let _leaving = Leaving(directory, member);
                    plant(fault);
                    // Nothing before the first operation may depend on who comes first.
                    let disk = directory.member(member);
                    let _ = disk.list("");
                    while !directory.is_over() {
                        live(member, directory, told, chances.locks_work);
                        if told.lock().map_or(true, |told| told.objection.is_some()) {
                            directory.end();
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().any(|thread| thread.join().is_err())
    });
    let mut told = told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let counts = directory.counts();
    let disk = directory.disk().clone();
    let files = disk
        .names()
        .into_iter()
        .map(|name| (name.clone(), disk.content(&name).unwrap_or_default()));
    let files: Vec<(String, Vec<u8>)> = files.collect();
    if panicked && told.objection.is_none() {
        told.object("a member panicked".to_owned());
    }
    if told.objection.is_none() {
        // Whatever happens next, all of it is there.
        if seed.is_multiple_of(2) {
            disk.restart();
        } else {
            disk.restart_process();
        }
        plant(fault);
        let shared: Arc<dyn Disk> = Arc::new(disk);
        let mut found = Found::default();
        match Journal::open(&shared, options(9), &mut found) {
            Ok((_, opened)) => judge("afterwards", &mut told, &opened, &found),
            Err(error) => told.object(format!("afterwards: {error}")),
        }
        plant(None);
    }
    match told.objection.take() {
        None => Ok(Ran {
            oracle: told,
            counts,
            files,
        }),
        Some(objection) => Err(format!(
            "seed {seed}: {objection}\nSEAWAY_MEMBERS_SEED={seed} cargo test -p seaway-journal --test members"
        )),
    }
}

/// What may happen under a seed, and to how many.
fn chances(seed: u64) -> (usize, Chances) {
    let one_in = |bit: u64, many: u64| if seed >> bit & 1 == 0 { 0 } else { many };
    let chances = Chances {
        operations: 2_500,
        pause_one_in: [8, 25, 80][(seed % 3) as usize],
        pause_max: 400,
        kill_one_in: one_in(0, 400),
        power_loss_one_in: one_in(1, 900),
        failed_sync_one_in: one_in(2, 300),
        private_caches: seed >> 3 & 1 == 1,
        locks_work: seed >> 4 & 1 == 1,
        absent_names_kept: 0,
    };
    (2 + (seed % 3) as usize, chances)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_any_member_reported_durable_stays_whoever_pauses_or_ends_where() {
    let seeds = match number("SEAWAY_MEMBERS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEAWAY_MEMBERS_SEEDS").unwrap_or(400),
    };
    let is_single = seeds.end - seeds.start == 1;
    let mut sum = Oracle::default();
    let (mut kills, mut power_losses) = (0, 0);
    for seed in seeds {
        let (members, chances) = chances(seed);
        let ran = run(seed, members, chances, None).unwrap_or_else(|objection| panic!("{objection}"));
        sum.openings += ran.oracle.openings;
        sum.reports += ran.oracle.reports;
        sum.deposed += ran.oracle.deposed;
        sum.overtaken += ran.oracle.overtaken;
        sum.checkpoints += ran.oracle.checkpoints;
        sum.removals += ran.oracle.removals;
        kills += ran.counts.1;
        power_losses += ran.counts.2;
    }
    println!(
        "{} openings, {} deposed while they served, {} overtaken while they opened, {} reports, {} checkpoints, {} removals, \
         {kills} kills, {power_losses} losses of power",
        sum.openings, sum.deposed, sum.overtaken, sum.reports, sum.checkpoints, sum.removals
    );
    // It would find nothing if nothing happened.
    assert!(is_single || sum.openings > 1_000 && sum.deposed > 100 && sum.overtaken > 100 && sum.checkpoints > 100);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..12 {
        let (members, chances) = chances(seed);
        let [one, other] =
            [(); 2].map(|()| run(seed, members, chances, None).unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(one.counts, other.counts, "seed {seed}");
        // A claim's token is random.
        let without = |ran: &Ran| -> Vec<(String, Vec<u8>)> {
            let files = ran.files.iter().filter(|(name, _)| !name.ends_with(".claim"));
            files.cloned().collect()
        };
        assert!(without(&one) == without(&other), "seed {seed}");
    }
}

/// Leaves a rule out until somebody notices.
fn is_found(fault: Fault, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let (members, chances) = chances(seed);
        run(seed, members, chances, Some(fault))
            .err()
            .map(|objection| (seed, objection))
    })
}

#[test]
fn every_rule_that_is_left_out_is_found() {
    let limit = number("SEAWAY_MEMBERS_SEEDS").unwrap_or(3_000);
    let mut missed = Vec::new();
    for fault in [
        Fault::ClaimByRename,
        Fault::NoPrevious,
        Fault::EarlyRemoval,
        Fault::NewestClaimsFirst,
        Fault::LastBatchNotAgain,
        Fault::LookBeforeSync,
        Fault::NoLook,
        Fault::NoLookBeforeRemoval,
    ] {
        match is_found(fault, limit) {
            Some((seed, objection)) => println!("{fault:?} is found by seed {seed}: {objection}"),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "{missed:?} were not found");
}
