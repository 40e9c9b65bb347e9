//! A backup as a stream: a tar of the store's files, and behind them the manifest, compressed with zstd. Any `tar` that knows zstd makes
//! a directory of it that is a store. One whose manifest is missing was cut off, and is none.

use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use seaway_journal::is_image_file;

use crate::copying::Copier;
use crate::error::{Error, io_error};
use crate::limits::{COPIED_BYTES, FILES_MAX, MANIFEST_BYTES_MAX};
use crate::manifest::{Manifest, ManifestFile};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::source::{Source, check};
use crate::tar::{BLOCK_BYTES, Header, read_padding, write_end, write_padding};

/// Name of the manifest, which is no file of a store.
const MANIFEST: &str = "seaway-backup.manifest";
/// What a file is called that is being written.
const UNFINISHED: &str = ".writing";
/// Fast, and about as good as the next ones.
const LEVEL: i32 = 1;

/// Whether a file of this name is to be an archive.
pub fn is_archive(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.ends_with(".tar.zst") || name.ends_with(".tzst"))
}

/// Writes a backup to a stream; what it is made of. The stream is flushed, and its owner makes it durable.
///
/// # Errors
/// The source cannot be read, or the stream not written.
pub fn write(
    source: &mut dyn Source,
    out: impl Write,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    let bytes_total = check(source)?;
    let time = u64::try_from(source.origin().begun.as_second()).unwrap_or(0);
    let failed = || io_error("write the archive");
    let mut out = zstd::Encoder::new(out, LEVEL).map_err(failed())?;
    // A damaged place shows when the archive is read, wherever it is.
    out.include_checksum(true).map_err(failed())?;
    progress.begin(bytes_total);
    let mut files = Vec::with_capacity(source.files().len());
    let mut copier = Copier::new(source, pace, progress);
    for index in 0..source.files().len() {
        let file = source.files()[index].clone();
        let header = Header {
            name: file.name.clone(),
            length: file.length,
            time,
        };
        out.write_all(&header.encode()).map_err(failed())?;
        let copied = copier.copy(source, index, &mut |piece, _| out.write_all(piece).map_err(failed()))?;
        write_padding(&mut out, file.length).map_err(failed())?;
        files.push(ManifestFile {
            name: file.name,
            length: file.length,
            sha256: copied.sha256,
            sample: None,
            damaged: copied.damaged,
        });
    }
    source.finish()?;
    let manifest = Manifest::new(source.origin(), files);
    let text = manifest.encode();
    let header = Header {
        name: MANIFEST.to_owned(),
        length: text.len() as u64,
        time,
    };
    let mut end = || {
        out.write_all(&header.encode())?;
        out.write_all(&text)?;
        write_padding(&mut out, header.length)?;
        write_end(&mut out)
    };
    end().map_err(failed())?;
    out.finish().and_then(|mut out| out.flush()).map_err(failed())?;
    Ok(manifest)
}

/// Writes a backup to a file, which gets its name when it is complete and durable. A file that is there is not overwritten.
///
/// # Errors
/// See [`write`]; there is a file of that name.
pub fn write_file(
    source: &mut dyn Source,
    path: &Path,
    pace: &mut Pace,
    progress: &Progress,
) -> Result<Manifest, Error> {
    let shown = path.display();
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(format!("look for {shown}"))(error)),
        Ok(_) => {
            return Err(Error::Refused(format!(
                "{shown} is there already, and is not overwritten"
            )));
        }
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let file = begin_file(&unfinished)?;
    let out = io::BufWriter::with_capacity(COPIED_BYTES, Synced(&file));
    let written = write(source, out, pace, progress);
    let place = || {
        file.sync_all()?;
        place_file(&file, &unfinished, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    let written = written.and_then(|manifest| {
        place().map_err(io_error(format!("write {shown}")))?;
        Ok(manifest)
    });
    if written.is_err() && is_in_place(&file, &unfinished).unwrap_or(false) {
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

/// A file of which each piece is made durable as it is written: a sync of the whole would hold up a server on the same disk.
struct Synced<'a>(&'a File);

impl Write for Synced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.0.sync_data()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A new file in place of what an interrupted attempt left. Whoever writes has it locked.
fn begin_file(unfinished: &Path) -> Result<File, Error> {
    let shown = unfinished.display();
    let failed = || io_error(format!("create {shown}"));
    let another = || Error::Refused(format!("somebody else writes {shown}: wait until that has ended"));
    match unfinished.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed()(error)),
        Ok(metadata) => {
            if metadata.is_file() {
                let left = File::open(unfinished).map_err(failed())?;
                if let Err(TryLockError::WouldBlock) = left.try_lock() {
                    return Err(another());
                }
            }
            std::fs::remove_file(unfinished).map_err(failed())?;
        }
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(unfinished).map_err(failed())?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(another()),
        // Where there are no locks nobody is kept out.
        _ => Ok(file),
    }
}

