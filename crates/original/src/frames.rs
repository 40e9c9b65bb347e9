//! Records in a file one after the other (specification §3.3): their heads, their checksums, and the way back to the next good one.
//!
//! Knows sizes and checksums; what a record says is decided elsewhere.

use crate::crc::Crc32;
use crate::error::Error;
use crate::limits::{RECORD_BYTES_MAX, SEARCH_FACTOR, SEARCHED_ENTITY_BYTES_MAX, WINDOW_BYTES};
use crate::window::Window;

/// Bytes before the first record: the version.
pub(crate) const FILE_HEADER_BYTES: u64 = 4;
/// Bytes before a record's payload.
pub(crate) const RECORD_HEADER_BYTES: u64 = 8;

/// Places looked at in one step of a search; with a payload behind them they fit into a window.
const SEARCH_BYTES: usize = WINDOW_BYTES / 2;

/// How heads are read, and what a record looks like that was not expected where it is.
#[derive(Clone, Copy)]
pub(crate) enum Framing<'a> {
    /// Messages of this channel: the head is a size.
    Messages(&'a [u8]),
    /// Clients and subscriptions: the head is a size and a kind.
    Typed,
}

/// The head of a record, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) offset: u64,
    pub(crate) kind: u8,
    pub(crate) size: u32,
    pub(crate) crc: u32,
}

impl Head {
    pub(crate) fn read(bytes: &[u8; 8], offset: u64, framing: Framing<'_>) -> Self {
        let [a, b, c, d, crc @ ..] = *bytes;
        let (kind, size) = match framing {
            Framing::Messages(_) => (0, u32::from_le_bytes([a, b, c, d])),
            Framing::Typed => (d, u32::from_le_bytes([a, b, c, 0])),
        };
        Self {
            offset,
            kind,
            size,
            crc: u32::from_le_bytes(crc),
        }
    }

    pub(crate) fn payload(&self) -> u64 {
        self.offset + RECORD_HEADER_BYTES
    }

    pub(crate) fn end(&self) -> u64 {
        self.payload() + u64::from(self.size)
    }

    fn is_zero(&self) -> bool {
        self.kind == 0 && self.size == 0 && self.crc == 0
    }
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record whose checksum is right.
    Record(Head),
    /// No record; a good one follows.
    Unreadable { offset: u64, length: u64 },
    /// No record, and none follows.
    UnreadableTail { offset: u64, length: u64 },
    /// The beginning of a record, and nothing follows.
    Torn { offset: u64, length: u64 },
    /// Zeros to the end.
    Zeros { offset: u64, length: u64 },
    /// The end, at the end of a record.
    End,
}

/// Whether to look for another good record behind a bad one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    Search,
    Stop,
}

/// Steps through a file. The window is lent at each step, so that the caller can look at payloads between them.
pub(crate) struct Frames<'a> {
    framing: Framing<'a>,
    crc: &'a Crc32,
    recovery: Recovery,
    at: u64,
    end: u64,
    search_bytes_left: u64,
}

impl<'a> Frames<'a> {
    /// From `at` to `end`, both within the file. What failed attempts may cost is bounded by the length.
    pub(crate) fn new(framing: Framing<'a>, crc: &'a Crc32, recovery: Recovery, at: u64, end: u64) -> Self {
        Self {
            framing,
            crc,
            recovery,
            at,
            end,
            search_bytes_left: end
                .saturating_sub(at)
                .saturating_mul(SEARCH_FACTOR)
                .saturating_add(1 << 20),
        }
    }

    /// For what was stepped through before: attempts cost no more than they did then.
    pub(crate) fn unbounded(self) -> Self {
        Self {
            search_bytes_left: u64::MAX,
            ..self
        }
    }

    pub(crate) fn step(&mut self, window: &mut Window) -> Result<Step, Error> {
        let offset = self.at;
        if offset >= self.end {
            return Ok(Step::End);
        }
        let length = self.end - offset;
        let head = self.head(window, offset)?;
        if let Some(head) = head
            && !head.is_zero()
            && self.is_good(window, &head)?
        {
            self.at = head.end();
            return Ok(Step::Record(head));
        }
        if head.is_none_or(|head| head.is_zero()) && window.is_zero_from(offset)? {
            self.at = self.end;
            return Ok(Step::Zeros { offset, length });
        }
        let found = match self.recovery {
            Recovery::Search => self.search(window, offset + 1)?,
            Recovery::Stop => None,
        };
        self.at = found.unwrap_or(self.end);
        let is_partial = head.is_none_or(|head| head.end() > self.end);
        Ok(match found {
            Some(found) => Step::Unreadable {
                offset,
                length: found - offset,
            },
            None if is_partial => Step::Torn { offset, length },
            None => Step::UnreadableTail { offset, length },
        })
    }

