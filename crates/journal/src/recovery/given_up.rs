//! What a start gives up when the operator says so (docs/journal-format.md §9), in an order in which it may be interrupted anywhere:
//! copies first, which harm nobody; then the file that says what is lost; then the epoch, with which all of it counts; then segments
//! are set aside. Before the epoch a start finds the damage as it was, and behind it everything is decided.

use super::losses::{GivenUpCheckpoint, LostFile};
use super::{Recovery, io_error};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{GIVEN_UP_NAME, SegmentId, encode_witness, lost_name};
use crate::limits::PIECE_BYTES;
use crate::options::DamagePolicy;
use crate::whole_file::{remove_if_there, write_whole};

impl Recovery<'_> {
    pub(crate) fn gives_up(&self) -> bool {
        self.options.damage == DamagePolicy::CutThere
    }

    /// Keeps copies of what is cut.
    pub(super) fn copy_what_is_given_up(&mut self) -> Result<(), OpenError> {
        if let Some(id) = self.given_up.cut {
            self.copy(&id.file_name())?;
        }
        if let Some(GivenUpCheckpoint { name, salvaged }) = self.given_up.checkpoint.take() {
            self.copy(&name)?;
            match salvaged {
                // In its place: the next start finds nothing wrong.
                Some(bytes) => write_whole(self.disk, &name, &bytes).map_err(io_error(format!("write {name}")))?,
                None => self.files.obsolete.push(name),
            }
        }
        Ok(())
    }

    /// Says on the disk what the epoch gives up, before it is opened.
    pub(super) fn note_what_is_given_up(&mut self, epoch: u64) -> Result<(), OpenError> {
        if self.gives_up() {
            let witness = encode_witness(&self.identity, epoch);
            write_whole(self.disk, GIVEN_UP_NAME, &witness).map_err(io_error("note that something is given up"))?;
        }
        let file = LostFile {
            epoch,
            logs: self.given_up.lost.clone(),
            aside: self.given_up.segments.iter().map(|(id, _)| *id).collect(),
        };
        let name = lost_name(epoch);
        // One of a start that was interrupted before its epoch counted.
        self.files.obsolete.retain(|obsolete| *obsolete != name);
        if file.logs.is_empty() && file.aside.is_empty() {
            return remove_if_there(self.disk, &name).map_err(io_error(format!("remove {name}")));
        }
        write_whole(self.disk, &name, &file.encode(&self.identity)).map_err(io_error(format!("write {name}")))
    }

    /// Renames what does not count and is kept, and says so. Whoever is interrupted here is finished by the next start.
    pub(super) fn set_aside(&mut self, epoch: u64) -> Result<(), OpenError> {
        let mut changed = false;
        for id in std::mem::take(&mut self.left_to_set_aside) {
            changed |= self.rename_aside(id)?.is_some();
        }
        if self.given_up.segments.is_empty() {
            if changed {
                self.disk.sync_directory().map_err(io_error("sync the directory"))?;
            }
            return Ok(());
        }
        for (id, why) in std::mem::take(&mut self.given_up.segments) {
            if let Some(aside) = self.rename_aside(id)? {
                self.remarks
                    .push(format!("{} {why} and was set aside as {aside}", id.file_name()));
            }
        }
        self.disk.sync_directory().map_err(io_error("sync the directory"))?;
        if self.given_up.lost.is_empty() {
            let name = lost_name(epoch);
            remove_if_there(self.disk, &name).map_err(io_error(format!("remove {name}")))?;
        }
        Ok(())
    }

    /// Leaves out what an earlier start, interrupted, left to be set aside; that is done when this one's epoch is open.
    pub(super) fn leave_out_set_aside(&mut self) {
        let ids = self.files.lost.iter().flat_map(|lost| lost.aside.clone());
        for id in ids.collect::<Vec<SegmentId>>() {
            if self.files.segments.remove(&id).is_some() {
                self.files.numbers_seen = self.files.numbers_seen.max(id.number);
                self.left_to_set_aside.push(id);
            }
        }
    }

    /// The new name of a segment that does not count any more; none when it has gone.
    fn rename_aside(&mut self, id: SegmentId) -> Result<Option<String>, OpenError> {
        let name = id.file_name();
        let mut aside = format!("{name}.cut");
        if self.files.cut.contains(&aside) {
            // What an earlier start kept may hold more.
            aside = format!("{name}.{:08x}.cut", self.disk.writer());
        }
        match self.disk.rename(&name, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(format!("set {name} aside"))(error)),
        }
    }

    /// Keeps a copy of a file that is given up.
    fn copy(&mut self, name: &str) -> Result<(), OpenError> {
        let copy = format!("{name}.cut");
        if self.files.cut.contains(&copy) {
            // What an earlier start kept holds more.
            return Ok(());
        }
        let file = self.disk.open(name).map_err(io_error(format!("open {name}")))?;
        let length = file.length().map_err(io_error(format!("read {name}")))?;
        let mut pieces = Vec::new();
        for offset in (0..length).step_by(PIECE_BYTES) {
            let start = pieces.len();
            pieces.resize(start + (length - offset).min(PIECE_BYTES as u64) as usize, 0);
            file.read_at(&mut pieces[start..], offset)
                .map_err(io_error(format!("read {name}")))?;
        }
        write_whole(self.disk, &copy, &pieces).map_err(io_error(format!("write {copy}")))?;
        self.remarks.push(format!("{name} as it was is kept as {copy}"));
        Ok(())
    }

    /// Leaves segments out of everything; they are set aside when all was read and the epoch says so.
    pub(crate) fn give_up_segments(&mut self, ids: &[SegmentId], why: &'static str) {
        for id in ids {
            self.files.segments.remove(id);
            self.files.numbers_seen = self.files.numbers_seen.max(id.number);
        }
        self.given_up.segments.extend(ids.iter().map(|id| (*id, why)));
    }

    /// When the operator gives up what is damaged, a copy of it stays.
    pub(crate) fn keep_cut(&mut self, id: SegmentId) {
        if self.gives_up() {
            self.given_up.cut = Some(id);
        }
    }

    /// Lets logs go on behind the messages that were lost when epochs up to this one were opened.
    pub(crate) fn go_on_behind_losses(&mut self, epoch: u64) {
        while let Some(lost) = self.files.lost.get(self.losses_seen).filter(|lost| lost.epoch <= epoch) {
            for (log, lost) in &lost.logs {
                self.index.restore_lost(*log, *lost);
            }
            self.losses_seen += 1;
        }
    }
}
