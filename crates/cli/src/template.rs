//! Messages that differ each time: `{{Count}}` and its kind.

use std::time::SystemTime;

use crate::readable::utc_time;

/// What may stand between `{{` and `}}`, for messages and documentation.
pub(crate) const KNOWN: &str = "{{Count}}, {{Time}}, {{UUID}}, {{Random FROM TO}}, {{Text LENGTH}}";

/// Letters of one `{{Text}}`, at most.
const TEXT_LENGTH_MAX: usize = 1024 * 1024;

/// A message text with its blanks to fill.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Literal(String),
    Count,
    Time,
    Uuid,
    Random(i64, i64),
    Text(usize),
}

impl Template {
    /// A text without blanks.
    pub(crate) fn literal(text: String) -> Self {
        Self(vec![Piece::Literal(text)])
    }

    /// Reads a text with blanks; an error in words for what no blank is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("{{") {
            let inside = &rest[begin + 2..];
            let Some(end) = inside.find("}}") else { break };
            if begin > 0 {
                pieces.push(Piece::Literal(rest[..begin].to_owned()));
            }
            pieces.push(blank(&inside[..end])?);
            rest = &inside[end + 2..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The message with this number, counted from 1.
    pub(crate) fn fill(&self, number: u64) -> String {
        self.0.iter().map(|piece| piece.fill(number)).collect()
    }
}

fn blank(inside: &str) -> Result<Piece, String> {
    let words: Vec<&str> = inside.split_whitespace().collect();
    let name = words.first().map(|name| name.to_ascii_lowercase());
    match (name.as_deref(), &words[1.min(words.len())..]) {
        (Some("count"), []) => Ok(Piece::Count),
        (Some("time"), []) => Ok(Piece::Time),
        (Some("uuid"), []) => Ok(Piece::Uuid),
        (Some("random"), [from, to]) => match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if from <= to => Ok(Piece::Random(from, to)),
            _ => Err(format!(
                "{{{{{inside}}}}}: Random takes two whole numbers, the smaller one first"
            )),
        },
        (Some("text"), [length]) => match length.parse() {
            Ok(length) if length <= TEXT_LENGTH_MAX => Ok(Piece::Text(length)),
            _ => Err(format!(
                "{{{{{inside}}}}}: Text takes a length of at most {TEXT_LENGTH_MAX}"
            )),
        },
        _ => Err(format!(
            "{{{{{inside}}}}} is unknown: there are {KNOWN}; --raw sends the message as it is"
        )),
    }
}

impl Piece {
    fn fill(&self, number: u64) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Count => number.to_string(),
            Self::Time => utc_time(SystemTime::now()),
            Self::Uuid => uuid(fastrand::u128(..)),
            Self::Random(from, to) => fastrand::i64(from..=to).to_string(),
            Self::Text(length) => (0..*length).map(|_| fastrand::alphanumeric()).collect(),
        }
    }
}

/// A UUID of version 4 from random bits.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) | 4 << 76;
    let bits = bits & !(0x3 << 62) | 2 << 62;
    let digits = format!("{bits:032x}");
    let groups = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, number: u64) -> String {
        Template::parse(text).unwrap().fill(number)
    }

    #[test]
    fn blanks_are_filled() {
        assert_eq!(fill("no {{Count}} of {{ count }}", 7), "no 7 of 7");
        assert_eq!(fill("{{Random 5 5}}|{{Random -3 -3}}", 1), "5|-3");
        assert_eq!(fill("{{Text 12}}", 1).len(), 12);
        assert_eq!(fill("", 1), "");
        assert!(fill("{{Time}}", 1).parse::<jiff::Timestamp>().is_ok());
        let (one, other) = (fill("{{UUID}}", 1), fill("{{UUID}}", 1));
        assert!(one != other && one.len() == 36);
        let dice: Vec<i64> = (0..1000).map(|_| fill("{{Random 1 6}}", 1).parse().unwrap()).collect();
        assert!((1..=6).all(|face| dice.contains(&face)) && dice.iter().all(|face| (1..=6).contains(face)));
    }

    #[test]
    fn json_passes_as_it_is() {
        for json in [r#"{"a":{"b":1}}"#, "{{", "}}{", "{{never closed"] {
            assert_eq!(fill(json, 1), json);
        }
        assert_eq!(fill(r#"{"a":{"b":{{Count}}}}"#, 3), r#"{"a":{"b":3}}"#);
    }

    #[test]
    fn unknown_blanks_are_named() {
        for text in [
            "{{Conut}}",
            "{{}}",
            "{{Random 1}}",
            "{{Random 6 1}}",
            "{{Text x}}",
            "{{Count 2}}",
            "{{Text 99999999}}",
        ] {
            let words = Template::parse(text).unwrap_err();
            assert!(words.starts_with(text), "{words}");
        }
    }

    #[test]
    fn uuids_say_their_version() {
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    }
}
