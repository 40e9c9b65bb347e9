//! Limits per channel (`streaming-protocol.md` §6.2): which entry of the configuration decides for which channel, and what
//! an entry inherits.
//!
//! An entry is a channel name or a pattern. The entries that match a name form a chain from the widest to the narrowest,
//! where at each token `>` is wider than `*` and `*` wider than a literal; the narrowest decides. Patterns are matched
//! against patterns as if they were names. Nothing here changes after the start, and a channel keeps what was found at its
//! creation.

use std::collections::BTreeMap;
use std::fmt;

use seaway_stan_protocol::{quote, validate};

use crate::channel_limits::{ChannelLimits, Limits};

/// One configured entry with what it inherited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsEntry {
    /// Channel name or pattern, as configured.
    pub name: String,
    /// What it sets itself.
    pub own: ChannelLimits,
    /// What counts for channels of which it is the narrowest entry.
    pub limits: Limits,
    /// How many entries it inherits from, in a row: 0 inherits from the global limits alone.
    pub depth: usize,
    /// Its predecessor, by its place in [`LimitsTable::entries`]; none inherits from the global limits.
    pub parent: Option<usize>,
}

/// Why entries cannot be used; the texts of §3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// An entry is neither a channel name nor a pattern.
    InvalidName(String),
    /// More literal entries than channels may exist.
    TooManyChannels {
        /// Literal entries.
        defined: usize,
        /// The limit on channels.
        max_channels: usize,
    },
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitsError::InvalidName(name) => write!(f, "invalid channel name {}", quote(name.as_bytes())),
            LimitsError::TooManyChannels { defined, max_channels } => write!(
                f,
                "too many channels defined ({defined}). The max channels limit is set to {max_channels}"
            ),
        }
    }
}

impl std::error::Error for LimitsError {}

/// Where the limits of a channel are; small, so that a channel costs a number and not a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitsKey(u32);

/// Place of the global limits in the list of distinct ones.
const GLOBAL: LimitsKey = LimitsKey(0);

/// The global limits and all entries, resolved; see the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsTable {
    /// In the order in which they are shown: every entry behind its parent.
    entries: Vec<LimitsEntry>,
    /// Every combination of limits once, the global ones first.
    distinct: Vec<Limits>,
    /// By the entry's place.
    keys: Vec<LimitsKey>,
    patterns: Patterns,
}

impl Default for LimitsTable {
    fn default() -> LimitsTable {
        LimitsTable::from(Limits::default())
    }
}

impl From<Limits> for LimitsTable {
    /// The same limits for every channel.
    fn from(global: Limits) -> LimitsTable {
        LimitsTable {
            entries: Vec::new(),
            distinct: vec![global],
            keys: Vec::new(),
            patterns: Patterns::default(),
        }
    }
}

impl LimitsTable {
    /// Resolves entries; of two with the same name the later counts.
    ///
    /// # Errors
    /// A name is not valid, or there are more literal names than channels may exist.
    pub fn new(global: Limits, entries: &[(String, ChannelLimits)]) -> Result<LimitsTable, LimitsError> {
        let mut table = LimitsTable::from(global);
        let own: BTreeMap<Vec<Token<'_>>, (&String, ChannelLimits)> = entries
            .iter()
            .map(|(name, own)| (tokens(name.as_bytes()), (name, *own)))
            .collect();
        let mut literal = 0;
        for (name, _) in own.values() {
            if !validate::is_channel_pattern(name.as_bytes()) {
                return Err(LimitsError::InvalidName((*name).clone()));
            }
            literal += usize::from(validate::is_channel_name(name.as_bytes()));
        }
        if global.max_channels > 0 && literal > global.max_channels {
            return Err(LimitsError::TooManyChannels {
                defined: literal,
                max_channels: global.max_channels,
            });
        }
        // First by breadth: the keys of the map are in that order.
        let sorted: Vec<(&String, ChannelLimits)> = own.into_values().collect();
        let mut patterns = Patterns::default();
        for (place, (name, _)) in sorted.iter().enumerate() {
            patterns.insert(name.as_bytes(), place);
        }
        let mut parents = Vec::with_capacity(sorted.len());
        let mut limits = Vec::with_capacity(sorted.len());
        for (place, (name, own)) in sorted.iter().enumerate() {
            let chain = patterns.chain(name.as_bytes());
            let wider = chain.iter().take_while(|other| **other != place);
            let inherited = wider
                .clone()
                .fold(global, |limits, other| sorted[*other].1.over(limits));
            parents.push(wider.last().copied());
            limits.push(own.over(inherited));
        }
        table.arrange(&sorted, &parents, &limits);
        Ok(table)
    }

