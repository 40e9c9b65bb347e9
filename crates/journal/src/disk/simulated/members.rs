//! Several members on one simulated directory. Each runs on threads of its own, and a baton is passed at every operation on the disk:
//! between any two of them a member may pause for as long as the others like, or end. One seed decides all of it. Operations are the
//! time: one takes one tick, or more where the disk is slow, and when everybody waits the time of the first of them has come.

use super::{SimulatedDisk, crashed};
use crate::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What may happen in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chances {
    /// Operations until the run is over.
    pub operations: u64,
    /// One operation in so many is followed by a pause of its member.
    pub pause_one_in: u64,
    /// The longest pause, in operations of the others.
    pub pause_max: u64,
    /// One operation in so many kills its member instead; 0 for never.
    pub kill_one_in: u64,
    /// At one operation in so many the machine loses its power, and all members end; 0 for never.
    pub power_loss_one_in: u64,
    /// One operation in so many makes the next sync of a file fail; 0 for never.
    pub failed_sync_one_in: u64,
    /// Each member has a cache of its own: what it wrote and did not sync, others do not see.
    pub private_caches: bool,
    /// Locks keep others away. Otherwise everybody gets them, as on a file system that loses them.
    pub locks_work: bool,
    /// For so many ticks a member goes on not to see a name that it looked for in vain: what no group may be run on; 0 for never.
    pub absent_names_kept: u64,
}

/// An offset, and what is written there.
type Write = (u64, Vec<u8>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Wants to do something.
    Waiting,
    /// Has not come to an operation yet, or is doing one.
    Running,
    /// Takes no more part.
    Done,
}

/// What a disk does to a member for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Each operation takes up to so many ticks.
    Slow(u64),
    /// Each write and each sync of a file takes up to so many ticks.
    SlowWrites(u64),
    /// Nothing is answered.
    Hangs,
    /// Writes and syncs of files with such a name are not answered; everything else is.
    HangsIn(&'static str),
}

/// What an operation is about.
enum About<'a> {
    Names,
    Reading,
    Writing(&'a str),
}

thread_local! {
    /// Which hand this thread is, when it said so.
    static HAND: Cell<Option<usize>> = const { Cell::new(None) };
}

struct State {
    random: u64,
    chances: Chances,
    /// By hand.
    members: Vec<Member>,
    /// Until which operation it pauses, by hand.
    pauses: Vec<u64>,
    /// What the disk does to a member, and until when.
    weather: Vec<Option<(Weather, u64)>>,
    /// Which life of it is going on; what belongs to an earlier one is dead.
    lives: Vec<u64>,
    /// Its life ended, and it has not begun another one.
    killed: Vec<bool>,
    running: Option<usize>,
    operation: u64,
    is_over: bool,
    /// Names that are locked, by whom in which life.
    locks: BTreeMap<String, (usize, u64)>,
    /// What members wrote and did not sync, by member and inode.
    unsynced: BTreeMap<(usize, u64), Vec<Write>>,
    /// Until when a member believes a name to be absent.
    absent: BTreeMap<(usize, String), u64>,
    kills: u64,
    power_losses: u64,
}

struct Inner {
    disk: SimulatedDisk,
    private_caches: bool,
    locks_work: bool,
    /// Threads of each member; those of nobody come after all of them.
    hands: usize,
    count: usize,
    state: Mutex<State>,
    turns: Vec<Condvar>,
}

/// A directory that several members share; clones are the same.
#[derive(Clone)]
pub struct SharedDirectory {
    inner: Arc<Inner>,
}

impl SharedDirectory {
    /// An empty one for so many members, each of which has to run on a thread of its own.
    pub fn new(seed: u64, members: usize, chances: Chances) -> SharedDirectory {
        SharedDirectory::with_hands(seed, (members, 1, 0), chances)
    }

    /// An empty one for so many members with so many threads each, and so many further threads that are nobody's, and that nothing
    /// happens to. The threads are numbered in this order, and each has to say which it is: [`SharedDirectory::take_part`].
    pub fn with_hands(seed: u64, (members, hands, others): (usize, usize, usize), chances: Chances) -> SharedDirectory {
        let all = members * hands + others;
        let state = State {
            random: seed,
            chances,
            members: vec![Member::Running; all],
            pauses: vec![0; all],
            weather: vec![None; members],
            lives: vec![1; members],
            killed: vec![false; members],
            running: None,
            operation: 0,
            is_over: false,
            locks: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            absent: BTreeMap::new(),
            kills: 0,
            power_losses: 0,
        };
        SharedDirectory {
            inner: Arc::new(Inner {
                disk: SimulatedDisk::new(seed ^ 0xd15c),
                private_caches: chances.private_caches,
                locks_work: chances.locks_work,
                hands,
                count: members,
                state: Mutex::new(state),
                turns: (0..all).map(|_| Condvar::new()).collect(),
            }),
        }
    }

