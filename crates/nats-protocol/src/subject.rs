//! Subjects: validation, matching and overlap (core specification §2.1). Subjects are bytes; UTF-8 is not required.

/// Separates tokens.
pub const TOKEN_SEPARATOR: u8 = b'.';
/// Matches one token when it is the whole token.
pub const TOKEN_ANY: &[u8] = b"*";
/// Matches one or more trailing tokens when it is the whole last token.
pub const TOKEN_TAIL: &[u8] = b">";

/// The tokens of a subject, from left to right.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|byte| *byte == TOKEN_SEPARATOR)
}

/// How many tokens the subject has (at least 1).
#[must_use]
pub fn token_count(subject: &[u8]) -> usize {
    memchr::memchr_iter(TOKEN_SEPARATOR, subject).count() + 1
}

/// Whether no token is empty and no byte is one that framing cannot carry (blank, tab, CR, LF, form feed).
/// Such a subject can be routed; wildcards count as ordinary tokens here.
#[must_use]
pub fn is_well_formed(subject: &[u8]) -> bool {
    let mut previous = TOKEN_SEPARATOR;
    for byte in subject {
        match *byte {
            TOKEN_SEPARATOR if previous == TOKEN_SEPARATOR => return false,
            b' ' | b'\t' | b'\r' | b'\n' | 0x0c => return false,
            other => previous = other,
        }
    }
    previous != TOKEN_SEPARATOR
}

/// Whether a pedantic client may publish to it: well formed and without wildcard tokens.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    is_well_formed(subject) && !has_wildcard(subject)
}

/// Whether one may subscribe to it: well formed, and `>` only as the last token.
#[must_use]
pub fn is_pattern(subject: &[u8]) -> bool {
    if !is_well_formed(subject) {
        return false;
    }
    let mut tail_seen = false;
    for token in tokens(subject) {
        if tail_seen {
            return false;
        }
        tail_seen = token == TOKEN_TAIL;
    }
    true
}

/// Whether any whole token is `*` or `>`.
#[must_use]
pub fn has_wildcard(subject: &[u8]) -> bool {
    memchr::memchr2(b'*', b'>', subject).is_some()
        && tokens(subject).any(|token| token == TOKEN_ANY || token == TOKEN_TAIL)
}

/// Whether `pattern` matches the published `subject`. Wildcards in the subject are ordinary tokens. A subject or a
/// pattern that is not well formed matches nothing.
#[must_use]
pub fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    if !is_pattern(pattern) || !is_well_formed(subject) {
        return false;
    }
    let mut expected = tokens(pattern);
    let mut actual = tokens(subject);
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return true,
            (Some(token), Some(_)) if token == TOKEN_TAIL => return true,
            (Some(token), Some(_)) if token == TOKEN_ANY => {}
            (Some(left), Some(right)) if left == right => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
    }
}

/// Whether some subject is matched by both patterns. A pattern that is not well formed overlaps nothing.
#[must_use]
pub fn overlaps(left: &[u8], right: &[u8]) -> bool {
    if !is_pattern(left) || !is_pattern(right) {
        return false;
    }
    let mut left = tokens(left);
    let mut right = tokens(right);
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == TOKEN_TAIL || b == TOKEN_TAIL => return true,
            (Some(a), Some(b)) if a == TOKEN_ANY || b == TOKEN_ANY || a == b => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
    }
}

