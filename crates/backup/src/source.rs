//! Where an image comes from.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use seaway_journal::disk::{Disk, real::RealDisk, real::holder_description};
use seaway_journal::{Identity, Image, is_image_file, is_journal_file};

use crate::error::{Error, io_error};
use crate::limits::{FILES_MAX, NAME_BYTES_MAX};

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The 16 random bytes that name the store, hexadecimal.
    pub identity: String,
    /// Its newest epoch.
    pub epoch: u64,
    /// Position of the last record; none when a process that served was killed, and the next start finds it.
    pub position: Option<u64>,
    /// Whether the store is encrypted.
    pub is_encrypted: bool,
    /// Which life of the store it is, hexadecimal; none of one that was never restored.
    pub life: Option<String>,
    /// Everything durable by then is in it.
    pub begun: Timestamp,
}

/// A file of an image: its name in the store's directory, and how many of its bytes belong to the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
}

/// An image whose files can be read.
pub trait Source {
    /// What it is of.
    fn origin(&self) -> Origin;
    /// Its files.
    fn files(&self) -> &[SourceFile];
    /// Fills `buffer` with bytes of a file, from an offset on.
    ///
    /// # Errors
    /// [`Error::Unreadable`]: the medium does not give these back. Others: the image is not kept any more.
    fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
    /// Asked when everything was read: whether it was of one image all the time.
    ///
    /// # Errors
    /// It was not.
    fn finish(&mut self) -> Result<(), Error>;
}

/// Whether files can be those of a backup, whoever says so: each name is one of a store's files, and there once. Bytes of all of them.
pub(crate) fn check_files<'a>(files: impl ExactSizeIterator<Item = (&'a str, u64)>) -> Result<u64, String> {
    if files.len() > FILES_MAX {
        return Err(format!("it has more than {FILES_MAX} files"));
    }
    let mut names = HashSet::with_capacity(files.len());
    let mut bytes = 0_u64;
    for (name, length) in files {
        if !is_image_file(name) || name.len() > NAME_BYTES_MAX {
            return Err(format!("{name:?} is no name of a store's file"));
        }
        if !names.insert(name) {
            return Err(format!("{name} is there twice"));
        }
        bytes = bytes
            .checked_add(length)
            .ok_or("its files have more bytes than there can be")?;
    }
    Ok(bytes)
}

/// Whether a text can name a store.
pub(crate) fn check_identity(identity: &str) -> Result<(), String> {
    match HEXLOWER.decode(identity.as_bytes()) {
        Ok(bytes) if bytes.len() == size_of::<Identity>() => Ok(()),
        _ => Err("the name of its store is none".to_owned()),
    }
}

/// Whether a source is what a backup can be made of; bytes of its files.
///
/// # Errors
/// It is not.
pub(crate) fn check(source: &dyn Source) -> Result<u64, Error> {
    let files = source.files().iter().map(|file| (file.name.as_str(), file.length));
    let origin = source.origin();
    let lives = [Some(origin.identity), origin.life];
    let checked = lives.iter().flatten().try_for_each(|text| check_identity(text));
    let checked = checked.and_then(|()| check_files(files));
    checked.map_err(|reason| Error::Refused(format!("the image is none of a store: {reason}")))
}

/// The identity that an origin names.
pub(crate) fn identity_of(origin: &Origin) -> Identity {
    identity_named(&origin.identity)
}

/// The identity that is written so.
pub(crate) fn identity_named(text: &str) -> Identity {
    let decoded = HEXLOWER.decode(text.as_bytes());
    decoded
        .ok()
        .and_then(|bytes| Identity::try_from(bytes).ok())
        .unwrap_or_default()
}

/// The store in a directory that no server uses. It is locked as long as this is there.
pub struct Rest {
    image: Image,
    begun: Timestamp,
    files: Vec<SourceFile>,
}

impl Rest {
    /// Takes the lock of the store in a directory.
    ///
    /// # Errors
    /// There is no store, or somebody uses it, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Rest, Error> {
        let disk = RealDisk::existing(directory).map_err(io_error(format!("read {}", directory.display())))?;
        Rest::open_on(Arc::new(disk))
    }

    /// As [`Rest::open`], on any disk.
    ///
    /// # Errors
    /// See [`Rest::open`].
    pub fn open_on(disk: Arc<dyn Disk>) -> Result<Rest, Error> {
        let names = disk.file_names().map_err(io_error("list the store's directory"))?;
        if !names.iter().any(|name| is_journal_file(name)) {
            return Err(Error::Refused(
                "there is no store of Seaway's in the directory".to_owned(),
            ));
        }
        let (begun, holder) = (Timestamp::now(), format!("seaway backup, {}", holder_description()));
        let image = Image::at_rest(disk, &holder).map_err(Error::Store)?;
        let file = |file: &seaway_journal::ImageFile| SourceFile {
            name: file.name.clone(),
            length: file.length,
        };
        let files = image.files().iter().map(file).collect();
        Ok(Rest { image, begun, files })
    }
}

impl Source for Rest {
    fn origin(&self) -> Origin {
        Origin {
            identity: HEXLOWER.encode(&self.image.identity),
            epoch: self.image.epoch,
            position: self.image.position,
            is_encrypted: self.image.is_encrypted,
            life: self.image.life.map(|life| HEXLOWER.encode(&life)),
            begun: self.begun,
        }
    }

    fn files(&self) -> &[SourceFile] {
        &self.files
    }

    fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.image.read(file, offset, buffer).map_err(|error| {
            if self.image.is_unreadable(&error) {
                return Error::Unreadable(error.to_string());
            }
            io_error(format!("read {} of the store", self.files[file].name))(error)
        })
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.image.check().map_err(|error| Error::Source(error.to_string()))
    }
}
