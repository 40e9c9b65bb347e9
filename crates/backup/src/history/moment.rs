//! The store as it was at a moment: which pieces, and where it is cut. It can be restored, or looked into where it lies.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use seaway_journal::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, LockError};
use seaway_journal::{CutFound, FollowError, Follower, ImageFileKind, Mark, image_file_kind};

use super::link::{ArchivedFile, Head, Piece};
use super::{History, Stretch, piece_file, shown};
use crate::digest::Hasher;
use crate::error::{Error, io_error};
use crate::limits::PIECE_BYTES;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::restore::{Change, Target, Writing, mark};

/// Bytes of a file of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The first so many bytes of a piece.
    Piece { piece: Piece, length: u64 },
    /// Bytes that are in no piece: what is cut, and what says that it is.
    Made(Arc<Vec<u8>>),
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Part::Piece { length, .. } => *length,
            Part::Made(bytes) => bytes.len() as u64,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    name: String,
    parts: Vec<Part>,
}

impl File {
    fn length(&self) -> u64 {
        self.parts.iter().map(Part::length).sum()
    }

    /// The first so many bytes of a file that is archived.
    fn front(of: &ArchivedFile, length: u64) -> File {
        let (mut parts, mut left) = (Vec::new(), length);
        for piece in &of.pieces {
            let length = piece.length.min(left);
            if length > 0 {
                let piece = piece.clone();
                parts.push(Part::Piece { piece, length });
            }
            left -= length;
        }
        File {
            name: of.name.clone(),
            parts,
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Moment {
    history: History,
    /// The moment, nanoseconds since the Unix epoch: nothing in the store is later.
    pub at: i64,
    /// The store's identity, hexadecimal.
    pub identity: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Position of the first record that is not in it.
    pub position: u64,
    /// Files of epochs last.
    files: Vec<File>,
}

impl History {
    /// The store of a stretch as it was at a moment that the stretch has.
    ///
    /// # Errors
    /// The archive is damaged, or cannot be read.
    pub fn moment(&self, stretch: &Stretch, at: i64) -> Result<Moment, Error> {
        let path = &stretch.path;
        // The first is one for every moment of the stretch.
        let base = path
            .iter()
            .rposition(|(_, head)| head.is_base && head.newest.is_some_and(|newest| newest <= at))
            .unwrap_or(0);
        let (mut files, mut cut) = (BTreeMap::new(), None);
        for (index, (name, head)) in path.iter().enumerate().skip(base) {
            let (_, of_link) = self.link(name)?;
            files.extend(
                of_link
                    .into_iter()
                    // Later checkpoints may know of what is cut.
                    .filter(|file| index == base || !is_checkpoint(&file.name))
                    .map(|file| (file.name.clone(), file)),
            );
            if index > base && head.newest.is_some_and(|newest| newest > at) {
                let newest = path[index - 1].1.newest;
                cut = self.cut(head, newest, &files, at)?;
                if cut.is_some() {
                    break;
                }
            }
        }
        let last = path.last().map(|(_, head)| Mark::from(head.end));
        let cut = cut.or(last.map(|mark| CutFound { mark, shortened: None }));
        let cut = cut.ok_or_else(|| Error::Refused("there is nothing in the archive".to_owned()))?;
        let head = &path[base].1;
        Ok(Moment {
            history: self.clone(),
            at,
            identity: stretch.identity.clone(),
            encrypted: stretch.encrypted,
            position: cut.mark.position,
            files: cut_files(&files, &cut, head)?,
        })
    }

    /// Where a link's records become later than a moment; none when they never do.
    fn cut(
        &self,
        head: &Head,
        newest: Option<i64>,
        files: &BTreeMap<String, ArchivedFile>,
        at: i64,
    ) -> Result<Option<CutFound>, Error> {
        let (begin, end) = (Mark::from(head.begin), Mark::from(head.end));
        let mut follower = Follower::new(head.identity_bytes(), begin, newest);
        let mut segments: Vec<((u64, u64), &ArchivedFile)> = Vec::new();
        for file in files.values() {
            if let Some(ImageFileKind::Segment(number, epoch)) = image_file_kind(&file.name)
                && (begin.segment..=end.segment).contains(&number)
            {
                segments.push(((number, epoch), file));
            }
        }
        segments.sort_unstable_by_key(|(segment, _)| *segment);
        for (segment, file) in segments {
            let whole = File::front(file, file.length);
            let mut read = |offset: u64, buffer: &mut [u8]| self.read(&whole, offset, buffer);
            match follower.follow_until(segment, file.length, at, &mut read) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(FollowError::Io(error)) => {
                    return Err(io_error(format!("read {} of the archive", file.name))(error));
                }
                Err(error) => {
                    return Err(Error::Damaged(format!(
                        "the archive is damaged, or something of it is missing: {}: {error}",
                        file.name
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Fills a buffer with bytes of a file, unchecked.
    fn read(&self, file: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        for part in &file.parts {
            if buffer.is_empty() {
                return Ok(());
            }
            let length = part.length();
            if offset >= length {
                offset -= length;
                continue;
            }
            let here = (length - offset).min(buffer.len() as u64) as usize;
            let (front, rest) = std::mem::take(&mut buffer).split_at_mut(here);
            match part {
                Part::Made(bytes) => front.copy_from_slice(&bytes[offset as usize..offset as usize + here]),
                Part::Piece { piece, .. } => {
                    let file = self.disk.open_to_read(&piece_file(&piece.sha256))?;
                    file.read_at(front, offset)?;
                }
            }
            (buffer, offset) = (rest, 0);
        }
        match buffer.is_empty() {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn is_checkpoint(name: &str) -> bool {
    matches!(image_file_kind(name), Some(ImageFileKind::Checkpoint(..)))
}

/// The files that stay, with nothing behind the cut.
fn cut_files(files: &BTreeMap<String, ArchivedFile>, cut: &CutFound, base: &Head) -> Result<Vec<File>, Error> {
    let mark = cut.mark;
    let (mut stay, mut epochs) = (Vec::new(), Vec::new());
    for file in files.values() {
        let whole = || File::front(file, file.length);
        match image_file_kind(&file.name) {
            Some(ImageFileKind::Segment(number, _)) if number < mark.segment => stay.push(whole()),
            Some(ImageFileKind::Segment(number, _)) if number == mark.segment => {
                let (begin, made) = match &cut.shortened {
                    Some((begin, bytes)) => (*begin, Some(Part::Made(Arc::new(bytes.clone())))),
                    None => (mark.offset, None),
                };
                let mut front = File::front(file, begin);
                front.parts.extend(made);
                if front.length() != mark.offset {
                    return Err(Error::Damaged(format!(
                        "the archive is damaged: {} has less than it should",
                        file.name
                    )));
                }
                stay.push(front);
            }
            // A directory of the segment that is cut speaks of what is not there; a start makes it again.
            Some(ImageFileKind::Directory(number, _)) if number < mark.segment => stay.push(whole()),
            Some(ImageFileKind::Epoch(epoch)) if epoch <= mark.epoch => epochs.push(whole()),
            Some(ImageFileKind::Checkpoint(..) | ImageFileKind::GivenUp) => stay.push(whole()),
            _ => {}
        }
    }
    let (name, content) = mark.end_file(&base.identity_bytes());
    stay.push(File {
        name,
        parts: vec![Part::Made(Arc::new(content))],
    });
    stay.append(&mut epochs);
    Ok(stay)
}

impl Moment {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(File::length).sum()
    }

    /// Makes the store in a directory, which is made when it is not there and has to be empty otherwise. Interrupted, it is begun again, or
    /// gone on with.
    ///
    /// # Errors
    /// There is something in the directory; the archive is damaged; something cannot be written.
    pub fn restore(
        &self,
        directory: &std::path::Path,
        change: Option<Change<'_>>,
        pace: &mut Pace,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.restore_changed(crate::restore::disk_of(directory)?, change, pace, progress)
    }

    /// As [`Moment::restore`], on any disk.
    ///
    /// # Errors
    /// See [`Moment::restore`].
    pub fn restore_on(&self, disk: Arc<dyn Disk>, pace: &mut Pace, progress: &Progress) -> Result<(), Error> {
        self.restore_changed(disk, None, pace, progress)
    }

    fn restore_changed(
        &self,
        disk: Arc<dyn Disk>,
        change: Option<Change<'_>>,
        pace: &mut Pace,
        progress: &Progress,
    ) -> Result<(), Error> {
        let target = Target::open(disk)?;
        let content = format!("{} {} {:?}", self.identity, self.at, self.files);
        let mark = mark(content.as_bytes(), change.as_ref());
        if target.is_complete(&mark)? {
            return target.put_in_place();
        }
        progress.begin(self.bytes());
        if let Err(error) = target.check_space(self.bytes()) {
            return Err(target.give_up(error));
        }
        let written = self
            .files
            .iter()
            .try_for_each(|file| self.write(file, &target, pace, progress));
        match written {
            Ok(()) => target.finish(&mark, (&self.identity, self.encrypted), change),
            Err(error) => Err(target.give_up(error)),
        }
    }

    fn write(&self, file: &File, target: &Target, pace: &mut Pace, progress: &Progress) -> Result<(), Error> {
        let mut writing = Writing::begin(target, &file.name)?;
        let mut bytes = vec![0; pace.piece(PIECE_BYTES)];
        for part in &file.parts {
            let (piece, length) = match part {
                Part::Made(made) => {
                    writing.write(made)?;
                    progress.add(made.len() as u64);
                    continue;
                }
                Part::Piece { piece, length } => (piece, *length),
            };
            let object = piece_file(&piece.sha256);
            let read_error = || io_error(format!("read {object} of the archive"));
            let source = self.history.disk.open_to_read(&object).map_err(read_error())?;
            let (mut hasher, mut offset) = (Hasher::new(), 0);
            // All of it is read, also what is not needed: whether it is right shows by the whole.
            while offset < piece.length {
                let next = &mut bytes[..(piece.length - offset).min(pace.piece(PIECE_BYTES) as u64) as usize];
                pace.wait(next.len());
                source.read_at(next, offset).map_err(read_error())?;
                hasher.update(next);
                let wanted = length.saturating_sub(offset).min(next.len() as u64) as usize;
                writing.write(&next[..wanted])?;
                progress.add(wanted as u64);
                offset += next.len() as u64;
            }
            let found = hasher.finish();
            if found != piece.sha256 {
                return Err(Error::Damaged(format!(
                    "the archive is damaged: {object}, a piece of {}, is not what was written: it has the checksum {found}. `seaway verify` \
                     says which moments that concerns",
                    file.name
                )));
            }
        }
        writing.finish().map(drop)
    }

    /// The store as a directory that is only read. What is missing of it cannot be read.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(Contents(Arc::new(self.clone())))
    }

    /// In words, for people.
    pub fn shown(&self) -> jiff::Timestamp {
        shown(self.at)
    }
}

/// See [`Moment::disk`].
struct Contents(Arc<Moment>);

impl Contents {
    fn find(&self, name: &str) -> Option<usize> {
        self.0.files.iter().position(|file| file.name == name)
    }
}

fn is_only_read<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "an archive is only read"))
}

impl Disk for Contents {
    fn list(&self, folder: &str) -> io::Result<Vec<DirectoryEntry>> {
        if !folder.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        let entry = |file: &File| DirectoryEntry {
            name: file.name.clone(),
            length: file.length(),
            is_folder: false,
        };
        Ok(self.0.files.iter().map(entry).collect())
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        is_only_read()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.find(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(Content {
            of: Arc::clone(&self.0),
            file,
        }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.find(name).is_some())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        is_only_read()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        is_only_read()
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn space_available(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn lock(&self, _: &str, _: &str) -> Result<Box<dyn DiskLock>, LockError> {
        Err(LockError::Io(ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn lock_existing(&self, _: &str) -> Result<Box<dyn DiskLock>, LockError> {
        Err(LockError::Io(ErrorKind::NotFound.into()))
    }

    fn is_locked(&self, _: &str) -> io::Result<bool> {
        Err(ErrorKind::NotFound.into())
    }
}

struct Content {
    of: Arc<Moment>,
    file: usize,
}

impl DiskFile for Content {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.of.history.read(&self.of.files[self.file], offset, buffer)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        is_only_read()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.of.files[self.file].length())
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        is_only_read()
    }
}
