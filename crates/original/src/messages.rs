//! The messages of a channel in order, over all its slices: each sequence once, ascending.

use crate::crc::Crc32;
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::frames::{FILE_HEADER_BYTES, Frames, Framing, Recovery, Step};
use crate::records::Message;
use crate::slice::{ENTRY_BYTES, Entry, Place, Run, Slice, read_indexed};
use crate::window::Window;

/// Reads a channel's messages, one at a time: [`Messages::next`].
pub struct Messages<'a> {
    channel: &'a [u8],
    crc: &'a Crc32,
    slices: &'a [Slice],
    /// The slice that is being read, and how far.
    current: Option<(usize, Reading<'a>)>,
    next_slice: usize,
    /// The last sequence that was returned.
    last: u64,
    findings: &'a mut Findings,
}

/// A slice that is being read.
struct Reading<'a> {
    data: Window,
    stage: Stage<'a>,
    repeated: Option<(u64, u64)>,
}

enum Stage<'a> {
    Index {
        window: Window,
        entry: u64,
    },
    Beyond(Frames<'a>),
    Run {
        position: usize,
        below: Option<u64>,
        frames: Frames<'a>,
        superseded: u64,
    },
    Done,
}

/// Where the next message begins, and how long it is; its bytes are fetched when it is returned.
type Found = (u64, u32);

impl<'a> Messages<'a> {
    pub(crate) fn new(channel: &'a [u8], crc: &'a Crc32, slices: &'a [Slice], findings: &'a mut Findings) -> Self {
        Self {
            channel,
            crc,
            slices,
            current: None,
            next_slice: 0,
            last: 0,
            findings,
        }
    }

    /// The next message, until there is none. What is odd goes to the channel's findings.
    ///
    /// # Errors
    /// A file cannot be read any more. What it says is never an error.
    #[expect(clippy::should_implement_trait, reason = "the message lies in the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        let (offset, size) = loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if let Some((found, sequence)) = self.find()? {
                if sequence > self.last {
                    self.last = sequence;
                    break found;
                }
                self.note_repeated(sequence);
            } else {
                self.close();
            }
        };
        let Some((_, reading)) = &mut self.current else {
            return Ok(None);
        };
        // Its checksum was looked at when it was found.
        Ok(Message::decode(reading.data.bytes(offset, size as usize)?).ok())
    }

    fn open_next(&mut self) -> Result<bool, Error> {
        let position = self.next_slice;
        let Some(slice) = self.slices.get(position) else {
            return Ok(false);
        };
        let stage = match &slice.place {
            Place::Indexed { .. } => Stage::Index {
                window: Window::open(&slice.files.index)?,
                entry: 0,
            },
            Place::Runs(runs) => self.run(runs, 0),
        };
        let data = Window::open(&slice.files.data)?;
        let repeated = None;
        self.current = Some((position, Reading { data, stage, repeated }));
        self.next_slice += 1;
        Ok(true)
    }

    fn run(&self, runs: &[Run], position: usize) -> Stage<'a> {
        let Some(run) = runs.get(position) else {
            return Stage::Done;
        };
        let framing = Framing::Messages(self.channel);
        Stage::Run {
            position,
            below: run.below,
            frames: Frames::new(framing, self.crc, Recovery::Search, run.start, run.end).unbounded(),
            superseded: 0,
        }
    }

    /// The next message of the slice that is open, with its sequence; none at its end.
    fn find(&mut self) -> Result<Option<(Found, u64)>, Error> {
        loop {
            let Some((position, reading)) = &mut self.current else {
                return Ok(None);
            };
            let slice = &self.slices[*position];
            match (&mut reading.stage, &slice.place) {
                (
                    Stage::Index { window, entry },
                    Place::Indexed {
                        entries,
                        end,
                        beyond_end,
                    },
                ) => {
                    if *entry == *entries {
                        let framing = Framing::Messages(self.channel);
                        reading.stage =
                            Stage::Beyond(Frames::new(framing, self.crc, Recovery::Stop, *end, *beyond_end));
                        continue;
                    }
                    let at = FILE_HEADER_BYTES + *entry * ENTRY_BYTES;
                    *entry += 1;
                    let read = Entry::read(window.bytes(at, ENTRY_BYTES as usize)?, self.crc);
                    let Some(read) = read else { continue };
                    if read_indexed(&mut reading.data, &read, self.crc)?.is_some() {
                        return Ok(Some(((read.payload(), read.size), read.sequence)));
                    }
                    self.findings.push(
                        Finding::new(Severity::Loss, Kind::MessageDamaged, &slice.files.data_name)
                            .offset(read.offset)
                            .sequence(read.sequence),
                    );
                }
                (Stage::Beyond(frames), _) => {
                    let bound = self.slices[*position + 1..].iter().find_map(|later| later.first);
                    let found = next_record(frames, &mut reading.data)?;
                    let is_taken = |sequence| bound.is_none_or(|bound| sequence < bound);
                    if let Some((_, sequence)) = found
                        && is_taken(sequence)
                    {
                        return Ok(found);
                    }
                    reading.stage = Stage::Done;
                }
                (
                    Stage::Run {
                        position: at,
                        below,
                        frames,
                        superseded,
                    },
                    Place::Runs(runs),
                ) => match next_record(frames, &mut reading.data)? {
                    Some((_, sequence)) if below.is_some_and(|below| sequence >= below) => *superseded += 1,
                    Some(found) => return Ok(Some(found)),
                    None => {
                        let (at, superseded) = (*at, *superseded);
                        self.next_run(runs, at, superseded);
                    }
                },
                _ => return Ok(None),
            }
        }
    }

    fn next_run(&mut self, runs: &[Run], at: usize, superseded: u64) {
        let stage = self.run(runs, at + 1);
        let Some((position, reading)) = &mut self.current else {
            return;
        };
        reading.stage = stage;
        if superseded > 0 {
            let file = &self.slices[*position].files.data_name;
            let restart = runs.get(at + 1).map_or(0, |run| run.start);
            self.findings.push(
                Finding::new(Severity::Repair, Kind::SupersededRecords, file)
                    .offset(restart)
                    .count(superseded),
            );
        }
    }

    fn note_repeated(&mut self, sequence: u64) {
        if let Some((_, reading)) = &mut self.current {
            reading.repeated.get_or_insert((sequence, 0)).1 += 1;
        }
    }

    fn close(&mut self) {
        let Some((position, reading)) = self.current.take() else {
            return;
        };
        if let Some((sequence, count)) = reading.repeated {
            self.findings.push(
                Finding::new(
                    Severity::Repair,
                    Kind::DuplicateSequences,
                    &self.slices[position].files.data_name,
                )
                .count(count)
                .sequence(sequence),
            );
        }
    }
}

/// The next record that is a message.
fn next_record(frames: &mut Frames<'_>, data: &mut Window) -> Result<Option<(Found, u64)>, Error> {
    loop {
        match frames.step(data)? {
            Step::Record(head) => {
                if let Ok(message) = Message::decode(data.bytes(head.payload(), head.size as usize)?) {
                    return Ok(Some(((head.payload(), head.size), message.sequence)));
                }
            }
            Step::Unreadable { .. } => {}
            _ => return Ok(None),
        }
    }
}
