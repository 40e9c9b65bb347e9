//! Limits of single channels and patterns (specification §6.2, §7.6).

use std::time::Duration;

use super::fields::{duration, wrong_type};
use crate::conf::{Data, Map, Node, shown};
use crate::draft::Draft;
use crate::limits::PROBLEMS_LISTED_MAX;
use crate::nearest::nearest;
use crate::options::ChannelLimits;
use crate::value::Value;

/// The keys of each limit, the usual one first; limits of all channels have the same.
pub(crate) const SUBSCRIPTIONS: &[&str] = &["max_subs", "msu", "max_subscriptions", "maxsubscriptions"];
pub(crate) const MESSAGES: &[&str] = &["max_msgs", "mm", "maxmsgs", "max_count", "maxcount"];
pub(crate) const BYTES: &[&str] = &["max_bytes", "mb", "maxbytes"];
pub(crate) const AGE: &[&str] = &["max_age", "ma", "maxage"];
pub(crate) const INACTIVITY: &[&str] = &["max_inactivity", "mi", "maxinactivity"];
const ALL: [&[&str]; 5] = [SUBSCRIPTIONS, MESSAGES, BYTES, AGE, INACTIVITY];

/// Reads the map from channels to their limits.
pub(crate) fn set(options: &mut Draft, value: &Value) -> Result<(), String> {
    let Value::Block(node) = value else {
        return Ok(());
    };
    let Data::Map(map) = &node.data else {
        let text = format!("expected channels limits to be a map/struct, got {}", node.data.kind());
        return Err(format!("{}: {text}", node.position));
    };
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for pair in map.iter() {
        if !is_channel_or_pattern(&pair.key) {
            problems.push(format!("{}: invalid channel name {:?}", pair.position, pair.key));
            continue;
        }
        let Data::Map(limits) = &pair.node.data else {
            let text = format!(
                "expected channel limits to be a map/struct, got {}",
                pair.node.data.kind()
            );
            problems.push(format!("{}: {text}", pair.node.position));
            continue;
        };
        let limits = one(&pair.key, limits, &mut warnings, &mut problems);
        options.streaming.channel_limits.push(limits);
    }
    let more = warnings.len().saturating_sub(PROBLEMS_LISTED_MAX);
    warnings.truncate(PROBLEMS_LISTED_MAX);
    options.notices.append(&mut warnings);
    if more > 0 {
        options
            .notices
            .push(format!("{}: and {more} more unknown fields of channels", node.position));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n")),
    }
}

fn one(pattern: &str, map: &Map, warnings: &mut Vec<String>, problems: &mut Vec<String>) -> ChannelLimits {
    let mut limits = ChannelLimits {
        pattern: pattern.to_owned(),
        ..ChannelLimits::default()
    };
    for pair in map.iter() {
        let is_key = |keys: &&[&str]| keys.iter().any(|key| key.eq_ignore_ascii_case(&pair.key));
        let result = match ALL.into_iter().find(is_key) {
            Some(SUBSCRIPTIONS) => count(&pair.key, &pair.node).map(|limit| limits.max_subscriptions = Some(limit)),
            Some(MESSAGES) => count(&pair.key, &pair.node).map(|limit| limits.max_messages = Some(limit)),
            Some(BYTES) => count(&pair.key, &pair.node).map(|limit| limits.max_bytes = Some(limit)),
            Some(AGE) => time(&pair.key, &pair.node).map(|limit| limits.max_age = Some(limit)),
            Some(INACTIVITY) => time(&pair.key, &pair.node).map(|limit| limits.max_inactivity = Some(limit)),
            _ if pair.is_used => Ok(()),
            _ => {
                // Comparing with what is known costs work, which is bounded with what is listed.
                let known = ALL
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|_| warnings.len() < PROBLEMS_LISTED_MAX);
                let near = nearest(&pair.key, known);
                let hint = near.map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
                warnings.push(format!("{}: unknown field {}{hint}", pair.position, shown(&pair.key)));
                Ok(())
            }
        };
        problems.extend(result.err());
    }
    limits
}

/// A limit; below zero means unlimited, as zero does.
fn count(key: &str, node: &Node) -> Result<u64, String> {
    match &node.data {
        Data::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        data => Err(format!("{}: {}", node.position, wrong_type(key, "int64", data))),
    }
}

fn time(key: &str, node: &Node) -> Result<Duration, String> {
    match &node.data {
        Data::Text(text) => match duration(text) {
            Ok(nanos) => Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))),
            Err(text) => Err(format!("{}: {text}", node.position)),
        },
        data => Err(format!("{}: {}", node.position, wrong_type(key, "string", data))),
    }
}

/// A channel name, or one with wildcards as whole tokens and `>` only as the last (specification §4).
fn is_channel_or_pattern(name: &str) -> bool {
    let mut tokens = name.split('.').peekable();
    while let Some(token) = tokens.next() {
        let is_valid = match token {
            "" => false,
            "*" => true,
            ">" => tokens.peek().is_none(),
            _ => !token.contains(['*', '>', '/']),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_section_4() {
        for name in [
            "foo", "foo.bar", "*", ">", "foo.*", "foo.>", "*.bar.>", "a b", "a:b", "é",
        ] {
            assert!(is_channel_or_pattern(name), "{name}");
        }
        for name in [
            "",
            ".",
            "foo.",
            ".foo",
            "foo..bar",
            "foo/bar",
            "foo*",
            "*a.b",
            ">.a",
            "foo.>.bar",
            "foo>",
        ] {
            assert!(!is_channel_or_pattern(name), "{name}");
        }
    }
}
