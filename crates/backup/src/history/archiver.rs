//! Writing the archive: what is new in an image of the running store goes into pieces, and a link says so when all of them are durable.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use seaway_journal::disk::DiskFile;
use seaway_journal::{FollowError, Follower, Image, ImageFileKind, Mark, image_file_kind};

use super::link::{ArchivedFile, Head, HeadOf, Piece, encode};
use super::{History, PIECE, UNFINISHED, piece_file, shown};
use crate::digest::{Hasher, sha256};
use crate::error::{Error, io_error};
use crate::limits::{CHAINS_TRIED_MAX, PIECE_BYTES};

/// What was archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Everything up to this moment is in the archive, nanoseconds since the Unix epoch.
    pub until: i64,
    /// Position of the store's journal where the archive ends.
    pub position: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// What the operator has to know: there is a hole before this, and why.
    pub gap: Option<String>,
}

/// Archives one life of a store's journal, image after image.
pub struct Archiver {
    history: History,
    /// The chain that goes on; none before the first image, and when there is none that the store continues.
    chain: Option<Chain>,
    is_loaded: bool,
    /// The last attempt came to no end: what it left may have gone since.
    is_interrupted: bool,
    /// A hole that nobody was told of yet, because what is behind it could not be archived.
    gap: Option<String>,
    /// What was copied of files for a link that did not come about. Files of one life do not change but at their ends.
    copied: HashMap<String, ArchivedFile>,
    /// Tells the unfinished files of this from those of others.
    token: String,
    unfinished: u64,
    /// Hears whenever the archive's disk has answered.
    step: Step,
}

/// Hears, from the thread that archives, that something got on.
pub type Step = Arc<dyn Fn() + Send + Sync>;

/// The end of a chain.
struct Chain {
    name: String,
    head: Head,
    /// Every file of the store that is archived, as of its end.
    files: BTreeMap<String, ArchivedFile>,
}

/// What an image adds to a chain.
struct Addition {
    previous: Option<String>,
    begin: Mark,
    end: Mark,
    newest: Option<i64>,
    is_base: bool,
    /// As of when it is, when it begins a chain.
    begun: Option<i64>,
}

impl Archiver {
    /// Goes on in an archive. `token` tells it from every other that writes there: digits and letters.
    pub fn new(history: History, token: &str) -> Archiver {
        Archiver {
            history,
            chain: None,
            is_loaded: false,
            is_interrupted: false,
            gap: None,
            copied: HashMap::new(),
            token: token.to_owned(),
            unfinished: 0,
            step: Arc::new(|| {}),
        }
    }

    /// Tells each step that it gets on: a disk that hangs shows by none.
    #[must_use]
    pub fn watched(self, step: Step) -> Archiver {
        Archiver { step, ..self }
    }

    /// Goes on in the same archive, whose directory was opened anew after a failure.
    pub fn go_on_in(&mut self, history: History) {
        self.history = history;
    }