    /// This thread is the one with this number from now on.
    pub fn take_part(&self, hand: usize) {
        HAND.set(Some(hand));
    }

    /// Lets so many ticks pass for this thread, at least one; false when the run is over.
    pub fn wait(&self, ticks: u64) -> bool {
        let hand = HAND.get().expect("a thread that waits takes part");
        drop(self.inner.turn_of(hand, ticks.saturating_sub(1)));
        !self.is_over()
    }

    /// Ticks so far.
    pub fn now(&self) -> u64 {
        self.inner.state().operation
    }

    /// From now on other things happen; whether caches are private and locks work stays as it is.
    pub fn set_chances(&self, chances: Chances) {
        self.inner.state().chances = chances;
    }

    /// What the disk does to a member until some tick; it may be in the middle of it.
    pub fn set_weather(&self, member: usize, weather: Option<(Weather, u64)>) {
        self.inner.state().weather[member] = weather;
    }

    /// Ends a member's life, as a kill does.
    pub fn kill(&self, member: usize) {
        let mut state = self.inner.state();
        state.kills += 1;
        state.end_life(member);
    }

    /// Stops all threads of a member for so many ticks, as a signal does.
    pub fn stop(&self, member: usize, ticks: u64) {
        let mut state = self.inner.state();
        let until = state.operation + ticks;
        self.inner.stop_until(&mut state, member, until);
    }

    /// The disk below, for when the run is over.
    pub fn disk(&self) -> &SimulatedDisk {
        &self.inner.disk
    }

    /// Begins a life of a member: what it had of an earlier one is dead, and its locks are free.
    pub fn member(&self, member: usize) -> Arc<dyn Disk> {
        let mut state = self.inner.state();
        state.end_life(member);
        state.killed[member] = false;
        state.lives[member] += 1;
        Arc::new(MemberDisk {
            inner: Arc::clone(&self.inner),
            member,
            life: state.lives[member],
        })
    }

    /// A number below `bound`, for the member whose turn it is.
    pub fn random(&self, bound: u64) -> u64 {
        self.inner.state().random() % bound
    }

    /// Whether the member's life was ended.
    pub fn is_killed(&self, member: usize) -> bool {
        self.inner.state().killed[member]
    }

    /// Whether members are to end.
    pub fn is_over(&self) -> bool {
        self.inner.state().is_over
    }

    /// Ends the run: every operation fails from here on.
    pub fn end(&self) {
        self.inner.state().is_over = true;
        self.inner.turns.iter().for_each(Condvar::notify_all);
    }

    /// The thread with this number takes no more part, and its member, if it is one's, ends.
    pub fn leave(&self, hand: usize) {
        let mut state = self.inner.state();
        if let Some(member) = self.inner.member_of(hand) {
            state.end_life(member);
        }
        state.members[hand] = Member::Done;
        if state.running == Some(hand) {
            state.running = None;
        }
        self.inner.pass(&mut state);
    }

    /// Operations, kills and losses of power so far.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.inner.state();
        (state.operation, state.kills, state.power_losses)
    }
}

