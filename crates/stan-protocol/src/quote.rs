//! Quoting of names inside texts, as the `%q` verb of Go does it.

use std::fmt::Write as _;

/// Quotes a name: printable characters stand for themselves, all others and invalid UTF-8 are escaped.
pub fn quote(name: &[u8]) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_escaped(&mut quoted, character);
        }
        for byte in chunk.invalid() {
            push_hexadecimal(&mut quoted, 'x', 2, u32::from(*byte));
        }
    }
    quoted.push('"');
    quoted
}

fn push_escaped(quoted: &mut String, character: char) {
    let letter = match character {
        '"' => '"',
        '\\' => '\\',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        _ if is_printable(character) => return quoted.push(character),
        _ => {
            let code = u32::from(character);
            return match code {
                0..=0x7f => push_hexadecimal(quoted, 'x', 2, code),
                0x80..=0xffff => push_hexadecimal(quoted, 'u', 4, code),
                _ => push_hexadecimal(quoted, 'U', 8, code),
            };
        }
    };
    quoted.push('\\');
    quoted.push(letter);
}

fn push_hexadecimal(quoted: &mut String, letter: char, width: usize, code: u32) {
    // Writing to a string does not fail.
    let _ = write!(quoted, "\\{letter}{code:0width$x}");
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    // The standard library knows the categories, but tells them only through its own escaping; behind another
    // character it leaves marks alone, as is wanted here.
    let mut text = String::with_capacity(5);
    text.push('a');
    text.push(character);
    text.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_like_go() {
        let table: [(&[u8], &str); 10] = [
            (b"", r#""""#),
            (b"foo.bar", r#""foo.bar""#),
            (b"a b", r#""a b""#),
            (b"a\"b\\c'", r#""a\"b\\c'""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#),
            (b"\xff\xe2\x82", r#""\xff\xe2\x82""#),
            ("é世\u{1f600}e\u{301}".as_bytes(), "\"é世\u{1f600}e\u{301}\""),
            (
                "\u{a0}\u{200b}\u{2028}\u{feff}".as_bytes(),
                r#""\u00a0\u200b\u2028\ufeff""#,
            ),
            ("\u{e0001}\u{10ffff}".as_bytes(), r#""\U000e0001\U0010ffff""#),
        ];
        for (name, expected) in table {
            assert_eq!(quote(name), expected);
        }
    }
}
