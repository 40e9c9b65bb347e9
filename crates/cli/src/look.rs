//! `channels`, `channel info`, `durables`, `clients`, `why`, `server info`: questions to the administration interface.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::change::{self, DeleteArguments, LimitArguments, PurgeArguments};
use crate::channel_limits::{Limits, limits_set};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::{Align, Output};
use crate::payload::Paint;
use crate::readable::{count, counted, local_time, printable, size, span};
use crate::running::{self, LogLevelArguments, ReloadArguments};

/// Which channels.
#[derive(clap::Args)]
pub(crate) struct ChannelsArguments {
    /// Only channels whose name begins so
    prefix: Option<String>,
}

/// What to do with one channel.
#[derive(clap::Subcommand)]
pub(crate) enum ChannelCommand {
    /// Show its messages, limits and subscriptions
    Info {
        /// The channel
        name: String,
    },
    /// Remove messages, oldest first; sequences go on behind the last one
    Purge(PurgeArguments),
    /// Delete it with its messages, durables and groups
    Delete(DeleteArguments),
    /// Set limits of its own, which count before those of the configuration until they are reset
    Limit(LimitArguments),
}

/// Whose durables.
#[derive(clap::Args)]
pub(crate) struct DurablesArguments {
    /// Only those of this channel
    channel: Option<String>,
}

/// Which clients.
#[derive(clap::Args)]
pub(crate) struct ClientsArguments {
    /// Show this client, with its subscriptions
    id: Option<String>,
}

/// Which subscriptions.
#[derive(clap::Args)]
pub(crate) struct WhyArguments {
    /// The channel
    channel: String,
    /// Only this durable
    #[arg(long, value_name = "NAME")]
    durable: Option<String>,
    /// Only this queue group
    #[arg(long, value_name = "GROUP")]
    queue: Option<String>,
    /// Only subscriptions of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
}

