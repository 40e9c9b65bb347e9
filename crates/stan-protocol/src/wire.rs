//! The wire format of protobuf, as far as the hand-written codecs need it (specification §2.2).
//!
//! Decides what makes a message invalid; does not know any message.

use std::fmt;

/// Groups inside groups that are skipped before a message counts as invalid.
const GROUP_DEPTH_MAX: u32 = 100;
/// Longest varint in bytes.
const VARINT_LEN_MAX: usize = 10;
/// How far the bits of its last byte are shifted.
const SHIFT_MAX: u32 = 63;

/// The bytes are no valid message (specification §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid protobuf message")
    }
}

impl std::error::Error for Invalid {}

/// Value of a field, typed by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Fixed-width value or group, already skipped: no message of this protocol has such a field.
    Other,
}

impl<'a> Value<'a> {
    /// The bytes, or invalid when the wire type is another.
    pub(crate) fn bytes(self) -> Result<&'a [u8], Invalid> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Other => Err(Invalid),
        }
    }

    /// The number, or invalid when the wire type is another.
    pub(crate) fn varint(self) -> Result<u64, Invalid> {
        match self {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Other => Err(Invalid),
        }
    }
}

/// Fields of a message, in the order in which they arrive.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    /// The next field's number and bytes, if it is bytes with a length of one byte or two under a one-byte key, as nearly all are.
    #[inline]
    pub(crate) fn next_bytes(&mut self) -> Option<(u8, &'a [u8])> {
        let [key @ 0x08..0x80, first, rest @ ..] = self.rest else {
            return None;
        };
        if key & 7 != 2 {
            return None;
        }
        let (len, rest) = match (*first, rest) {
            (0..0x80, rest) => (usize::from(*first), rest),
            (_, [second @ 0..0x80, rest @ ..]) => (usize::from(*first & 0x7f) | usize::from(*second) << 7, rest),
            _ => return None,
        };
        let (bytes, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((key >> 3, bytes))
    }

    /// The next field's number and value; `None` at the end of the message.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Invalid> {
        match self.next_bytes() {
            Some((number, bytes)) => Ok(Some((u32::from(number), Value::Bytes(bytes)))),
            None => self.any_next(),
        }
    }

    fn any_next(&mut self) -> Result<Option<(u32, Value<'a>)>, Invalid> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        // A longer number under a one-byte key is frequent too.
        if let [key @ 0x08..0x80, value @ ..] = self.rest
            && key & 7 == 0
        {
            self.rest = value;
            return Ok(Some((u32::from(key >> 3), Value::Varint(self.long_varint()?))));
        }
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Invalid)?;
                Value::Bytes(self.take(len)?)
            }
            3 => self.skip_group(number)?,
            5 => self.skip(4)?,
            // 4 ends a group that was not begun; 6 and 7 do not exist.
            _ => return Err(Invalid),
        };
        Ok(Some((number, value)))
    }

    /// Field number (1 to 2^29 - 1) and wire type.
    #[inline]
    fn key(&mut self) -> Result<(u32, u8), Invalid> {
        let key = u32::try_from(self.varint()?).map_err(|_| Invalid)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Invalid);
        }
        Ok((number, (key & 7) as u8))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Invalid> {
        // Nearly all keys and lengths have one byte.
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Invalid> {
        let (mut number, mut shift, mut rest) = (0, 0, self.rest);
        while let [byte, behind @ ..] = rest {
            number |= u64::from(byte & 0x7f) << shift;
            rest = behind;
            if *byte < 0x80 {
                // The tenth byte has room for one bit only.
                if shift == SHIFT_MAX && *byte > 1 {
                    return Err(Invalid);
                }
                self.rest = rest;
                return Ok(number);
            }
            if shift == SHIFT_MAX {
                return Err(Invalid);
            }
            shift += 7;
        }
        Err(Invalid)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Invalid)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> Result<Value<'a>, Invalid> {
        self.take(len)?;
        Ok(Value::Other)
    }

    /// Skips a group up to the end that carries its number; the numbers of open groups are kept on a small stack.
    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<Value<'a>, Invalid> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.key()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.skip(8)?),
                2 => {
                    let len = usize::try_from(self.varint()?).map_err(|_| Invalid)?;
                    self.take(len)?;
                }
                3 if (open.len() as u32) < GROUP_DEPTH_MAX => open.push(number),
                4 if number == innermost => drop(open.pop()),
                5 => drop(self.skip(4)?),
                _ => return Err(Invalid),
            }
        }
        Ok(Value::Other)
    }
}

