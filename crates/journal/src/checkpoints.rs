//! Checkpoints (docs/journal-format.md §8): the state as facts, written in slices beside running traffic. The owner gives its
//! facts, the journal adds what it knows of each log; the file counts only when every record it may know of is durable.

use crate::checkpoint_file::{
    BlockCipher, ENTRY_END, ENTRY_FACT, ENTRY_LOG, ENTRY_MEMBERS, block_checksum, block_room, header,
};
use crate::disk::DiskFile;
use crate::entry::{EntryId, Members};
use crate::format::{Cut, SegmentId, checkpoint_name, checkpoint_seed};
use crate::index::Index;
use crate::job::JobKind;
use crate::limits::{CHECKPOINT_BLOCK_BYTES, MEMBERS_BYTES_MAX, STEP_LOGS_MAX};
use crate::messages::LogBounds;
use crate::names::{LogId, Position};
use crate::scope::Scope;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

/// A checkpoint call that makes no sense now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// `begin_checkpoint` while one is being written.
    #[error("a checkpoint is already being written")]
    Running,
    /// There is none, or it was given up; `Completion::CheckpointAbandoned` said so.
    #[error("no checkpoint is being written")]
    NotRunning,
    /// What it was to begin behind is of an earlier opening of the journal, or the newest checkpoint stands for more.
    #[error("the newest checkpoint stands for more already, or the journal was opened again")]
    Passed,
    /// Of a member of a cluster it has to say who the members are, once, in so many bytes at most.
    #[error(
        "a checkpoint of a member of a cluster says once who the members are, in at most {MEMBERS_BYTES_MAX} bytes"
    )]
    Members,
}

/// The checkpoint that is being written.
struct Running {
    begin: Position,
    begin_segment: u64,
    begun_at_bytes: u64,
    name: String,
    seed: u32,
    /// Encrypts its blocks.
    cipher: Option<BlockCipher>,
    /// Entries of the block being filled, after room for its header.
    block: Vec<u8>,
    blocks: u32,
    entries: u64,
    /// Bytes ready for the disk.
    ready: VecDeque<Vec<u8>>,
    ready_bytes: u64,
    file: Option<Arc<dyn DiskFile>>,
    written: u64,
    next_slot: usize,
    /// Position that must be durable before the file counts; set by `finish`.
    requires: Option<Position>,
    ended: bool,
    publishing: bool,
    /// Everything before this position is synced with the file.
    synced: Position,
    /// Of a member of a cluster: the last entry before it.
    last_entry: Option<EntryId>,
    /// Who the members are as of that one, once it was said.
    members: Option<Members>,
}

impl Running {
    fn entry(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.block.push(kind);
        self.block
            .extend_from_slice(&u32::try_from(length).expect("facts are bounded").to_le_bytes());
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.entries += 1;
        if self.block.len() >= CHECKPOINT_BLOCK_BYTES {
            self.close_block();
        }
    }

    fn log_entry(&mut self, id: LogId, log: &LogBounds, as_of: Position) {
        self.entry(
            ENTRY_LOG,
            &[
                &id.0.to_le_bytes(),
                &log.first.to_le_bytes(),
                &log.last.to_le_bytes(),
                &log.bytes.to_le_bytes(),
                &log.last_timestamp.to_le_bytes(),
                &as_of.to_le_bytes(),
            ],
        );
    }

    fn close_block(&mut self) {
        let room = block_room(self.cipher.is_some());
        if self.block.len() <= room {
            return;
        }
        let mut block = std::mem::replace(&mut self.block, vec![0; room]);
        let length = (block.len() - 8) as u32;
        block[0..4].copy_from_slice(&length.to_le_bytes());
        block[4..8].copy_from_slice(&self.blocks.to_le_bytes());
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(&mut block, self.blocks);
        }
        let checksum = block_checksum(self.seed, &block);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        self.blocks += 1;
        self.ready_bytes += block.len() as u64;
        self.ready.push_back(block);
    }

    fn unfinished_name(&self) -> String {
        format!("{}.writing", self.name)
    }
}

/// A checkpoint that counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Published {
    pub(crate) name: String,
    /// Position at which it begins.
    pub(crate) begin: Position,
    /// Segments below this number are covered by it.
    pub(crate) begin_segment: u64,
    /// Length of its file.
    pub(crate) bytes: u64,
    /// Of a member of a cluster.
    pub(crate) members: Option<Members>,
}

