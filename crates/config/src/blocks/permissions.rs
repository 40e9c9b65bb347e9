//! What a user may publish and subscribe (core specification §3.3).

use seaway_nats_protocol::subject::is_pattern;

use super::fields::{Block, at};
use super::fields::{duration, wrong_type};
use crate::conf::{Data, Node, Position};
use crate::options::{Permissions, ResponsePermission, SubjectRules};
use std::time::Duration;

/// What comes in from a client is published by it, what goes out to it is subscribed.
const PUBLISH: &[&str] = &["publish", "pub", "import"];
const SUBSCRIBE: &[&str] = &["subscribe", "sub", "export"];
const RESPONSES: &[&str] = &["allow_responses", "publish_allow_responses", "allow_response"];
const ALLOW: &[&str] = &["allow"];
const DENY: &[&str] = &["deny"];
const MAX: &[&str] = &["max", "max_msgs", "max_messages", "max_responses"];
const EXPIRES: &[&str] = &["expires", "expiration", "ttl"];

/// Whether entries may name a queue group behind the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queues {
    Allowed,
    Refused,
}

/// Reads permissions.
pub(super) fn read(node: &Node) -> Result<Permissions, String> {
    let known = [PUBLISH, SUBSCRIBE, RESPONSES].concat();
    let block = Block::of(node, "permissions", &known)?;
    let side = |keys, queues| {
        block
            .find(keys)
            .map_or(Ok(SubjectRules::default()), |pair| rules(&pair.node, queues))
    };
    Ok(Permissions {
        publish: side(PUBLISH, Queues::Refused)?,
        subscribe: side(SUBSCRIBE, Queues::Allowed)?,
        allow_responses: match block.find(RESPONSES) {
            Some(pair) => responses(&pair.node)?,
            None => None,
        },
    })
}

/// A subject, several of them, or maps of what is allowed and denied.
fn rules(node: &Node, queues: Queues) -> Result<SubjectRules, String> {
    if !matches!(node.data, Data::Map(_)) {
        return Ok(SubjectRules {
            allow: subjects(node, queues)?,
            deny: Vec::new(),
        });
    }
    let block = Block::of(node, "permissions", &[ALLOW, DENY].concat())?;
    let side = |keys| {
        block
            .find(keys)
            .map_or(Ok(Vec::new()), |pair| subjects(&pair.node, queues))
    };
    Ok(SubjectRules {
        allow: side(ALLOW)?,
        deny: side(DENY)?,
    })
}

fn subjects(node: &Node, queues: Queues) -> Result<Vec<String>, String> {
    match &node.data {
        Data::Text(text) => Ok(vec![subject(&node.position, text, queues)?]),
        Data::List(items) => {
            let subjects = items.iter().map(|item| match &item.data {
                Data::Text(text) => subject(&item.position, text, queues),
                data => Err(at(&item.position, wrong_type("permissions", "string", data))),
            });
            subjects.collect()
        }
        data => Err(at(&node.position, wrong_type("permissions", "string", data))),
    }
}

/// A pattern, with the queue group behind it where that is allowed; both are shown with one blank between them.
fn subject(position: &Position, text: &str, queues: Queues) -> Result<String, String> {
    let mut words = text.split_ascii_whitespace();
    let (pattern, queue, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    let is_valid = is_pattern(pattern.as_bytes()) && more.is_none() && (queue.is_none() || queues == Queues::Allowed);
    if !is_valid {
        return Err(at(position, format!("subject {text:?} is not a valid subject")));
    }
    Ok(match queue {
        Some(queue) => format!("{pattern} {queue}"),
        None => pattern.to_owned(),
    })
}

fn responses(node: &Node) -> Result<Option<ResponsePermission>, String> {
    match &node.data {
        Data::Bool(true) => return Ok(Some(ResponsePermission::default())),
        Data::Bool(false) => return Ok(None),
        _ => {}
    }
    let block = Block::of(node, "allow_responses", &[MAX, EXPIRES].concat())?;
    let mut permission = ResponsePermission::default();
    match block.int(MAX)? {
        None | Some(0) => {}
        // Below zero is unlimited.
        Some(max) => permission.max_messages = u64::try_from(max).ok(),
    }
    if let Some(pair) = block.find(EXPIRES) {
        let nanos = match &pair.node.data {
            Data::Text(text) => duration(text).map_err(|text| at(&pair.node.position, text))?,
            Data::Int(seconds) => seconds.saturating_mul(1_000_000_000),
            data => return Err(at(&pair.node.position, wrong_type(&pair.key, "string", data))),
        };
        if nanos != 0 {
            permission.expires = u64::try_from(nanos).ok().map(Duration::from_nanos);
        }
    }
    Ok(Some(permission))
}
