//! What a configuration file says about the options of the table (specification §7.5, §7.6, core specification §5.3, §5.4).
//!
//! Decides which keys of which blocks belong to which option and whether values have the right type; does not know what
//! the values mean.

use std::path::Path;

use crate::blocks::{duration, wrong_type};
use crate::conf::{Data, Map, Node, Pair, parse_file, shown};
use crate::limits::{PROBLEMS_LISTED_MAX, UNKNOWN_BLOCKS_MAX};
use crate::nearest::{is_within, nearest};
use crate::surroundings::Surroundings;
use crate::table::{self, Entry, Section};
use crate::value::{Kind, Value};

/// Which side of a file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Both; the only file there is.
    Both,
    /// The streaming engine's, because another file configures the broker.
    Streaming,
    /// The broker's, because another file configures the streaming engine.
    Broker,
}

/// A value that a file gives to an option.
#[derive(Debug, Clone)]
pub(crate) struct FileValue {
    /// Place of the option in the table.
    pub(crate) place: usize,
    pub(crate) value: Value,
    /// Place and key, for errors: `file:line:column: key`.
    pub(crate) origin: String,
    /// Key as written.
    pub(crate) key: String,
}

/// What was read from files.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// In the order of the files; the last value of an option counts.
    pub(crate) values: Vec<FileValue>,
    /// Why the server cannot start with these files.
    pub(crate) problems: Vec<String>,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
    /// Keys that nobody knows.
    unknown_keys: usize,
    /// Blocks among them.
    unknown_blocks: usize,
}

/// Blocks that protect something: one that is misspelt must not be ignored.
const PROTECTING: [&str; 4] = ["authorization", "tls", "accounts", "encryption"];
/// Keys that protect something inside of `authorization` or `tls`, and nothing at the top of a file.
const PROTECTING_INSIDE: [(&str, &str); 8] = [
    ("token", "authorization"),
    ("pass", "authorization"),
    ("password", "authorization"),
    ("users", "authorization"),
    ("permissions", "authorization"),
    ("default_permissions", "authorization"),
    ("auth", "authorization"),
    ("ssl", "tls"),
];
/// Keys of the streaming section that protect something: one that is misspelt must not be ignored.
const PROTECTING_KEYS: [&str; 3] = ["encryption_key", "encrypt", "secret"];
/// Letters by which a name may differ from one of those and still be taken for it.
const MISSPELT_LETTERS_MAX: usize = 2;

impl Reading {
    /// Reads a file and everything it includes.
    pub(crate) fn read(&mut self, path: &Path, scope: Scope, surroundings: &dyn Surroundings) {
        let map = match parse_file(path, surroundings) {
            Ok(map) => map,
            Err(error) => return self.problems.push(error.to_string()),
        };
        if map.is_empty() {
            self.warnings
                .push(format!("{}: config has no values or is empty", path.display()));
        }
        let block = map.find("streaming");
        match (scope, block) {
            (Scope::Both, Some(block)) => {
                self.streaming_block(block);
                self.section(Section::Broker, &map);
            }
            (Scope::Both, None) => self.both(&map),
            (Scope::Streaming, Some(block)) => {
                self.streaming_block(block);
                for pair in map.iter().filter(|pair| is_known(Section::Broker, &pair.key)) {
                    self.ignored(pair, Section::Broker);
                }
            }
            (Scope::Streaming, None) => self.section(Section::Streaming, &map),
            (Scope::Broker, block) => {
                if let Some(block) = block {
                    self.ignored(block, Section::Streaming);
                }
                self.section(Section::Broker, &map);
            }
        }
        let more = self.unknown_keys.saturating_sub(PROBLEMS_LISTED_MAX);
        if more > 0 {
            self.unknown_keys = PROBLEMS_LISTED_MAX;
            self.warnings
                .push(format!("{}: and {more} more unknown fields", path.display()));
        }
    }

    fn streaming_block(&mut self, block: &Pair) {
        match &block.node.data {
            Data::Map(streaming) => {
                // The original ignores them here, which leaves the server open.
                for pair in streaming.iter().filter(|pair| is_misplaced(pair)) {
                    let text = format!(
                        "{} protects nothing inside of the streaming block: put it at the top",
                        pair.key
                    );
                    self.problems.push(format!("{}: {text}", pair.position));
                }
                self.section(Section::Streaming, streaming);
            }
            data => {
                let text = format!("expected streaming section to be a map/struct, got {}", data.kind());
                self.problem(&block.node, &text);
            }
        }
    }