/// Files that somebody copies.
#[derive(Default)]
struct Kept {
    image: Option<String>,
    archive: Option<String>,
    /// By those who read the journal beside it.
    read: Vec<String>,
}

impl Kept {
    fn has(&self, name: &String) -> bool {
        [&self.image, &self.archive]
            .into_iter()
            .any(|kept| kept.as_ref() == Some(name))
            || self.read.contains(name)
    }
}

/// The newest checkpoint, the one being written, and when the next is due.
pub(crate) struct Checkpoints {
    /// Bytes of tail after which one is worth its own.
    distance_min: u64,
    newest: Option<Published>,
    /// Checkpoints begun by this start: a part of their nonces.
    attempts: u32,
    /// Committed bytes when the newest one began.
    begun_at_bytes: u64,
    /// Bytes of tail that this start had to read; gone with the next checkpoint.
    inherited_bytes: u64,
    /// Set when a checkpoint was given up: however long the tail is, none is asked for before so many bytes are committed.
    not_before_bytes: u64,
    /// The owner was asked for one.
    asked: bool,
    running: Option<Running>,
    /// An unfinished file to be removed.
    abandoned: Option<String>,
    /// Files of earlier checkpoints, to be removed when the next one counts.
    obsolete: Vec<String>,
    /// The same of those that are to be removed now.
    going: Vec<String>,
    /// Files that stay until they are not copied any more.
    kept: Kept,
    /// In a journal that does not sync its commits: the segments that were written to and not synced since, and the position
    /// after what was written last. A checkpoint syncs them before it counts: what it covers must outlast it.
    unsynced: BTreeMap<SegmentId, Position>,
    /// Everything before this position is synced, in such a journal.
    synced: Position,
}

impl Checkpoints {
    /// After a start that used `newest` and read `inherited_bytes` of tail.
    pub(crate) fn new(distance_min: u64, newest: Option<Published>, inherited_bytes: u64) -> Checkpoints {
        Checkpoints {
            distance_min,
            newest,
            attempts: 0,
            begun_at_bytes: 0,
            inherited_bytes,
            not_before_bytes: 0,
            asked: false,
            running: None,
            abandoned: None,
            obsolete: Vec::new(),
            going: Vec::new(),
            kept: Kept::default(),
            unsynced: BTreeMap::new(),
            synced: 0,
        }
    }

    /// Everything before this position was synced by a start.
    pub(crate) fn begin_synced(&mut self, position: Position) {
        self.synced = position;
    }

    /// A batch was written to a segment, up to a position, and not synced.
    pub(crate) fn written_unsynced(&mut self, segment: SegmentId, position: Position) {
        self.unsynced.insert(segment, position);
    }

    /// Everything before this position outlasts a loss of power, in a journal that does not sync its commits.
    pub(crate) fn synced(&self) -> Position {
        self.synced
    }

    /// The newest one that counts.
    pub(crate) fn newest(&self) -> Option<&Published> {
        self.newest.as_ref()
    }

    /// A file that is not removed for an image, until another one is kept in its place.
    pub(crate) fn keep(&mut self, name: Option<String>) {
        self.kept.image = name;
    }

    /// The same for the archive.
    pub(crate) fn keep_for_archive(&mut self, name: Option<String>) {
        self.kept.archive = name;
    }

    /// The same for those who read the journal beside it.
    pub(crate) fn keep_for_readers(&mut self, names: Vec<String>) {
        self.kept.read = names;
    }

