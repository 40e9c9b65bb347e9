//! CRC-32 with a polynomial of the operator's choice (`-file_crc_poly`), eight bytes at a time unless it is the usual one, and CRC-64/XZ.

/// The usual polynomial, for which processors have instructions.
const IEEE: u32 = 0xEDB8_8320;

/// A reflected CRC-32 with initial value and final exclusive-or of all ones.
#[derive(Clone)]
pub(crate) struct Crc32 {
    tables: Box<[[u32; 256]; 8]>,
    is_usual: bool,
}

impl Crc32 {
    /// `polynomial` in reversed form: 0xEDB88320 is the usual one.
    pub(crate) fn new(polynomial: u32) -> Self {
        let mut tables = Box::new([[0u32; 256]; 8]);
        for (value, entry) in (0u32..).zip(&mut tables[0]) {
            *entry = (0..8).fold(value, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { polynomial } else { 0 });
        }
        for table in 1..8 {
            for value in 0..256 {
                let before = tables[table - 1][value];
                tables[table][value] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            }
        }
        let is_usual = polynomial == IEEE;
        Self { tables, is_usual }
    }

    pub(crate) fn of(&self, bytes: &[u8]) -> u32 {
        !self.extend(!0, bytes)
    }

    /// Goes on with a state that began as all ones; the final complement is the caller's.
    pub(crate) fn extend(&self, mut crc: u32, bytes: &[u8]) -> u32 {
        if self.is_usual {
            let mut hasher = crc32fast::Hasher::new_with_initial(!crc);
            hasher.update(bytes);
            return !hasher.finalize();
        }
        let tables = &self.tables;
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let low = crc ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            crc = tables[7][(low & 0xFF) as usize]
                ^ tables[6][(low >> 8 & 0xFF) as usize]
                ^ tables[5][(low >> 16 & 0xFF) as usize]
                ^ tables[4][(low >> 24) as usize]
                ^ tables[3][usize::from(word[4])]
                ^ tables[2][usize::from(word[5])]
                ^ tables[1][usize::from(word[6])]
                ^ tables[0][usize::from(word[7])];
        }
        for byte in words.remainder() {
            crc = (crc >> 8) ^ tables[0][((crc ^ u32::from(*byte)) & 0xFF) as usize];
        }
        crc
    }
}

/// CRC-64/XZ, by which a Raft snapshot is checked (specification §6.11).
pub(crate) fn crc64_xz(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
    let mut table = [0u64; 256];
    for (value, entry) in (0u64..).zip(&mut table) {
        *entry = (0..8).fold(value, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 });
    }
    !bytes.iter().fold(!0, |crc: u64, byte| {
        (crc >> 8) ^ table[((crc ^ u64::from(*byte)) & 0xFF) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(Crc32::new(0xEDB8_8320).of(b"123456789"), 0xCBF4_3926);
        assert_eq!(Crc32::new(0x82F6_3B78).of(b"123456789"), 0xE306_9283);
        assert_eq!(crc64_xz(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(Crc32::new(0xEDB8_8320).of(b""), 0);
    }

    #[test]
    fn pieces_are_as_good_as_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 7 % 251) as u8).collect();
        for polynomial in [0xEDB8_8320, 0x82F6_3B78] {
            let crc = Crc32::new(polynomial);
            for cut in [0, 1, 7, 8, 9, 500, 1000] {
                let state = crc.extend(crc.extend(!0, &bytes[..cut]), &bytes[cut..]);
                assert_eq!(!state, crc.of(&bytes));
            }
        }
    }

    /// What a processor's instructions find is what the tables say.
    #[test]
    fn the_usual_polynomial_is_no_exception() {
        let mut tables = Crc32::new(IEEE);
        tables.is_usual = false;
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 31 % 253) as u8).collect();
        for length in (0..70).chain([255, 256, 257, 1000]) {
            assert_eq!(
                Crc32::new(IEEE).of(&bytes[..length]),
                tables.of(&bytes[..length]),
                "{length}"
            );
        }
    }
}
