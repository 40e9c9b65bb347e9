//! Which names are valid (specification §4).

use std::borrow::Cow;

/// Whether a client ID is valid: letters, digits, `-` and `_` of ASCII, at least one (specification §4).
pub fn is_client_id(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether a channel name is valid: non-empty tokens between dots, without `/`, `*` and `>` (specification §4).
pub fn is_channel_name(name: &[u8]) -> bool {
    let mut previous = b'.';
    for &byte in name {
        match byte {
            b'/' | b'*' | b'>' => return false,
            b'.' if previous == b'.' => return false,
            _ => previous = byte,
        }
    }
    // Empty names and trailing dots leave a dot here.
    previous != b'.'
}

/// Whether a channel pattern of a configuration is valid: a channel name in which `*` may stand for a token, and `>` for
/// the last ones (specification §4).
pub fn is_channel_pattern(pattern: &[u8]) -> bool {
    let mut tokens = pattern.split(|byte| *byte == b'.').peekable();
    while let Some(token) = tokens.next() {
        let last = tokens.peek().is_none();
        let valid = match token {
            b"" => false,
            b"*" => true,
            b">" => last,
            literal => !literal.iter().any(|byte| matches!(byte, b'/' | b'*' | b'>')),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// Whether a durable name may be used together with a queue group: without `:` (specification §4).
///
/// Plain durables may have any name.
pub fn is_durable_queue_name(name: &[u8]) -> bool {
    !name.contains(&b':')
}

/// Key under which channel names are unique (specification §4): names that differ only by case have the same key.
///
/// Follows the lower-casing of Go character by character: without the special cases of whole words, and with one
/// replacement character for every invalid byte.
pub fn fold_case(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        if !name.iter().any(u8::is_ascii_uppercase) {
            return Cow::Borrowed(name);
        }
        return Cow::Owned(name.to_ascii_lowercase());
    }
    let mut folded = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        folded.extend(chunk.valid().chars().map(lower_case));
        folded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(folded.into_bytes())
}

/// The single lower-case character of a character.
fn lower_case(character: char) -> char {
    // The only character whose full mapping has two characters; its first one is the simple mapping.
    character.to_lowercase().next().unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_of_section_4() {
        for valid in ["me", "A-Z_09", "-", "_"] {
            assert!(is_client_id(valid.as_bytes()), "{valid}");
        }
        for invalid in ["", "a b", "a.b", "a\n", "é", "a*", "a/b", "a:b"] {
            assert!(!is_client_id(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn channel_names_of_section_4() {
        for valid in [
            &b"foo"[..],
            b"foo.bar",
            b"a.b.c",
            b"a b",
            b"a:b",
            b"\xff\x00",
            "é.世".as_bytes(),
            b"$a",
        ] {
            assert!(is_channel_name(valid), "{valid:?}");
        }
        for invalid in [
            "",
            ".",
            ".foo",
            "foo.",
            "foo..bar",
            "foo/bar",
            "foo*",
            "*",
            "foo.>",
            ">",
            "foo.*.bar",
        ] {
            assert!(!is_channel_name(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn channel_patterns_of_section_4() {
        for valid in ["foo", "*", ">", "foo.*", "foo.>", "*.*", "foo.*.bar.>", "a b"] {
            assert!(is_channel_pattern(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "",
            ".",
            ".foo",
            "foo.",
            "foo*",
            "foo.*.",
            "foo.>.bar",
            "foo/bar",
            "foo>",
            "a..b",
            ">.>",
        ] {
            assert!(!is_channel_pattern(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn durable_queue_names_have_no_colon() {
        assert!(is_durable_queue_name(b"dur"));
        assert!(!is_durable_queue_name(b"d:ur"));
    }

    #[test]
    fn case_is_folded_as_in_go() {
        let table: [(&[u8], &[u8]); 7] = [
            (b"foo.bar", b"foo.bar"),
            (b"Foo.BAR-1", b"foo.bar-1"),
            ("ÄÖÜ.É".as_bytes(), "äöü.é".as_bytes()),
            // No final sigma, dotted capital I becomes i, the Kelvin sign becomes k, sharp s stays.
            ("ΟΔΟΣ".as_bytes(), "οδοσ".as_bytes()),
            ("\u{130}\u{212a}".as_bytes(), b"ik"),
            ("ẞß".as_bytes(), "ßß".as_bytes()),
            (b"A\xff\xe2\x82B", "a\u{fffd}\u{fffd}\u{fffd}b".as_bytes()),
        ];
        for (name, expected) in table {
            assert_eq!(&*fold_case(name), expected);
        }
    }

    #[test]
    fn every_other_lower_case_mapping_has_one_character() {
        let multiple: Vec<char> = ('\0'..=char::MAX).filter(|c| c.to_lowercase().count() > 1).collect();
        assert_eq!(multiple, ['\u{130}']);
    }
}
