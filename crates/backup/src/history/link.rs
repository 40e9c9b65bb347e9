//! A link of the archive: what it continues, what was written, and in which pieces that is. Pure.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use seaway_journal::{Identity, Life, Mark};
use serde::{Deserialize, Serialize};

use super::shown;
use crate::digest::sha256;
use crate::limits::PIECES_MAX;
use crate::manifest::is_checksum;
use crate::names::{LINK_PREFIX, LINK_SUFFIX, is_link};
use crate::source::{check_files, check_identity};

/// The version of the format that this program writes.
const FORMAT: u32 = 1;
/// What the first line begins with; the checksum of everything behind that line follows.
const HEAD: &str = "seaway-archive 1 sha256:";
/// Digits of a link's checksum in its name.
const NAME_DIGITS: usize = 16;

/// A place between two batches of the store's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    segment: u64,
    epoch: u64,
    offset: u64,
    /// Position of the record that comes next.
    pub(super) position: u64,
    checksum: u32,
}

impl From<Mark> for Place {
    fn from(mark: Mark) -> Place {
        Place {
            segment: mark.segment,
            epoch: mark.epoch,
            offset: mark.offset,
            position: mark.position,
            checksum: mark.checksum,
        }
    }
}

impl From<Place> for Mark {
    fn from(place: Place) -> Mark {
        Mark {
            segment: place.segment,
            epoch: place.epoch,
            offset: place.offset,
            position: place.position,
            checksum: place.checksum,
        }
    }
}

/// What a link says of itself, in its second line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// When it was written.
    pub(super) made: Timestamp,
    /// The 16 random bytes that name the store, hexadecimal.
    pub(super) identity: String,
    /// The 16 random bytes that name this life of the store, hexadecimal; none of one that was never restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<String>,
    /// The epoch of the server that wrote it.
    pub(super) epoch: u64,
    /// Whether the store is encrypted.
    pub(super) encrypted: bool,
    /// Name of the link that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    /// It has every file that a start needs, whatever is before it.
    pub(super) is_base: bool,
    /// Of one that continues none: as of when it is, nanoseconds since the Unix epoch. What was before that may have gone another way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<i64>,
    /// Where its records begin; where they end, when it continues none.
    pub(super) begin: Place,
    /// Where everything in it ends.
    pub(super) end: Place,
    /// The latest time in the records up to there, nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) newest: Option<i64>,
    /// Everything up to this moment is in it, or before it; nanoseconds since the Unix epoch.
    pub(super) until: i64,
}

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) sha256: String,
    pub(super) length: u64,
}

/// A file of the store, as far as it is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArchivedFile {
    pub(super) name: String,
    pub(super) length: u64,
    /// In order.
    pub(super) pieces: Vec<Piece>,
}

/// What a link is made from.
pub(super) struct HeadOf {
    pub(super) identity: Identity,
    pub(super) life: Option<Life>,
    pub(super) epoch: u64,
    pub(super) encrypted: bool,
    pub(super) previous: Option<String>,
    pub(super) is_base: bool,
    pub(super) begun: Option<i64>,
    pub(super) begin: Mark,
    pub(super) end: Mark,
    pub(super) newest: Option<i64>,
    pub(super) until: i64,
}

impl Head {
    pub(super) fn new(of: HeadOf) -> Head {
        Head {
            format: FORMAT,
            made: Timestamp::now(),
            identity: HEXLOWER.encode(&of.identity),
            life: of.life.map(|life| HEXLOWER.encode(&life)),
            epoch: of.epoch,
            encrypted: of.encrypted,
            previous: of.previous,
            is_base: of.is_base,
            begun: of.begun,
            begin: of.begin.into(),
            end: of.end.into(),
            newest: of.newest,
            until: of.until,
        }
    }

    /// The store's name as the journal has it.
    pub(super) fn identity_bytes(&self) -> Identity {
        let bytes = HEXLOWER.decode(self.identity.as_bytes()).unwrap_or_default();
        bytes.try_into().unwrap_or_default()
    }

    /// The latest moment that is in it for certain when nothing is behind it; every record in it is at or before it.
    pub(super) fn latest(&self) -> i64 {
        self.newest.unwrap_or(i64::MIN).max(self.until)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "it is of format {}, and this program knows {FORMAT}",
                self.format
            ));
        }
        check_identity(&self.identity)?;
        self.life.as_deref().map_or(Ok(()), check_identity)?;
        if self.previous.as_ref().is_some_and(|name| !is_link(name)) {
            return Err("the name of its predecessor is none".to_owned());
        }
        let (begin, end) = (Mark::from(self.begin), Mark::from(self.end));
        let is_forward = (begin.segment, begin.position) <= (end.segment, end.position);
        if !begin.is_possible() || !end.is_possible() || !is_forward {
            return Err("it names an impossible place".to_owned());
        }
        Ok(())
    }

    /// Reads what is at the beginning of a link, without its checksum.
    pub(super) fn peek(bytes: &[u8]) -> Result<Head, String> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        check_first(first)?;
        let head: Head = serde_json::from_slice(second).map_err(|error| error.to_string())?;
        head.check()?;
        Ok(head)
    }
}