/// Length of `number` as a varint, 1 to 10.
#[inline]
pub(crate) fn varint_len(number: u64) -> usize {
    // Seven bits per byte; zero takes one byte.
    ((64 - (number | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// Appends a number under a one-byte key, unless it is zero.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, key: u8, number: u64) {
    if number >= 0x80 {
        put_long_number(out, key, number);
    } else if number != 0 {
        out.extend_from_slice(&[key, number as u8]);
    }
}

fn put_long_number(out: &mut Vec<u8>, key: u8, number: u64) {
    let mut field = ShortFields::default();
    field.put_number(key, number);
    out.extend_from_slice(field.bytes());
}

/// Two fields of numbers, or lengths, put together before they are appended.
#[derive(Default)]
pub(crate) struct ShortFields {
    bytes: [u8; 2 * (1 + VARINT_LEN_MAX)],
    len: usize,
}

impl ShortFields {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds a number under a one-byte key, unless it is zero.
    ///
    /// # Panics
    /// With a third long number.
    #[inline]
    pub(crate) fn put_number(&mut self, key: u8, mut number: u64) {
        if number == 0 {
            return;
        }
        let mut len = self.len + 1;
        self.bytes[self.len] = key;
        while number >= 0x80 {
            self.bytes[len] = number as u8 | 0x80;
            len += 1;
            number >>= 7;
        }
        self.bytes[len] = number as u8;
        self.len = len + 1;
    }
}

/// Appends bytes under a one-byte key, unless they are empty.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    put_number(out, key, bytes.len() as u64);
    if !bytes.is_empty() {
        out.extend_from_slice(bytes);
    }
}

/// Length of a number under a one-byte key.
#[inline]
pub(crate) fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint_len(number) }
}

/// Length of bytes under a one-byte key.
#[inline]
pub(crate) fn bytes_len(len: usize) -> usize {
    if len == 0 { 0 } else { 1 + varint_len(len as u64) + len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_lengths_are_exact() {
        let mut out = Vec::new();
        for shift in 0..64 {
            for number in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1, u64::MAX >> shift] {
                out.clear();
                put_number(&mut out, 0x08, number);
                assert_eq!(number_len(number), out.len(), "{number}");
                if number != 0 {
                    assert_eq!(Fields::new(&out).next(), Ok(Some((1, Value::Varint(number)))));
                    assert_eq!(Fields::new(&out).any_next(), Ok(Some((1, Value::Varint(number)))));
                }
            }
        }
    }

    /// All fields of a message, or invalid.
    fn all(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Invalid> {
        let mut fields = Fields::new(message);
        let mut found = Vec::new();
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn strictness_of_section_2_2() {
        let nested = |depth: usize| [vec![0x3b; depth], vec![0x3c; depth]].concat();
        let valid: [(&[u8], usize); 8] = [
            (&[], 0),
            (&[0x08, 0x00], 1),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 1),
            (&[0x09, 1, 2, 3, 4, 5, 6, 7, 8], 1),
            (&[0x0d, 1, 2, 3, 4], 1),
            (&[0x0b, 0x08, 0x01, 0x12, 0x01, 0xff, 0x0c], 1),
            (&nested(GROUP_DEPTH_MAX as usize), 1),
            (&[0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00], 1),
        ];
        for (message, count) in valid {
            assert_eq!(all(message).map(|found| found.len()), Ok(count), "{message:02x?}");
        }
        let invalid: [(&str, &[u8]); 14] = [
            ("truncated key", &[0x80]),
            ("missing value", &[0x08]),
            ("truncated varint", &[0x08, 0x80]),
            (
                "varint of 65 bits",
                &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            ),
            (
                "varint of 11 bytes",
                &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            ),
            ("field number 0", &[0x00, 0x00]),
            ("field number of 30 bits", &[0xf8, 0xff, 0xff, 0xff, 0x1f, 0x00]),
            ("length beyond the end", &[0x0a, 0x02, 0x00]),
            (
                "length near 2^64",
                &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ),
            ("end of a group that was not begun", &[0x0c]),
            ("end of another group", &[0x0b, 0x14]),
            ("group without end", &[0x0b, 0x08, 0x01]),
            ("wire type 7", &[0x0f]),
            ("groups too deep", &nested(GROUP_DEPTH_MAX as usize + 1)),
        ];
        for (name, message) in invalid {
            assert_eq!(all(message), Err(Invalid), "{name}");
        }
    }
}
