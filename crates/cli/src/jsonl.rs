//! Messages as lines of JSON: what `seaway export` writes and `seaway import` reads, compressed when the file's name says so.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IsTerminal as _, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use seaway_nats_protocol::harmless::escaped_json;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};

/// What is gathered before it is compressed or written.
const BUFFER_BYTES: usize = 256 << 10;
/// A line of the largest message that NATS carries, 64 MiB, in base64, with a long name.
const LINE_BYTES_MAX: u64 = 96 << 20;
/// As the files of a store: what was published is for nobody else.
const MODE: u32 = 0o600;
/// Added to the name of a file that is not complete.
const SUFFIX: &str = ".exporting";

/// A message; the fields are documented in `docs/command-line.md`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    #[serde(borrow)]
    pub(crate) channel: Cow<'a, str>,
    /// 0 when it is not known.
    #[serde(default)]
    pub(crate) sequence: u64,
    #[serde(default, with = "time")]
    timestamp: Option<i64>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reply: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    reply_base64: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<Cow<'a, str>>,
}

/// RFC 3339 in UTC, to the nanosecond.
mod time {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(time) = *time else {
            return serializer.serialize_none();
        };
        match jiff::Timestamp::from_nanosecond(i128::from(time)) {
            Ok(time) => serializer.collect_str(&time),
            Err(error) => Err(ser::Error::custom(error)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<Cow<'_, str>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| de::Error::custom(format_args!("{text:?} is no time (RFC 3339)")))?;
        i64::try_from(time.as_nanosecond())
            .map(Some)
            .map_err(|_| de::Error::custom(format_args!("{text:?} is out of range")))
    }
}

impl<'a> Record<'a> {
    pub(crate) fn of(channel: &'a str, sequence: u64, timestamp_ns: i64, reply: &'a [u8], payload: &'a [u8]) -> Self {
        let (payload, payload_base64) = text_or_base64(payload);
        let (reply, reply_base64) = match reply.is_empty() {
            true => (None, None),
            false => text_or_base64(reply),
        };
        Self {
            channel: channel.into(),
            sequence,
            timestamp: Some(timestamp_ns),
            reply,
            reply_base64,
            payload,
            payload_base64,
        }
    }

    /// Nanoseconds since 1970; none when it is not known.
    pub(crate) fn timestamp_ns(&self) -> Option<i64> {
        self.timestamp
    }

    /// The payload's bytes; what is wrong with it otherwise.
    pub(crate) fn payload(&self) -> Result<Cow<'_, [u8]>, &'static str> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), None) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, Some(text)) => decoded(text, "payload_base64 is no base64"),
            _ => Err("it needs payload or payload_base64, and not both"),
        }
    }

    /// The reply subject as it was published; empty for none.
    pub(crate) fn reply(&self) -> Result<Cow<'_, [u8]>, &'static str> {
        match (&self.reply, &self.reply_base64) {
            (None, None) => Ok(Cow::Borrowed(b"")),
            (Some(text), None) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, Some(text)) => decoded(text, "reply_base64 is no base64"),
            (Some(_), Some(_)) => Err("it has reply and reply_base64"),
        }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes).into())),
    }
}

fn decoded(text: &str, problem: &'static str) -> Result<Cow<'static, [u8]>, &'static str> {
    STANDARD.decode(text).map(Cow::Owned).map_err(|_| problem)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstandard,
}

/// By the name of a file.
fn compression(path: &Path) -> Option<Compression> {
    match path.extension()?.to_str()? {
        "gz" => Some(Compression::Gzip),
        "zst" => Some(Compression::Zstandard),
        _ => None,
    }
}

type Plain = BufWriter<Box<dyn Write>>;

enum Encoder {
    Plain(Plain),
    Gzip(GzEncoder<Plain>),
    Zstandard(zstd::Encoder<'static, Plain>),
}

impl Encoder {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer,
            Self::Zstandard(writer) => writer,
        }
    }

    fn finish(self) -> io::Result<()> {
        let mut plain = match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer.finish()?,
            Self::Zstandard(writer) => writer.finish()?,
        };
        plain.flush()
    }
}

