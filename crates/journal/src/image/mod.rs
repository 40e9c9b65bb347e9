//! Images: which files of a journal, and how much of each, say together what it held at one position (docs/backup.md). Of a directory
//! that nobody serves from (`at_rest`), or of a journal that goes on (`Journal::image`), which keeps those files while they are copied.
//! Files are taken as they are: what is encrypted stays so, and no key is needed.

mod archiving;
mod at_rest;
mod lock;
mod pin;
mod plan;

use crate::archive::Mark;
use crate::claim::newest_epoch;
use crate::disk::{Disk, DiskFile, DiskLock};
use crate::error::OpenError;
use crate::format::{
    FileName, GIVEN_UP_NAME, Identity, Life, SegmentId, checkpoint_name, encode_end, end_name, epoch_name, lost_name,
};
use crate::names::Position;
use crate::recovery::files::{life_of, read_all};
use crate::recovery::io_error;
use crate::verification::is_unreadable;
pub(crate) use archiving::{Archiving, Cause};
pub(crate) use lock::lock;
pub(crate) use pin::{Grip, Kept, Pin};
pub use plan::ImagePlan;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Its name in the journal's directory.
    pub name: String,
    /// How many of its bytes belong to the image, from its beginning on.
    pub length: u64,
}

/// A consistent image of a journal. As long as it is there, its files can be read, or [`Image::check`] says that they cannot.
pub struct Image {
    /// The random bytes that name the journal.
    pub identity: Identity,
    /// Its newest epoch.
    pub epoch: u64,
    /// Position of the last record in the image; none when nobody noted where it is: a process that served was killed.
    pub position: Option<Position>,
    /// Which life of it: none of one that was never restored.
    pub life: Option<Life>,
    /// Whether the journal is encrypted.
    pub is_encrypted: bool,
    end: Option<Mark>,
    is_complete: bool,
    files: Vec<ImageFile>,
    /// Contents that are not read from the disk.
    made: Vec<Option<Vec<u8>>>,
    disk: Arc<dyn Disk>,
    hold: Hold,
    /// The file that was read last.
    open: Mutex<Option<(usize, Arc<dyn DiskFile>)>>,
}

/// What keeps the files.
enum Hold {
    /// Nobody uses the directory.
    Lock {
        /// None on a medium that nobody can write to.
        _lock: Option<Box<dyn DiskLock>>,
        /// The highest number in any name when it was taken.
        seen: u64,
    },
    /// A word to the journal that goes on.
    Pin(Grip),
}

impl Image {
    /// The image that a running journal has planned. Reads the small files that say what counts; to be called on a thread that may wait
    /// for the disk.
    ///
    /// # Errors
    /// The directory or one of them cannot be read.
    pub fn open(plan: ImagePlan, disk: Arc<dyn Disk>) -> Result<Image, OpenError> {
        let mut image = Image::empty(plan.identity, plan.epoch, plan.is_encrypted, disk, Hold::Pin(plan.grip));
        image.position = Some(plan.end.position);
        image.end = Some(Mark::of(plan.end, plan.epoch));
        image.is_complete = plan.is_complete;
        let names = image
            .disk
            .file_names()
            .map_err(io_error("list the journal's directory"))?;
        for name in names {
            // A later epoch is somebody else's, who took over meanwhile.
            match FileName::parse(&name) {
                FileName::Epoch(epoch) | FileName::Lost(epoch) if epoch <= plan.epoch => image.add_whole(name)?,
                FileName::GivenUp | FileName::Life => image.add_whole(name)?,
                _ => {}
            }
        }
        image.life = life_of(image.disk.as_ref(), &image.identity)?;
        // Whoever starts on the image expects the records up to here.
        image.add_made(end_name(plan.epoch), encode_end(&plan.identity, plan.epoch, plan.end));
        if let Some((name, length)) = plan.checkpoint {
            image.add(name, length);
        }
        for (id, end, directory) in plan.segments {
            image.add_segment(id, end, directory);
        }
        image.sort();
        Ok(image)
    }

    fn empty(identity: Identity, epoch: u64, is_encrypted: bool, disk: Arc<dyn Disk>, hold: Hold) -> Image {
        Image {
            identity,
            epoch,
            position: None,
            life: None,
            is_encrypted,
            end: None,
            is_complete: true,
            files: Vec::new(),
            made: Vec::new(),
            disk,
            hold,
            open: Mutex::default(),
        }
    }

    fn add(&mut self, name: String, length: u64) {
        self.files.push(ImageFile { name, length });
        self.made.push(None);
    }