    /// A file without a `streaming` block: every key counts for whichever side knows it. `tls` is the broker's: for the
    /// engine, which is inside the process, it would do nothing.
    fn both(&mut self, map: &Map) {
        // Beside these the keys are the engine's own login at a NATS server.
        let is_login = ["authorization", "nats_server", "ns", "nats_server_url"]
            .iter()
            .any(|key| map.find(key).is_some());
        for pair in map.iter() {
            if !is_login && self.protects_nothing(pair) {
                continue;
            }
            let is_broker = table::find_key(Section::Broker, &pair.key).is_some();
            if pair.key.eq_ignore_ascii_case("cluster") {
                self.problem(
                    &pair.node,
                    "cluster: in a file without a \"streaming\" block it asks for routes and for streaming clustering, with the same keys; \
                     put the streaming engine's options into a streaming { … } block, if need be an empty one, and streaming \
                     clustering into a block cluster { … } in there",
                );
            } else if is_broker {
                self.pair(Section::Broker, pair);
            } else if is_known(Section::Streaming, &pair.key) {
                self.pair(Section::Streaming, pair);
            } else {
                self.unknown(
                    pair,
                    table::keys_of(Section::Broker).chain(table::keys_of(Section::Streaming)),
                );
            }
        }
    }

    fn section(&mut self, section: Section, map: &Map) {
        for pair in map.iter() {
            let is_streaming_block = section == Section::Broker && pair.key.eq_ignore_ascii_case("streaming");
            if is_streaming_block || (section == Section::Broker && self.protects_nothing(pair)) {
                continue;
            }
            let other = match section {
                Section::Broker => Some(Section::Streaming),
                Section::Streaming => Some(Section::Broker),
                _ => None,
            };
            if is_known(section, &pair.key) {
                self.pair(section, pair);
            } else if let Some(other) = other.filter(|other| is_known(*other, &pair.key)) {
                self.ignored(pair, other);
            } else {
                self.unknown(
                    pair,
                    table::keys_of(section).chain(Some("streaming").filter(|_| !section.is_streaming())),
                );
            }
        }
    }

    /// A pair whose key is known in the section.
    fn pair(&mut self, section: Section, pair: &Pair) {
        if let Some(block) = block_of(&pair.key).filter(|_| section == Section::Streaming) {
            return self.block(block, pair);
        }
        let Some((place, entry)) = table::find_key(section, &pair.key) else {
            return;
        };
        match self.value(entry, pair) {
            Ok(value) => self.values.push(FileValue {
                place,
                value,
                origin: pair.position.to_string(),
                key: pair.key.clone(),
            }),
            Err(text) => self.problem(&pair.node, &text),
        }
    }

    /// A block of the streaming section.
    fn block(&mut self, section: Section, pair: &Pair) {
        match &pair.node.data {
            Data::Map(map) => {
                if section == Section::Cluster {
                    self.clustered(pair);
                }
                self.section(section, map);
            }
            data => {
                let text = format!("expected {} to be a map/struct, got {}", pair.key, data.kind());
                self.problem(&pair.node, &text);
            }
        }
    }

    /// The block of streaming clustering turns it on by being there (streaming specification §7.6).
    fn clustered(&mut self, pair: &Pair) {
        let Some((place, _)) = table::find("clustered") else {
            return;
        };
        self.values.push(FileValue {
            place,
            value: Value::Bool(true),
            origin: pair.node.position.to_string(),
            key: pair.key.clone(),
        });
    }

    /// Warns of a key that belongs to a side for which this file does not count.
    fn ignored(&mut self, pair: &Pair, section: Section) {
        let side = if section.is_streaming() {
            "streaming engine"
        } else {
            "broker"
        };
        let text = format!(
            "{}: {} concerns the {side} and is ignored here",
            pair.position, pair.key
        );
        self.warnings.push(text);
    }