/// Whether every subject that `inner` matches is matched by `outer` too. A pattern that is not well formed is a subset of
/// nothing, and nothing is a subset of it.
#[must_use]
pub fn is_subset(inner: &[u8], outer: &[u8]) -> bool {
    if !is_pattern(inner) || !is_pattern(outer) {
        return false;
    }
    let mut inner = tokens(inner);
    let mut outer = tokens(outer);
    loop {
        match (inner.next(), outer.next()) {
            (None, None) => return true,
            (Some(_), Some(wider)) if wider == TOKEN_TAIL => return true,
            (Some(token), Some(wider)) if wider == TOKEN_ANY => {
                if token == TOKEN_TAIL {
                    return false;
                }
            }
            (Some(token), Some(wider)) if token == wider => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn validation_follows_section_2_1() {
        // subject, well formed, literal, pattern
        let table: &[(&str, bool, bool, bool)] = &[
            ("foo", true, true, true),
            ("foo.bar", true, true, true),
            ("", false, false, false),
            (".", false, false, false),
            ("foo.", false, false, false),
            (".foo", false, false, false),
            ("foo..bar", false, false, false),
            ("foo bar", false, false, false),
            ("foo\tbar", false, false, false),
            ("foo\x0cbar", false, false, false),
            ("foo.*", true, false, true),
            ("*", true, false, true),
            (">", true, false, true),
            ("foo.>", true, false, true),
            ("foo.>.bar", true, false, false),
            ("foo*.bar", true, true, true),
            ("f>o", true, true, true),
            ("a>.b", true, true, true),
            ("nul\0byte", true, true, true),
            ("grün.日本", true, true, true),
        ];
        for (subject, well_formed, literal, pattern) in table {
            let subject_bytes = subject.as_bytes();
            assert_eq!(is_well_formed(subject_bytes), *well_formed, "{subject:?}");
            assert_eq!(is_literal(subject_bytes), *literal, "{subject:?}");
            assert_eq!(is_pattern(subject_bytes), *pattern, "{subject:?}");
        }
    }

    #[test]
    fn matching_follows_section_2_1() {
        let table: &[(&str, &str, bool)] = &[
            ("foo", "foo", true),
            ("foo", "Foo", false),
            ("*", "foo", true),
            ("*", "foo.bar", false),
            ("foo.*", "foo.bar", true),
            ("foo.*", "foo", false),
            ("foo.>", "foo", false),
            ("foo.>", "foo.a", true),
            ("foo.>", "foo.a.b", true),
            (">", "a.b.c", true),
            ("foo.*", "foo.*", true),
            ("foo.>", "foo.*", true),
            ("foo", "foo.", false),
            (">", "foo..bar", false),
            ("foo*", "foox", false),
        ];
        for (pattern, subject, expected) in table {
            assert_eq!(
                matches(pattern.as_bytes(), subject.as_bytes()),
                *expected,
                "{pattern} {subject}"
            );
        }
    }

    #[test]
    fn overlap_follows_section_2_1() {
        let table: &[(&str, &str, bool)] = &[
            ("foo.*", "*.bar", true),
            ("foo.*", "bar.*", false),
            ("foo.>", "foo", false),
            ("foo.>", "foo.a.b", true),
            (">", "a", true),
            ("foo", "foo", true),
            ("a.*.c", "a.b.*", true),
            ("a.*", "a.b.c", false),
        ];
        for (left, right, expected) in table {
            assert_eq!(overlaps(left.as_bytes(), right.as_bytes()), *expected, "{left} {right}");
            assert_eq!(overlaps(right.as_bytes(), left.as_bytes()), *expected, "{right} {left}");
        }
    }

    #[test]
    fn subsets() {
        let table: &[(&str, &str, bool)] = &[
            ("foo", "foo", true),
            ("foo", "*", true),
            ("foo", ">", true),
            ("foo.*", "foo.>", true),
            ("foo.>", "foo.*", false),
            ("foo.>", "foo.>", true),
            ("foo.>", ">", true),
            ("*", "foo", false),
            ("foo.*", "foo.bar", false),
            ("foo", "foo.>", false),
            ("foo.bar", "foo", false),
            ("foo..bar", ">", false),
            ("foo", "f..", false),
        ];
        for (inner, outer, expected) in table {
            assert_eq!(
                is_subset(inner.as_bytes(), outer.as_bytes()),
                *expected,
                "{inner} {outer}"
            );
        }
    }

    proptest! {
        /// A subset is matched wherever its pattern matches, and what matches a literal is its superset.
        #[test]
        fn subsets_agree_with_matching(inner in "[ab*>]{1}(\\.[ab*>]){0,3}", outer in "[ab*>]{1}(\\.[ab*>]){0,3}", subject in "[ab](\\.[ab]){0,3}") {
            let (inner, outer, subject) = (inner.as_bytes(), outer.as_bytes(), subject.as_bytes());
            prop_assert_eq!(is_subset(subject, outer), matches(outer, subject));
            if is_subset(inner, outer) && matches(inner, subject) {
                prop_assert!(matches(outer, subject));
            }
        }

        /// §2.1: whatever a pattern matches overlaps it, and two patterns that match one subject overlap.
        #[test]
        fn overlap_agrees_with_matching(left in "[ab*>]{1}(\\.[ab*>]){0,3}", right in "[ab*>]{1}(\\.[ab*>]){0,3}", subject in "[ab](\\.[ab]){0,3}") {
            let (left, right, subject) = (left.as_bytes(), right.as_bytes(), subject.as_bytes());
            prop_assert_eq!(overlaps(left, subject), matches(left, subject));
            if matches(left, subject) && matches(right, subject) {
                prop_assert!(overlaps(left, right));
            }
        }
    }
}