    /// Puts every entry behind its parent, siblings by breadth.
    fn arrange(&mut self, sorted: &[(&String, ChannelLimits)], parents: &[Option<usize>], limits: &[Limits]) {
        let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (place, parent) in parents.iter().enumerate() {
            children.entry(*parent).or_default().push(place);
        }
        let mut known: BTreeMap<Limits, LimitsKey> = BTreeMap::from([(self.distinct[0], GLOBAL)]);
        let roots = children.get(&None).into_iter().flatten().rev();
        let mut waiting: Vec<(usize, usize, Option<usize>)> = roots.map(|place| (*place, 0, None)).collect();
        while let Some((place, depth, parent)) = waiting.pop() {
            let (name, own) = sorted[place];
            let arranged = self.entries.len();
            self.entries.push(LimitsEntry {
                name: name.clone(),
                own,
                limits: limits[place],
                depth,
                parent,
            });
            let distinct = &mut self.distinct;
            let key = *known.entry(limits[place]).or_insert_with(|| {
                distinct.push(limits[place]);
                LimitsKey(u32::try_from(distinct.len() - 1).expect("a configuration has fewer entries"))
            });
            self.keys.push(key);
            self.patterns.insert(name.as_bytes(), arranged);
            let below = children.get(&Some(place)).into_iter().flatten().rev();
            waiting.extend(below.map(|child| (*child, depth + 1, Some(arranged))));
        }
    }

    /// The limits where no entry decides, and the limit on channels.
    pub fn global(&self) -> &Limits {
        &self.distinct[0]
    }

    /// Every entry in the order in which they are shown: behind its parent, siblings from the widest to the narrowest.
    pub fn entries(&self) -> &[LimitsEntry] {
        &self.entries
    }

    /// What counts for a channel.
    pub fn effective(&self, channel: &[u8]) -> Limits {
        *self.get(self.find(channel))
    }

    /// Whether an entry names the channel, or is a pattern that matches it.
    pub fn is_listed(&self, channel: &[u8]) -> bool {
        self.patterns.narrowest(channel).is_some()
    }

    /// The first of another server's entries that overlaps one of these (§10): one matches the other, taken token by token as
    /// if it were a name. Patterns that merely intersect, such as `foo.*` and `*.bar`, are not found.
    pub fn first_overlap<'a>(&self, others: &[&'a [u8]]) -> Option<&'a [u8]> {
        let mut theirs = Patterns::default();
        for (place, other) in others.iter().enumerate() {
            theirs.insert(other, place);
        }
        let matching_ours = self
            .entries
            .iter()
            .flat_map(|entry| theirs.chain(entry.name.as_bytes()));
        let ours_matching = others.iter().position(|other| self.is_listed(other));
        matching_ours.chain(ours_matching).min().map(|place| others[place])
    }

    /// Where the limits of a channel are; asked once, at its creation.
    pub(crate) fn find(&self, channel: &[u8]) -> LimitsKey {
        if self.entries.is_empty() {
            return GLOBAL;
        }
        self.patterns
            .narrowest(channel)
            .map_or(GLOBAL, |place| self.keys[place])
    }

    pub(crate) fn get(&self, key: LimitsKey) -> &Limits {
        &self.distinct[key.0 as usize]
    }
}

/// A token of an entry; the order is that of breadth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token<'a> {
    Rest,
    Any,
    Literal(&'a [u8]),
}

fn tokens(name: &[u8]) -> Vec<Token<'_>> {
    name.split(|byte| *byte == b'.').map(Token::new).collect()
}

