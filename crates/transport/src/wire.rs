//! Fields as they are written between members: little endian, texts with their length before them. What is read is a stranger's.

use crate::limits;

/// What is wrong with bytes that somebody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("it ends in the middle of {0}")]
    Short(&'static str),
    /// Something in them is not possible.
    #[error("{0} that is not possible")]
    Value(&'static str),
    /// They go on behind their end.
    #[error("it goes on behind its end")]
    Surplus,
    /// They are no member's.
    #[error("it is not what a member of a cluster says")]
    Magic,
}

/// Reads fields one after the other.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn is_true(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value(what)),
        }
    }

    pub(crate) fn text(&mut self, longest: usize, what: &'static str) -> Result<String, Malformed> {
        let length = usize::from(self.u16(what)?);
        if length > longest {
            return Err(Malformed::Value(what));
        }
        let text = std::str::from_utf8(self.take(length, what)?).map_err(|_| Malformed::Value(what))?;
        Ok(text.to_owned())
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Surplus)
        }
    }
}

/// Writes a text, cut at its bound.
pub(crate) fn write_text(text: &str, longest: usize, out: &mut Vec<u8>) {
    let text = cut(text, longest);
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Words of somebody else as they are shown: on one line and not without end.
pub(crate) fn shown(words: &str) -> String {
    cut(words, limits::WORDS_BYTES_MAX)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
