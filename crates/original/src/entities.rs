//! `server.dat`, `clients.dat` and `subs.dat` (specification §3.5, §3.6, §3.9): logs of small records, folded into a state.

use std::collections::BTreeMap;
use std::path::Path;

use crate::crc::Crc32;
use crate::error::Error;
use crate::finding::{Finding, Findings, Kind, Severity};
use crate::frames::{FILE_HEADER_BYTES, Frames, Framing, Head, RECORD_HEADER_BYTES, Recovery, Step};
use crate::limits::{ENTITIES_MAX, PENDING_RANGES_MAX, SERVER_FILE_BYTES_MAX};
use crate::pending::Pending;
use crate::protobuf::Malformed;
use crate::records::{ClientInfo, ServerInfo, SubState, decode_name, decode_numbers};
use crate::window::Window;

/// Whether a file begins as it should; says so otherwise.
pub(crate) fn has_header(window: &mut Window, file: &str, findings: &mut Findings) -> Result<bool, Error> {
    let length = window.length();
    if length < FILE_HEADER_BYTES {
        findings.push(
            Finding::new(Severity::Repair, Kind::NoHeader, file)
                .offset(0)
                .count(length),
        );
        return Ok(false);
    }
    if window.bytes(0, 4)? != [1, 0, 0, 0] {
        findings.push(Finding::new(Severity::Refusal, Kind::UnsupportedVersion, file).offset(0));
        return Ok(false);
    }
    Ok(true)
}

/// What `server.dat` says, if it does.
pub(crate) fn read_server(
    path: &Path,
    file: &str,
    crc: &Crc32,
    findings: &mut Findings,
) -> Result<Option<ServerInfo>, Error> {
    let missing = || Finding::new(Severity::Repair, Kind::ServerInfoMissing, file);
    if !path.is_file() {
        findings.push(missing());
        return Ok(None);
    }
    let mut window = Window::open(path)?;
    let length = window.length();
    // An empty file is one that was never written to; a torn or foreign header is told of.
    let has_header = length > 0 && has_header(&mut window, file, findings)?;
    if length <= FILE_HEADER_BYTES {
        findings.push(missing());
        return Ok(None);
    }
    if !has_header {
        return Ok(None);
    }
    let mut found = None;
    if (FILE_HEADER_BYTES + RECORD_HEADER_BYTES..=SERVER_FILE_BYTES_MAX).contains(&length) {
        let head = window
            .bytes(FILE_HEADER_BYTES, 8)?
            .first_chunk()
            .copied()
            .unwrap_or_default();
        let head = Head::read(&head, FILE_HEADER_BYTES, Framing::Messages(b""));
        if head.end() == length && window.crc(crc, head.payload(), u64::from(head.size))? == head.crc {
            found = ServerInfo::decode(window.bytes(head.payload(), head.size as usize)?).ok();
        }
    }
    if found.is_none() {
        findings.push(Finding::new(Severity::Loss, Kind::ServerInfoDamaged, file).offset(FILE_HEADER_BYTES));
    }
    Ok(found)
}

/// Goes through a file of typed records. `apply` says whether a record made sense; `false` stops.
fn fold(
    path: &Path,
    file: &str,
    crc: &Crc32,
    findings: &mut Findings,
    mut apply: impl FnMut(u8, &[u8]) -> Result<bool, Malformed>,
) -> Result<(), Error> {
    let mut window = Window::open(path)?;
    if !has_header(&mut window, file, findings)? {
        return Ok(());
    }
    let mut frames = Frames::new(
        Framing::Typed,
        crc,
        Recovery::Search,
        FILE_HEADER_BYTES,
        window.length(),
    );
    loop {
        let finding = |severity, kind, offset| Finding::new(severity, kind, file).offset(offset);
        match frames.step(&mut window)? {
            Step::End => return Ok(()),
            Step::Record(head) => match apply(head.kind, window.bytes(head.payload(), head.size as usize)?) {
                Ok(true) => {}
                Ok(false) => {
                    findings.push(finding(Severity::Refusal, Kind::TooMany, head.offset));
                    return Ok(());
                }
                Err(Malformed) => findings.push(finding(Severity::Loss, Kind::UnknownRecord, head.offset).count(1)),
            },
            Step::Unreadable { offset, length } | Step::UnreadableTail { offset, length } => {
                findings.push(finding(Severity::Loss, Kind::UnreadableBytes, offset).count(length));
            }
            Step::Torn { offset, length } => {
                findings.push(finding(Severity::Repair, Kind::TornTail, offset).count(length));
            }
            Step::Zeros { offset, length } => {
                findings.push(finding(Severity::Note, Kind::ZeroTail, offset).count(length));
            }
        }
    }
}

