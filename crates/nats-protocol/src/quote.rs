//! Quoting of bytes that end up inside `-ERR` texts (core specification §1.12).

use std::fmt::Write as _;

use crate::harmless::is_harmful;

/// Quotes `text` in the manner of Go's `%q`: double quotes around it, `"` and `\` escaped, control characters as
/// `\n`, `\t` or `\x..`, invisible ones as `\u....`, printable Unicode unchanged, bytes that are not UTF-8 as `\x..`.
#[must_use]
pub fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_character(&mut out, character);
        }
        for byte in chunk.invalid() {
            push_hexadecimal(&mut out, *byte);
        }
    }
    out.push('"');
    out
}

fn push_character(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{07}' => out.push_str("\\a"),
        '\u{08}' => out.push_str("\\b"),
        '\u{0c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{0b}' => out.push_str("\\v"),
        control if control.is_ascii_control() => push_hexadecimal(out, control as u8),
        harmful if is_harmful(harmful) => {
            let (code, digits) = (u32::from(harmful), if harmful.len_utf16() == 1 { 4 } else { 8 });
            let letter = if digits == 4 { 'u' } else { 'U' };
            write!(out, "\\{letter}{code:0digits$x}").expect("writing to a string cannot fail");
        }
        printable => out.push(printable),
    }
}

fn push_hexadecimal(out: &mut String, byte: u8) {
    write!(out, "\\x{byte:02x}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoting_follows_section_1_12() {
        let table: &[(&[u8], &str)] = &[
            (b"foo.bar", r#""foo.bar""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"a\tb", r#""a\tb""#),
            (b"a\x01b", r#""a\x01b""#),
            (b"a\x7fb", r#""a\x7fb""#),
            (b"a\xffb", r#""a\xffb""#),
            (
                "a\u{9b}b\u{202e}c\u{e0001}".as_bytes(),
                r#""a\u009bb\u202ec\U000e0001""#,
            ),
            ("grün.日本".as_bytes(), "\"grün.日本\""),
            (b"", "\"\""),
        ];
        for (input, expected) in table {
            assert_eq!(quote(input), *expected);
        }
    }
}