/// A file that is not complete; dropped, it is removed.
struct Unfinished {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    fn create(target: &Path) -> Outcome<Unfinished> {
        let failed =
            |path: &Path, error: io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
        if fs::symlink_metadata(target).is_ok() {
            return Err(Failure::failed(format!(
                "{} is there already: name another file, or remove it",
                target.display()
            )));
        }
        let mut name: OsString = target.as_os_str().to_owned();
        name.push(SUFFIX);
        let path = PathBuf::from(name);
        clear(&path)?;
        let mut options = File::options();
        let made = options.write(true).create_new(true).mode(MODE).open(&path);
        let file = made.map_err(|error| failed(&path, error))?;
        lock(&file, &path)?;
        Ok(Unfinished {
            file,
            path,
            target: target.to_owned(),
            is_finished: false,
        })
    }

    /// It is durable, and gets its name, if nobody else has it meanwhile.
    fn finish(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        match fs::hard_link(&self.path, &self.target) {
            Ok(()) => fs::remove_file(&self.path)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // Not every file system has links.
            Err(_) if fs::symlink_metadata(&self.target).is_err() => fs::rename(&self.path, &self.target)?,
            Err(error) => return Err(error),
        }
        self.is_finished = true;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(std::mem::take(&mut self.target))
    }
}

/// Removes what an export that was killed has left.
fn clear(path: &Path) -> Outcome {
    let failed = |error: io::Error| Failure::failed(format!("cannot replace {}: {error}", path.display()));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_file() => {}
        Ok(_) => {
            return Err(Failure::failed(format!(
                "{} is in the way, and is no file: move it away",
                path.display()
            )));
        }
    }
    let left = File::open(path).map_err(failed)?;
    lock(&left, path)?;
    fs::remove_file(path).map_err(failed)
}

/// For this export alone. Whoever has the lock of what the name stands for may remove it: so it is looked at after locking.
fn lock(file: &File, path: &Path) -> Outcome {
    let failed = |error: io::Error| Failure::failed(format!("cannot lock {}: {error}", path.display()));
    let is_locked = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    };
    let opened = file.metadata().map_err(failed)?;
    let is_there = |named: fs::Metadata| (named.dev(), named.ino()) == (opened.dev(), opened.ino());
    if is_locked && fs::symlink_metadata(path).is_ok_and(is_there) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "another export writes {}: let it end, or name another file",
        path.display()
    )))
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed is overwritten by the next attempt.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where records go.
pub(crate) struct Sink {
    encoder: Encoder,
    unfinished: Option<Unfinished>,
    line: Vec<u8>,
}

impl Sink {
    /// A file that is not there yet, or the standard output.
    pub(crate) fn open(path: Option<&Path>) -> Outcome<Sink> {
        let unfinished = path.map(Unfinished::create).transpose()?;
        let writer: Box<dyn Write> = match &unfinished {
            Some(unfinished) => Box::new(unfinished.file.try_clone()?),
            None => Box::new(io::stdout()),
        };
        let plain = BufWriter::with_capacity(BUFFER_BYTES, writer);
        let encoder = match path.and_then(compression) {
            None => Encoder::Plain(plain),
            Some(Compression::Gzip) => Encoder::Gzip(GzEncoder::new(plain, flate2::Compression::default())),
            Some(Compression::Zstandard) => {
                Encoder::Zstandard(zstd::Encoder::new(plain, zstd::DEFAULT_COMPRESSION_LEVEL)?)
            }
        };
        Ok(Sink {
            encoder,
            unfinished,
            line: Vec::new(),
        })
    }

    /// Whether people see the lines as they come.
    pub(crate) fn is_on_terminal(&self) -> bool {
        self.unfinished.is_none() && io::stdout().is_terminal()
    }

