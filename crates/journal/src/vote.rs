//! The file with what a member of a cluster promised in elections (docs/journal-format.md §14): two slots, written in turn, so that what
//! an interruption tears is the one that does not count yet.

use crate::claim::Fenced;
use crate::disk::Disk;
use crate::format::{Identity, VOTE_NAME, identity_at, u32_at, u64_at};
use crate::messages::Ticket;
use crate::whole_file::write_whole;
use std::io;

const MAGIC: &[u8; 8] = b"SEAWAYVO";
const VERSION: u32 = 1;
/// What the medium writes as a whole or not at all.
const SLOT_BYTES: usize = 512;
pub(crate) const VOTE_BYTES: usize = 2 * SLOT_BYTES;

/// What a member has to know again after a start, so that it never promises two things in one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vote {
    /// The highest term that it has heard of.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: u64,
    /// Its own node id; 0 as long as it has none.
    pub node: u64,
    /// The cluster that it belongs to; zeros as long as it is in none.
    pub cluster: Identity,
}

/// A vote, and how often one was written before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) counter: u64,
    pub(crate) vote: Vote,
}

impl Counted {
    /// Where it lies in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.counter % 2 * SLOT_BYTES as u64
    }

    pub(crate) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = vec![0; SLOT_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(identity);
        let fields = [self.counter, self.vote.term, self.vote.vote, self.vote.node];
        for (field, at) in fields.iter().zip((32..).step_by(8)) {
            bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes[64..80].copy_from_slice(&self.vote.cluster);
        let checksum = crc32c::crc32c(&bytes[..SLOT_BYTES - 4]);
        bytes[SLOT_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(slot: &[u8], identity: &Identity) -> Result<Counted, String> {
        if slot.len() < SLOT_BYTES || crc32c::crc32c(&slot[..SLOT_BYTES - 4]) != u32_at(slot, SLOT_BYTES - 4) {
            return Err("neither of its slots is whole".to_owned());
        }
        let version = u32_at(slot, 8);
        if &slot[0..8] != MAGIC || version != VERSION {
            return Err(format!(
                "it is not of version {VERSION}, which is all that this program knows"
            ));
        }
        if identity_at(slot, 16) != *identity {
            return Err("it belongs to another journal".to_owned());
        }
        Ok(Counted {
            counter: u64_at(slot, 32),
            vote: Vote {
                term: u64_at(slot, 40),
                vote: u64_at(slot, 48),
                node: u64_at(slot, 56),
                cluster: identity_at(slot, 64),
            },
        })
    }
}

/// What the whole file says.
///
/// # Errors
/// Why nothing.
pub(crate) fn decode(bytes: &[u8], identity: &Identity) -> Result<Counted, String> {
    let slots = (0..2).map(|slot| {
        let counted = Counted::decode(bytes.get(slot * SLOT_BYTES..).unwrap_or_default(), identity)?;
        if counted.offset() != (slot * SLOT_BYTES) as u64 {
            return Err("what is in its slots belongs elsewhere".to_owned());
        }
        Ok(counted)
    });
    let slots: Vec<Result<Counted, String>> = slots.collect();
    let newest = slots.iter().flatten().max_by_key(|counted| counted.counter).copied();
    newest.ok_or_else(|| slots.into_iter().find_map(Result::err).unwrap_or_default())
}

/// The file, if it is there; the inner error says why it says nothing.
///
/// # Errors
/// The operating system cannot read it now.
pub(crate) fn read(disk: &dyn Disk, identity: &Identity) -> io::Result<Option<Result<Counted, String>>> {
    let file = match disk.open_to_read(VOTE_NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; file.length()?.min(VOTE_BYTES as u64) as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(Some(decode(&bytes, identity)))
}

/// The votes of a journal that is open: the one that was written last, and those that are to be.
#[derive(Default)]
pub(crate) struct Votes {
    /// Written last, or being written.
    counted: Counted,
    next: Option<Vote>,
    /// Who waits for the next one.
    waiting: Vec<Ticket>,
    /// Who waits for what is being written; nothing is when nobody does.
    writing: Vec<Ticket>,
}

impl Votes {
    /// After a start that found this one.
    pub(crate) fn new(counted: Counted) -> Votes {
        Votes {
            counted,
            ..Votes::default()
        }
    }

    /// The one that was written last, or is being written.
    pub(crate) fn vote(&self) -> Vote {
        self.counted.vote
    }

    /// One is to be written; it takes the place of one that waits.
    pub(crate) fn push(&mut self, ticket: Ticket, vote: Vote) {
        self.next = Some(vote);
        self.waiting.push(ticket);
    }

    /// The next one, when none is being written.
    pub(crate) fn begin(&mut self) -> Option<Counted> {
        if !self.writing.is_empty() {
            return None;
        }
        self.counted = Counted {
            counter: self.counted.counter + 1,
            vote: self.next.take()?,
        };
        std::mem::swap(&mut self.writing, &mut self.waiting);
        Some(self.counted)
    }

    /// It was written: for these.
    pub(crate) fn end(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.writing)
    }
}

/// Makes the file, of a member that has promised nothing, durably.
pub(crate) fn create(disk: &Fenced<'_>, identity: &Identity) -> io::Result<()> {
    let mut bytes = Counted::default().encode(identity);
    bytes.resize(VOTE_BYTES, 0);
    write_whole(disk, VOTE_NAME, &bytes)
}

/// Writes one slot in place, durably.
pub(crate) fn write(disk: &Fenced<'_>, slot: &[u8], offset: u64) -> io::Result<()> {
    let file = disk.open(VOTE_NAME)?;
    disk.before_removal()?;
    file.write_at(slot, offset)?;
    file.sync_data()?;
    disk.before_removal()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = [7; 16];

    fn counted(counter: u64) -> Counted {
        Counted {
            counter,
            vote: Vote {
                term: 100 + counter,
                vote: counter % 3,
                node: 0xdead_beef,
                cluster: [9; 16],
            },
        }
    }

    fn put(bytes: &mut [u8], counted: &Counted, length: usize) {
        let at = counted.offset() as usize;
        bytes[at..at + length].copy_from_slice(&counted.encode(&IDENTITY)[..length]);
    }

    /// docs/journal-format.md §14: whatever of a slot reached the medium, the file says what it said before, or what it was to say.
    #[test]
    fn a_vote_that_is_torn_at_any_byte_leaves_the_one_before() {
        let mut bytes = vec![0; VOTE_BYTES];
        put(&mut bytes, &counted(0), SLOT_BYTES);
        for next in 1..6 {
            let before = bytes.clone();
            for length in 0..=SLOT_BYTES {
                let mut torn = before.clone();
                put(&mut torn, &counted(next), length);
                let whole = torn[..] == {
                    let mut all = before.clone();
                    put(&mut all, &counted(next), SLOT_BYTES);
                    all
                };
                let expected = if whole { counted(next) } else { counted(next - 1) };
                assert_eq!(decode(&torn, &IDENTITY), Ok(expected), "{length} bytes of {next}");
                // From behind, too: sectors may be written in any order.
                let mut torn = before.clone();
                let at = counted(next).offset() as usize;
                let slot = counted(next).encode(&IDENTITY);
                torn[at + length..at + SLOT_BYTES].copy_from_slice(&slot[length..]);
                let found = decode(&torn, &IDENTITY).expect("the other slot is whole");
                assert!(
                    found == counted(next - 1) || found == counted(next),
                    "{length} bytes of {next}"
                );
            }
            put(&mut bytes, &counted(next), SLOT_BYTES);
        }
    }

    #[test]
    fn what_is_no_vote_of_this_journal_says_nothing_and_why() {
        let mut bytes = vec![0; VOTE_BYTES];
        assert!(decode(&bytes, &IDENTITY).is_err());
        assert!(decode(&[], &IDENTITY).is_err());
        put(&mut bytes, &counted(4), SLOT_BYTES);
        put(&mut bytes, &counted(5), SLOT_BYTES);
        let error = decode(&bytes, &[8; 16]).expect_err("it is another's");
        assert!(error.contains("another journal"), "{error}");
        assert_eq!(decode(&bytes[..700], &IDENTITY), Ok(counted(4)));
        for bit in 0..VOTE_BYTES * 8 {
            let mut rotten = bytes.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let left = if bit / 8 < SLOT_BYTES { 5 } else { 4 };
            assert_eq!(decode(&rotten, &IDENTITY), Ok(counted(left)), "bit {bit}");
        }
        bytes.swap_with_slice(&mut [&counted(5).encode(&IDENTITY)[..], &counted(4).encode(&IDENTITY)[..]].concat());
        assert!(decode(&bytes, &IDENTITY).is_err(), "slots at each other's places");
    }
}