    /// The head at `offset`; none when the file ends before its end.
    fn head(&self, window: &mut Window, offset: u64) -> Result<Option<Head>, Error> {
        if self.end - offset < RECORD_HEADER_BYTES {
            return Ok(None);
        }
        let bytes = window.bytes(offset, 8)?.first_chunk().copied().unwrap_or_default();
        Ok(Some(Head::read(&bytes, offset, self.framing)))
    }

    fn is_good(&mut self, window: &mut Window, head: &Head) -> Result<bool, Error> {
        if head.end() > self.end || head.size > RECORD_BYTES_MAX {
            return Ok(false);
        }
        let is_good = window.crc(self.crc, head.payload(), u64::from(head.size))? == head.crc;
        if !is_good {
            // A far end moves the window there and back.
            let cost = u64::from(head.size)
                + if head.size as usize > WINDOW_BYTES / 4 {
                    WINDOW_BYTES as u64
                } else {
                    0
                };
            self.search_bytes_left = self.search_bytes_left.saturating_sub(cost);
        }
        Ok(is_good)
    }

    /// The offset of the next record that looks like one and has the right checksum.
    fn search(&mut self, window: &mut Window, mut from: u64) -> Result<Option<u64>, Error> {
        const STEP: u64 = SEARCH_BYTES as u64;
        while self.search_bytes_left > 0 && self.end.saturating_sub(from) > RECORD_HEADER_BYTES {
            let length = (self.end - from).min(STEP + u64::from(u8::MAX));
            #[expect(clippy::cast_possible_truncation, reason = "less than a window")]
            let bytes = window.bytes(from, length as usize)?;
            let Some(head) = self.candidate(bytes, from) else {
                // What may begin in the last bytes is looked at again with those that follow.
                from += if length < STEP { length } else { STEP };
                continue;
            };
            if self.is_good(window, &head)? {
                return Ok(Some(head.offset));
            }
            from = head.offset + 1;
        }
        Ok(None)
    }

    /// The first head in `bytes`, which lie at `from`, that is worth a checksum.
    fn candidate(&self, bytes: &[u8], from: u64) -> Option<Head> {
        let places = bytes.windows(RECORD_HEADER_BYTES as usize + 1).take(SEARCH_BYTES);
        for (start, place) in places.enumerate() {
            let payload = &bytes[start + RECORD_HEADER_BYTES as usize..];
            let head = Head::read(
                place.first_chunk().unwrap_or(&[0; 8]),
                from + start as u64,
                self.framing,
            );
            if head.end() <= self.end && self.is_plausible(&head, payload) {
                return Some(head);
            }
        }
        None
    }

    /// A cheap look before a dear checksum. `payload` may be cut.
    fn is_plausible(&self, head: &Head, payload: &[u8]) -> bool {
        match self.framing {
            Framing::Typed => {
                (1..=5).contains(&head.kind)
                    && (2..=SEARCHED_ENTITY_BYTES_MAX).contains(&head.size)
                    && matches!(payload.first(), Some(0x08 | 0x0A))
            }
            Framing::Messages(subject) => {
                // Field 1, a number; field 2, the channel. A window's end may hide the channel.
                let Some((0x08, rest)) = payload.split_first() else {
                    return false;
                };
                let Some(end) = rest.iter().take(10).position(|byte| byte & 0x80 == 0) else {
                    return false;
                };
                let rest = &rest[end + 1..];
                let (length, name) = match rest.split_first() {
                    Some((0x12, rest)) => match rest.split_first() {
                        Some((length, name)) => (usize::from(*length), name),
                        None => return true,
                    },
                    Some(_) => return false,
                    None => return true,
                };
                subject.len() > 127 || (length == subject.len() && name.iter().zip(subject).all(|(a, b)| a == b))
            }
        }
    }
}
