//! What all files share: names, identity, checksum seeds, header codecs of segments and epochs
//! (docs/journal-format.md §1-§5). Pure; knows nothing of what a record holds.

use crate::encryption::{ENCRYPTION_HEADER_BYTES, EncryptionHeader};
use crate::limits::{SEGMENT_BYTES_CEILING, SEGMENT_HEADER_BYTES};

/// The version of files in which nothing is encrypted.
const VERSION_PLAIN: u32 = 1;
/// The version of files in which something is.
const VERSION_ENCRYPTED: u32 = 2;
/// The version of files with what only members of a cluster have.
const VERSION_CLUSTERED: u32 = 3;
/// Flag of file headers: something in the file is encrypted, and how is said at [`ENCRYPTION_AT`] (not in directories).
pub(crate) const ENCRYPTED_FLAG: u32 = 2;
/// Where a file header has its encryption header.
const ENCRYPTION_AT: usize = 76;
/// Keeps the original server away from a directory that was taken over: it refuses a file of this name that it does not
/// understand, where it would otherwise begin anew.
pub const GUARD_NAME: &str = "server.dat";
/// What that file begins with.
pub const GUARD: &[u8] = b"Seaway has taken over this directory.";
/// The original server's own lock: it stays in a directory that was taken over.
pub const TAKEN_OVER_LOCK_NAME: &str = ".rootdir.lck";
/// The folder with the original server's files: it stays there, too.
pub const TAKEN_OVER_FOLDER: &str = "before-seaway";
/// The file that whoever has a journal open has locked.
pub const LOCK_NAME: &str = "journal.lock";
/// The file that says that the last start gave something up.
pub(crate) const GIVEN_UP_NAME: &str = "journal.givenup";
/// The file with what a member of a cluster promised in elections.
pub(crate) const VOTE_NAME: &str = "vote";
/// The file that tells the lives of a journal apart that were restored of one.
pub const LIFE_NAME: &str = "journal.life";
/// Flags of epoch files, besides the one for encryption.
const UNSYNCED_FLAG: u32 = 1;
const GAP_FLAG: u32 = 4;
const HOLES_FLAG: u32 = 8;
/// Of version 3 alone.
const MEMBER_FLAG: u32 = 16;
pub(crate) const FILE_HEADER_BYTES: usize = 128;
/// Positions and segment numbers are below this: nobody counts that far, and what is computed from them fits.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// 16 random bytes that name a journal.
pub type Identity = [u8; 16];

/// Names one segment: its number and the epoch in which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
}

impl SegmentId {
    pub(crate) fn file_name(self) -> String {
        format!("segment-{:016x}-{:08x}.log", self.number, self.epoch)
    }
    pub(crate) fn directory_name(self) -> String {
        format!("segment-{:016x}-{:08x}.directory", self.number, self.epoch)
    }
    pub(crate) fn seed(self, identity: &Identity) -> u32 {
        seed(identity, self.epoch, self.number, b"")
    }
    pub(crate) fn directory_seed(self, identity: &Identity) -> u32 {
        seed(identity, self.epoch, self.number, b"directory")
    }
}

pub(crate) fn epoch_name(epoch: u64) -> String {
    format!("epoch-{epoch:08x}.epoch")
}

/// Name of the file with which a tenure is claimed: the epoch that its claimant will open.
pub(crate) fn claim_name(number: u64) -> String {
    format!("epoch-{number:08x}.claim")
}

pub(crate) fn end_name(epoch: u64) -> String {
    format!("epoch-{epoch:08x}.end")
}

pub(crate) fn lost_name(epoch: u64) -> String {
    format!("epoch-{epoch:08x}.lost")
}

pub(crate) fn checkpoint_name(position: u64, epoch: u64) -> String {
    format!("checkpoint-{position:016x}-{epoch:08x}.checkpoint")
}

pub(crate) fn checkpoint_seed(identity: &Identity, epoch: u64, position: u64) -> u32 {
    seed(identity, epoch, position, b"checkpoint")
}

fn seed(identity: &Identity, epoch: u64, number: u64, suffix: &[u8]) -> u32 {
    let mut state = crc32c::crc32c(identity);
    state = crc32c::crc32c_append(state, &epoch.to_le_bytes());
    state = crc32c::crc32c_append(state, &number.to_le_bytes());
    crc32c::crc32c_append(state, suffix)
}

/// Whether a file of this name is a journal's, finished or not.
pub fn is_journal_file(name: &str) -> bool {
    !matches!(FileName::parse(name), FileName::Unknown | FileName::TakenOver)
}