impl State {
    fn random(&mut self) -> u64 {
        super::next_random(&mut self.random)
    }

    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.random().is_multiple_of(many)
    }

    /// Ticks by which the disk makes an operation of a member wait.
    fn delay(&mut self, member: usize, about: &About<'_>) -> u64 {
        let Some((weather, until)) = self.weather[member] else {
            return 0;
        };
        let left = until.saturating_sub(self.operation);
        match weather {
            _ if left == 0 => 0,
            Weather::Slow(most) => self.random() % most.max(1),
            Weather::SlowWrites(most) => match about {
                About::Writing(_) => self.random() % most.max(1),
                _ => 0,
            },
            Weather::Hangs => left,
            Weather::HangsIn(part) => match about {
                About::Writing(name) if name.contains(part) => left,
                _ => 0,
            },
        }
    }

    fn end_life(&mut self, member: usize) {
        self.killed[member] = true;
        self.locks.retain(|_, (holder, _)| *holder != member);
        self.unsynced.retain(|(writer, _), _| *writer != member);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the baton to one of those who wait, once all do.
    fn pass(&self, state: &mut State) {
        if state.running.is_some() || state.is_over || state.members.contains(&Member::Running) {
            return;
        }
        let waiting: Vec<usize> = (0..state.members.len())
            .filter(|member| state.members[*member] == Member::Waiting)
            .collect();
        let Some(soonest) = waiting.iter().map(|member| state.pauses[*member]).min() else {
            return;
        };
        state.operation = (state.operation + 1).max(soonest);
        let operation = state.operation;
        let ready: Vec<usize> = waiting
            .into_iter()
            .filter(|member| state.pauses[*member] <= operation)
            .collect();
        let next = ready[(state.random() % ready.len() as u64) as usize];
        if operation >= state.chances.operations {
            state.is_over = true;
            self.turns.iter().for_each(Condvar::notify_all);
            return;
        }
        if let Some(member) = self.member_of(next) {
            self.happen(state, next, member);
        }
        state.members[next] = Member::Running;
        state.running = Some(next);
        self.turns[next].notify_all();
    }

    /// What happens to a member whose thread `next` is about to do something.
    fn happen(&self, state: &mut State, next: usize, member: usize) {
        let (chances, operation) = (state.chances, state.operation);
        if state.one_in(chances.pause_one_in) {
            let longest = [3, 30, chances.pause_max][(state.random() % 3) as usize];
            let until = operation + 1 + state.random() % longest.max(1);
            if self.hands > 1 && state.one_in(2) {
                self.stop_until(state, member, until);
            } else {
                state.pauses[next] = until;
            }
        }
        if state.one_in(chances.failed_sync_one_in) {
            self.disk.fail(super::Operation::SyncData, 0, ErrorKind::Other);
        }
        if state.one_in(chances.kill_one_in) {
            state.kills += 1;
            state.end_life(member);
        }
        if state.one_in(chances.power_loss_one_in) {
            state.power_losses += 1;
            (0..self.count).for_each(|member| state.end_life(member));
            self.disk.restart();
        }
    }

    fn stop_until(&self, state: &mut State, member: usize, until: u64) {
        for pause in &mut state.pauses[member * self.hands..(member + 1) * self.hands] {
            *pause = until.max(*pause);
        }
    }

    /// Whose thread it is, if it is a member's.
    fn member_of(&self, hand: usize) -> Option<usize> {
        Some(hand / self.hands).filter(|member| *member < self.count)
    }

    /// Waits for the thread's turn, which lasts until it asks for the next one; not before `more` ticks have passed.
    fn turn_of(&self, hand: usize, more: u64) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.running == Some(hand) {
            state.running = None;
        }
        if state.members[hand] != Member::Done {
            state.members[hand] = Member::Waiting;
        }
        if more > 0 {
            state.pauses[hand] = state.pauses[hand].max(state.operation + 1 + more);
        }
        self.pass(&mut state);
        while state.running != Some(hand) && !state.is_over {
            state = self.turns[hand].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Waits for the member's turn to do something on the disk.
    fn turn(&self, member: usize, life: u64, about: &About<'_>) -> io::Result<MutexGuard<'_, State>> {
        let hand = HAND.get().filter(|hand| self.member_of(*hand) == Some(member));
        let hand = hand.unwrap_or(member * self.hands);
        let more = self.state().delay(member, about);
        let state = self.turn_of(hand, more);
        if state.is_over || state.killed[member] || state.lives[member] != life {
            return Err(crashed());
        }
        Ok(state)
    }
}

/// The directory as one life of a member sees it.
struct MemberDisk {
    inner: Arc<Inner>,
    member: usize,
    life: u64,
}

impl MemberDisk {
    fn turn(&self) -> io::Result<MutexGuard<'_, State>> {
        self.inner.turn(self.member, self.life, &About::Names)
    }

    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MemberFile {
            inner: Arc::clone(&self.inner),
            member: self.member,
            life: self.life,
            inode: self.inner.disk.inode_of(name),
            name: name.to_owned(),
            file,
        })
    }

    fn take_lock(&self, state: &mut State, name: &str, holder: String) -> Result<Box<dyn DiskLock>, LockError> {
        if self.inner.locks_work {
            if state.locks.contains_key(name) {
                return Err(LockError::Held(holder));
            }
            state.locks.insert(name.to_owned(), (self.member, self.life));
        }
        Ok(Box::new(MemberLock {
            inner: Arc::clone(&self.inner),
            member: self.member,
            life: self.life,
            inode: self.inner.disk.inode_of(name),
            name: name.to_owned(),
        }))
    }
}

