//! A disk in memory, deterministic from a seed, that does to its user what real ones may (docs/journal-format.md §10): what was
//! not synced is lost, kept, torn between sectors or kept out of order at a crash; names are durable only after the directory's
//! sync; writes and syncs fail on demand, and what a failed sync left behind is gone with the next crash; space runs out.

pub mod members;

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a power loss tears a write into.
const SECTOR_BYTES: usize = 512;

/// Operations that fail on demand; those that change something are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file is created.
    Create,
    /// Bytes are written.
    Write,
    /// A file's data is synced.
    SyncData,
    /// A file's length is set.
    SetLength,
    /// A file is renamed.
    Rename,
    /// A file is removed.
    Remove,
    /// The directory is synced.
    SyncDirectory,
    /// Bytes are read; not counted, and no crash happens here.
    Read,
    /// A file is opened; not counted, and no crash happens here.
    Open,
    /// A name is looked for; not counted, and no crash happens here.
    Look,
}

/// Whether syncs do what they promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// They do.
    Honest,
    /// `sync_data` returns without making anything durable.
    Lying,
}

enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
}

#[derive(Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Offsets of bytes that are read with these bits turned over.
    rotten: Vec<(usize, u8)>,
    /// Ranges that cannot be read.
    spoiled: Vec<(usize, usize)>,
}

enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

struct Fault {
    operation: Operation,
    /// How many such operations succeed before it.
    after: u64,
    kind: ErrorKind,
}

struct State {
    random: u64,
    inodes: BTreeMap<u64, Inode>,
    live_names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    locks: BTreeMap<String, (u64, String)>,
    next_inode: u64,
    /// Handles and locks of an earlier boot are dead.
    boot: u64,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    faults: Vec<Fault>,
    /// Operations that fail until this is taken back, with the error of the operating system.
    refused: Vec<(Operation, i32)>,
    capacity: u64,
    /// The file system can allocate blocks that nobody wrote.
    allocates: bool,
    sync_mode: SyncMode,
}

/// The disk; clones share it.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty, unlimited, honest disk. One in four is a file system that cannot allocate, which its seed decides.
    pub fn new(seed: u64) -> SimulatedDisk {
        let state = State {
            random: seed,
            inodes: BTreeMap::new(),
            live_names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            locks: BTreeMap::new(),
            next_inode: 1,
            boot: 1,
            operations: 0,
            crash_at: None,
            crashed: false,
            faults: Vec::new(),
            refused: Vec::new(),
            capacity: u64::MAX,
            allocates: !seed.is_multiple_of(4),
            sync_mode: SyncMode::Honest,
        };
        SimulatedDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking test thread leaves a state that is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the changing operation number `operation` (as counted by [`SimulatedDisk::operations`], from 1) be the last one that
    /// reaches the disk, unsynced; it and all later ones return an error.
    pub fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Whether the crash set by [`SimulatedDisk::crash_at`] has happened.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Lets an operation fail once, after `after` more of its kind have succeeded.
    pub fn fail(&self, operation: Operation, after: u64, kind: ErrorKind) {
        self.state().faults.push(Fault { operation, after, kind });
    }

    /// Lets all these operations fail with an error of the operating system (`EMFILE`, `EDQUOT`), until they are allowed again.
    pub fn refuse(&self, operations: &[Operation], raw_os_error: i32) {
        let refused = operations.iter().map(|operation| (*operation, raw_os_error));
        self.state().refused.extend(refused);
    }

    /// Takes back every [`SimulatedDisk::refuse`].
    pub fn allow_all(&self) {
        self.state().refused.clear();
    }

    /// Bytes all files together may take.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// See [`SyncMode`].
    pub fn set_sync_mode(&self, mode: SyncMode) {
        self.state().sync_mode = mode;
    }

    /// Bytes all files take together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Loses power and comes back: un-synced writes are kept, lost or torn sector by sector, un-synced changes of names are kept
    /// up to some point. Handles and locks of before are dead.
    pub fn restart(&self) {
        let mut state = self.state();
        state.lose_power();
        state.reboot();
    }

    /// Kills the process but not the power: everything written can be read, but what was not synced is still not durable.
    pub fn restart_process(&self) {
        self.state().reboot();
    }

    /// Names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().live_names.keys().cloned().collect()
    }

    /// Content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.live_names.get(name)?;
        state.inodes.get(inode).map(|inode| inode.live.clone())
    }

    /// Puts a file there, durably; for tests that damage or prepare a directory.
    pub fn plant(&self, name: &str, content: &[u8]) {
        let mut state = self.state();
        let number = state.next_inode;
        state.next_inode += 1;
        let inode = Inode {
            live: content.to_vec(),
            durable: content.to_vec(),
            pending: Vec::new(),
            rotten: Vec::new(),
            spoiled: Vec::new(),
        };
        state.inodes.insert(number, inode);
        state.live_names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// Removes a file durably.
    pub fn unplant(&self, name: &str) {
        let mut state = self.state();
        state.live_names.remove(name);
        state.durable_names.remove(name);
    }

    /// Removes a lock's file under the process that holds it.
    pub fn unlock(&self, name: &str) {
        self.state().locks.remove(name);
    }

    /// From now on a byte of a file is read with these bits turned over, until it is written again or the disk is mended. Whether
    /// there is such a byte.
    pub fn rot(&self, name: &str, offset: u64, bits: u8) -> bool {
        let mut state = self.state();
        let number = state.live_names.get(name).copied();
        let inode = number.and_then(|number| state.inodes.get_mut(&number));
        let (Some(inode), Ok(offset)) = (inode, usize::try_from(offset)) else {
            return false;
        };
        if offset >= inode.live.len() {
            return false;
        }
        inode.rotten.push((offset, bits));
        true
    }

    /// From now on what touches this range of a file cannot be read, until all of it is written again or the disk is mended.
    pub fn spoil(&self, name: &str, range: std::ops::Range<usize>) {
        let mut state = self.state();
        let number = state.live_names.get(name).copied();
        if let Some(inode) = number.and_then(|number| state.inodes.get_mut(&number)) {
            inode.spoiled.push((range.start, range.end));
        }
    }

    /// Every byte is read as it was written again.
    pub fn mend(&self) {
        for inode in self.state().inodes.values_mut() {
            inode.spoiled.clear();
            inode.rotten.clear();
        }
    }

    /// What tells the file of this name from every other, whatever it is called later.
    fn inode_of(&self, name: &str) -> u64 {
        self.state().live_names.get(name).copied().unwrap_or(0)
    }

    /// Names that survive a loss of power, sorted.
    pub fn durable_names(&self) -> Vec<String> {
        self.state().durable_names.keys().cloned().collect()
    }

    /// An independent copy of this disk as it is now, with other luck.
    pub fn fork(&self, seed: u64) -> SimulatedDisk {
        let copy = SimulatedDisk::new(seed);
        for name in self.names() {
            copy.plant(&name, &self.content(&name).unwrap_or_default());
        }
        copy
    }
}