    fn add_made(&mut self, name: String, content: Vec<u8>) {
        let length = content.len() as u64;
        self.files.push(ImageFile { name, length });
        self.made.push(Some(content));
    }

    /// A small file, as it is now.
    fn add_whole(&mut self, name: String) -> Result<(), OpenError> {
        let content = read_all(self.disk.as_ref(), &name)?;
        self.add_made(name, content);
        Ok(())
    }

    fn add_segment(&mut self, id: SegmentId, end: u64, directory: u64) {
        self.add(id.file_name(), end);
        if directory > 0 {
            self.add(id.directory_name(), directory);
        }
    }

    /// By name, but the files of epochs last: without them nobody takes the others for a journal.
    fn sort(&mut self) {
        let files = std::mem::take(&mut self.files);
        let made = std::mem::take(&mut self.made);
        let mut all: Vec<_> = files.into_iter().zip(made).collect();
        all.sort_by_cached_key(|(file, _)| {
            let is_epoch = matches!(FileName::parse(&file.name), FileName::Epoch(_));
            (is_epoch, file.name.clone())
        });
        (self.files, self.made) = all.into_iter().unzip();
    }

    /// Its files; those that open epochs come last, the newest at the end.
    pub fn files(&self) -> &[ImageFile] {
        &self.files
    }

    /// Fills `buffer` with bytes of file number `file`, from an offset in it on.
    ///
    /// # Errors
    /// The bytes are beyond the file's length (`UnexpectedEof`), cannot be read, or the image was given up meanwhile
    /// ([`Image::check`]): then what was read is not handed out.
    pub fn read(&self, file: usize, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let known = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > known.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(made) = &self.made[file] {
            let begin = offset as usize;
            buffer.copy_from_slice(&made[begin..begin + buffer.len()]);
            return Ok(());
        }
        let read = self.file(file).and_then(|opened| opened.read_at(buffer, offset));
        // A file that is given up may have become another's while it was read. Who has the directory's lock is asked once, at the end.
        self.check_kept().inspect_err(|_| self.close_file())?;
        read
    }

    /// As [`Image::check`], without a look at the disk: of an image whose directory is locked nothing is known.
    ///
    /// # Errors
    /// See [`Image::check`].
    pub fn check_kept(&self) -> io::Result<()> {
        match &self.hold {
            Hold::Pin(grip) => grip.0.check(),
            Hold::Lock { .. } => Ok(()),
        }
    }

    /// Whether an error of [`Image::read`] says that the medium does not give these bytes back: others of the image may be read.
    pub fn is_unreadable(&self, error: &io::Error) -> bool {
        is_unreadable(error) && self.check().is_ok()
    }

    /// Keeps no file open: its space goes with its name.
    pub fn close_file(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn file(&self, index: usize) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, file)) = open.as_ref()
            && *of == index
        {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open_to_read(&self.files[index].name)?;
        *open = Some((index, Arc::clone(&file)));
        Ok(file)
    }

    /// Everything of it is in the archive: the journal need not keep it any more. For an image of [`Journal::archive_image`](crate::Journal::archive_image).
    pub fn archived(&self) {
        if let Hold::Pin(grip) = &self.hold {
            grip.0.archive();
        }
    }

    /// Where everything durable ends in it; none in one of a directory at rest.
    pub fn end(&self) -> Option<Mark> {
        self.end
    }

    /// Whether everything was in it that the journal had been given when it was planned: nothing was on its way to the disk.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the files are still those of the image. To be asked once more when all of them were read.
    ///
    /// # Errors
    /// The running journal needed their space or has ended; or somebody began to use the directory.
    pub fn check(&self) -> io::Result<()> {
        match &self.hold {
            Hold::Pin(grip) => grip.0.check(),
            Hold::Lock { seen, .. } if newest_epoch(self.disk.as_ref())? == *seen => Ok(()),
            Hold::Lock { .. } => Err(io::Error::other("a server has begun to use the store meanwhile")),
        }
    }
}

/// Name of the file that says what was given up at an epoch, and of others that an image has whole.
fn small_names(epochs: &[u64], lost: &[u64], has_witness: bool) -> Vec<String> {
    let epochs = epochs.iter().map(|epoch| epoch_name(*epoch));
    let lost = lost.iter().map(|epoch| lost_name(*epoch));
    let witness = has_witness.then(|| GIVEN_UP_NAME.to_owned());
    epochs.chain(lost).chain(witness).collect()
}

fn checkpoint_names(checkpoints: &[(u64, u64)]) -> impl Iterator<Item = String> + '_ {
    checkpoints
        .iter()
        .map(|(position, epoch)| checkpoint_name(*position, *epoch))
}