    /// The archive.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Archives what is new in an image that the journal planned for this. `planned` is a moment before that, by the clock that gives the
    /// store's records their times. When it fails nothing counts, and what was copied need not be copied again.
    ///
    /// # Errors
    /// The store cannot be read, or the archive not be written.
    pub fn archive(&mut self, image: &Image, planned: i64) -> Result<Archived, Error> {
        let end = image
            .end()
            .ok_or_else(|| Error::Refused("only a running store is archived".to_owned()))?;
        if !self.is_loaded {
            self.remove_unfinished()?;
            let gap = self.load(image, end)?;
            self.gap = match self.chain {
                Some(_) => None,
                None => gap.or(self.gap.take()),
            };
            self.is_loaded = true;
        }
        self.look_for_chain()?;
        let was_interrupted = std::mem::replace(&mut self.is_interrupted, true);
        let addition = match self.continued(image, end, planned)? {
            Ok(addition) => addition,
            Err(reason) => {
                let until = self.chain.take().map(|chain| chain.head.until);
                let gap = until.map(|until| format!("what was written after {} is not in it: {reason}", shown(until)));
                self.gap = gap.or(self.gap.take());
                self.copied.clear();
                self.root(image, end, planned)?
            }
        };
        if addition.previous.is_none() && addition.newest.is_none() && !image.is_complete() {
            // Nothing of what is on its way is there yet, and no moment can be named.
            return Ok(Archived {
                until: i64::MIN,
                position: 0,
                bytes: 0,
                gap: None,
            });
        }
        // Something of the same moment may be on its way, or come yet while the clock stands behind it.
        let latest = |newest: Option<i64>| newest.map_or(i64::MIN, |newest| newest.saturating_sub(1));
        let before = self.chain.as_ref().map_or(i64::MIN, |chain| chain.head.until);
        let until = match image.is_complete() {
            true => planned.max(latest(addition.newest)),
            false => latest(addition.newest),
        };
        let until = until.max(before);
        if let Some(chain) = &self.chain
            && addition.end == Mark::from(chain.head.end)
            && !addition.is_base
            && chain.head.until >= chain.head.newest.unwrap_or(i64::MIN)
        {
            image.archived();
            self.is_interrupted = false;
            return Ok(Archived {
                until: chain.head.until,
                position: end.position,
                bytes: 0,
                gap: self.gap.take(),
            });
        }
        let bytes = self.add(image, &addition, until, was_interrupted)?;
        image.archived();
        self.is_interrupted = false;
        self.copied.clear();
        Ok(Archived {
            until,
            position: end.position,
            bytes,
            gap: self.gap.take(),
        })
    }

    /// Whether the end of the chain is still there: what continues a link that somebody removed could not be found again.
    fn look_for_chain(&mut self) -> Result<(), Error> {
        let Some(chain) = &self.chain else { return Ok(()) };
        let name = &chain.name;
        let is_there = self.history.disk.exists(name);
        if is_there.map_err(io_error(format!("look for {name} in the archive")))? {
            return Ok(());
        }
        let words = format!("{name}, its newest link, is not there any more");
        self.gap = Some(format!("what is before this is not in it: {words}"));
        self.chain = None;
        self.is_loaded = false;
        self.copied.clear();
        Err(Error::Refused(format!(
            "{words}: was the directory emptied, or its disk unmounted? The next attempt goes on with what is there then"
        )))
    }