    pub(crate) fn write(&mut self, record: &Record<'_>) -> Outcome {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record).map_err(|error| Failure::failed(error.to_string()))?;
        // JSON is UTF-8; what would move a terminal's cursor is escaped.
        let text = String::from_utf8_lossy(&self.line);
        let writer = self.encoder.writer();
        let written = writer.write_all(escaped_json(&text).as_bytes());
        let written = written.and_then(|()| writer.write_all(b"\n"));
        written.map_err(|error| not_written(self.unfinished.as_ref(), error))
    }

    /// All of it is there; the file, if it is one.
    pub(crate) fn finish(self) -> Outcome<Option<PathBuf>> {
        let finished = self.encoder.finish();
        finished.map_err(|error| not_written(self.unfinished.as_ref(), error))?;
        let Some(unfinished) = self.unfinished else {
            return Ok(None);
        };
        let target = unfinished.target.clone();
        let finished = unfinished.finish().map(Some);
        finished.map_err(|error| Failure::failed(format!("cannot write {}: {error}", target.display())))
    }
}

/// A reader of the standard output that has gone is no failure; a file names itself.
fn not_written(file: Option<&Unfinished>, error: io::Error) -> Failure {
    match file {
        None => error.into(),
        Some(file) => Failure::failed(format!("cannot write {}: {error}", file.target.display())),
    }
}

/// Where records come from.
pub(crate) struct Source {
    reader: Box<dyn BufRead + Send>,
    /// For people.
    name: String,
    number: u64,
    line: Vec<u8>,
}