    /// Warns of an unknown key, unless it is there to be used as a variable.
    fn unknown<'k>(&mut self, pair: &Pair, known: impl Iterator<Item = &'k str>) {
        if pair.is_used {
            return;
        }
        if matches!(pair.node.data, Data::Map(_) | Data::List(_)) && self.unknown_block(pair) {
            return;
        }
        self.unknown_keys += 1;
        if self.unknown_protection(pair) || self.unknown_keys > PROBLEMS_LISTED_MAX {
            return;
        }
        let hint = nearest(&pair.key, known)
            .map(|near| format!(", did you mean {near:?}?"))
            .unwrap_or_default();
        self.warnings
            .push(format!("{}: unknown field {}{hint}", pair.position, shown(&pair.key)));
    }

    /// Refuses a block whose name is nearly one that protects something; whether it is.
    fn unknown_block(&mut self, pair: &Pair) -> bool {
        self.unknown_blocks += 1;
        if self.unknown_blocks > UNKNOWN_BLOCKS_MAX {
            if self.unknown_blocks == UNKNOWN_BLOCKS_MAX + 1 {
                let text = format!("{}: more than {UNKNOWN_BLOCKS_MAX} unknown blocks", pair.position);
                self.problems.push(text);
            }
            return true;
        }
        let is_map = matches!(pair.node.data, Data::Map(_));
        let meant = PROTECTING
            .into_iter()
            // Accounts can be a mere list of names.
            .filter(|name| is_map || *name == "accounts")
            .find(|name| is_within(MISSPELT_LETTERS_MAX, &pair.key, name));
        let Some(meant) = meant else {
            return false;
        };
        let key = shown(&pair.key);
        let hint = match meant {
            // There is no such block at all.
            "encryption" => "encrypt and encryption_key of the streaming block turn encryption on".to_owned(),
            _ => format!("did you mean {meant:?}?"),
        };
        let text = format!(
            "{}: unknown block {key}, which would protect nothing: {hint}",
            pair.position
        );
        self.problems.push(text);
        true
    }

    /// Refuses a key at the top of a file that protects something only inside of a block; whether it is one.
    fn protects_nothing(&mut self, pair: &Pair) -> bool {
        let inside = PROTECTING_INSIDE
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(&pair.key) && !pair.is_used);
        if let Some((key, block)) = inside {
            let text = format!(
                "{}: {key} protects nothing here: put it into {block} {{ … }}",
                pair.position
            );
            self.problems.push(text);
        }
        inside.is_some()
    }

    /// Refuses a key of the streaming section whose name is nearly one that protects something; whether it is.
    fn unknown_protection(&mut self, pair: &Pair) -> bool {
        let meant = PROTECTING_KEYS
            .into_iter()
            .find(|name| is_within(MISSPELT_LETTERS_MAX, &pair.key, name));
        if let Some(meant) = meant {
            let key = shown(&pair.key);
            let text = format!(
                "{}: unknown field {key}, which would protect nothing: did you mean {meant:?}?",
                pair.position
            );
            self.problems.push(text);
        }
        meant.is_some()
    }

    fn problem(&mut self, node: &Node, text: &str) {
        self.problems.push(format!("{}: {text}", node.position));
    }

    /// The value of an option, when it has the right type.
    fn value(&mut self, entry: &Entry, pair: &Pair) -> Result<Value, String> {
        let key = &pair.key;
        let is_streaming = entry.section.is_streaming();
        match (entry.kind, &pair.node.data) {
            (Kind::Block, _) => Ok(Value::Block(pair.node.clone())),
            (Kind::Bool, Data::Bool(value)) => Ok(Value::Bool(*value)),
            (Kind::Int | Kind::Size, Data::Int(value)) => Ok(Value::Int(*value)),
            (Kind::Text, Data::Text(text)) => Ok(Value::Text(text.clone())),
            (Kind::Duration, Data::Text(text)) => duration(text).map(Value::Nanos),
            (Kind::Duration, Data::Int(seconds)) if !is_streaming => {
                let nanos = seconds.checked_mul(1_000_000_000);
                let warning = format!(
                    "{}: {key} should be a duration such as \"{seconds}s\"; {seconds} is taken as seconds",
                    pair.position
                );
                self.warnings.push(warning);
                nanos.map(Value::Nanos).ok_or_else(|| format!("{key} is out of range"))
            }
            (Kind::List, Data::Text(text)) if !is_streaming => Ok(Value::List(vec![text.clone()])),
            (Kind::List, Data::List(items)) => {
                let texts = items.iter().map(|item| match &item.data {
                    Data::Text(text) => Ok(text.clone()),
                    data => Err(wrong_type(key, "string", data)),
                });
                texts.collect::<Result<Vec<_>, _>>().map(Value::List)
            }
            (kind, data) => Err(wrong_type(key, type_name(kind), data)),
        }
    }
}

/// Whether a block of the broker that protects something stands where the streaming engine's keys stand.
fn is_misplaced(pair: &Pair) -> bool {
    let protects = |name: &&str| name.eq_ignore_ascii_case(&pair.key);
    let is_of_broker = is_known(Section::Broker, &pair.key) && !is_known(Section::Streaming, &pair.key);
    PROTECTING.iter().any(protects) && is_of_broker && !pair.is_used
}

fn is_known(section: Section, key: &str) -> bool {
    table::find_key(section, key).is_some() || (section == Section::Streaming && block_of(key).is_some())
}

/// The block of the streaming section with this name.
fn block_of(key: &str) -> Option<Section> {
    Section::BLOCKS
        .into_iter()
        .find(|section| section.names().iter().any(|name| name.eq_ignore_ascii_case(key)))
}

/// The type that files use for a kind, as the original's errors call it.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int | Kind::Size => "int64",
        Kind::Text | Kind::Duration => "string",
        Kind::List => "slice",
        Kind::Block => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::parse_text;
    use crate::nearest::STEPS;
    use crate::surroundings::System;

    /// Letters compared while so many unknown keys are read.
    fn steps(keys: usize) -> usize {
        let text: String = (0..keys).map(|number| format!("max_paylod{number}: 1\n")).collect();
        let map = parse_text(Path::new("f"), &text, &System).unwrap();
        let before = STEPS.get();
        Reading::default().both(&map);
        STEPS.get() - before
    }

    #[test]
    fn unknown_keys_beyond_those_listed_are_compared_with_what_protects_only() {
        let few = steps(PROBLEMS_LISTED_MAX);
        assert!(few > 0);
        let keys = 100 * PROBLEMS_LISTED_MAX;
        let letters: usize = PROTECTING_KEYS
            .iter()
            .map(|name| (name.len() + MISSPELT_LETTERS_MAX) * name.len())
            .sum();
        assert!(steps(keys) <= few + keys * letters);
    }
}
