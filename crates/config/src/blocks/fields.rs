//! A map whose keys are all known: blocks about security, where a misspelt key must not be ignored.

use std::time::Duration;

use crate::conf::{Data, Map, Node, Pair, Position};
use crate::go;
use crate::nearest::nearest;

/// A map and what it is called in errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'n> {
    map: &'n Map,
    name: &'static str,
}

impl<'n> Block<'n> {
    /// The map in a node; every key is one of those known.
    pub(super) fn of(node: &'n Node, name: &'static str, known: &[&str]) -> Result<Self, String> {
        let Data::Map(map) = &node.data else {
            return Err(at(
                &node.position,
                format!("expected {name} to be a map/struct, got {}", node.data.kind()),
            ));
        };
        for pair in map.iter().filter(|pair| !pair.is_used) {
            if !known.iter().any(|key| key.eq_ignore_ascii_case(&pair.key)) {
                let near = nearest(&pair.key, known.iter().copied());
                let hint = near.map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
                let text = format!("error parsing {name} config, unknown field {:?}{hint}", pair.key);
                return Err(at(&pair.position, text));
            }
        }
        Ok(Block { map, name })
    }

    /// The last pair with one of several keys.
    pub(super) fn find(self, keys: &[&str]) -> Option<&'n Pair> {
        let matches = |pair: &&Pair| keys.iter().any(|key| key.eq_ignore_ascii_case(&pair.key));
        self.map.iter().filter(matches).last()
    }

    /// Refuses a key whose feature is not there, unless its value says that it is not wanted.
    pub(super) fn refuse(self, keys: &[&str], what: &str) -> Result<(), String> {
        match self.find(keys) {
            Some(pair) if !is_turned_off(&pair.node.data) => Err(at(
                &pair.position,
                format!("{} {}: this build does not have {what} yet", self.name, pair.key),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn text(self, keys: &[&str]) -> Result<Option<&'n str>, String> {
        self.read(keys, "string", |data| match data {
            Data::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn bool(self, keys: &[&str]) -> Result<Option<bool>, String> {
        self.read(keys, "bool", |data| match data {
            Data::Bool(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn int(self, keys: &[&str]) -> Result<Option<i64>, String> {
        self.read(keys, "int64", |data| match data {
            Data::Int(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn list(self, keys: &[&str]) -> Result<Option<&'n [Node]>, String> {
        self.read(keys, "slice", |data| match data {
            Data::List(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// Texts in an array.
    pub(super) fn texts(self, keys: &[&str]) -> Result<Vec<(&'n Position, &'n str)>, String> {
        let items = self.list(keys)?.unwrap_or_default();
        let texts = items.iter().map(|item| match &item.data {
            Data::Text(text) => Ok((&item.position, text.as_str())),
            data => Err(at(
                &item.position,
                wrong_type(keys.first().copied().unwrap_or_default(), "string", data),
            )),
        });
        texts.collect()
    }

    /// A text that protects something; that it is empty is no way to leave it out.
    pub(super) fn secret(self, keys: &[&str]) -> Result<Option<&'n str>, String> {
        match (self.text(keys)?, self.find(keys)) {
            (Some(""), Some(pair)) => Err(at(&pair.position, format!("{} {EMPTY_SECRET}", pair.key))),
            (text, _) => Ok(text),
        }
    }

    /// An array that protects something, and holds something when it is there.
    pub(super) fn filled_list(self, keys: &[&str]) -> Result<Option<&'n [Node]>, String> {
        match (self.list(keys)?, self.find(keys)) {
            (Some([]), Some(pair)) => Err(at(&pair.position, format!("{} {EMPTY_SECRET}", pair.key))),
            (list, _) => Ok(list),
        }
    }

    /// A time above zero: a number of seconds, or a duration in quotes. Zero and below mean the default, and that is said.
    pub(super) fn time(self, keys: &[&str], notices: &mut Vec<String>) -> Result<Option<Duration>, String> {
        let Some(pair) = self.find(keys) else {
            return Ok(None);
        };
        let duration = match &pair.node.data {
            Data::Int(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Data::Float(seconds) => match Duration::try_from_secs_f64(*seconds) {
                Err(_) if *seconds > 0.0 => {
                    return Err(at(&pair.node.position, format!("{} is out of range", pair.key)));
                }
                duration => duration.ok(),
            },
            Data::Text(text) => {
                let nanos = duration(text).map_err(|text| at(&pair.node.position, text))?;
                u64::try_from(nanos).ok().map(Duration::from_nanos)
            }
            data => return Err(at(&pair.node.position, wrong_type(&pair.key, "string", data))),
        };
        let duration = duration.filter(|duration| !duration.is_zero());
        if duration.is_none() {
            notices.push(at(
                &pair.position,
                format!("{} {} is not above zero: the default holds", self.name, pair.key),
            ));
        }
        Ok(duration)
    }

    fn read<T>(self, keys: &[&str], expected: &str, read: impl Fn(&'n Data) -> Option<T>) -> Result<Option<T>, String> {
        let Some(pair) = self.find(keys) else {
            return Ok(None);
        };
        match read(&pair.node.data) {
            Some(value) => Ok(Some(value)),
            None => Err(at(
                &pair.node.position,
                wrong_type(&pair.key, expected, &pair.node.data),
            )),
        }
    }
}

/// What is wrong with something that protects and is empty.
pub(crate) const EMPTY_SECRET: &str =
    "is empty: it would protect nothing. Give it a value (was a secret not mounted?), or leave it out";

/// An error and where it is.
pub(super) fn at(position: &Position, text: impl std::fmt::Display) -> String {
    format!("{position}: {text}")
}

/// Whether a value says that what its key is about is not wanted.
pub(crate) fn is_turned_off(data: &Data) -> bool {
    match data {
        Data::Bool(value) => !value,
        Data::Int(value) => *value == 0,
        Data::Text(text) => text.is_empty() || text.eq_ignore_ascii_case("disabled"),
        Data::Float(_) | Data::Time(_) | Data::List(_) | Data::Map(_) => false,
    }
}

/// Whether a value is a block or list without anything in it, or a block that says itself that it is off.
pub(crate) fn holds_nothing(data: &Data) -> bool {
    match data {
        Data::List(items) => items.is_empty(),
        Data::Map(map) => {
            let says_off =
                |pair: &Pair| pair.key.to_lowercase().starts_with("enable") && is_turned_off(&pair.node.data);
            map.is_empty() || map.iter().any(says_off)
        }
        Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_) | Data::Time(_) => false,
    }
}

/// A value of the wrong type, in the words of the original; with a hint where the grammar has a trap.
pub(crate) fn wrong_type(key: &str, expected: &str, data: &Data) -> String {
    let hint = match (expected, data) {
        ("string", Data::Int(_) | Data::Float(_) | Data::Bool(_)) => "; put it in quotes",
        ("bool" | "int64", Data::Text(_)) => "; leave out quotes",
        _ => "",
    };
    format!(
        "parameter {key:?} value is expected to be {expected}, got {}{hint}",
        data.kind()
    )
}

/// A duration in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    go::parse_duration_nanos(text).map_err(|_| format!("time: invalid duration {text:?}"))
}