impl Disk for MemberDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        let _turn = self.turn()?;
        self.inner.disk.list(folder)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let _turn = self.turn()?;
        Ok(self.file(name, self.inner.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let _turn = self.turn()?;
        Ok(self.file(name, self.inner.disk.open(name)?))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        let mut state = self.turn()?;
        let kept = state.chances.absent_names_kept;
        if kept == 0 {
            return self.inner.disk.exists(name);
        }
        let (known, operation) = ((self.member, name.to_owned()), state.operation);
        if state.absent.get(&known).is_some_and(|until| operation < *until) {
            return Ok(false);
        }
        let exists = self.inner.disk.exists(name)?;
        if !exists {
            state.absent.insert(known, operation + kept);
        }
        Ok(exists)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _turn = self.turn()?;
        self.inner.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _turn = self.turn()?;
        self.inner.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let _turn = self.turn()?;
        self.inner.disk.sync_directory()
    }

    fn pause(&self, _time: Duration) {}

    fn space_available(&self) -> io::Result<u64> {
        self.inner.disk.space_available()
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.turn().map_err(LockError::Io)?;
        self.take_lock(&mut state, name, holder.to_owned())
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.turn().map_err(LockError::Io)?;
        if !self.inner.disk.exists(name).map_err(LockError::Io)? {
            return Err(LockError::Io(ErrorKind::NotFound.into()));
        }
        self.take_lock(&mut state, name, String::new())
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        let state = self.turn()?;
        if !self.inner.disk.exists(name)? {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(state.locks.contains_key(name))
    }
}

struct MemberLock {
    inner: Arc<Inner>,
    member: usize,
    life: u64,
    /// The file that is locked: another one of the same name, which whoever is late to claim may make, is none that is in place.
    inode: u64,
    name: String,
}

impl DiskLock for MemberLock {
    fn is_in_place(&self) -> io::Result<bool> {
        let _turn = self.inner.turn(self.member, self.life, &About::Names)?;
        Ok(self.inner.disk.exists(&self.name)? && self.inner.disk.inode_of(&self.name) == self.inode)
    }
}

impl Drop for MemberLock {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if state.locks.get(&self.name) == Some(&(self.member, self.life)) {
            state.locks.remove(&self.name);
        }
    }
}

struct MemberFile {
    inner: Arc<Inner>,
    member: usize,
    life: u64,
    inode: u64,
    /// When it was opened.
    name: String,
    file: Arc<dyn DiskFile>,
}

impl MemberFile {
    fn turn(&self) -> io::Result<MutexGuard<'_, State>> {
        self.inner.turn(self.member, self.life, &About::Reading)
    }

    fn turn_to_write(&self) -> io::Result<MutexGuard<'_, State>> {
        self.inner.turn(self.member, self.life, &About::Writing(&self.name))
    }

    /// Lets everybody see what this member wrote.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        let writes = state.unsynced.remove(&(self.member, self.inode)).unwrap_or_default();
        writes
            .iter()
            .try_for_each(|(offset, bytes)| self.file.write_at(bytes, *offset))
    }
}

impl DiskFile for MemberFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.turn()?;
        let Some(writes) = state.unsynced.get(&(self.member, self.inode)) else {
            return self.file.read_at(buffer, offset);
        };
        let length = self.file.length()?;
        let ends = writes.iter().map(|(at, bytes)| at + bytes.len() as u64);
        let (end, reach) = (offset + buffer.len() as u64, ends.max().unwrap_or(0).max(length));
        if end > reach {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let stored = length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        self.file.read_at(&mut buffer[..stored], offset)?;
        for (at, bytes) in writes {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                let part = &bytes[(from - at) as usize..(to - at) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
            }
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.turn_to_write()?;
        if !self.inner.private_caches {
            return self.file.write_at(bytes, offset);
        }
        let writes = state.unsynced.entry((self.member, self.inode)).or_default();
        writes.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.turn_to_write()?;
        self.flush(&mut state)?;
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.turn()?;
        let writes = state.unsynced.get(&(self.member, self.inode));
        let ends = writes.into_iter().flatten().map(|(at, bytes)| at + bytes.len() as u64);
        Ok(self.file.length()?.max(ends.max().unwrap_or(0)))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.turn_to_write()?;
        self.flush(&mut state)?;
        self.file.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.turn_to_write()?;
        self.flush(&mut state)?;
        self.file.allocate(length)
    }
}
