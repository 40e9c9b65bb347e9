//! The class `change`: from a request to what is to be changed.

use seaway_streaming::{ChannelLimits, Extent, Place, Settlement};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::answer::Failure;
use super::intent::Change;
use super::request::{Request, moment, required_channel};
use crate::engine::{Named, Wanted};
use crate::logging::Verbosity;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// What is named has a value: `null`, which programs write for what is no number, must not mean everything.
fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeFields {
    channel: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    up_to: Option<u64>,
    #[serde(default, deserialize_with = "stated")]
    before: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteFields {
    channel: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFields {
    channel: Option<String>,
    #[serde(default)]
    reset: bool,
    #[serde(default, deserialize_with = "stated")]
    max_msgs: Option<u64>,
    #[serde(default, deserialize_with = "stated")]
    max_bytes: Option<u64>,
    #[serde(default, deserialize_with = "stated")]
    max_age: Option<u64>,
    #[serde(default, deserialize_with = "stated")]
    max_subscriptions: Option<usize>,
    #[serde(default, deserialize_with = "stated")]
    max_inactivity: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReaderFields {
    channel: Option<String>,
    client: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
    to: Option<Value>,
    force: Option<bool>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseFields {
    channel: Option<String>,
    client: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
    inbox: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelFields {
    #[serde(default, deserialize_with = "stated")]
    broker: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    streaming: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadFields {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleFields {
    channel: Option<String>,
    client: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
    sequence: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisconnectFields {
    client: Option<String>,
    cid: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

impl Request {
    /// What a request of the class asks for; none when there is no such operation.
    pub(super) fn change(&self) -> Option<Result<Change, Failure>> {
        Some(match self.name() {
            b"change.failover" => self.fields().map(|NoFields {}| Change::Failover),
            b"change.purge" => self.fields().and_then(purge),
            b"change.delete" => self.fields().and_then(delete),
            b"change.remove" => self.fields().and_then(remove),
            b"change.move" => self.fields().and_then(relocate),
            b"change.ack" => self.settlement(Settlement::Acknowledge),
            b"change.redeliver" => self.settlement(Settlement::Redeliver),
            b"change.pause" => self.fields().and_then(|fields| pause(fields, true)),
            b"change.resume" => self.fields().and_then(|fields| pause(fields, false)),
            b"change.log_level" => self.fields().and_then(log_level),
            b"change.reload" => self
                .fields()
                .map(|ReloadFields { dry_run }| Change::Reload { is_rehearsal: dry_run }),
            b"change.limit" => self.fields().and_then(limit),
            b"change.disconnect" => self.fields().and_then(disconnect),
            _ => return None,
        })
    }
}

impl Request {
    fn settlement(&self, verdict: Settlement) -> Result<Change, Failure> {
        let fields: SettleFields = self.fields()?;
        let Some(sequence) = fields.sequence else {
            return Err(Failure::invalid(
                "\"sequence\" is required: that of the pending message",
            ));
        };
        let is_rehearsal = fields.dry_run;
        let reader = named(fields.channel, fields.client, fields.durable, fields.queue)?;
        Ok(Change::Engine {
            wanted: Wanted::Settle {
                reader,
                sequence,
                verdict,
            },
            is_rehearsal,
        })
    }
}

fn purge(fields: PurgeFields) -> Result<Change, Failure> {
    let extent = match (fields.up_to, fields.before) {
        (None, None) => Extent::All,
        (Some(sequence), None) => Extent::UpTo(sequence),
        (None, Some(time)) => Extent::Before(moment("before", &time)?),
        (Some(_), Some(_)) => {
            return Err(Failure::invalid(
                "\"up_to\" or \"before\", and not both; neither purges everything",
            ));
        }
    };
    let wanted = Wanted::Purge {
        channel: required_channel(fields.channel)?,
        extent,
    };
    Ok(Change::Engine {
        wanted,
        is_rehearsal: fields.dry_run,
    })
}

fn delete(fields: DeleteFields) -> Result<Change, Failure> {
    let wanted = Wanted::Delete {
        channel: required_channel(fields.channel)?,
        force: fields.force,
    };
    Ok(Change::Engine {
        wanted,
        is_rehearsal: fields.dry_run,
    })
}

fn limit(fields: LimitFields) -> Result<Change, Failure> {
    let set = ChannelLimits {
        max_subscriptions: fields.max_subscriptions,
        max_messages: fields.max_msgs,
        max_bytes: fields.max_bytes,
        max_age_ns: fields.max_age,
        max_inactivity_ns: fields.max_inactivity,
    };
    if set.is_empty() && !fields.reset {
        return Err(Failure::invalid(
            "a limit is required, or \"reset\": \"max_msgs\", \"max_bytes\", \"max_age\" and \"max_inactivity\" (nanoseconds), \
             \"max_subscriptions\"; 0 is unlimited",
        ));
    }
    let wanted = Wanted::Limit {
        channel: required_channel(fields.channel)?,
        reset: fields.reset,
        set,
    };
    Ok(Change::Engine {
        wanted,
        is_rehearsal: fields.dry_run,
    })
}

fn pause(fields: PauseFields, pauses: bool) -> Result<Change, Failure> {
    let is_rehearsal = fields.dry_run;
    let inbox = fields.inbox.unwrap_or_default();
    let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let reader = match (is_given(&fields.durable) || is_given(&fields.queue), inbox.is_empty()) {
        (true, true) => named(fields.channel, fields.client, fields.durable, fields.queue)?,
        (true, false) => {
            return Err(Failure::invalid(
                "leave out \"inbox\": a durable or a queue group is known by its name",
            ));
        }
        (false, false) if is_given(&fields.client) => Named {
            channel: required_channel(fields.channel)?,
            client: fields.client.unwrap_or_default(),
            durable: String::new(),
            queue: String::new(),
        },
        (false, _) => {
            return Err(Failure::invalid(
                "\"durable\" or \"queue\" is required, or both; or \"client\" and \"inbox\" of a subscription without a name",
            ));
        }
    };
    Ok(Change::Engine {
        wanted: Wanted::Pause { reader, inbox, pauses },
        is_rehearsal,
    })
}

fn log_level(fields: LevelFields) -> Result<Change, Failure> {
    let level = |name: &str, text: Option<String>| {
        let level = text.map(|text| Verbosity::named(&text).ok_or(text)).transpose();
        level.map_err(|text| {
            Failure::invalid(&format!(
                "\"{name}\" must be \"info\", \"debug\", \"trace\" or \"all\", and not {text:?}"
            ))
        })
    };
    let (broker, streaming) = (level("broker", fields.broker)?, level("streaming", fields.streaming)?);
    if broker.is_none() && streaming.is_none() {
        return Err(Failure::invalid(
            "\"broker\" or \"streaming\" is required, or both: \"info\", \"debug\", \"trace\" or \"all\"",
        ));
    }
    Ok(Change::LogLevel {
        broker,
        streaming,
        is_rehearsal: fields.dry_run,
    })
}

fn remove(fields: ReaderFields) -> Result<Change, Failure> {
    if fields.to.is_some() {
        return Err(Failure::invalid("\"to\" belongs to \"change.move\""));
    }
    let (force, is_rehearsal) = (fields.force.unwrap_or(false), fields.dry_run);
    let reader = reader(fields)?;
    Ok(Change::Engine {
        wanted: Wanted::Remove { reader, force },
        is_rehearsal,
    })
}

fn relocate(fields: ReaderFields) -> Result<Change, Failure> {
    if fields.force.is_some() {
        return Err(Failure::invalid("\"force\" belongs to \"change.remove\""));
    }
    let to = place(fields.to.as_ref())?;
    let is_rehearsal = fields.dry_run;
    let reader = reader(fields)?;
    Ok(Change::Engine {
        wanted: Wanted::Move { reader, to },
        is_rehearsal,
    })
}

fn reader(fields: ReaderFields) -> Result<Named, Failure> {
    named(fields.channel, fields.client, fields.durable, fields.queue)
}

/// Which durable or group is meant.
fn named(
    channel: Option<String>,
    client: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
) -> Result<Named, Failure> {
    let reader = Named {
        channel: required_channel(channel)?,
        client: client.unwrap_or_default(),
        durable: durable.unwrap_or_default(),
        queue: queue.unwrap_or_default(),
    };
    match (
        reader.queue.is_empty(),
        reader.durable.is_empty(),
        reader.client.is_empty(),
    ) {
        (true, true, _) => Err(Failure::invalid("\"durable\" or \"queue\" is required, or both")),
        (true, false, true) => Err(Failure::invalid(
            "\"client\" is required for a durable without a queue group: the client ID that owns it",
        )),
        (false, _, false) => Err(Failure::invalid(
            "leave out \"client\": a queue group belongs to no client",
        )),
        _ => Ok(reader),
    }
}

fn place(to: Option<&Value>) -> Result<Place, Failure> {
    match to {
        Some(Value::String(word)) if word == "start" => Ok(Place::Start),
        Some(Value::String(word)) if word == "end" => Ok(Place::End),
        Some(Value::String(time)) => moment("to", time).map(Place::Time),
        Some(Value::Number(number)) if number.is_u64() => Ok(Place::Sequence(number.as_u64().unwrap_or(0))),
        _ => Err(Failure::invalid(
            "\"to\" is required: a sequence, a time such as \"2026-01-31T18:30:00Z\", \"start\" or \"end\"",
        )),
    }
}

fn disconnect(fields: DisconnectFields) -> Result<Change, Failure> {
    let is_rehearsal = fields.dry_run;
    match (fields.client.filter(|client| !client.is_empty()), fields.cid) {
        (Some(client), None) => Ok(Change::Engine {
            wanted: Wanted::Disconnect { client },
            is_rehearsal,
        }),
        (None, Some(cid)) => Ok(Change::Connection { cid, is_rehearsal }),
        _ => Err(Failure::invalid(
            "\"client\", the ID of a streaming client, or \"cid\", the number of a connection: one of them is required",
        )),
    }
}
