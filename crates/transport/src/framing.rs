//! Frames on a connection between members (docs/cluster-protocol.md §3): length (4), kind (1), zero (3), then the bytes. Pure.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::greeting::Purpose;
use crate::limits::{self, FRAME_HEAD_BYTES};
use crate::wire::Malformed;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A message of a replica, which nobody looks into here.
    Member = 1,
    /// Asks for a `Pong` with the same eight bytes.
    Ping = 2,
    /// The answer.
    Pong = 3,
    /// Asks for a piece of a snapshot.
    PieceRequest = 4,
    /// The piece.
    Piece = 5,
    /// Why it will not come, in words.
    PieceRefusal = 6,
    /// The connection is closed by this side; why, in words.
    Goodbye = 7,
    /// A question of somebody who may be no member.
    Question = 8,
    /// Its answer.
    Answer = 9,
}

impl FrameKind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Member,
            2 => Self::Ping,
            3 => Self::Pong,
            4 => Self::PieceRequest,
            5 => Self::Piece,
            6 => Self::PieceRefusal,
            7 => Self::Goodbye,
            8 => Self::Question,
            9 => Self::Answer,
            _ => return None,
        })
    }

    /// Whether it may come over a connection of this purpose.
    fn is_for(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Control => matches!(self, Self::Member | Self::Ping | Self::Pong | Self::Goodbye),
            Purpose::Bulk => self == Self::Member,
            Purpose::Snapshot => matches!(self, Self::PieceRequest | Self::Piece | Self::PieceRefusal),
            Purpose::Ask => matches!(self, Self::Question | Self::Answer),
        }
    }
}

/// Bytes of the longest frame over a connection.
pub(crate) const fn longest(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Control => limits::CONTROL_FRAME_BYTES_MAX,
        Purpose::Bulk => limits::BULK_FRAME_BYTES_MAX,
        Purpose::Snapshot => limits::SNAPSHOT_FRAME_BYTES_MAX,
        Purpose::Ask => limits::ASKED_BYTES_MAX,
    }
}

/// The head of a frame with so many bytes.
pub(crate) fn head(kind: FrameKind, bytes: usize) -> [u8; FRAME_HEAD_BYTES] {
    let mut head = [0; FRAME_HEAD_BYTES];
    head[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
    head[4] = kind as u8;
    head
}

/// Takes frames out of what comes over a connection.
#[derive(Debug)]
pub struct Decoder {
    purpose: Purpose,
    buffer: BytesMut,
}

impl Decoder {
    /// For a connection of this purpose.
    pub fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            buffer: BytesMut::new(),
        }
    }

    /// Where to put what comes next, with room. The room grows with what has come and not with what a head claims.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let missing = match self.buffer.first_chunk::<4>() {
            Some(length) => (FRAME_HEAD_BYTES + u32::from_le_bytes(*length) as usize).saturating_sub(self.buffer.len()),
            None => 0,
        };
        let least = match self.purpose {
            Purpose::Control | Purpose::Ask => 4 << 10,
            Purpose::Bulk | Purpose::Snapshot => 64 << 10,
        };
        self.buffer.reserve(missing.clamp(least, limits::READ_BYTES));
        &mut self.buffer
    }

    /// The next frame, if it is whole.
    ///
    /// # Errors
    ///
    /// Bytes that no member sends over such a connection; nothing that follows can be read.
    pub fn next_frame(&mut self) -> Result<Option<(FrameKind, Bytes)>, Malformed> {
        let Some(head) = self.buffer.first_chunk::<FRAME_HEAD_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind, zeros @ ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let kind = FrameKind::from_number(kind)
            .filter(|kind| kind.is_for(self.purpose))
            .ok_or(Malformed::Value("a kind of frame"))?;
        if length > longest(self.purpose) {
            return Err(Malformed::Value("a length of a frame"));
        }
        if zeros != [0; 3] {
            return Err(Malformed::Value("a reserved field"));
        }
        if self.buffer.len() < FRAME_HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEAD_BYTES);
        Ok(Some((kind, self.buffer.split_to(length).freeze())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<(FrameKind, Vec<u8>)>> {
        let frame = (
            prop_oneof![Just(FrameKind::Member), Just(FrameKind::Ping)],
            any::<Vec<u8>>(),
        );
        prop::collection::vec(frame, 0..20)
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(frames in frames(), cuts in prop::collection::vec(1..50_usize, 1..20)) {
            let mut bytes = Vec::new();
            for (kind, body) in &frames {
                bytes.extend(head(*kind, body.len()));
                bytes.extend(body);
            }
            let mut decoder = Decoder::new(Purpose::Control);
            let (mut got, mut rest, mut cuts) = (Vec::new(), bytes.as_slice(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                decoder.buffer().extend_from_slice(now);
                while let Some((kind, body)) = decoder.next_frame().unwrap() {
                    got.push((kind, body.to_vec()));
                }
                rest = later;
            }
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn garbage_is_refused_or_waited_for(bytes in any::<Vec<u8>>()) {
            let mut decoder = Decoder::new(Purpose::Bulk);
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn what_does_not_belong_on_a_connection_is_refused_at_its_head() {
        let refused = |purpose, head: [u8; FRAME_HEAD_BYTES]| {
            let mut decoder = Decoder::new(purpose);
            decoder.buffer().extend_from_slice(&head);
            decoder.next_frame().is_err()
        };
        assert!(!refused(
            Purpose::Control,
            head(FrameKind::Member, limits::CONTROL_FRAME_BYTES_MAX)
        ));
        assert!(refused(
            Purpose::Control,
            head(FrameKind::Member, limits::CONTROL_FRAME_BYTES_MAX + 1)
        ));
        assert!(!refused(
            Purpose::Bulk,
            head(FrameKind::Member, limits::BULK_FRAME_BYTES_MAX)
        ));
        assert!(refused(
            Purpose::Bulk,
            head(FrameKind::Member, limits::BULK_FRAME_BYTES_MAX + 1)
        ));
        assert!(refused(Purpose::Bulk, head(FrameKind::Ping, 8)));
        assert!(refused(Purpose::Control, head(FrameKind::Piece, 8)));
        assert!(refused(Purpose::Control, [0, 0, 0, 0, 1, 0, 1, 0]));
        assert!(refused(Purpose::Control, [0, 0, 0, 0, 0, 0, 0, 0]));
    }

    /// A claimed length costs what has come, and a step.
    #[test]
    fn room_is_not_made_for_what_is_only_claimed() {
        let mut decoder = Decoder::new(Purpose::Bulk);
        decoder
            .buffer()
            .extend_from_slice(&head(FrameKind::Member, limits::BULK_FRAME_BYTES_MAX));
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer().capacity() < 2 * limits::READ_BYTES);
    }
}
