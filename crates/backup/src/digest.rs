//! SHA-256 of files, as text.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

use crate::limits::SAMPLE_BYTES;

/// Of what is given piece by piece.
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Hasher {
        Hasher(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        HEXLOWER.encode(self.0.finish().as_ref())
    }
}

/// Of a whole text.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// What tells a file from another of its name and length, without reading all of it: its first and its last bytes, which hold the times
/// of messages and a checksum of all that was written before. `None` for a file that is as quickly read as a whole.
pub(crate) fn sample<E>(
    length: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<String>, E> {
    if length <= 2 * SAMPLE_BYTES {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    let mut bytes = vec![0; SAMPLE_BYTES as usize];
    for offset in [0, length - SAMPLE_BYTES] {
        read(offset, &mut bytes)?;
        hasher.update(&bytes);
    }
    Ok(Some(hasher.finish()))
}
