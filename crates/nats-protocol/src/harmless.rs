//! What texts of strangers may do to whoever reads them: nothing. Names, subjects and credentials come from clients and end up
//! in logs, tables and on terminals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether showing this character does something else than drawing itself: it moves a cursor, ends a line, hides, or turns
/// round the order of what surrounds it.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    ) || character.is_control()
}

/// The text with every harmful character as `\n`, `\t`, `\r` or `\u{…}`.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_harmful(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// JSON, valid as before and with the same meaning, without harmful characters in its strings; line feeds between its values
/// stay.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    let is_harmful = |character: char| character != '\n' && is_harmful(character);
    if !json.contains(is_harmful) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_harmful(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_something_is_escaped() {
        for (text, expected) in [
            ("grün.日本 😀", "grün.日本 😀"),
            ("a\nb\x1b[2J", "a\\nb\\u{1b}[2J"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            ("user\u{202e}nimda", "user\\u{202e}nimda"),
            ("a\u{2028}b\u{2066}c\u{feff}", "a\\u{2028}b\\u{2066}c\\u{feff}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let json = "{\n\"a\": \"\u{9b}x\u{202e}y\u{e0001}ü\"}";
        assert_eq!(escaped_json(json), "{\n\"a\": \"\\u009bx\\u202ey\\udb40\\udc01ü\"}");
        assert!(matches!(escaped_json("{\n\"a\": 1}"), Cow::Borrowed(_)));
    }
}
