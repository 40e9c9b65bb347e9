//! Sends for a party: gathers frames, and hands them over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::limits::MAX_CONTROL_LINE_DEFAULT;
use seaway_nats_protocol::subject;
use seaway_nats_protocol::write::{LINE_END, write_header_publish, write_publish};

use super::link::{EVERYBODY, Link, Matter};
use super::party::Party;
use crate::bus::words::{Hindrance, Sent};
use crate::limits::EXTERNAL_GATHERED_BYTES_MAX;

/// Nobody knows who receives: somebody is supposed to.
const SOMEBODY: u32 = 1;

/// Bytes of subject and reply at most: whoever sends a longer line than servers take by default is cut off, and everybody with it.
const NAMES_BYTES_MAX: usize = MAX_CONTROL_LINE_DEFAULT - 64;

/// See the module.
pub struct Sender {
    link: Arc<Link>,
    party: Arc<Party>,
    gathered: Vec<u8>,
    count: u64,
}

impl Sender {
    pub(super) fn new(link: Arc<Link>, party: Arc<Party>) -> Sender {
        Sender {
            link,
            party,
            gathered: Vec::new(),
            count: 0,
        }
    }

    pub(in crate::bus) fn send(&mut self, subject: &[u8], reply: Option<&[u8]>, parts: &[&[u8]]) -> Sent {
        let is_gathered = self.gather(subject, reply, &[], parts);
        self.sent(is_gathered)
    }

    pub(in crate::bus) fn send_if_room(&mut self, subject: &[u8], parts: &[&[u8]]) -> Result<u32, Hindrance> {
        self.has_room()?;
        Ok(u32::from(self.gather(subject, None, &[], parts)) * SOMEBODY)
    }

    pub(in crate::bus) fn has_room(&mut self) -> Result<(), Hindrance> {
        if !self.link.carries() {
            return Err(Hindrance::Down);
        }
        match self.congested() {
            true => Err(Hindrance::Full(EVERYBODY)),
            false => Ok(()),
        }
    }

    pub(in crate::bus) fn answer(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) -> Sent {
        let headers = if self.link.takes_headers() { headers } else { &[] };
        let is_gathered = self.gather(subject, None, headers, &[payload]);
        self.sent(is_gathered)
    }

    pub(in crate::bus) fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.link.send(&mut self.gathered, self.count);
            self.count = 0;
        }
    }

    fn sent(&mut self, is_gathered: bool) -> Sent {
        Sent {
            receivers: u32::from(is_gathered) * SOMEBODY,
            congested: self.congested().then_some(EVERYBODY),
        }
    }

    /// Whether too much waits; then the party will be told when there is room.
    fn congested(&mut self) -> bool {
        let gathered = self.gathered.len();
        self.link.is_full(gathered) && self.link.wait_for_room(&self.party, gathered)
    }

    /// Appends a frame; false when it is none that the server would take.
    fn gather(&mut self, subject: &[u8], reply: Option<&[u8]>, headers: &[u8], parts: &[&[u8]]) -> bool {
        // Such names come from clients and must not become protocol.
        if !subject::is_literal(subject) || reply.is_some_and(|reply| !subject::is_well_formed(reply)) {
            return false;
        }
        let names = subject.len() + reply.map_or(0, <[u8]>::len);
        if names > NAMES_BYTES_MAX {
            self.tell_too_long(names);
            return false;
        }
        let size = headers.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let most = self.link.max_payload();
        if size > most {
            self.tell_too_large(subject, size, most);
            return false;
        }
        if headers.is_empty() {
            write_publish(&mut self.gathered, subject, reply, size);
        } else {
            write_header_publish(&mut self.gathered, subject, headers.len(), size);
            self.gathered.extend_from_slice(headers);
        }
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        self.gathered.extend_from_slice(LINE_END);
        self.count += 1;
        let traffic = self.link.traffic();
        traffic.out_messages.fetch_add(1, Ordering::Relaxed);
        traffic.out_bytes.fetch_add(size as u64, Ordering::Relaxed);
        if self.gathered.len() >= EXTERNAL_GATHERED_BYTES_MAX {
            self.flush();
        }
        true
    }

    fn tell_too_long(&self, names: usize) {
        if self.link.may_tell(Matter::TooLarge) {
            tracing::error!(
                target: "stream",
                "A message is not sent: its subject and reply have {names} bytes, and NATS servers cut off whoever sends more than about \
                 {NAMES_BYTES_MAX}"
            );
        }
    }

    fn tell_too_large(&self, subject: &[u8], size: usize, most: usize) {
        if self.link.may_tell(Matter::TooLarge) {
            let subject = String::from_utf8_lossy(subject);
            tracing::error!(
                target: "stream",
                "A message of {size} bytes for {subject:?} is larger than what the NATS server takes ({most}) and is not sent: raise its \
                 max_payload"
            );
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.flush();
    }
}
