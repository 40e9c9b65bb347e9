//! The known name that an unknown one was probably meant to be.

/// Longest name that is compared; no known one is longer.
const LEN_MAX: usize = 48;

/// The known name that is spelled most like an unknown one, if any is near. Case does not count, `-` counts as `_`.
pub(crate) fn nearest<'n>(unknown: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if unknown.len() > LEN_MAX {
        return None;
    }
    known
        .map(|name| (distance(unknown.as_bytes(), name.as_bytes()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4 && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Whether a name becomes another by so many single-byte edits at most.
pub(crate) fn is_within(edits: usize, left: &str, right: &str) -> bool {
    left.len().abs_diff(right.len()) <= edits && distance(left.as_bytes(), right.as_bytes()) <= edits
}

/// Number of single-byte edits between two names.
fn distance(left: &[u8], right: &[u8]) -> usize {
    #[cfg(test)]
    STEPS.set(STEPS.get() + left.len() * right.len());
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'-' && b == b'_');
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(!same(a, b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
thread_local! {
    /// Pairs of letters that were compared on this thread.
    pub(crate) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["port", "http_port", "max_payload", "t"];
        for (unknown, expected) in [
            ("prot", Some("port")),
            ("PORT1", Some("port")),
            ("max-paylod", Some("max_payload")),
            ("htp_port", Some("http_port")),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(unknown, known.into_iter()), expected, "{unknown}");
        }
        assert_eq!(nearest(&"p".repeat(100_000), known.into_iter()), None);
    }
}