    /// Looks for the chain that the store continues. Says what is missing when there are others only.
    fn load(&mut self, image: &Image, end: Mark) -> Result<Option<String>, Error> {
        let identity = HEXLOWER.encode(&image.identity);
        let life = image.life.map(|life| HEXLOWER.encode(&life));
        let mut stretches = self.history.reach()?.stretches;
        stretches.retain(|stretch| stretch.identity == identity);
        // Another life may have gone on from the same place: to continue its chain would make two histories one.
        stretches.retain(|stretch| stretch.path.last().is_some_and(|(_, head)| head.life == life));
        stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.path.last().map(|(_, head)| head.made)));
        let latest = stretches.iter().map(|stretch| stretch.until).max();
        let mut damaged = None;
        'stretches: for stretch in stretches.iter().take(CHAINS_TRIED_MAX) {
            let Some((name, head)) = stretch.path.last() else {
                continue;
            };
            let mut follower = Follower::new(image.identity, head.end.into(), head.newest);
            match follow(image, &mut follower, end) {
                Ok(()) => {}
                Err(FollowError::Broken { .. }) => continue,
                Err(FollowError::Io(error)) => return Err(io_error("read the store")(error)),
            }
            let base = stretch.path.iter().rposition(|(_, head)| head.is_base).unwrap_or(0);
            let mut files = BTreeMap::new();
            for (name, _) in &stretch.path[base..] {
                let of_link = match self.history.link(name) {
                    Ok((_, of_link)) => of_link,
                    // It begins anew: what is damaged must not end the archiving.
                    Err(Error::Damaged(reason)) => {
                        damaged = Some(reason);
                        continue 'stretches;
                    }
                    Err(error) => return Err(error),
                };
                files.extend(of_link.into_iter().map(|file| (file.name.clone(), file)));
            }
            self.chain = Some(Chain {
                name: name.clone(),
                head: head.clone(),
                files,
            });
            return Ok(None);
        }
        if let Some(reason) = damaged {
            return Ok(Some(format!("what is there cannot be continued: {reason}")));
        }
        Ok(latest.map(|latest| {
            format!(
                "the store does not continue what is in it up to {}: it was restored, or served without an archive meanwhile",
                shown(latest)
            )
        }))
    }

    /// What an image adds to the chain; why it does not continue it, when it does not.
    fn continued(&self, image: &Image, end: Mark, planned: i64) -> Result<Result<Addition, String>, Error> {
        let Some(chain) = &self.chain else {
            return self.root(image, end, planned).map(Ok);
        };
        let begin = Mark::from(chain.head.end);
        let mut follower = Follower::new(image.identity, begin, chain.head.newest);
        match follow(image, &mut follower, end) {
            Ok(()) => {}
            Err(FollowError::Io(error)) => return Err(io_error("read the store")(error)),
            Err(error) => return Ok(Err(error.to_string())),
        }
        let has_checkpoint = |file: &&str| matches!(image_file_kind(file), Some(ImageFileKind::Checkpoint(..)));
        let names = image.files().iter().map(|file| file.name.as_str());
        let is_base = names.filter(has_checkpoint).any(|name| !chain.files.contains_key(name));
        Ok(Ok(Addition {
            previous: Some(chain.name.clone()),
            begin,
            end,
            newest: follower.newest(),
            is_base,
            begun: None,
        }))
    }

    /// What begins a chain: everything. The latest time in it is the latest in the last segment that has one.
    fn root(&self, image: &Image, end: Mark, planned: i64) -> Result<Addition, Error> {
        let mut newest = None;
        for (file, segment, length) in segments(image).into_iter().rev() {
            let mut read = |offset: u64, buffer: &mut [u8]| image.read(file, offset, buffer);
            let begun = Follower::begin(image.identity, segment, length, &mut read);
            let followed = begun.and_then(|follower| {
                let Some(mut follower) = follower else { return Ok(None) };
                follower.follow(segment, length, &mut read)?;
                Ok(follower.newest())
            });
            newest = match followed {
                Ok(found) => found,
                // What is damaged is archived as it is; its time is then that of what is before it, or of now.
                Err(FollowError::Broken { .. }) => None,
                Err(FollowError::Io(error)) => return Err(io_error("read the store")(error)),
            };
            if newest.is_some() {
                break;
            }
        }
        Ok(Addition {
            previous: None,
            begin: end,
            end,
            newest,
            is_base: true,
            begun: Some(planned),
        })
    }

    /// Copies what is new, and writes the link.
    fn add(&mut self, image: &Image, addition: &Addition, until: i64, was_interrupted: bool) -> Result<u64, Error> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for index in 0..image.files().len() {
            let name = image.files()[index].name.clone();
            let is_wanted = match image_file_kind(&name) {
                // That everything ends here is said by the restore, which knows where.
                None | Some(ImageFileKind::End(_)) => false,
                Some(ImageFileKind::Checkpoint(..)) => addition.is_base,
                Some(_) => true,
            };
            if is_wanted {
                let (file, copied) = self.file(image, index)?;
                bytes += copied;
                let known = self.chain.as_ref().and_then(|chain| chain.files.get(&name));
                if addition.is_base || known != Some(&file) {
                    files.push(file);
                }
            }
        }
        // Their names are durable before anything says that they are there.
        self.history
            .disk
            .sync_directory()
            .map_err(io_error("sync the archive's directory"))?;
        if was_interrupted {
            self.check_pieces(&files)?;
        }
        image.check().map_err(|error| Error::Source(error.to_string()))?;
        let head = Head::new(HeadOf {
            identity: image.identity,
            life: image.life,
            epoch: image.epoch,
            encrypted: image.is_encrypted,
            previous: addition.previous.clone(),
            is_base: addition.is_base,
            begun: addition.begun,
            begin: addition.begin,
            end: addition.end,
            newest: addition.newest,
            until,
        });
        let (name, content) = encode(&head, &files);
        self.write(&name, &content)?;
        self.history
            .disk
            .sync_directory()
            .map_err(io_error("sync the archive's directory"))?;
        if addition.previous.is_none() {
            self.check_pieces(&files)?;
        }
        let mut all = match (addition.is_base, self.chain.take()) {
            (false, Some(chain)) => chain.files,
            _ => BTreeMap::new(),
        };
        all.extend(files.into_iter().map(|file| (file.name.clone(), file)));
        self.chain = Some(Chain { name, head, files: all });
        Ok(bytes)
    }

    /// A file of the image as it is archived: what is known of it, and a piece with what is new. Also how much that is.
    fn file(&mut self, image: &Image, index: usize) -> Result<(ArchivedFile, u64), Error> {
        let of_image = &image.files()[index];
        let (name, length) = (of_image.name.clone(), of_image.length);
        let of_chain = self.chain.as_ref().and_then(|chain| chain.files.get(&name));
        let known = self.copied.get(&name).or(of_chain);
        let is_small = matches!(
            image_file_kind(&name),
            Some(ImageFileKind::Epoch(_) | ImageFileKind::GivenUp)
        );
        let mut file = match known {
            // A few bytes, which are looked at.
            Some(known) if is_small && is_same(image, index, known)? => known.clone(),
            Some(known) if !is_small && known.length <= length => known.clone(),
            _ => ArchivedFile {
                name: name.clone(),
                length: 0,
                pieces: Vec::new(),
            },
        };
        let new = length - file.length;
        if new > 0 {
            let sha256 = self.piece(image, index, file.length)?;
            file.pieces.push(Piece { sha256, length: new });
            file.length = length;
            self.copied.insert(name, file.clone());
        }
        Ok((file, new))
    }

    /// Copies a file from an offset on; the checksum of that.
    fn piece(&mut self, image: &Image, index: usize, from: u64) -> Result<String, Error> {
        let of_image = &image.files()[index];
        let (file, unfinished) = self.begin()?;
        let copy = || {
            let mut hasher = Hasher::new();
            let mut bytes = vec![0; PIECE_BYTES.min((of_image.length - from) as usize)];
            let mut offset = from;
            while offset < of_image.length {
                let piece = &mut bytes[..(of_image.length - offset).min(PIECE_BYTES as u64) as usize];
                let read = image.read(index, offset, piece);
                read.map_err(io_error(format!("read {} of the store", of_image.name)))?;
                hasher.update(piece);
                // In pieces: one sync of all would make the commits of the store wait.
                let written = file.write_at(piece, offset - from).and_then(|()| file.sync_data());
                written.map_err(io_error(format!("write {unfinished} to the archive")))?;
                (self.step)();
                offset += piece.len() as u64;
            }
            let sha256 = hasher.finish();
            self.name(file.as_ref(), &unfinished, &piece_file(&sha256))?;
            Ok(sha256)
        };
        let copied = copy();
        if copied.is_err() {
            // What cannot be removed goes with the next tenure.
            let _ = self.history.disk.remove(&unfinished);
        }
        copied
    }

    /// Writes a whole small file.
    fn write(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let (file, unfinished) = self.begin()?;
        let written = file.write_at(content, 0);
        let written = written.map_err(io_error(format!("write {unfinished} to the archive")));
        let written = written.and_then(|()| self.name(file.as_ref(), &unfinished, name));
        if written.is_err() {
            let _ = self.history.disk.remove(&unfinished);
        }
        written
    }

    fn begin(&mut self) -> Result<(Arc<dyn DiskFile>, String), Error> {
        self.unfinished += 1;
        let name = format!("{}-{}{UNFINISHED}", self.token, self.unfinished);
        let created = self.history.disk.create(&name);
        Ok((
            created.map_err(io_error(format!("create {name} in the archive")))?,
            name,
        ))
    }

    fn name(&self, file: &dyn DiskFile, unfinished: &str, name: &str) -> Result<(), Error> {
        let named = file
            .sync_data()
            .and_then(|()| self.history.disk.rename(unfinished, name));
        (self.step)();
        named.map_err(io_error(format!("write {name} to the archive")))
    }

    /// What others left that ended in the middle. Those of one that still writes are in its way no more either: it has been deposed.
    fn remove_unfinished(&self) -> Result<(), Error> {
        let disk = self.history.disk.as_ref();
        let names = disk.file_names().map_err(io_error("list the archive"))?;
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            match disk.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(format!("remove {name} of the archive"))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether every piece of a new chain is there: somebody who has been deposed may have removed one that is also in an old chain.
    fn check_pieces(&mut self, files: &[ArchivedFile]) -> Result<(), Error> {
        let names = self.history.disk.file_names().map_err(io_error("list the archive"))?;
        let there: HashSet<&str> = names.iter().filter_map(|name| name.strip_prefix(PIECE)).collect();
        let pieces = files.iter().flat_map(|file| &file.pieces);
        match pieces.into_iter().find(|piece| !there.contains(piece.sha256.as_str())) {
            None => Ok(()),
            Some(piece) => {
                let words = format!(
                    "{} of it was removed by somebody while it was needed",
                    piece_file(&piece.sha256)
                );
                // What is there is copied once more: who goes on from what is missing can be restored to no moment.
                self.copied.clear();
                if let Some(chain) = self.chain.take() {
                    self.gap = Some(format!(
                        "what was written before this, up to {}, may not be whole: {words}",
                        shown(chain.head.until)
                    ));
                }
                Err(Error::Refused(words))
            }
        }
    }
}