impl<'a> Token<'a> {
    fn new(token: &'a [u8]) -> Token<'a> {
        match token {
            b">" => Token::Rest,
            b"*" => Token::Any,
            literal => Token::Literal(literal),
        }
    }
}

/// Patterns by token. A name visits each node at most once, however many patterns there are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Patterns {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    literal: BTreeMap<Vec<u8>, usize>,
    any: Option<usize>,
    /// The entry that ends with `>` here.
    rest: Option<usize>,
    /// The entry that ends here.
    entry: Option<usize>,
}

/// What is left to look at.
#[derive(Clone, Copy)]
enum Visit {
    Node { node: usize, tokens: usize },
    Entry(usize),
}

impl Default for Patterns {
    fn default() -> Patterns {
        Patterns {
            nodes: vec![Node::default()],
        }
    }
}

impl Patterns {
    fn insert(&mut self, pattern: &[u8], entry: usize) {
        let mut node = 0;
        for token in tokens(pattern) {
            let next = self.nodes.len();
            let child = match token {
                Token::Rest => {
                    self.nodes[node].rest = Some(entry);
                    return;
                }
                Token::Any => *self.nodes[node].any.get_or_insert(next),
                Token::Literal(literal) => *self.nodes[node].literal.entry(literal.to_vec()).or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            node = child;
        }
        self.nodes[node].entry = Some(entry);
    }

    /// Looks at everything that matches, in the order of `places`, until `found` has enough.
    fn walk(
        &self,
        name: &[u8],
        places: fn(&[u8], &Node, usize) -> [Option<Visit>; 3],
        mut found: impl FnMut(usize) -> bool,
    ) {
        let tokens: Vec<&[u8]> = name.split(|byte| *byte == b'.').collect();
        let mut waiting = vec![Visit::Node { node: 0, tokens: 0 }];
        while let Some(visit) = waiting.pop() {
            let (node, at) = match visit {
                Visit::Node { node, tokens } => (&self.nodes[node], tokens),
                Visit::Entry(entry) if found(entry) => return,
                Visit::Entry(_) => continue,
            };
            match tokens.get(at) {
                None => waiting.extend(node.entry.map(Visit::Entry)),
                Some(token) => waiting.extend(places(token, node, at + 1).into_iter().flatten()),
            }
        }
    }

    /// The entries that match, from the widest to the narrowest.
    fn chain(&self, name: &[u8]) -> Vec<usize> {
        let mut chain = Vec::new();
        let widest_first = |token: &[u8], node: &Node, tokens: usize| {
            let [rest, any, literal] = children(token, node, tokens);
            [literal, any, rest]
        };
        self.walk(name, widest_first, |entry| {
            chain.push(entry);
            false
        });
        chain
    }

    fn narrowest(&self, name: &[u8]) -> Option<usize> {
        let mut narrowest = None;
        self.walk(name, children, |entry| {
            narrowest = Some(entry);
            true
        });
        narrowest
    }
}

/// What matches a token below a node; the last is visited first.
fn children(token: &[u8], node: &Node, tokens: usize) -> [Option<Visit>; 3] {
    let visit = |node| Visit::Node { node, tokens };
    [
        node.rest.map(Visit::Entry),
        node.any.map(visit),
        node.literal.get(token).copied().map(visit),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_messages: u64, max_bytes: u64, max_age_ns: u64, subscriptions: usize, inactivity: u64) -> Limits {
        Limits {
            max_channels: 100,
            max_subscriptions: subscriptions,
            max_messages,
            max_bytes,
            max_age_ns,
            max_inactivity_ns: inactivity,
        }
    }

    fn entry(name: &str, set: impl FnOnce(&mut ChannelLimits)) -> (String, ChannelLimits) {
        let mut own = ChannelLimits::default();
        set(&mut own);
        (name.to_owned(), own)
    }

    /// The test vector of §6.2, in no particular order.
    fn vector() -> LimitsTable {
        let entries = [
            entry("foo.baz", |own| {
                (own.max_bytes, own.max_subscriptions) = (Some(70), Some(80))
            }),
            entry("bar.baz.boz", |own| own.max_inactivity_ns = Some(120)),
            entry("*.*", |own| own.max_bytes = Some(2)),
            entry("foo.a.b.c", |own| own.max_subscriptions = Some(40)),
            entry("foo.>", |own| own.max_messages = Some(10)),
            entry("foo.*.*.>", |own| own.max_age_ns = Some(30)),
            entry("*.>", |own| own.max_subscriptions = Some(5)),
            entry("foo.d.e.f", |own| {
                (own.max_messages, own.max_age_ns) = (Some(50), Some(60))
            }),
            entry("bar.baz.>", |own| {
                (own.max_bytes, own.max_inactivity_ns) = (Some(100), Some(110))
            }),
            entry("foo.*.>", |own| own.max_bytes = Some(20)),
            entry("bar.*.>", |own| own.max_messages = Some(90)),
        ];
        LimitsTable::new(limits(11, 12, 13, 14, 15), &entries).expect("the vector is valid")
    }

    /// §6.2, row by row; shown behind their parents.
    #[test]
    fn entries_inherit_from_the_next_wider_one() {
        let expected = [
            ("*.>", 0, limits(11, 12, 13, 5, 15)),
            ("*.*", 1, limits(11, 2, 13, 5, 15)),
            ("foo.>", 2, limits(10, 2, 13, 5, 15)),
            ("foo.*.>", 3, limits(10, 20, 13, 5, 15)),
            ("foo.*.*.>", 4, limits(10, 20, 30, 5, 15)),
            ("foo.a.b.c", 5, limits(10, 20, 30, 40, 15)),
            ("foo.d.e.f", 5, limits(50, 20, 60, 5, 15)),
            ("foo.baz", 3, limits(10, 70, 13, 80, 15)),
            ("bar.*.>", 1, limits(90, 12, 13, 5, 15)),
            ("bar.baz.>", 2, limits(90, 100, 13, 5, 110)),
            ("bar.baz.boz", 3, limits(90, 100, 13, 5, 120)),
        ];
        let table = vector();
        let found: Vec<(&str, usize, Limits)> = table
            .entries()
            .iter()
            .map(|entry| (&entry.name[..], entry.depth, entry.limits))
            .collect();
        assert_eq!(found, expected);
        for entry in table.entries() {
            let parent = entry.parent.map(|parent| &table.entries()[parent]);
            assert_eq!(
                entry.depth,
                parent.map_or(0, |parent| parent.depth + 1),
                "{}",
                entry.name
            );
        }
    }

    /// §6.2: the narrowest entry that matches decides.
    #[test]
    fn channels_follow_their_narrowest_entry() {
        let table = vector();
        for (channel, name) in [
            ("foo.baz", "foo.baz"),
            ("foo.bar", "foo.>"),
            ("foo.x.y", "foo.*.>"),
            ("foo.a.b.d", "foo.*.*.>"),
            ("other.x", "*.*"),
            ("other.x.y", "*.>"),
            ("bar.baz.z.z", "bar.baz.>"),
            ("bar.x.z", "bar.*.>"),
            ("bar.baz", "*.*"),
        ] {
            let entry = table
                .entries()
                .iter()
                .find(|entry| entry.name == name)
                .expect("it is in the vector");
            assert_eq!(table.effective(channel.as_bytes()), entry.limits, "{channel}");
            assert!(table.is_listed(channel.as_bytes()));
        }
        assert_eq!(table.effective(b"alone"), *table.global());
        assert!(!table.is_listed(b"alone"));
    }

    /// A literal first token beats a literal second one, and what a wider match ends with is no dead end.
    #[test]
    fn the_first_tokens_count_most() {
        let set = |name: &str, messages| entry(name, |own| own.max_messages = Some(messages));
        let entries = [
            set("foo.*", 1),
            set("*.bar", 2),
            set("foo.x.y", 3),
            set("*.x.*", 4),
            set(">", 5),
        ];
        let table = LimitsTable::new(limits(0, 0, 0, 0, 0), &entries).expect("valid entries");
        for (channel, messages) in [
            ("foo.bar", 1),
            ("boo.bar", 2),
            ("foo.x.z", 4),
            ("foo.x.y", 3),
            ("foo", 5),
        ] {
            assert_eq!(table.effective(channel.as_bytes()).max_messages, messages, "{channel}");
        }
    }

    #[test]
    fn unlimited_is_not_inherited_away() {
        // §13.7 UnlimitedPerChannelLimits: a zero of its own is unlimited.
        let zero = ChannelLimits {
            max_subscriptions: Some(0),
            max_messages: Some(0),
            max_bytes: Some(0),
            max_age_ns: Some(0),
            max_inactivity_ns: Some(0),
        };
        let table = LimitsTable::new(limits(1, 1, 1, 1, 1), &[("foo".to_owned(), zero)]).expect("valid");
        assert_eq!(table.effective(b"foo"), limits(0, 0, 0, 0, 0));
        assert_eq!(table.effective(b"bar"), limits(1, 1, 1, 1, 1));
    }

    #[test]
    fn invalid_names_are_refused() {
        for name in [
            "",
            ".",
            ".foo",
            "foo.",
            "foo*",
            "foo.*.",
            "foo.>.bar",
            "foo/bar",
            "foo..bar",
        ] {
            let error = LimitsTable::new(limits(0, 0, 0, 0, 0), &[(name.to_owned(), ChannelLimits::default())]);
            let text = error.expect_err(name).to_string();
            assert_eq!(text, format!("invalid channel name \"{name}\""));
        }
    }

    /// §6.2, §13.7 LimitsWildcardsDontCountForMaxChannels.
    #[test]
    fn only_literal_entries_count_as_channels() {
        let mut global = limits(0, 0, 0, 0, 0);
        global.max_channels = 1;
        let entries = |names: &[&str]| -> Vec<(String, ChannelLimits)> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), ChannelLimits::default()))
                .collect()
        };
        assert!(LimitsTable::new(global, &entries(&["foo", "foo.*", ">", "bar.>"])).is_ok());
        let error = LimitsTable::new(global, &entries(&["foo", "bar"])).expect_err("two channels");
        assert_eq!(
            error.to_string(),
            "too many channels defined (2). The max channels limit is set to 1"
        );
        global.max_channels = 0;
        assert!(LimitsTable::new(global, &entries(&["foo", "bar"])).is_ok());
    }

    /// §10: the conflict test, both ways.
    #[test]
    fn overlaps_of_lists_are_found_token_by_token() {
        let table = |names: &[&str]| {
            let entries: Vec<(String, ChannelLimits)> = names
                .iter()
                .map(|name| ((*name).to_owned(), ChannelLimits::default()))
                .collect();
            LimitsTable::new(Limits::default(), &entries).expect("valid")
        };
        for (ours, theirs, found) in [
            (&["foo"][..], &["bar"][..], None),
            (&["foo", "bar"], &["baz", "bar", "foo"], Some("bar")),
            (&["foo.bar"], &["bar", "foo.*"], Some("foo.*")),
            (&["foo.*"], &["foo.bar"], Some("foo.bar")),
            (&["foo.bar"], &[">"], Some(">")),
            (&[">"], &["foo.bar.baz"], Some("foo.bar.baz")),
            (&["foo.>"], &["foo"], None),
            (&["foo.>"], &["foo.*"], Some("foo.*")),
            (&["foo.*"], &["foo.>"], Some("foo.>")),
            (&["foo.*"], &["*.bar"], None),
            (&["foo.*"], &["foo.a.b"], None),
        ] {
            let theirs: Vec<&[u8]> = theirs.iter().map(|name| name.as_bytes()).collect();
            let overlap = table(ours).first_overlap(&theirs);
            assert_eq!(overlap, found.map(str::as_bytes), "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn equal_limits_are_kept_once() {
        let entries: Vec<(String, ChannelLimits)> = (0..1000)
            .map(|number| entry(&format!("c.{number}"), |own| own.max_messages = Some(number % 3)))
            .collect();
        let table = LimitsTable::new(Limits::default(), &entries).expect("valid");
        assert_eq!(table.distinct.len(), 3, "zero is what is inherited anyway");
        assert_eq!(table.effective(b"c.500").max_messages, 500 % 3);
    }
}