/// Whether a file of this name may be part of an image of a journal: it is finished, and of no process.
pub fn is_image_file(name: &str) -> bool {
    match FileName::parse(name) {
        FileName::Epoch(_)
        | FileName::End(_)
        | FileName::Lost(_)
        | FileName::GivenUp
        | FileName::Life
        | FileName::Segment(_)
        | FileName::Directory(_)
        | FileName::Checkpoint { .. } => true,
        FileName::Lock
        | FileName::Claim(_)
        | FileName::Vote
        | FileName::Unfinished { .. }
        | FileName::Cut
        | FileName::TakenOver
        | FileName::Unknown => false,
    }
}

/// Whether a file of this name claims an epoch.
pub fn is_claim(name: &str) -> bool {
    matches!(FileName::parse(name), FileName::Claim(_))
}

/// What a file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileName {
    Lock,
    GivenUp,
    /// Which life of the journal this is.
    Life,
    /// What a member of a cluster promised in elections.
    Vote,
    Epoch(u64),
    /// Somebody claimed to open an epoch.
    Claim(u64),
    /// Where an epoch was ended in an orderly way.
    End(u64),
    /// What was given up when an epoch was opened.
    Lost(u64),
    Segment(SegmentId),
    Directory(SegmentId),
    Checkpoint {
        position: u64,
        epoch: u64,
    },
    /// An unfinished file of one of the kinds above.
    Unfinished {
        /// The epoch that writes it, as far as the name says: what no epoch writes any more can go.
        writer: u64,
        /// The segment's number; 0 for files of other kinds.
        number: u64,
    },
    /// A segment or a checkpoint set aside.
    Cut,
    /// What the taking over of the original server's directory leaves there.
    TakenOver,
    Unknown,
}

impl FileName {
    pub(crate) fn parse(name: &str) -> FileName {
        if name == LOCK_NAME {
            return FileName::Lock;
        }
        if name == GIVEN_UP_NAME {
            return FileName::GivenUp;
        }
        if name == LIFE_NAME {
            return FileName::Life;
        }
        if name == VOTE_NAME {
            return FileName::Vote;
        }
        if name == GUARD_NAME || name == TAKEN_OVER_LOCK_NAME {
            return FileName::TakenOver;
        }
        for suffix in [".preparing", ".writing"] {
            if let Some(rest) = name.strip_suffix(suffix) {
                return FileName::parse_unfinished(rest);
            }
        }
        FileName::parse_final(name).unwrap_or(FileName::Unknown)
    }

    /// `name` without what says that it is not finished.
    fn parse_unfinished(name: &str) -> FileName {
        let parse = |name| match FileName::parse(name) {
            FileName::Epoch(epoch) | FileName::End(epoch) | FileName::Lost(epoch) => Some((epoch, 0)),
            FileName::Segment(id) | FileName::Directory(id) => Some((id.epoch, id.number)),
            FileName::Checkpoint { epoch, .. } => Some((epoch, 0)),
            FileName::GivenUp | FileName::Vote | FileName::Cut => Some((0, 0)),
            _ => None,
        };
        let by = name.rsplit_once('.').and_then(|(rest, writer)| {
            let (_, number) = parse(rest)?;
            Some((hexadecimal(writer, 8)?, number))
        });
        match by.or_else(|| parse(name)) {
            Some((writer, number)) => FileName::Unfinished { writer, number },
            None => FileName::Unknown,
        }
    }

    /// The epoch in a name, also in that of an unfinished file; 0 for names without one.
    pub(crate) fn epoch(&self) -> u64 {
        match self {
            FileName::Segment(id) | FileName::Directory(id) => id.epoch,
            FileName::Epoch(epoch)
            | FileName::Claim(epoch)
            | FileName::End(epoch)
            | FileName::Lost(epoch)
            | FileName::Checkpoint { epoch, .. }
            | FileName::Unfinished { writer: epoch, .. } => *epoch,
            FileName::Lock
            | FileName::GivenUp
            | FileName::Life
            | FileName::Vote
            | FileName::Cut
            | FileName::TakenOver
            | FileName::Unknown => 0,
        }
    }