impl State {
    /// A deterministic random number.
    fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }

    fn used(&self) -> u64 {
        self.live_names
            .values()
            .filter_map(|inode| self.inodes.get(inode))
            .map(|inode| inode.live.len() as u64)
            .sum()
    }

    /// Counts a changing operation. `Err` when it does not happen; `Ok(true)` when it is the last one, which reaches the disk
    /// unsynced and is answered with an error.
    fn begin(&mut self, operation: Operation, boot: u64) -> io::Result<bool> {
        if self.crashed || boot != self.boot {
            return Err(crashed());
        }
        self.operations += 1;
        self.fault(operation)?;
        self.crashed = self.crash_at == Some(self.operations);
        Ok(self.crashed)
    }

    /// Fails when an operation of its kind was asked to fail now.
    fn fault(&mut self, operation: Operation) -> io::Result<()> {
        if let Some((_, error)) = self.refused.iter().find(|(refused, _)| *refused == operation) {
            return Err(io::Error::from_raw_os_error(*error));
        }
        if let Some(index) = self
            .faults
            .iter()
            .position(|fault| fault.operation == operation && fault.after == 0)
        {
            let fault = self.faults.remove(index);
            return Err(io::Error::new(fault.kind, format!("injected fault in {operation:?}")));
        }
        for fault in self.faults.iter_mut().filter(|fault| fault.operation == operation) {
            fault.after -= 1;
        }
        Ok(())
    }

    fn lose_power(&mut self) {
        // In some crashes everything reached the medium, in some nothing, mostly something.
        let luck = match self.random() % 4 {
            0 => 0,
            1 => 100,
            _ => 10 + self.random() % 80,
        };
        let numbers: Vec<u64> = self.inodes.keys().copied().collect();
        for number in numbers {
            let Some(mut inode) = self.inodes.remove(&number) else {
                continue;
            };
            for pending in std::mem::take(&mut inode.pending) {
                match pending {
                    Pending::Write { offset, bytes } => {
                        let mut start = offset;
                        let end = offset + bytes.len();
                        while start < end {
                            let stop = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
                            if self.random() % 100 < luck {
                                let durable = &mut inode.durable;
                                durable.resize(durable.len().max(stop), 0);
                                durable[start..stop].copy_from_slice(&bytes[start - offset..stop - offset]);
                            }
                            start = stop;
                        }
                    }
                    Pending::SetLength(length) => {
                        if self.random() % 100 < luck {
                            inode.durable.resize(length, 0);
                        }
                    }
                }
            }
            inode.live = inode.durable.clone();
            self.inodes.insert(number, inode);
        }
        let changes = std::mem::take(&mut self.pending_names);
        let kept = (self.random() % (changes.len() as u64 + 1)) as usize;
        for change in changes.into_iter().take(kept) {
            apply(&mut self.durable_names, change);
        }
        self.live_names = self.durable_names.clone();
    }

    fn reboot(&mut self) {
        let named: Vec<u64> = self
            .live_names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .collect();
        self.inodes.retain(|number, _| named.contains(number));
        self.boot += 1;
        self.locks.clear();
        self.crashed = false;
        self.crash_at = None;
        self.faults.clear();
    }

    fn change_name(&mut self, change: NameChange) {
        let copy = match &change {
            NameChange::Create(name, inode) => NameChange::Create(name.clone(), *inode),
            NameChange::Rename(from, to) => NameChange::Rename(from.clone(), to.clone()),
            NameChange::Remove(name) => NameChange::Remove(name.clone()),
        };
        apply(&mut self.live_names, copy);
        self.pending_names.push(change);
    }
}

