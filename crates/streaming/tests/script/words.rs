//! The language of scripts: words, `key=value` pairs, durations, ranges.

use std::collections::BTreeMap;

/// The words of a line, and its `key=value` pairs.
pub(super) struct Words<'a> {
    pub(super) plain: Vec<&'a str>,
    pub(super) pairs: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Words<'a> {
        let (mut plain, mut pairs) = (Vec::new(), BTreeMap::new());
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => drop(pairs.insert(key, value)),
                None => plain.push(word),
            }
        }
        Words { plain, pairs }
    }

    pub(super) fn at(&self, place: usize) -> &'a str {
        self.plain
            .get(place)
            .copied()
            .unwrap_or_else(|| panic!("word {place} of {:?}", self.plain))
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.get(key).copied()
    }

    pub(super) fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).map_or(default, |value| value.parse().expect("a number"))
    }
}

pub(super) fn bytes(text: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(text.as_bytes())
}

pub(super) fn duration(text: &str) -> u64 {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').expect("a unit");
    let number: f64 = text[..split].parse().expect("a number");
    let unit = match &text[split..] {
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        unit => panic!("unit {unit}"),
    };
    (number * unit) as u64
}

pub(super) fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    match text.split_once("..") {
        Some((first, last)) => first.parse().expect("a number")..=last.parse().expect("a number"),
        None => {
            let number = text.parse().expect("a number");
            number..=number
        }
    }
}

/// Restart takes options too.
pub(super) fn words_without<'a, 'b>(words: &'b Words<'a>, key: &str) -> &'b Words<'a> {
    let rest = Words {
        plain: Vec::new(),
        pairs: words
            .pairs
            .iter()
            .filter(|(name, _)| **name != key)
            .map(|(name, value)| (*name, *value))
            .collect(),
    };
    Box::leak(Box::new(rest))
}