/// The checksum in a first line.
fn check_first(line: &[u8]) -> Result<&[u8], String> {
    line.strip_prefix(HEAD.as_bytes())
        .ok_or_else(|| match line.starts_with(b"seaway-archive ") {
            true => "it is of another version of the format than 1: use the program that wrote it".to_owned(),
            false => "it does not begin as a link does".to_owned(),
        })
}

/// A link's content, and its name.
pub(super) fn encode(head: &Head, files: &[ArchivedFile]) -> (String, Vec<u8>) {
    // Neither holds anything that JSON cannot.
    let mut body = serde_json::to_vec(head).unwrap_or_default();
    body.push(b'\n');
    body.extend(serde_json::to_vec(files).unwrap_or_default());
    body.push(b'\n');
    let checksum = sha256(&body);
    let time = shown(head.until).to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S.%3fZ");
    let name = format!("{LINK_PREFIX}{time}-{}{LINK_SUFFIX}", &checksum[..NAME_DIGITS]);
    (name, [format!("{HEAD}{checksum}\n").into_bytes(), body].concat())
}

/// Reads a link of this name.
pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<(Head, Vec<ArchivedFile>), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let checksum = check_first(first)?;
    let found = sha256(body);
    if checksum != found.as_bytes() {
        return Err("its checksum does not match".to_owned());
    }
    if !name.ends_with(&format!("-{}{LINK_SUFFIX}", &found[..NAME_DIGITS])) {
        return Err("it is not the one that its name says".to_owned());
    }
    let head = Head::peek(bytes)?;
    let files = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let files: Vec<ArchivedFile> =
        serde_json::from_slice(body.get(files..).unwrap_or_default()).map_err(|error| error.to_string())?;
    check_files(files.iter().map(|file| (file.name.as_str(), file.length)))?;
    let mut pieces = 0;
    for file in &files {
        pieces += file.pieces.len();
        let length = file
            .pieces
            .iter()
            .try_fold(0_u64, |length, piece| length.checked_add(piece.length));
        if length != Some(file.length) || file.pieces.iter().any(|piece| piece.length == 0) {
            return Err(format!("the pieces of {} are not its bytes", file.name));
        }
        if !file.pieces.iter().all(|piece| is_checksum(&piece.sha256)) {
            return Err(format!("the checksum of a piece of {} is none", file.name));
        }
    }
    if pieces > PIECES_MAX {
        return Err(format!("it has more than {PIECES_MAX} pieces"));
    }
    Ok((head, files))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn link() -> (Head, Vec<ArchivedFile>) {
        let mark = Mark {
            segment: 3,
            epoch: 2,
            offset: 4_096,
            position: 77,
            checksum: 5,
        };
        let head = Head::new(HeadOf {
            identity: [7; 16],
            life: Some([9; 16]),
            epoch: 2,
            encrypted: false,
            previous: Some("archive-x.link".to_owned()),
            is_base: true,
            begun: Some(3),
            begin: mark,
            end: mark,
            newest: Some(-5),
            until: 1_769_850_900_123_456_789,
        });
        let piece = |digit: &str, length| Piece {
            sha256: digit.repeat(64),
            length,
        };
        let file = ArchivedFile {
            name: "segment-0000000000000003-00000002.log".to_owned(),
            length: 5_000,
            pieces: vec![piece("a", 4_096), piece("0", 904)],
        };
        (head, vec![file])
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let (head, files) = link();
        let (name, bytes) = encode(&head, &files);
        assert!(name.starts_with("archive-20260131T091500.123Z-"), "{name}");
        assert_eq!(decode(&name, &bytes), Ok((head.clone(), files)));
        assert_eq!(Head::peek(&bytes[..bytes.len().min(4_096)]), Ok(head));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 4;
            assert!(decode(&name, &other).is_err(), "byte {at}");
            assert!(decode(&name, &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(decode("archive-x-0000000000000000.link", &bytes).is_err());
    }

    /// Whoever can write a link can write its checksum.
    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut Head, &mut ArchivedFile)| {
            let (mut head, mut files) = link();
            change(&mut head, &mut files[0]);
            let (name, bytes) = encode(&head, &files);
            decode(&name, &bytes).unwrap_err()
        };
        refused(|_, file| file.name = "../x".to_owned());
        refused(|_, file| file.length = 5_001);
        refused(|_, file| file.pieces[0].length = u64::MAX);
        refused(|_, file| file.pieces[1].sha256 = "../../../../etc/passwd".to_owned());
        refused(|head, _| head.previous = Some("../x".to_owned()));
        refused(|head, _| head.identity = "\u{1b}[2J".to_owned());
        refused(|head, _| head.life = Some("\u{1b}[2J".to_owned()));
        refused(|head, _| head.end.segment = u64::MAX);
        refused(|head, _| head.begin.position = 78);
        refused(|head, _| head.format = 2);
    }
}