    fn parse_final(name: &str) -> Option<FileName> {
        if let Some(rest) = name.strip_suffix(".cut") {
            let kept = FileName::parse_final(rest)?;
            return matches!(kept, FileName::Segment(_) | FileName::Checkpoint { .. }).then_some(FileName::Cut);
        }
        let (stem, kind) = name.rsplit_once('.')?;
        if kind == "epoch" {
            return Some(FileName::Epoch(hexadecimal(stem.strip_prefix("epoch-")?, 8)?));
        }
        if kind == "claim" {
            return Some(FileName::Claim(hexadecimal(stem.strip_prefix("epoch-")?, 8)?));
        }
        if kind == "end" {
            return Some(FileName::End(hexadecimal(stem.strip_prefix("epoch-")?, 8)?));
        }
        if kind == "lost" {
            return Some(FileName::Lost(hexadecimal(stem.strip_prefix("epoch-")?, 8)?));
        }
        let (prefix, rest) = stem.split_once('-')?;
        let (number, epoch) = rest.split_once('-')?;
        let (number, epoch) = (hexadecimal(number, 16)?, hexadecimal(epoch, 8)?);
        match (prefix, kind) {
            ("segment", "log") => Some(FileName::Segment(SegmentId { number, epoch })),
            ("segment", "directory") => Some(FileName::Directory(SegmentId { number, epoch })),
            ("checkpoint", "checkpoint") => Some(FileName::Checkpoint {
                position: number,
                epoch,
            }),
            _ => None,
        }
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<u64> {
    let well_formed = text.len() >= digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return None;
    }
    let number = u64::from_str_radix(text, 16).ok();
    number.filter(|number| *number < NUMBER_MAX)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

pub(crate) fn identity_at(bytes: &[u8], at: usize) -> Identity {
    bytes[at..at + 16].try_into().expect("a slice of sixteen bytes")
}

/// Checks magic and version of a file header and that no reserved flag is set; `allowed` are the flags of this kind besides the
/// one for encryption.
pub(crate) fn check_preamble(bytes: &[u8], magic: &[u8; 8], allowed: u32) -> Result<(), String> {
    if &bytes[0..8] != magic {
        return Err(format!(
            "the file does not begin with {}",
            String::from_utf8_lossy(magic)
        ));
    }
    let version = u32_at(bytes, 8);
    let of_version = match version {
        VERSION_PLAIN => 0,
        VERSION_ENCRYPTED | VERSION_CLUSTERED => ENCRYPTED_FLAG,
        _ => {
            return Err(format!(
                "the file has format version {version}, this program knows versions up to {VERSION_CLUSTERED}"
            ));
        }
    };
    let unknown = u32_at(bytes, 12) & !(allowed | of_version);
    if unknown != 0 {
        return Err(format!("unknown flags {unknown:#x} in the file header"));
    }
    Ok(())
}

pub(crate) fn write_preamble(bytes: &mut [u8], magic: &[u8; 8], flags: u32, identity: &Identity) {
    bytes[0..8].copy_from_slice(magic);
    let is_encrypted = flags & ENCRYPTED_FLAG != 0;
    let version = if is_encrypted { VERSION_ENCRYPTED } else { VERSION_PLAIN };
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..16].copy_from_slice(&flags.to_le_bytes());
    bytes[16..32].copy_from_slice(identity);
}

/// Makes a file header, before its checksum, one of version 3.
pub(crate) fn set_clustered(bytes: &mut [u8]) {
    bytes[8..12].copy_from_slice(&VERSION_CLUSTERED.to_le_bytes());
}

/// Whether a header whose preamble was checked is of version 3.
pub(crate) fn is_clustered(bytes: &[u8]) -> bool {
    u32_at(bytes, 8) == VERSION_CLUSTERED
}

/// Whether a header's flags say that something in the file is encrypted.
pub(crate) fn is_encrypted(bytes: &[u8]) -> bool {
    u32_at(bytes, 12) & ENCRYPTED_FLAG != 0
}

/// The flag for a file header, and the encryption header in its place.
pub(crate) fn write_encryption(bytes: &mut [u8], encryption: Option<&EncryptionHeader>) {
    if let Some(encryption) = encryption {
        encryption.encode(&mut bytes[ENCRYPTION_AT..ENCRYPTION_AT + ENCRYPTION_HEADER_BYTES]);
    }
}

pub(crate) fn encryption_flag(encryption: Option<&EncryptionHeader>) -> u32 {
    if encryption.is_some() { ENCRYPTED_FLAG } else { 0 }
}

/// The encryption header of a file header whose checksum was checked.
pub(crate) fn read_encryption(bytes: &[u8]) -> Result<Option<EncryptionHeader>, String> {
    if !is_encrypted(bytes) {
        return Ok(None);
    }
    EncryptionHeader::decode(&bytes[ENCRYPTION_AT..ENCRYPTION_AT + ENCRYPTION_HEADER_BYTES]).map(Some)
}

/// Header of a segment file (§4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    pub(crate) id: SegmentId,
    pub(crate) capacity: u64,
    /// Its batches are entries, or local.
    pub(crate) is_clustered: bool,
    pub(crate) encryption: Option<EncryptionHeader>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
        let encryption = self.encryption.as_ref();
        write_preamble(&mut bytes, b"SEAWAYSG", encryption_flag(encryption), &self.identity);
        if self.is_clustered {
            set_clustered(&mut bytes);
        }
        bytes[32..40].copy_from_slice(&self.id.epoch.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.id.number.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.capacity.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[0..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        if encryption.is_some() {
            write_encryption(&mut bytes, encryption);
            seal_header(&mut bytes, 0);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, String> {
        if bytes.len() < 64 {
            return Err("the file is shorter than a segment header".to_owned());
        }
        if crc32c::crc32c(&bytes[0..60]) != u32_at(bytes, 60) {
            return Err("the checksum of the segment header does not match".to_owned());
        }
        check_preamble(bytes, b"SEAWAYSG", 0)?;
        if is_encrypted(bytes) {
            check_header(bytes, 0, "segment")?;
        }
        let header = SegmentHeader {
            identity: identity_at(bytes, 16),
            id: SegmentId {
                epoch: u64_at(bytes, 32),
                number: u64_at(bytes, 40),
            },
            capacity: u64_at(bytes, 48),
            is_clustered: is_clustered(bytes),
            encryption: read_encryption(bytes)?,
        };
        if header.capacity > SEGMENT_BYTES_CEILING || header.capacity < u64::from(SEGMENT_HEADER_BYTES) {
            return Err(format!("impossible capacity {} in the segment header", header.capacity));
        }
        Ok(header)
    }
}

/// Where the journal ends: the place after the last batch that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cut {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) position: u64,
    pub(crate) checksum: u32,
}

/// Content of an epoch file (§3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochFile {
    pub(crate) identity: Identity,
    pub(crate) epoch: u64,
    pub(crate) synced: bool,
    /// What was between the data before the cut and the cut's position was given up.
    pub(crate) gap: bool,
    /// Messages that logs should have may be in no segment: they were given up.
    pub(crate) holes: bool,
    /// The journal was a member's of a cluster, in this epoch or an earlier one.
    pub(crate) is_clustered: bool,
    /// It is a member's in this epoch: what is appended are entries.
    pub(crate) is_member: bool,
    pub(crate) cut: Cut,
    /// The epoch before it whose file counts; its own number when none does; 0 when its writer did not say.
    pub(crate) previous: u64,
    pub(crate) encryption: Option<EncryptionHeader>,
}

impl EpochFile {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let encryption = self.encryption.as_ref();
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(!self.synced, UNSYNCED_FLAG)
            | flag(self.gap, GAP_FLAG)
            | flag(self.holes, HOLES_FLAG)
            | flag(self.is_member, MEMBER_FLAG)
            | encryption_flag(encryption);
        let mut bytes = encode_cut(b"SEAWAYEP", flags, &self.identity, self.epoch, self.cut);
        debug_assert!(self.is_clustered || !self.is_member, "a member's epoch is of version 3");
        if self.is_clustered {
            set_clustered(&mut bytes);
        }
        bytes[68..76].copy_from_slice(&self.previous.to_le_bytes());
        write_encryption(&mut bytes, encryption);
        seal_header(&mut bytes, 0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<EpochFile, String> {
        check_header(bytes, 0, "epoch file")?;
        let of_version = if is_clustered(bytes) { MEMBER_FLAG } else { 0 };
        check_preamble(bytes, b"SEAWAYEP", UNSYNCED_FLAG | GAP_FLAG | HOLES_FLAG | of_version)?;
        let flags = u32_at(bytes, 12);
        Ok(EpochFile {
            identity: identity_at(bytes, 16),
            epoch: u64_at(bytes, 32),
            synced: flags & UNSYNCED_FLAG == 0,
            gap: flags & GAP_FLAG != 0,
            holes: flags & HOLES_FLAG != 0,
            is_clustered: is_clustered(bytes),
            is_member: flags & MEMBER_FLAG != 0,
            cut: possible(cut_at(bytes))?,
            previous: u64_at(bytes, 68),
            encryption: read_encryption(bytes)?,
        })
    }
}

/// Content of an end file (§3): where an epoch was ended in an orderly way.
pub(crate) fn encode_end(identity: &Identity, epoch: u64, end: Cut) -> Vec<u8> {
    let mut bytes = encode_cut(b"SEAWAYEN", 0, identity, epoch, end);
    seal_header(&mut bytes, 0);
    bytes
}

pub(crate) fn decode_end(bytes: &[u8], identity: &Identity, epoch: u64) -> Result<Cut, String> {
    check_header(bytes, 0, "end file")?;
    check_preamble(bytes, b"SEAWAYEN", 0)?;
    if identity_at(bytes, 16) != *identity || u64_at(bytes, 32) != epoch {
        return Err("the file is about another epoch".to_owned());
    }
    possible(cut_at(bytes))
}

/// Content of the witness of a start that gave something up (§3): which epoch it opened.
pub(crate) fn encode_witness(identity: &Identity, epoch: u64) -> Vec<u8> {
    let mut bytes = encode_cut(b"SEAWAYGU", 0, identity, epoch, Cut::default());
    seal_header(&mut bytes, 0);
    bytes
}

pub(crate) fn decode_witness(bytes: &[u8], identity: &Identity) -> Result<u64, String> {
    check_header(bytes, 0, "witness")?;
    check_preamble(bytes, b"SEAWAYGU", 0)?;
    if identity_at(bytes, 16) != *identity {
        return Err("the file belongs to another journal".to_owned());
    }
    Ok(u64_at(bytes, 32))
}

/// 16 random bytes that name a life of a journal: who goes on from a restore is another than who goes on from what was backed up.
pub type Life = [u8; 16];

/// Content of the file that names a life (§1): the layout of an epoch file with the life in place of the cut.
pub fn encode_life(identity: &Identity, life: &Life) -> Vec<u8> {
    let mut bytes = vec![0; FILE_HEADER_BYTES];
    write_preamble(&mut bytes, b"SEAWAYLI", 0, identity);
    bytes[40..56].copy_from_slice(life);
    seal_header(&mut bytes, 0);
    bytes
}

pub(crate) fn decode_life(bytes: &[u8], identity: &Identity) -> Result<Life, String> {
    check_header(bytes, 0, "file of the store's life")?;
    check_preamble(bytes, b"SEAWAYLI", 0)?;
    if identity_at(bytes, 16) != *identity {
        return Err("the file belongs to another journal".to_owned());
    }
    Ok(identity_at(bytes, 40))
}

/// A place that a journal may have.
fn possible(cut: Cut) -> Result<Cut, String> {
    let is_possible = cut.segment < NUMBER_MAX && cut.offset <= SEGMENT_BYTES_CEILING && cut.position < NUMBER_MAX;
    if is_possible {
        Ok(cut)
    } else {
        Err("it names an impossible place".to_owned())
    }
}

fn encode_cut(magic: &[u8; 8], flags: u32, identity: &Identity, epoch: u64, cut: Cut) -> Vec<u8> {
    let mut bytes = vec![0; FILE_HEADER_BYTES];
    write_preamble(&mut bytes, magic, flags, identity);
    bytes[32..40].copy_from_slice(&epoch.to_le_bytes());
    bytes[40..48].copy_from_slice(&cut.segment.to_le_bytes());
    bytes[48..56].copy_from_slice(&cut.offset.to_le_bytes());
    bytes[56..64].copy_from_slice(&cut.position.to_le_bytes());
    bytes[64..68].copy_from_slice(&cut.checksum.to_le_bytes());
    bytes
}

fn cut_at(bytes: &[u8]) -> Cut {
    Cut {
        segment: u64_at(bytes, 40),
        offset: u64_at(bytes, 48),
        position: u64_at(bytes, 56),
        checksum: u32_at(bytes, 64),
    }
}

/// Writes the checksum of a 128-byte file header into its last four bytes.
pub(crate) fn seal_header(bytes: &mut [u8], seed: u32) {
    let checksum = crc32c::crc32c_append(seed, &bytes[0..124]);
    bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
}

/// Checks length and checksum of a 128-byte file header.
pub(crate) fn check_header(bytes: &[u8], seed: u32, what: &str) -> Result<(), String> {
    if bytes.len() < FILE_HEADER_BYTES {
        return Err(format!("the file is shorter than the header of a {what}"));
    }
    if crc32c::crc32c_append(seed, &bytes[0..124]) != u32_at(bytes, 124) {
        return Err(format!("the checksum of the {what}'s header does not match"));
    }
    Ok(())
}
