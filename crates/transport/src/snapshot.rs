//! Pieces of snapshots as bytes, and the ports on both ends (docs/cluster-protocol.md §4).

use bytes::{Bytes, BytesMut};
use seaway_replica::NodeId;

use crate::limits;
use crate::wire::{Malformed, Reader, write_text};

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes: at most `limits::PIECE_BYTES_MAX`, and at least one.
    pub bytes: Bytes,
    /// No other follows.
    pub is_last: bool,
}

/// Where pieces of snapshots come from. Called on threads that may block.
pub trait SnapshotSource: Send + Sync + 'static {
    /// The piece with this number, from 0, of the snapshot with this number, for a member. The same number is the same bytes, as long as
    /// the snapshot is there: a fetch that was cut off goes on in the middle.
    ///
    /// # Errors
    ///
    /// In words, why there is none: the fetch ends.
    fn piece(&self, member: NodeId, snapshot: u64, piece: u64) -> Result<Piece, String>;
}

/// Where pieces of one snapshot go. Called on threads that may block, one piece after the other.
pub trait SnapshotSink: Send + 'static {
    /// Takes the next piece; its checksum was right.
    ///
    /// # Errors
    ///
    /// In words, why it takes no more: the fetch ends.
    fn piece(&mut self, piece: u64, bytes: Bytes, is_last: bool) -> Result<(), String>;
}

/// Asks for a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PieceName {
    /// Of which snapshot.
    pub snapshot: u64,
    /// Which, from 0.
    pub piece: u64,
}

/// Fixed fields before the bytes of a piece: its name, its checksum, whether it is the last, zero.
const PIECE_HEAD_BYTES: usize = 24;
const _: () = assert!(PIECE_HEAD_BYTES + limits::PIECE_BYTES_MAX <= limits::SNAPSHOT_FRAME_BYTES_MAX);

impl PieceName {
    pub(crate) fn written(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.snapshot.to_le_bytes());
        bytes[8..].copy_from_slice(&self.piece.to_le_bytes());
        bytes
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (snapshot, piece) = (reader.u64("a snapshot's number")?, reader.u64("a piece's number")?);
        if piece > limits::SESSION_MAX {
            return Err(Malformed::Value("a piece's number"));
        }
        Ok(Self { snapshot, piece })
    }

    /// Reads exactly one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let name = Self::take(&mut reader)?;
        reader.end()?;
        Ok(name)
    }

    fn checksum(self, is_last: bool, bytes: &[u8]) -> u32 {
        let named = crc32c::crc32c_append(crc32c::crc32c(&self.written()), &[u8::from(is_last)]);
        crc32c::crc32c_append(named, bytes)
    }
}

/// The parts of the frame with a piece; the bytes are not copied.
pub(crate) fn write_piece(name: PieceName, piece: Piece) -> Vec<Bytes> {
    let mut head = BytesMut::with_capacity(PIECE_HEAD_BYTES);
    head.extend_from_slice(&name.written());
    head.extend_from_slice(&name.checksum(piece.is_last, &piece.bytes).to_le_bytes());
    head.extend_from_slice(&[u8::from(piece.is_last), 0, 0, 0]);
    vec![head.freeze(), piece.bytes]
}

/// A piece that came, or `None` in its place when its checksum is wrong.
pub(crate) fn read_piece(frame: &Bytes) -> Result<(PieceName, Option<Piece>), Malformed> {
    let mut reader = Reader(frame);
    let name = PieceName::take(&mut reader)?;
    let checksum = reader.u32("a checksum")?;
    let is_last = reader.is_true("the end of a snapshot")?;
    if reader.array("a reserved field")? != [0; 3] {
        return Err(Malformed::Value("a reserved field"));
    }
    if reader.0.is_empty() || reader.0.len() > limits::PIECE_BYTES_MAX {
        return Err(Malformed::Value("a length of a piece"));
    }
    let bytes = frame.slice_ref(reader.0);
    let is_right = name.checksum(is_last, &bytes) == checksum;
    Ok((name, is_right.then_some(Piece { bytes, is_last })))
}

/// The frame that says why there is no piece.
pub(crate) fn write_refusal(name: PieceName, words: &str) -> Vec<Bytes> {
    let mut out = name.written().to_vec();
    write_text(words, limits::WORDS_BYTES_MAX, &mut out);
    vec![out.into()]
}

pub(crate) fn read_refusal(frame: &[u8]) -> Result<(PieceName, String), Malformed> {
    let mut reader = Reader(frame);
    let name = PieceName::take(&mut reader)?;
    let words = reader.text(limits::WORDS_BYTES_MAX, "words")?;
    reader.end()?;
    Ok((name, words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_arrive_or_are_known_to_be_wrong(
            snapshot in any::<u64>(),
            piece in 0..1_000_u64,
            is_last in any::<bool>(),
            bytes in prop::collection::vec(any::<u8>(), 1..100),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let (name, piece) = (PieceName { snapshot, piece }, Piece { bytes: bytes.into(), is_last });
            let frame = write_piece(name, piece.clone()).concat();
            prop_assert_eq!(read_piece(&frame.clone().into()), Ok((name, Some(piece))));
            let mut wrong = frame;
            let at = at.index(wrong.len());
            wrong[at] ^= flip;
            if let Ok((_, taken)) = read_piece(&wrong.into()) {
                prop_assert_eq!(taken, None);
            }
        }

        #[test]
        fn nothing_is_too_strange(bytes in any::<Vec<u8>>()) {
            let _ = (read_piece(&bytes.clone().into()), read_refusal(&bytes), PieceName::read(&bytes));
        }
    }

    #[test]
    fn names_and_refusals_are_read_as_written() {
        let name = PieceName { snapshot: 3, piece: 9 };
        assert_eq!(PieceName::read(&name.written()), Ok(name));
        let frame = write_refusal(name, "it is gone").concat();
        assert_eq!(read_refusal(&frame), Ok((name, "it is gone".to_owned())));
        assert!(PieceName::read(&[0; 15]).is_err() && PieceName::read(&[0; 17]).is_err());
        assert!(read_piece(&Bytes::from(vec![0; PIECE_HEAD_BYTES])).is_err());
    }
}