/// Segments of an image that have batches, in order: number of the file, number and epoch, and where they end.
fn segments(image: &Image) -> Vec<(usize, (u64, u64), u64)> {
    let files = image.files().iter().enumerate();
    let segments = files.filter_map(|(index, file)| match image_file_kind(&file.name) {
        Some(ImageFileKind::Segment(number, epoch)) => Some((index, (number, epoch), file.length)),
        _ => None,
    });
    let mut segments: Vec<_> = segments.collect();
    segments.sort_unstable_by_key(|(_, segment, _)| *segment);
    segments
}

/// Follows an image to its end.
fn follow(image: &Image, follower: &mut Follower, end: Mark) -> Result<(), FollowError> {
    let begin = follower.mark();
    for (file, segment, length) in segments(image) {
        if segment.0 < begin.segment {
            continue;
        }
        let mut read = |offset: u64, buffer: &mut [u8]| image.read(file, offset, buffer);
        follower.follow(segment, length, &mut read)?;
    }
    let place = |mark: Mark| (mark.segment, mark.epoch, mark.offset, mark.checksum);
    match follower.mark() {
        // Positions that a start gave up are passed over with the first batch behind them.
        mark if place(mark) == place(end) && mark.position <= end.position => Ok(()),
        mark => Err(FollowError::Broken {
            segment: mark.segment,
            offset: mark.offset,
            reason: "the store ends elsewhere",
        }),
    }
}

/// Whether a small file is what is archived of it.
fn is_same(image: &Image, index: usize, known: &ArchivedFile) -> Result<bool, Error> {
    let of_image = &image.files()[index];
    if of_image.length != known.length || known.length > PIECE_BYTES as u64 {
        return Ok(false);
    }
    let mut bytes = vec![0; known.length as usize];
    let read = image.read(index, 0, &mut bytes);
    read.map_err(io_error(format!("read {} of the store", of_image.name)))?;
    Ok(matches!(&known.pieces[..], [piece] if piece.sha256 == sha256(&bytes)))
}