/// The next random number after a state (splitmix64).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn apply(names: &mut BTreeMap<String, u64>, change: NameChange) {
    match change {
        NameChange::Create(name, inode) => {
            names.insert(name, inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

fn crashed() -> io::Error {
    // No means to read: that says nothing of what is there.
    io::Error::new(ErrorKind::ResourceBusy, "the simulated machine lost power")
}

fn end(last: bool) -> io::Result<()> {
    if last { Err(crashed()) } else { Ok(()) }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
    boot: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.crashed || state.boot != self.boot {
            return Err(crashed());
        }
        act(&mut state, self.inode)
    }
}

fn inode(state: &mut State, number: u64) -> io::Result<&mut Inode> {
    state.inodes.get_mut(&number).ok_or_else(|| ErrorKind::NotFound.into())
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|state, number| {
            state.fault(Operation::Read)?;
            let Inode {
                live, rotten, spoiled, ..
            } = inode(state, number)?;
            let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
            let is_in_it = |(from, to): &(usize, usize)| *from < start + buffer.len() && start < *to;
            if spoiled.iter().any(is_in_it) {
                return Err(io::Error::other("the medium does not give these bytes back"));
            }
            let bytes = live.get(start..start + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            for &(offset, bits) in rotten.iter() {
                if let Some(byte) = offset.checked_sub(start).and_then(|at| buffer.get_mut(at)) {
                    *byte ^= bits;
                }
            }
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state, number| {
            let last = state.begin(Operation::Write, self.boot)?;
            let (used, capacity) = (state.used(), state.capacity);
            let inode = inode(state, number)?;
            let start = offset as usize;
            let stop = start + bytes.len();
            let growth = stop.saturating_sub(inode.live.len()) as u64;
            if growth > 0 && used + growth > capacity {
                return Err(ErrorKind::StorageFull.into());
            }
            inode.live.resize(inode.live.len().max(stop), 0);
            inode.live[start..stop].copy_from_slice(bytes);
            inode.rotten.retain(|(offset, _)| !(start..stop).contains(offset));
            inode.spoiled.retain(|(from, to)| *from < start || stop < *to);
            inode.pending.push(Pending::Write {
                offset: start,
                bytes: bytes.to_vec(),
            });
            end(last)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, number| {
            let last = match state.begin(Operation::SyncData, self.boot) {
                Ok(last) => last,
                Err(error) if state.crashed || state.boot != self.boot => return Err(error),
                Err(error) => {
                    // As file systems do: the pages count as clean now, can be read as long as the machine runs, and no later
                    // sync brings them to the medium.
                    inode(state, number)?.pending.clear();
                    return Err(error);
                }
            };
            let honest = state.sync_mode == SyncMode::Honest;
            if !last && honest {
                let inode = inode(state, number)?;
                for pending in inode.pending.drain(..) {
                    match pending {
                        Pending::Write { offset, bytes } => {
                            let stop = offset + bytes.len();
                            inode.durable.resize(inode.durable.len().max(stop), 0);
                            inode.durable[offset..stop].copy_from_slice(&bytes);
                        }
                        Pending::SetLength(length) => inode.durable.resize(length, 0),
                    }
                }
            }
            end(last)
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|state, number| Ok(inode(state, number)?.live.len() as u64))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.with(|state, number| {
            if !state.allocates {
                return Err(ErrorKind::Unsupported.into());
            }
            let last = state.begin(Operation::Write, self.boot)?;
            let (used, capacity) = (state.used(), state.capacity);
            let inode = inode(state, number)?;
            let length = length as usize;
            if used + length.saturating_sub(inode.live.len()) as u64 > capacity {
                return Err(ErrorKind::StorageFull.into());
            }
            inode.live.resize(length, 0);
            inode.pending.push(Pending::SetLength(length));
            end(last)
        })
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.with(|state, number| {
            let last = state.begin(Operation::SetLength, self.boot)?;
            let inode = inode(state, number)?;
            inode.live.resize(length as usize, 0);
            inode.pending.push(Pending::SetLength(length as usize));
            end(last)
        })
    }
}

struct SimulatedLock {
    disk: SimulatedDisk,
    name: String,
    /// It is the lock of a file, and not only a name.
    is_named: bool,
    boot: u64,
}

impl SimulatedDisk {
    fn take_lock(&self, state: &mut State, name: &str, holder: &str, is_named: bool) -> Box<dyn DiskLock> {
        let boot = state.boot;
        state.locks.insert(name.to_owned(), (boot, holder.to_owned()));
        Box::new(SimulatedLock {
            disk: self.clone(),
            name: name.to_owned(),
            is_named,
            boot,
        })
    }
}

impl DiskLock for SimulatedLock {
    fn is_in_place(&self) -> io::Result<bool> {
        let state = self.disk.state();
        // A machine without power tells nothing.
        if state.crashed || state.boot != self.boot {
            return Err(crashed());
        }
        let is_held = state.locks.get(&self.name).is_some_and(|(boot, _)| *boot == self.boot);
        Ok(is_held && (!self.is_named || state.live_names.contains_key(&self.name)))
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.locks.get(&self.name).is_some_and(|(boot, _)| *boot == self.boot) {
            state.locks.remove(&self.name);
        }
    }
}

impl Disk for SimulatedDisk {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        let state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        let mut entries: Vec<DirectoryEntry> = Vec::new();
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        for (name, number) in &state.live_names {
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            let length = state.inodes.get(number).map_or(0, |inode| inode.live.len() as u64);
            let entry = match rest.split_once('/') {
                Some((inner, _)) => DirectoryEntry {
                    name: inner.to_owned(),
                    length: 0,
                    is_folder: true,
                },
                None => DirectoryEntry {
                    name: rest.to_owned(),
                    length,
                    is_folder: false,
                },
            };
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let boot = state.boot;
        if state.live_names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let last = state.begin(Operation::Create, boot)?;
        let number = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(number, Inode::default());
        state.change_name(NameChange::Create(name.to_owned(), number));
        end(last)?;
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            inode: number,
            boot,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        state.fault(Operation::Open)?;
        let inode = *state.live_names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            inode,
            boot: state.boot,
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        let mut state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        state.fault(Operation::Look)?;
        Ok(state.live_names.contains_key(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.live_names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let boot = state.boot;
        let last = state.begin(Operation::Rename, boot)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        end(last)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.live_names.contains_key(name) {
            return Err(if state.crashed {
                crashed()
            } else {
                ErrorKind::NotFound.into()
            });
        }
        let boot = state.boot;
        let last = state.begin(Operation::Remove, boot)?;
        state.change_name(NameChange::Remove(name.to_owned()));
        end(last)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        let boot = state.boot;
        let last = state.begin(Operation::SyncDirectory, boot)?;
        if !last {
            let changes = std::mem::take(&mut state.pending_names);
            for change in changes {
                apply(&mut state.durable_names, change);
            }
        }
        end(last)
    }

    fn pause(&self, _time: Duration) {}

    fn space_available(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn lock(&self, name: &str, holder: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.state();
        if let Some((_, holder)) = state.locks.get(name) {
            return Err(LockError::Held(holder.clone()));
        }
        Ok(self.take_lock(&mut state, name, holder, false))
    }

    fn lock_existing(&self, name: &str) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.state();
        if state.crashed {
            return Err(LockError::Io(crashed()));
        }
        if !state.live_names.contains_key(name) {
            return Err(LockError::Io(ErrorKind::NotFound.into()));
        }
        if let Some((_, holder)) = state.locks.get(name) {
            return Err(LockError::Held(holder.clone()));
        }
        Ok(self.take_lock(&mut state, name, "", true))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        let state = self.state();
        if state.crashed {
            return Err(crashed());
        }
        if !state.live_names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(state.locks.contains_key(name))
    }
}