/// Clients by their IDs.
pub type Clients = BTreeMap<Vec<u8>, ClientInfo>;

pub(crate) fn read_clients(path: &Path, file: &str, crc: &Crc32, findings: &mut Findings) -> Result<Clients, Error> {
    let mut clients = Clients::new();
    if !path.is_file() {
        return Ok(clients);
    }
    fold(path, file, crc, findings, |kind, payload| {
        match kind {
            1 => {
                let client = ClientInfo::decode(payload)?;
                clients.insert(client.id.clone(), client);
            }
            2 => {
                clients.remove(decode_name(payload)?);
            }
            _ => return Err(Malformed),
        }
        Ok(clients.len() <= ENTITIES_MAX)
    })?;
    Ok(clients)
}

/// A subscription with what it has not acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// What it is, and how far it came.
    pub state: SubState,
    /// Messages delivered and not acknowledged.
    pub pending: Pending,
}

/// The subscriptions of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// By their IDs.
    pub live: BTreeMap<u64, Subscription>,
    /// The highest ID ever seen, also of those that are no more.
    pub highest_id: u64,
    ranges: usize,
}

impl Subscriptions {
    pub(crate) fn read(path: &Path, file: &str, crc: &Crc32, findings: &mut Findings) -> Result<Self, Error> {
        let mut subscriptions = Self::default();
        if path.is_file() {
            fold(path, file, crc, findings, |kind, payload| {
                subscriptions.apply(kind, payload)?;
                Ok(subscriptions.is_bounded())
            })?;
        }
        Ok(subscriptions)
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.live.len() <= ENTITIES_MAX && self.ranges <= PENDING_RANGES_MAX
    }

    /// One record (§3.9).
    fn apply(&mut self, kind: u8, payload: &[u8]) -> Result<(), Malformed> {
        match kind {
            1 => {
                let state = SubState::decode(payload)?;
                self.forget(state.id);
                self.put(state);
            }
            2 => self.put(SubState::decode(payload)?),
            3 => {
                let (id, _) = decode_numbers(payload)?;
                self.highest_id = self.highest_id.max(id);
                self.forget(id);
            }
            4 => {
                let (id, sequence) = decode_numbers(payload)?;
                self.change(id, |sub| sub.pending.remove(sequence));
            }
            5 => {
                let (id, sequence) = decode_numbers(payload)?;
                self.change(id, |sub| {
                    sub.pending.insert(sequence);
                    sub.state.last_sent = sub.state.last_sent.max(sequence);
                });
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, state: SubState) {
        self.highest_id = self.highest_id.max(state.id);
        let sub = self.live.entry(state.id).or_default();
        // A position never goes back, whatever an update was written with.
        let last_sent = sub.state.last_sent.max(state.last_sent);
        sub.state = SubState { last_sent, ..state };
    }

    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(sub) = self.live.remove(&id) {
            self.ranges -= sub.pending.range_count();
        }
    }

    pub(crate) fn change(&mut self, id: u64, change: impl FnOnce(&mut Subscription)) {
        if let Some(sub) = self.live.get_mut(&id) {
            self.ranges -= sub.pending.range_count();
            change(sub);
            self.ranges += sub.pending.range_count();
        }
    }
}
