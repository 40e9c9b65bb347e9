//! A place in a text that moves forward: blanks, comments and quoted strings.

use std::sync::Arc;

use super::{ConfError, Position};

/// A text being read.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    /// Where reading goes on, always at the boundary of a character.
    pub(super) at: usize,
    file: Arc<str>,
    /// A place whose line and column are known: positions are asked for in rising order, so that finding them costs no
    /// more than one walk over the text.
    known: (usize, usize, usize),
}

impl<'t> Source<'t> {
    pub(super) fn new(file: Arc<str>, text: &'t str) -> Self {
        Source {
            text,
            at: 0,
            file,
            known: (0, 1, 1),
        }
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves over the next byte when it is this one, which must be ASCII.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// What was passed since a place before here.
    pub(super) fn passed_since(&self, begin: usize) -> &'t str {
        &self.text[begin..self.at]
    }

    /// Moves to where a byte fulfils the condition, or to the end, and returns what was passed. The condition must not
    /// hold inside of characters.
    pub(super) fn take_until(&mut self, stops: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let len = rest.bytes().position(stops).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// Moves over blanks within the line.
    pub(super) fn skip_blanks(&mut self) {
        self.take_until(|byte| !matches!(byte, b' ' | b'\t'));
    }

    /// Whether a line ends here.
    pub(super) fn is_at_line_end(&self) -> bool {
        matches!(self.peek(), Some(b'\n' | b'\r'))
    }

    /// Whether a comment begins here.
    pub(super) fn is_at_comment(&self) -> bool {
        self.rest().starts_with('#') || self.rest().starts_with("//")
    }

    /// Moves over blanks, line ends and comments.
    pub(super) fn skip_filler(&mut self) {
        loop {
            self.take_until(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            if !self.is_at_comment() {
                return;
            }
            self.take_until(|byte| matches!(byte, b'\r' | b'\n'));
        }
    }

    /// Reads what is between here and the next such quote, which is passed; nothing is escaped.
    pub(super) fn raw_until(&mut self, quote: char) -> Option<&'t str> {
        let rest = self.rest();
        let len = rest.find(quote)?;
        self.at += len + quote.len_utf8();
        Some(&rest[..len])
    }

    /// Line and column of a place.
    pub(super) fn position_of(&mut self, place: usize) -> Position {
        if place < self.known.0 {
            self.known = (0, 1, 1);
        }
        let (from, mut line, mut column) = self.known;
        let bytes = self.text.as_bytes();
        for index in from..place {
            let byte = bytes[index];
            if byte == b'\n' || (byte == b'\r' && bytes.get(index + 1) != Some(&b'\n')) {
                line += 1;
                column = 1;
            } else if (byte & 0xc0) != 0x80 && byte != b'\r' {
                // Bytes that go on with a character do not count.
                column += 1;
            }
        }
        self.known = (place, line, column);
        Position {
            file: Arc::clone(&self.file),
            line,
            column,
        }
    }

    /// Line and column of here.
    pub(super) fn position(&mut self) -> Position {
        self.position_of(self.at)
    }

    /// An error at a place.
    pub(super) fn error_at(&mut self, place: usize, text: impl Into<String>) -> ConfError {
        ConfError {
            position: Some(self.position_of(place)),
            text: text.into(),
        }
    }

    /// An error here.
    pub(super) fn error(&mut self, text: impl Into<String>) -> ConfError {
        self.error_at(self.at, text)
    }

    /// What stands here, for errors.
    pub(super) fn found(&self) -> String {
        match self.rest().chars().next() {
            None => "the end of the file".to_owned(),
            Some('\n' | '\r') => "a new line".to_owned(),
            Some(character) => format!("{character:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_of_all_systems_and_characters() {
        let text = "a\r\nbé=\rc\n\nd";
        let mut source = Source::new(Arc::from("f"), text);
        let expected = [
            ("a", 1, 1),
            ("b", 2, 1),
            ("=", 2, 3),
            ("c", 3, 1),
            ("d", 5, 1),
            ("a", 1, 1),
        ];
        for (at, line, column) in expected {
            let position = source.position_of(text.find(at).unwrap());
            assert_eq!((position.line, position.column), (line, column), "{at}");
        }
        assert_eq!(
            source.error_at(text.len(), "x").to_string(),
            "f:5:2: Parse error on line 5: x"
        );
    }
}