/// What to ask the server about itself.
#[derive(clap::Subcommand)]
pub(crate) enum ServerCommand {
    /// Show version, role, totals, store and limits
    Info,
    /// Set how much a running server logs, until its next reload or restart
    LogLevel(LogLevelArguments),
    /// Have a running server read its configuration again, as SIGHUP does, and say what was taken over
    Reload(ReloadArguments),
    /// Have the active server of a fault-tolerance group hand over to another one
    Failover,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Channel {
    name: String,
    msgs: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    subs_count: u64,
    limits: Limits,
    /// Those that an operator set.
    limits_set: Value,
    subscriptions: Vec<Subscription>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subscription {
    client_id: String,
    durable_name: String,
    queue_name: String,
    is_offline: bool,
    is_stalled: bool,
    paused_by: Option<String>,
    paused_since: Option<String>,
    max_inflight: u64,
    /// Seconds.
    ack_wait: u64,
    last_sent: u64,
    pending_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Durable {
    channel: String,
    name: String,
    queue: String,
    /// Empty for a queue group.
    client_id: String,
    members: u64,
    is_online: bool,
    is_stalled: bool,
    paused_by: Option<String>,
    last_sent: u64,
    pending_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Client {
    id: String,
    subs_count: u64,
    subscriptions: BTreeMap<String, Vec<Subscription>>,
}

const CHANNEL_COLUMNS: [(&str, Align); 6] = [
    ("CHANNEL", Align::Left),
    ("MESSAGES", Align::Right),
    ("SIZE", Align::Right),
    ("FIRST", Align::Right),
    ("LAST", Align::Right),
    ("SUBSCRIPTIONS", Align::Right),
];

const DURABLE_COLUMNS: [(&str, Align); 7] = [
    ("CHANNEL", Align::Left),
    ("DURABLE", Align::Left),
    ("QUEUE", Align::Left),
    ("CLIENT", Align::Left),
    ("STATE", Align::Left),
    ("LAST SENT", Align::Right),
    ("UNACKNOWLEDGED", Align::Right),
];

const SUBSCRIPTION_COLUMNS: [(&str, Align); 8] = [
    ("CHANNEL", Align::Left),
    ("CLIENT", Align::Left),
    ("DURABLE", Align::Left),
    ("QUEUE", Align::Left),
    ("STATE", Align::Left),
    ("LAST SENT", Align::Right),
    ("UNACKNOWLEDGED", Align::Right),
    ("ACK WAIT", Align::Right),
];

pub(crate) async fn channels(arguments: ChannelsArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::new();
    question.extend(
        arguments
            .prefix
            .as_deref()
            .map(|prefix| ("prefix".to_owned(), prefix.into())),
    );
    let row = |channel: Channel| {
        vec![
            printable(&channel.name).into_owned(),
            count(channel.msgs),
            size(channel.bytes),
            count(channel.first_seq),
            count(channel.last_seq),
            count(channel.subs_count),
        ]
    };
    let nothing = match arguments.prefix {
        Some(prefix) => format!("No channel begins with {prefix:?}."),
        None => "No channels yet: `seaway pub NAME MESSAGE` makes one.".to_owned(),
    };
    list(
        connection,
        "read.channels",
        question,
        "channels",
        &CHANNEL_COLUMNS,
        row,
        &nothing,
        output,
    )
    .await
}

pub(crate) async fn durables(arguments: DurablesArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::new();
    question.extend(arguments.channel.map(|channel| ("channel".to_owned(), channel.into())));
    let row = |durable: Durable| {
        let state = match (durable.is_online, durable.is_stalled) {
            _ if durable.paused_by.is_some() => "paused",
            (false, _) => "offline",
            (true, true) => "stalled",
            (true, false) => "online",
        };
        let client = match durable.queue.is_empty() {
            true => printable(&durable.client_id).into_owned(),
            false => counted(durable.members, "member"),
        };
        vec![
            printable(&durable.channel).into_owned(),
            printable(&durable.name).into_owned(),
            printable(&durable.queue).into_owned(),
            client,
            state.to_owned(),
            count(durable.last_sent),
            count(durable.pending_count),
        ]
    };
    let nothing = "No durables: `seaway sub CHANNEL --durable NAME` makes one.";
    list(
        connection,
        "read.durables",
        question,
        "durables",
        &DURABLE_COLUMNS,
        row,
        nothing,
        output,
    )
    .await
}

pub(crate) async fn clients(arguments: ClientsArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let Some(id) = arguments.id else {
        let row = |client: Client| vec![printable(&client.id).into_owned(), count(client.subs_count)];
        let columns = [("CLIENT", Align::Left), ("SUBSCRIPTIONS", Align::Right)];
        let nothing = "No clients are connected.";
        return list(
            connection,
            "read.clients",
            Map::new(),
            "clients",
            &columns,
            row,
            nothing,
            output,
        )
        .await;
    };
    let answer = connection.ask("read.clients", &json!({"client": id})).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let client: Client = read(answer)?;
    output.facts(&[
        ("Client", printable(&client.id).into_owned()),
        ("Subscriptions", count(client.subs_count)),
    ])?;
    let rows = client
        .subscriptions
        .iter()
        .flat_map(|(channel, subscriptions)| subscriptions.iter().map(|subscription| subscription.row(channel)));
    let rows: Vec<_> = rows.collect();
    subscriptions(&rows, output)
}

pub(crate) async fn channel(command: ChannelCommand, connection: &Connection, output: &mut Output) -> Outcome {
    let name = match command {
        ChannelCommand::Info { name } => name,
        ChannelCommand::Purge(arguments) => return change::purge(arguments, connection, output).await,
        ChannelCommand::Delete(arguments) => return change::delete(arguments, connection, output).await,
        ChannelCommand::Limit(arguments) => return change::limit(arguments, connection, output).await,
    };
    let answer = ask_for_channel(&name, connection).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let channel: Channel = read(answer)?;
    let messages = match channel.msgs {
        0 if channel.last_seq == 0 => "none yet".to_owned(),
        0 => format!("none left; the last was {}", count(channel.last_seq)),
        messages => format!(
            "{}, from {} to {}",
            count(messages),
            count(channel.first_seq),
            count(channel.last_seq)
        ),
    };
    let limits = match channel.limits_set.as_object().is_none_or(Map::is_empty) {
        true => channel.limits.words(),
        false => format!(
            "{} (set at run time: {})",
            channel.limits.words(),
            limits_set(&channel.limits_set)
        ),
    };
    output.facts(&[
        ("Channel", printable(&channel.name).into_owned()),
        ("Messages", messages),
        ("Size", size(channel.bytes)),
        ("Limits", limits),
        ("Subscriptions", count(channel.subs_count)),
    ])?;
    // The channel has been named.
    let rows: Vec<_> = channel
        .subscriptions
        .iter()
        .map(|subscription| subscription.row(""))
        .collect();
    subscriptions(&rows, output)?;
    let paused: BTreeSet<String> = channel.subscriptions.iter().filter_map(Subscription::paused).collect();
    if !paused.is_empty() {
        output.line("")?;
    }
    paused.iter().try_for_each(|line| output.line(line))
}

/// A channel with all its subscriptions, which the server sends in parts.
async fn ask_for_channel(name: &str, connection: &Connection) -> Outcome<Value> {
    let mut whole = connection.ask("read.channel", &json!({"channel": name})).await?;
    loop {
        let number = |key: &str| whole.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (count, total) = (number("count"), number("total"));
        if count >= total {
            break;
        }
        let question = json!({"channel": name, "offset": count});
        let mut part = connection.ask("read.channel", &question).await?;
        let more = match part.get_mut("subscriptions").map(Value::take) {
            Some(Value::Array(more)) if !more.is_empty() => more,
            // They have gone meanwhile.
            _ => break,
        };
        whole["count"] = (count + more.len() as u64).into();
        if let Some(Value::Array(subscriptions)) = whole.get_mut("subscriptions") {
            subscriptions.extend(more);
        }
    }
    Ok(whole)
}

pub(crate) async fn why(arguments: WhyArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::new();
    question.insert("channel".to_owned(), arguments.channel.into());
    for (key, value) in [
        ("durable", arguments.durable),
        ("queue", arguments.queue),
        ("client", arguments.client),
    ] {
        question.extend(value.map(|value| (key.to_owned(), value.into())));
    }
    let answer = connection.ask("read.why", &Value::Object(question)).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    say_why(&answer, output)?;
    let none = Vec::new();
    let subscriptions = answer.get("subscriptions").and_then(Value::as_array).unwrap_or(&none);
    let total = answer.get("total").and_then(Value::as_u64).unwrap_or(0);
    // Of one subscription everything has been said.
    if total != 1 {
        for subscription in subscriptions {
            output.line("")?;
            say_why(subscription, output)?;
        }
        if (subscriptions.len() as u64) < total {
            output.line(&format!(
                "\n{} of {} subscriptions shown.",
                subscriptions.len(),
                count(total)
            ))?;
        }
    }
    Ok(())
}

fn say_why(verdict: &Value, output: &mut Output) -> Outcome {
    let text = |key: &str| printable(verdict.get(key).and_then(Value::as_str).unwrap_or_default()).into_owned();
    let code = output.colour().paint(Paint::Key, &text("verdict"));
    output.line(&format!("{code}: {}", text("words")))?;
    match text("advice") {
        advice if advice.is_empty() => Ok(()),
        advice => output.line(&advice),
    }
}

pub(crate) async fn server(command: ServerCommand, connection: &Connection, output: &mut Output) -> Outcome {
    match command {
        ServerCommand::Info => {}
        ServerCommand::Failover => return crate::failover::failover(connection, output).await,
        ServerCommand::LogLevel(arguments) => return running::log_level(arguments, connection, output).await,
        ServerCommand::Reload(arguments) => return running::reload(arguments, connection, output).await,
    }
    let answer = connection.ask("read.server", &json!({})).await?;
    if output.is_json() {
        return output.json(&answer);
    }
    let text = |key: &str| printable(answer.get(key).and_then(Value::as_str).unwrap_or("?")).into_owned();
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    let limits = answer.pointer("/store/limits").cloned().map(read::<Limits>);
    let store = answer.pointer("/store/type").and_then(Value::as_str).unwrap_or("?");
    let is_ready = answer.get("ready").and_then(Value::as_bool).unwrap_or(true);
    let ready = match is_ready {
        true if answer.get("reason").is_some_and(Value::is_string) => format!("ready, but: {}", text("reason")),
        true => "ready".to_owned(),
        false => format!("not ready: {}", text("reason")),
    };
    let started = match text("start_time").parse::<jiff::Timestamp>() {
        Ok(time) => local_time(time.into()),
        Err(_) => text("start_time"),
    };
    let traffic = |way: &str| {
        let (messages, bytes) = (format!("{way}_msgs"), format!("{way}_bytes"));
        format!("{} messages, {}", count(number(&messages)), size(number(&bytes)))
    };
    output.facts(&[
        ("Cluster ID", text("cluster_id")),
        ("Server ID", text("server_id")),
        ("Version", text("seaway_version")),
        ("State", ready),
        ("Role", role(&answer)),
        ("Started", format!("{started}, {} ago", text("uptime"))),
        ("Store", printable(store).into_owned()),
        ("Limits", limits.transpose()?.unwrap_or_default().words()),
        ("Clients", count(number("clients"))),
        ("Channels", count(number("channels"))),
        ("Subscriptions", count(number("subscriptions"))),
        (
            "Stored",
            format!(
                "{} messages, {}",
                count(number("total_msgs")),
                size(number("total_bytes"))
            ),
        ),
        ("Received", traffic("in")),
        ("Delivered", traffic("out")),
    ])
}

/// Which part a server has, in words.
fn role(answer: &Value) -> String {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let number = |pointer: &str| answer.pointer(pointer).and_then(Value::as_u64);
    let tenure = number("/tenure").map_or_else(String::new, |tenure| format!(", tenure {tenure}"));
    let group = text("/fault_tolerance/group");
    if group.is_empty() {
        return format!("stands alone{tenure}");
    }
    let part = match (text("/state"), text("/fault_tolerance/active")) {
        ("FT_ACTIVE", _) => format!("active{tenure}"),
        (_, "") => "standing by, and nobody serves".to_owned(),
        (_, active) => {
            let tenure = number("/fault_tolerance/active_tenure").unwrap_or(0);
            format!("standing by, {active} serves under tenure {tenure}")
        }
    };
    let (since, reason) = (
        number("/fault_tolerance/seconds").unwrap_or(0),
        text("/fault_tolerance/reason"),
    );
    let since = span(Duration::from_secs(since));
    printable(&format!("{part}; group {group}, for {since}: {reason}")).into_owned()
}

/// Prints a list: for people page by page as tables, for programs an object per line.
#[expect(clippy::too_many_arguments, reason = "the parts in which lists differ")]
async fn list<Entry: for<'de> Deserialize<'de>>(
    connection: &Connection,
    operation: &str,
    question: Map<String, Value>,
    key: &str,
    columns: &[(&str, Align)],
    row: impl Fn(Entry) -> Vec<String>,
    nothing: &str,
    output: &mut Output,
) -> Outcome {
    let mut is_empty = true;
    let asking = connection.ask_for_list(operation, question, key, |page| {
        is_empty &= page.is_empty();
        if output.is_json() {
            return page.iter().try_for_each(|entry| output.json(entry));
        }
        let rows = page
            .into_iter()
            .map(|entry| Ok(row(read(entry)?)))
            .collect::<Outcome<Vec<_>>>()?;
        match rows.is_empty() {
            true => Ok(()),
            false => output.table(columns, &rows),
        }
    });
    asking.await?;
    match is_empty && !output.is_json() {
        true => output.line(nothing),
        false => Ok(()),
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Outcome<T> {
    serde_json::from_value(value)
        .map_err(|error| Failure::failed(format!("the server's answer cannot be read: {error}")))
}

impl Subscription {
    /// Who has paused it and when, the same for all members of a group.
    fn paused(&self) -> Option<String> {
        let (by, since) = (
            self.paused_by.as_ref()?,
            self.paused_since.as_deref().unwrap_or_default(),
        );
        let since = since
            .parse::<jiff::Timestamp>()
            .map_or_else(|_| since.to_owned(), |time| local_time(time.into()));
        let which = match (self.queue_name.as_str(), self.durable_name.as_str()) {
            ("", "") => format!("The subscription of client {:?}", self.client_id),
            ("", durable) => format!("Durable {durable:?} of client {:?}", self.client_id),
            (queue, _) => format!("Queue group {queue:?}"),
        };
        let line = format!("{which} is paused by {by} since {since}.");
        Some(printable(&line).into_owned())
    }

    fn row(&self, channel: &str) -> Vec<String> {
        let state = match (self.is_offline, self.is_stalled) {
            _ if self.paused_by.is_some() => "paused",
            (true, _) => "offline",
            (false, true) => "stalled",
            (false, false) => "online",
        };
        vec![
            printable(channel).into_owned(),
            printable(&self.client_id).into_owned(),
            printable(&self.durable_name).into_owned(),
            printable(&self.queue_name).into_owned(),
            state.to_owned(),
            count(self.last_sent),
            format!("{} of {}", count(self.pending_count), count(self.max_inflight)),
            span(Duration::from_secs(self.ack_wait)),
        ]
    }
}

/// A table of subscriptions without the columns that say nothing.
fn subscriptions(rows: &[Vec<String>], output: &mut Output) -> Outcome {
    if rows.is_empty() {
        return Ok(());
    }
    let says_something = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let kept: Vec<usize> = (0..SUBSCRIPTION_COLUMNS.len()).filter(says_something).collect();
    let columns: Vec<_> = kept.iter().map(|column| SUBSCRIPTION_COLUMNS[*column]).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| kept.iter().map(|column| row[*column].clone()).collect())
        .collect();
    output.line("")?;
    output.table(&columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_fields_of_a_later_server_is_read() {
        let channel: Channel = read(json!({"name": "a", "msgs": 1, "colour": "green"})).unwrap();
        assert_eq!((channel.name.as_str(), channel.msgs), ("a", 1));
    }
}