/// Whether a file is still the one under its unfinished name.
fn is_in_place(file: &File, unfinished: &Path) -> io::Result<bool> {
    let (there, own) = (unfinished.symlink_metadata()?, file.metadata()?);
    Ok((there.dev(), there.ino()) == (own.dev(), own.ino()))
}

/// Gives a file its name, and replaces none that came meanwhile.
fn place_file(file: &File, unfinished: &Path, path: &Path) -> io::Result<()> {
    if !is_in_place(file, unfinished)? {
        return Err(io::Error::other("somebody else has replaced the unfinished file"));
    }
    match std::fs::hard_link(unfinished, path) {
        Ok(()) => std::fs::remove_file(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links.
        Err(_) => std::fs::rename(unfinished, path),
    }
}

/// Where a manifest says that it ends too early.
fn cut_off(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Damaged("the archive was cut off: its end is missing".to_owned()),
        io::ErrorKind::InvalidData | io::ErrorKind::Other => Error::Damaged(format!("the archive is damaged: {error}")),
        _ => io_error("read the archive")(error),
    }
}

/// The files of an archive that is read from its beginning to its end.
pub(crate) struct Entries<R: Read> {
    from: zstd::Decoder<'static, BufReader<R>>,
    /// Bytes of the present file that were not read.
    left: u64,
    length: u64,
    /// Files so far.
    count: usize,
    manifest: Option<Manifest>,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(from: R) -> Result<Entries<R>, Error> {
        Ok(Entries {
            from: zstd::Decoder::new(from).map_err(cut_off)?,
            left: 0,
            length: 0,
            count: 0,
            manifest: None,
        })
    }

    /// The next file of the store; none behind the last one.
    pub(crate) fn next_file(&mut self) -> Result<Option<Header>, Error> {
        debug_assert_eq!(self.left, 0, "a file is read to its end");
        read_padding(&mut self.from, self.length).map_err(cut_off)?;
        let mut block = [0; BLOCK_BYTES];
        self.from.read_exact(&mut block).map_err(cut_off)?;
        let damaged = |reason: String| Error::Damaged(format!("the archive is damaged: {reason}"));
        let Some(header) = Header::decode(&block).map_err(damaged)? else {
            return Err(Error::Damaged(
                "the archive has no manifest: it is none of seaway backup's".to_owned(),
            ));
        };
        (self.left, self.length) = (header.length, header.length);
        if header.name == MANIFEST {
            if header.length > MANIFEST_BYTES_MAX {
                return Err(damaged("its manifest is too long".to_owned()));
            }
            let mut text = vec![0; header.length as usize];
            self.read(&mut text)?;
            self.manifest = Some(Manifest::decode(&text).map_err(|reason| damaged(format!("its manifest: {reason}")))?);
            return Ok(None);
        }
        if !is_image_file(&header.name) {
            let name = &header.name;
            return Err(damaged(format!("{name:?} in it is no name of a store's file")));
        }
        self.count += 1;
        if self.count > FILES_MAX {
            return Err(damaged(format!("it has more than {FILES_MAX} files")));
        }
        Ok(Some(header))
    }

    /// Fills `buffer` with the next bytes of the file.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.from.read_exact(buffer).map_err(cut_off)?;
        self.left = self.left.saturating_sub(buffer.len() as u64);
        Ok(())
    }

    /// Reads what is behind the manifest, so that the checksum of the whole is checked.
    pub(crate) fn finish(&mut self) -> Result<Manifest, Error> {
        read_padding(&mut self.from, self.length).map_err(cut_off)?;
        let mut end = [1; 2 * BLOCK_BYTES];
        self.from.read_exact(&mut end).map_err(cut_off)?;
        let mut more = [0];
        let is_more = self.from.read(&mut more).map_err(cut_off)? > 0;
        if is_more || end.iter().any(|byte| *byte != 0) {
            return Err(Error::Damaged(
                "the archive is damaged: something follows its end".to_owned(),
            ));
        }
        let missing = || Error::Damaged("the archive has no manifest".to_owned());
        self.manifest.take().ok_or_else(missing)
    }
}
