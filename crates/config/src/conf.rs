//! The grammar of `.conf` files (core specification §5.1, §5.2): from text to a tree of values that know where they
//! stand.
//!
//! Decides what a file says; does not know which keys exist or what they mean. Nothing here panics on any text, and the
//! bounds of [`crate::limits`] hold for every file.

mod bare;
mod parse;
mod scan;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use parse::{parse_file, parse_text};

use crate::limits::KEY_SHOWN_CHARS_MAX;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Path of the file as it was named, or the environment variable.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a file was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfError {
    /// Where; `None` when the file could not be read at all.
    pub position: Option<Position>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for ConfError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            // The words of the original, which scripts look for (core specification §5.3).
            Some(position) => write!(
                formatter,
                "{position}: Parse error on line {}: {}",
                position.line, self.text
            ),
            None => formatter.write_str(&self.text),
        }
    }
}

impl std::error::Error for ConfError {}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Where it begins; for a variable, where the variable is used.
    pub position: Position,
}

/// A value of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Truth value.
    Bool(bool),
    /// Integer, with its size suffix applied.
    Int(i64),
    /// Number with a decimal point.
    Float(f64),
    /// Quoted, bare or block string.
    Text(String),
    /// Point in time, `YYYY-MM-DDTHH:MM:SSZ`, as written.
    Time(String),
    /// `[ … ]`
    List(Vec<Node>),
    /// `{ … }`
    Map(Map),
}

impl Data {
    /// Name of the type, as the original's errors call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Data::Bool(_) => "bool",
            Data::Int(_) => "int64",
            Data::Float(_) => "float64",
            Data::Text(_) => "string",
            Data::Time(_) => "struct",
            Data::List(_) => "slice",
            Data::Map(_) => "map",
        }
    }
}

/// A key, its value and where the key stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The key as written.
    pub key: String,
    /// Where the key begins.
    pub position: Position,
    /// Its value.
    pub node: Node,
    /// Whether a variable of the file referred to it; such a key need not be known.
    pub is_used: bool,
}

/// Keys and values in the order of the file. Of a repeated key only the last is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// `None` where a later pair took the place of the key.
    pairs: Vec<Option<Pair>>,
    /// Place of every key in `pairs`.
    places: BTreeMap<String, usize>,
}

impl Map {
    /// The pairs in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().flatten()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The pair with exactly this key.
    pub fn get(&self, key: &str) -> Option<&Pair> {
        self.pairs[*self.places.get(key)?].as_ref()
    }

    /// The last pair with this key in any mixture of cases.
    pub fn find(&self, key: &str) -> Option<&Pair> {
        self.pairs
            .iter()
            .rev()
            .flatten()
            .find(|pair| pair.key.eq_ignore_ascii_case(key))
    }

    /// Adds a pair in place of an earlier one with its key.
    fn insert(&mut self, pair: Pair) {
        if let Some(earlier) = self.places.insert(pair.key.clone(), self.pairs.len()) {
            self.pairs[earlier] = None;
        }
        self.pairs.push(Some(pair));
    }

    /// The pair with this key, to be marked as used.
    fn get_mut(&mut self, key: &str) -> Option<&mut Pair> {
        self.pairs[*self.places.get(key)?].as_mut()
    }

    /// Takes the map apart.
    fn into_pairs(self) -> impl Iterator<Item = Pair> {
        self.pairs.into_iter().flatten()
    }
}

/// A key in quotes as messages show it: what is no configuration can have very long ones.
pub(crate) fn shown(key: &str) -> String {
    match key.char_indices().nth(KEY_SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &key[..end]),
        None => format!("{key:?}"),
    }
}
