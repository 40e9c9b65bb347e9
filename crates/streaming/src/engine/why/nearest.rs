//! Names that somebody may have meant.

use bytes::Bytes;

use crate::limits::{WHY_NAMES_COMPARED, WHY_NAMES_MAX};

/// Longer names are not compared letter by letter.
const COMPARED_LEN_MAX: usize = 64;

/// Up to [`WHY_NAMES_MAX`] known names that resemble `wanted`, the most similar first. Of many names those that sort
/// nearest are compared: the last of those before it, the first of those behind.
pub(super) fn nearest<'a, V>(
    wanted: &[u8],
    before: impl DoubleEndedIterator<Item = (&'a Bytes, V)>,
    behind: impl Iterator<Item = (&'a Bytes, V)>,
) -> Vec<String> {
    if wanted.len() > COMPARED_LEN_MAX {
        return Vec::new();
    }
    let tolerated = (wanted.len() / 3).max(2);
    let candidates = before
        .rev()
        .take(WHY_NAMES_COMPARED)
        .chain(behind.take(WHY_NAMES_COMPARED));
    let mut found: Vec<(usize, &[u8])> = candidates
        .map(|(name, _)| &name[..])
        .filter(|name| name.len() <= COMPARED_LEN_MAX && name.len().abs_diff(wanted.len()) <= tolerated)
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .take(WHY_NAMES_MAX)
        .map(|(_, name)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Letters to add, drop or replace, capitals for free.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row = [0usize; COMPARED_LEN_MAX + 1];
    for (column, cell) in row.iter_mut().enumerate() {
        *cell = column;
    }
    for (line, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::*;

    fn nearest_of(wanted: &[u8], known: &BTreeMap<Bytes, ()>) -> Vec<String> {
        let before = known.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(wanted)));
        let behind = known.range::<[u8], _>((Bound::Included(wanted), Bound::Unbounded));
        nearest(wanted, before, behind)
    }

    #[test]
    fn distances_of_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("orders", "orders", 0),
            ("orders", "Orders", 0),
            ("orders", "order", 1),
            ("orders", "odrers", 2),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
            assert_eq!(distance(right.as_bytes(), left.as_bytes()), expected, "{right} {left}");
        }
    }

    #[test]
    fn only_similar_names_are_offered() {
        let names = ["orders", "orders.eu", "Order", "payments", "x"];
        let known: BTreeMap<Bytes, ()> = names.map(|name| (Bytes::from_static(name.as_bytes()), ())).into();
        assert_eq!(nearest_of(b"ordrs", &known), ["orders", "Order"]);
        assert_eq!(nearest_of(b"zzzzzzzz", &known), Vec::<String>::new());
        assert_eq!(nearest_of(&[b'o'; 100], &known), Vec::<String>::new());
    }

    #[test]
    fn a_hundred_thousand_names_cost_what_a_thousand_do() {
        let known: BTreeMap<Bytes, ()> = (0..100_000)
            .map(|n| (Bytes::from(format!("channel.{n:06}")), ()))
            .collect();
        let found = nearest_of(b"channel.05000", &known);
        assert!(
            found.len() <= WHY_NAMES_MAX && found.contains(&"channel.050000".to_owned()),
            "{found:?}"
        );
    }
}
