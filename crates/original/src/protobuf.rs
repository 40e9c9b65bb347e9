//! The protobuf wire format, as far as the original's records need it. Never looks beyond what it was given, never recurses.

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of fixed length; nothing that is known here has such fields.
    Fixed,
}

impl<'a> Value<'a> {
    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(Malformed),
        }
    }

    /// An `int32`: negative ones come sign-extended, others cut, as every reader of the protocol does.
    pub(crate) fn int32(self) -> Result<i32, Malformed> {
        #[expect(clippy::cast_possible_truncation, reason = "the wire format says so")]
        self.number().map(|number| number as i32)
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// The numbers of a repeated field, packed or not.
    pub(crate) fn numbers(self) -> Numbers<'a> {
        match self {
            Value::Varint(number) => Numbers::One(Some(number)),
            Value::Bytes(bytes) => Numbers::Packed(bytes),
            Value::Fixed => Numbers::Packed(&[0x80]),
        }
    }
}

/// See [`Value::numbers`].
pub(crate) enum Numbers<'a> {
    One(Option<u64>),
    Packed(&'a [u8]),
}

impl Iterator for Numbers<'_> {
    type Item = Result<u64, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Numbers::One(number) => number.take().map(Ok),
            Numbers::Packed([]) => None,
            Numbers::Packed(rest) => {
                let number = varint(rest);
                if number.is_err() {
                    *rest = &[];
                }
                Some(number)
            }
        }
    }
}

/// The fields of a message in the order in which they stand.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// Begins to read a message.
pub(crate) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { rest: bytes }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        if number == 0 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for (position, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            if position == 9 && *byte > 1 {
                return Err(Malformed);
            }
            *rest = &rest[position + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_and_numbers_packed_or_not() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1D, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        let found: Result<Vec<_>, _> = fields(&bytes).collect();
        let expected = vec![
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed),
            (4, Value::Fixed),
        ];
        assert_eq!(found, Ok(expected));
        assert_eq!(
            Value::Bytes(&[1, 0x96, 1]).numbers().collect::<Result<Vec<_>, _>>(),
            Ok(vec![1, 150])
        );
        assert_eq!(Value::Varint(7).numbers().collect::<Result<Vec<_>, _>>(), Ok(vec![7]));
        assert_eq!(Value::Varint(u64::MAX).int32(), Ok(-1));
    }

    #[test]
    fn what_is_no_message_is_refused_once() {
        for bytes in [
            &[0x08][..],
            &[0x12, 5, 1],
            &[0x0B, 1],
            &[0, 1],
            &[0x0D, 1],
            &[0x80; 11],
            &[0x08, 0x80],
        ] {
            let found: Vec<_> = fields(bytes).take(3).collect();
            assert_eq!(found, [Err(Malformed)], "{bytes:?}");
        }
        assert_eq!(
            Value::Bytes(&[0x80]).numbers().take(3).collect::<Vec<_>>(),
            [Err(Malformed)]
        );
    }
}