impl Source {
    /// A file, or the standard input for `-`.
    pub(crate) fn open(path: &Path) -> Outcome<Source> {
        let failed = |error: io::Error| Failure::failed(format!("cannot read {}: {error}", path.display()));
        let (reader, name): (Box<dyn BufRead + Send>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), "the standard input".to_owned())
        } else {
            let file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
            let reader: Box<dyn BufRead + Send> = match compression(path) {
                None => Box::new(file),
                Some(Compression::Gzip) => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file))),
                Some(Compression::Zstandard) => Box::new(BufReader::with_capacity(
                    BUFFER_BYTES,
                    zstd::Decoder::with_buffer(file).map_err(failed)?,
                )),
            };
            (reader, path.display().to_string())
        };
        Ok(Source {
            reader,
            name,
            number: 0,
            line: Vec::new(),
        })
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn line_number(&self) -> u64 {
        self.number
    }

    /// What is wrong with that line.
    pub(crate) fn wrong(&self, problem: &str) -> Failure {
        Failure::failed(format!("line {} of {}: {problem}", self.number, self.name))
    }

    /// Passes over a line; false when there is none.
    pub(crate) fn skip(&mut self) -> Outcome<bool> {
        self.read_line()
    }

    /// The next record; none at the end. Empty lines are none.
    pub(crate) fn next(&mut self) -> Outcome<Option<Record<'_>>> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            if !self.line.is_empty() {
                break;
            }
        }
        match serde_json::from_slice(&self.line) {
            Ok(record) => Ok(Some(record)),
            Err(error) => Err(Failure::failed(format!(
                "line {} of {} is no message: {error}",
                self.number, self.name
            ))),
        }
    }

    fn read_line(&mut self) -> Outcome<bool> {
        self.line.clear();
        let read = (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut self.line);
        self.number += 1;
        let read = read.map_err(|error| self.wrong(&format!("cannot be read: {error}")))?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read as u64 == LINE_BYTES_MAX {
            return Err(self.wrong("it is longer than any message"));
        }
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(path: &Path) {
        let mut sink = Sink::open(Some(path)).unwrap();
        let time = 1_600_000_000_123_456_789;
        let records: [(&str, u64, &[u8], &[u8]); 3] = [
            ("orders", 1, b"", b"{\"a\":\"\x1b\"}"),
            ("orders", 2, b"r\xff", b""),
            ("é", 7, b"reply", b"\xff\0"),
        ];
        for (channel, sequence, reply, payload) in records {
            sink.write(&Record::of(channel, sequence, time, reply, payload))
                .unwrap();
        }
        assert!(!path.exists(), "not before it is complete");
        assert_eq!(sink.finish().unwrap().as_deref(), Some(path));
        let mut source = Source::open(path).unwrap();
        for (channel, sequence, reply, payload) in records {
            let record = source.next().unwrap().unwrap();
            assert_eq!(
                (&*record.channel, record.sequence, record.timestamp_ns()),
                (channel, sequence, Some(time))
            );
            assert_eq!(&*record.reply().unwrap(), reply);
            assert_eq!(&*record.payload().unwrap(), payload);
        }
        assert!(source.next().unwrap().is_none());
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        assert!(Sink::open(Some(path)).is_err(), "nothing is overwritten");
    }

    #[test]
    fn files_of_others_are_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let (path, unfinished) = (folder.path().join("a"), folder.path().join("a.exporting"));
        let theirs = folder.path().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        std::os::unix::fs::symlink(&theirs, &unfinished).unwrap();
        let refused = Sink::open(Some(&path)).err().unwrap();
        assert!(format!("{refused:?}").contains("is in the way"), "{refused:?}");
        fs::remove_file(&unfinished).unwrap();
        fs::hard_link(&theirs, &unfinished).unwrap();
        drop(Sink::open(Some(&path)).unwrap());
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        // One that was killed has left it; meanwhile somebody makes the file.
        fs::write(&unfinished, "half").unwrap();
        let sink = Sink::open(Some(&path)).unwrap();
        assert_eq!(fs::metadata(&unfinished).unwrap().len(), 0);
        assert!(Sink::open(Some(&path)).is_err(), "one at a time");
        fs::write(&path, "theirs").unwrap();
        assert!(sink.finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert!(!unfinished.exists());
    }

    #[test]
    fn what_is_written_is_read_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            round_trip(&folder.path().join(name));
        }
        let magic = |name: &str| fs::read(folder.path().join(name)).unwrap()[..2].to_vec();
        assert_eq!(magic("a.jsonl.gz"), [0x1F, 0x8B]);
        assert_eq!(magic("a.jsonl.zst"), [0x28, 0xB5]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_is_cut_or_no_message_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl.gz");
        let mut sink = Sink::open(Some(&path)).unwrap();
        for sequence in 1..1000 {
            sink.write(&Record::of("a", sequence, 0, b"", b"payload")).unwrap();
        }
        sink.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let mut source = Source::open(&path).unwrap();
        let failure = loop {
            match source.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the end of half a file"),
                Err(failure) => break format!("{failure:?}"),
            }
        };
        assert!(failure.contains("line "), "{failure}");
        let path = folder.path().join("b.jsonl");
        fs::write(&path, "{\"channel\":\"a\",\"payload\":\"\"}\n\n{\"channel\":3}\n").unwrap();
        let mut source = Source::open(&path).unwrap();
        assert!(source.next().unwrap().is_some());
        let failure = format!("{:?}", source.next().map(|_| ()).unwrap_err());
        assert!(
            failure.contains("line 3") && failure.contains("no message"),
            "{failure}"
        );
    }

    #[test]
    fn a_time_that_is_not_said_is_not_1970() {
        let mut record: Record<'_> = serde_json::from_str(r#"{"channel":"a","payload":""}"#).unwrap();
        assert_eq!(record.timestamp_ns(), None);
        record = serde_json::from_str(r#"{"channel":"a","payload":"","timestamp":"1970-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!(record.timestamp_ns(), Some(0));
    }

    #[test]
    fn what_an_attempt_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let left = folder.path().join("a.jsonl.exporting");
        fs::write(&left, "half a li").unwrap();
        let sink = Sink::open(Some(&path)).unwrap();
        assert!(Sink::open(Some(&path)).is_err(), "it is being written");
        drop(sink);
        assert!(!left.exists() && !path.exists());
    }
}
