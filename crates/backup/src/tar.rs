//! As much of the tar format (POSIX ustar) as archives need: plain files, with short names, one after the other. What is written is what
//! any `tar` unpacks; what is read is only what was written.

use std::io::{self, Read, Write};

pub(crate) const BLOCK_BYTES: usize = 512;
/// The largest length that 11 octal digits say; longer ones are said in binary, as others do.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// What stands before a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) length: u64,
    /// Seconds since 1970.
    pub(crate) time: u64,
}

fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let name = self.name.as_bytes();
        assert!(name.len() < 100, "names of a store's files are short");
        block[..name.len()].copy_from_slice(name);
        octal(&mut block[100..108], 0o600);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        if self.length > OCTAL_MAX {
            block[124] = 0x80;
            block[128..136].copy_from_slice(&self.length.to_be_bytes());
        } else {
            octal(&mut block[124..136], self.length);
        }
        octal(&mut block[136..148], self.time.min(OCTAL_MAX));
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// `None` for the zeros behind the last file.
    pub(crate) fn decode(block: &[u8; BLOCK_BYTES]) -> Result<Option<Header>, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let number = |range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(&block[range]).unwrap_or_default();
            u64::from_str_radix(text.trim_matches(['\0', ' ']), 8)
                .map_err(|_| "a number in a header is none".to_owned())
        };
        if number(148..156)? != u64::from(checksum(block)) {
            return Err("the checksum of a header does not match".to_owned());
        }
        if &block[257..262] != b"ustar" || block[156] != b'0' {
            return Err("something else than a plain file is in it".to_owned());
        }
        let length = if block[124] == 0x80 {
            u64::from_be_bytes(block[128..136].try_into().expect("a slice of eight bytes"))
        } else {
            number(124..136)?
        };
        let name_end = block[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        let name = String::from_utf8(block[..name_end].to_vec()).map_err(|_| "a name is no text".to_owned())?;
        Ok(Some(Header {
            name,
            length,
            time: number(136..148)?,
        }))
    }
}

/// The sum of the bytes, those of the sum itself as spaces.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum()
}

/// How many zeros follow a file.
fn padding(length: u64) -> usize {
    (length.wrapping_neg() % BLOCK_BYTES as u64) as usize
}

/// Fills up the last block of a file.
pub(crate) fn write_padding(out: &mut dyn Write, length: u64) -> io::Result<()> {
    out.write_all(&[0; BLOCK_BYTES][..padding(length)])
}

/// Ends the archive.
pub(crate) fn write_end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK_BYTES])
}

/// Reads the rest of the last block of a file.
pub(crate) fn read_padding(from: &mut dyn Read, length: u64) -> io::Result<()> {
    from.read_exact(&mut [0; BLOCK_BYTES][..padding(length)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_any_length_are_read_as_they_were_written() {
        for length in [0, 1, 511, 512, 1 << 31, OCTAL_MAX, OCTAL_MAX + 1, 1 << 50] {
            let header = Header {
                name: "segment-0000000000000001-00000001.log".to_owned(),
                length,
                time: 1_800_000_000,
            };
            let mut block = header.encode();
            assert_eq!(Header::decode(&block), Ok(Some(header)));
            assert_eq!((length + padding(length) as u64) % 512, 0);
            block[3] ^= 1;
            assert!(Header::decode(&block).is_err());
        }
        assert_eq!(Header::decode(&[0; BLOCK_BYTES]), Ok(None));
    }
}