    /// Length of the newest one; 0 without one.
    pub(crate) fn bytes(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.bytes)
    }

    /// Batch bytes since the begin of the newest one: what a start would have to read.
    pub(crate) fn tail_bytes(&self, committed: u64) -> u64 {
        (committed + self.inherited_bytes).saturating_sub(self.begun_at_bytes)
    }

    fn distance(&self) -> u64 {
        self.distance_min.max(2 * self.bytes())
    }

    /// Whether the owner should be asked for one now: when the tail is long, or one would give needed space back. Says so once.
    pub(crate) fn is_due(&mut self, committed: u64, frees_space: bool) -> bool {
        if self.asked || self.running.is_some() {
            return false;
        }
        let is_long = self.tail_bytes(committed) >= self.distance() && committed >= self.not_before_bytes;
        self.asked = is_long || frees_space;
        self.asked
    }

    /// Begins one: it stands for everything before `tail` and the records up to `begin`; of a member of a cluster for everything up to the
    /// last entry.
    pub(crate) fn begin(
        &mut self,
        scope: &Scope,
        begin: Position,
        tail: Cut,
        committed: u64,
        last_entry: Option<EntryId>,
    ) -> Result<(), CheckpointError> {
        if self.running.is_some() || self.abandoned.is_some() {
            return Err(CheckpointError::Running);
        }
        let epoch = scope.epoch;
        let encryption = scope.keys.as_ref().map(|keys| keys.header);
        let header = header(
            &scope.identity,
            epoch,
            begin,
            tail,
            encryption.as_ref(),
            last_entry.is_some(),
        );
        let attempt = self.attempts;
        self.attempts += 1;
        let cipher = scope
            .keys
            .as_ref()
            .map(|keys| BlockCipher::of_attempt(keys.own_checkpoint(epoch, begin), header.clone(), attempt));
        self.running = Some(Running {
            begin,
            begin_segment: tail.segment,
            begun_at_bytes: committed,
            name: checkpoint_name(begin, epoch),
            seed: checkpoint_seed(&scope.identity, epoch, begin),
            block: vec![0; block_room(cipher.is_some())],
            cipher,
            blocks: 0,
            entries: 0,
            ready_bytes: header.len() as u64,
            ready: VecDeque::from([header]),
            file: None,
            written: 0,
            next_slot: 0,
            requires: None,
            ended: false,
            publishing: false,
            synced: 0,
            last_entry,
            members: None,
        });
        self.asked = true;
        Ok(())
    }

    /// The one that still takes facts.
    fn open(&mut self) -> Result<&mut Running, CheckpointError> {
        let running = self.running.as_mut().filter(|running| running.requires.is_none());
        running.ok_or(CheckpointError::NotRunning)
    }

    /// Adds a fact.
    pub(crate) fn fact(&mut self, kind: u8, body: &[u8]) -> Result<(), CheckpointError> {
        self.open()?.entry(ENTRY_FACT, &[&[kind], body]);
        Ok(())
    }

    /// The last entry before the one that takes facts; none but of a member of a cluster.
    pub(crate) fn last_entry(&self) -> Option<EntryId> {
        self.running.as_ref()?.last_entry
    }

    /// Says who the members are as of that entry.
    pub(crate) fn members(&mut self, body: &[u8]) -> Result<(), CheckpointError> {
        let running = self.open()?;
        let id = running.last_entry.filter(|_| running.members.is_none());
        let id = id.filter(|_| body.len() <= MEMBERS_BYTES_MAX);
        let id = id.ok_or(CheckpointError::Members)?;
        running.entry(ENTRY_MEMBERS, &[&id.index.to_le_bytes(), &id.term.to_le_bytes(), body]);
        let body = body.to_vec();
        running.members = Some(Members { id, body });
        Ok(())
    }

    /// Bytes that wait for the disk.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let running = self.running.as_ref();
        running.map_or(0, |running| running.ready_bytes + running.block.len() as u64)
    }

    /// All facts were given; they may know of records up to `requires`.
    pub(crate) fn finish(&mut self, requires: Position) -> Result<(), CheckpointError> {
        let running = self.open()?;
        if running.last_entry.is_some() && running.members.is_none() {
            return Err(CheckpointError::Members);
        }
        running.requires = Some(requires);
        Ok(())
    }

    /// Captures some logs as they are after the records up to `as_of`; ends the file when all are in and the owner is done.
    /// Whether it ended now.
    pub(crate) fn step(&mut self, index: &Index, as_of: Position) -> bool {
        let Some(running) = self.running.as_mut() else {
            return false;
        };
        if running.ended || running.ready_bytes > 4 * CHECKPOINT_BLOCK_BYTES as u64 {
            return false;
        }
        let end = index.slots().min(running.next_slot + STEP_LOGS_MAX);
        for slot in running.next_slot..end {
            if let Some((id, log)) = index.slot(slot) {
                running.log_entry(id, &log, as_of);
            }
        }
        running.next_slot = end;
        if end < index.slots() || running.requires.is_none() {
            return false;
        }
        // Logs that were captured just now may reflect records that came after the owner's last fact.
        running.requires = Some(as_of);
        let entries = running.entries;
        running.entry(ENTRY_END, &[&as_of.to_le_bytes(), &entries.to_le_bytes()]);
        running.close_block();
        running.ended = true;
        true
    }

    /// The next thing to do; `slots` are the places for logs.
    pub(crate) fn next_job(&mut self, durable: Position, slots: usize) -> Option<JobKind> {
        if let Some(name) = self.abandoned.take() {
            return Some(JobKind::Remove {
                names: vec![name],
                set_aside: None,
            });
        }
        let going = self.going.iter().filter(|name| !self.kept.has(name));
        let going: Vec<String> = going.cloned().collect();
        if !going.is_empty() {
            self.going.retain(|name| self.kept.has(name));
            return Some(JobKind::Remove {
                names: going,
                set_aside: None,
            });
        }
        let running = self.running.as_mut()?;
        if let Some(bytes) = running.ready.pop_front() {
            running.ready_bytes -= bytes.len() as u64;
            return Some(JobKind::WriteCheckpoint {
                name: running.unfinished_name(),
                file: running.file.clone(),
                offset: running.written,
                bytes,
            });
        }
        if !running.ended {
            // There is nothing to write yet, but more logs to capture.
            let capturing = running.next_slot < slots && running.requires.is_some();
            return capturing.then_some(JobKind::Continue);
        }
        if running.publishing || running.requires.is_none_or(|requires| requires > durable) {
            return None;
        }
        running.publishing = true;
        running.synced = durable;
        let (file, to) = (running.file.clone()?, running.name.clone());
        Some(JobKind::PublishCheckpoint {
            file,
            from: running.unfinished_name(),
            unsynced: self.unsynced.keys().map(|id| id.file_name()).collect(),
            to,
        })
    }

    /// What became of writing some of it. When that failed it is given up, which loses nothing: it was never published. The
    /// reason in words.
    pub(crate) fn written(
        &mut self,
        bytes: u64,
        result: io::Result<Arc<dyn DiskFile>>,
        committed: u64,
    ) -> Result<(), String> {
        let Some(running) = self.running.as_mut() else {
            return Ok(());
        };
        match result {
            Ok(file) => {
                running.file = Some(file);
                running.written += bytes;
                Ok(())
            }
            Err(error) => {
                self.give_up(committed);
                Err(error.to_string())
            }
        }
    }

    /// Gives up the one that lacks facts, if there is one.
    pub(crate) fn abandon(&mut self, committed: u64) {
        if self.running.as_ref().is_some_and(|running| running.requires.is_none()) {
            self.give_up(committed);
        }
    }

    fn give_up(&mut self, committed: u64) {
        let Some(running) = self.running.take() else { return };
        self.abandoned = Some(running.unfinished_name());
        if running.publishing {
            // The file may have its final name by now, durably or not. A start may use it, because it is complete; it is removed once
            // another checkpoint counts.
            self.obsolete.push(running.name);
        }
        // The next is asked for when as many bytes came in as usually lie between two checkpoints.
        self.not_before_bytes = committed + self.distance();
        self.asked = false;
    }

    /// What became of publishing it: the new one, or the reason why it is given up in words.
    pub(crate) fn published(&mut self, result: io::Result<()>, committed: u64) -> Option<Result<&Published, String>> {
        if let Err(error) = result {
            let name = self.running.as_ref().map(|running| running.name.clone())?;
            self.give_up(committed);
            return Some(Err(format!("{name} cannot be published: {error}")));
        }
        let running = self.running.take()?;
        self.going.append(&mut self.obsolete);
        self.going.extend(self.newest.take().map(|newest| newest.name));
        self.going.retain(|name| *name != running.name);
        self.synced = running.synced;
        self.unsynced.retain(|_, position| *position > running.synced);
        self.begun_at_bytes = running.begun_at_bytes;
        self.inherited_bytes = 0;
        self.asked = false;
        let newest = Published {
            name: running.name,
            begin: running.begin,
            begin_segment: running.begin_segment,
            bytes: running.written,
            members: running.members,
        };
        Some(Ok(self.newest.insert(newest)))
    }
}
