//! Codec of checkpoint files (docs/journal-format.md §8): header, blocks, and their encryption.

use crate::encryption::{EncryptionHeader, FileCipher, NONCE_BYTES};
use crate::format::{
    Cut, FILE_HEADER_BYTES, Identity, encryption_flag, seal_header, set_clustered, u32_at, write_encryption,
    write_preamble,
};
use crate::names::Position;
use crate::record::ENCRYPTION_BYTES;

pub(crate) const ENTRY_LOG: u8 = 1;
pub(crate) const ENTRY_FACT: u8 = 2;
pub(crate) const ENTRY_END: u8 = 3;
pub(crate) const ENTRY_MEMBERS: u8 = 4;
pub(crate) const BLOCK_HEADER_BYTES: usize = 12;
pub(crate) const ENTRY_HEADER_BYTES: usize = 5;
pub(crate) const LOG_ENTRY_BYTES: usize = 48;
/// Bytes of an entry about the members before its body.
pub(crate) const MEMBERS_ENTRY_BYTES: usize = 16;

/// Bytes of a block before its entries.
pub(crate) fn block_room(encrypted: bool) -> usize {
    BLOCK_HEADER_BYTES + if encrypted { ENCRYPTION_BYTES } else { 0 }
}

/// Encrypts and decrypts the blocks of one checkpoint.
pub(crate) struct BlockCipher {
    cipher: FileCipher,
    /// The file's header, which every block's tag covers.
    header: Vec<u8>,
    /// The number of the attempt that wrote it; of a checkpoint that is read, known from its first block on.
    attempt: Option<u32>,
}

impl BlockCipher {
    fn associated(&self, block: &[u8]) -> Vec<u8> {
        [self.header.as_slice(), &block[0..8]].concat()
    }

    pub(crate) fn encrypt(&self, block: &mut [u8], number: u32) {
        let associated = self.associated(block);
        let attempt = self.attempt.expect("a checkpoint that is written has a number");
        let nonce = self.cipher.nonce(u64::from(attempt) | u64::from(number) << 32);
        let tag = self.cipher.encrypt(nonce, &associated, &mut block[block_room(true)..]);
        let tag_at = BLOCK_HEADER_BYTES + NONCE_BYTES;
        block[BLOCK_HEADER_BYTES..tag_at].copy_from_slice(&nonce);
        block[tag_at..block_room(true)].copy_from_slice(&tag);
    }

    /// For the checkpoint that this start begins after so many others.
    pub(crate) fn of_attempt(cipher: FileCipher, header: Vec<u8>, attempt: u32) -> BlockCipher {
        BlockCipher {
            cipher,
            header,
            attempt: Some(attempt),
        }
    }

    /// For a checkpoint that is read.
    pub(crate) fn of_file(cipher: FileCipher, header: Vec<u8>) -> BlockCipher {
        BlockCipher {
            cipher,
            header,
            attempt: None,
        }
    }

    /// The entries of a block, into `out`.
    pub(crate) fn decrypt(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.clear();
        let (nonce_at, tag_at) = (BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + NONCE_BYTES);
        let Some(ciphertext) = block.get(block_room(true)..) else {
            return Err("a block of the encrypted checkpoint is too short");
        };
        let nonce: [u8; NONCE_BYTES] = block[nonce_at..tag_at].try_into().expect("a slice of twelve bytes");
        let tag = block[tag_at..block_room(true)]
            .try_into()
            .expect("a slice of sixteen bytes");
        let attempt = u32_at(&nonce, 4);
        if nonce[8..12] != block[4..8] || *self.attempt.get_or_insert(attempt) != attempt {
            return Err("a block of the encrypted checkpoint is at another place");
        }
        self.cipher
            .decrypt(nonce, tag, &self.associated(block), ciphertext, out)
            .map_err(|_| "a block of the encrypted checkpoint was altered")
    }
}

/// Checksum of a block: of its length, its number and its entries.
pub(crate) fn block_checksum(seed: u32, block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &block[0..8]), &block[BLOCK_HEADER_BYTES..])
}

pub(crate) fn header(
    identity: &Identity,
    epoch: u64,
    begin: Position,
    tail: Cut,
    encryption: Option<&EncryptionHeader>,
    has_members: bool,
) -> Vec<u8> {
    let mut bytes = vec![0; FILE_HEADER_BYTES];
    write_preamble(&mut bytes, b"SEAWAYCP", encryption_flag(encryption), identity);
    if has_members {
        set_clustered(&mut bytes);
    }
    bytes[32..40].copy_from_slice(&epoch.to_le_bytes());
    bytes[40..48].copy_from_slice(&begin.to_le_bytes());
    bytes[48..56].copy_from_slice(&tail.segment.to_le_bytes());
    bytes[56..64].copy_from_slice(&tail.offset.to_le_bytes());
    bytes[64..72].copy_from_slice(&tail.position.to_le_bytes());
    bytes[72..76].copy_from_slice(&tail.checksum.to_le_bytes());
    write_encryption(&mut bytes, encryption);
    seal_header(&mut bytes, 0);
    bytes
}
