//! `subscription pause` and `subscription resume`: delivery stops, and goes on.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::change::{Confirmation, Verb, change, named, owner, text};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::readable::{count, counted, printable};

/// What to do with a subscription.
#[derive(clap::Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// Send it nothing more, neither new messages nor again what it holds, until it is resumed; its acks are taken
    Pause(PauseArguments),
    /// Let it go on where it was
    Resume(PauseArguments),
}

/// Which subscription.
#[derive(clap::Args)]
pub(crate) struct PauseArguments {
    /// The channel
    channel: String,
    /// Its durable name; left out for a queue group without, and for a plain subscription
    #[arg(required_unless_present_any = ["queue", "client"])]
    name: Option<String>,
    /// The queue group: it is paused as a whole, with whoever joins it
    #[arg(long, value_name = "GROUP")]
    queue: Option<String>,
    /// The client ID of a plain subscription, or the one that owns the durable where several have one of that name
    #[arg(long, value_name = "ID", conflicts_with = "queue")]
    client: Option<String>,
    /// The delivery inbox of a plain subscription, where the client has several on the channel
    #[arg(long, value_name = "INBOX", requires = "client", conflicts_with = "name")]
    inbox: Option<String>,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Plain {
    inbox: String,
    durable_name: String,
    queue_name: String,
}

pub(crate) async fn run(command: SubscriptionCommand, connection: &Connection, output: &mut Output) -> Outcome {
    let (operation, verb, arguments) = match command {
        SubscriptionCommand::Pause(arguments) => ("change.pause", "Pause", arguments),
        SubscriptionCommand::Resume(arguments) => ("change.resume", "Resume", arguments),
    };
    let question = question(&arguments, connection).await?;
    let words = |answer: &Value, tense: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let members = match (number("members"), answer.get("queue").and_then(Value::as_str)) {
            (members, Some(queue)) if !queue.is_empty() => format!(", {} active,", count(members)),
            (0, _) => ", which is offline,".to_owned(),
            _ => String::new(),
        };
        let pending = counted(number("pending_count"), "unacknowledged message");
        format!("{} {}{members} with {pending}.", tense.of(verb), which(answer))
    };
    change(operation, question, &arguments.confirmation, words, connection, output).await
}

/// A subscription of any kind in words.
fn which(answer: &Value) -> String {
    let is_empty = |key: &str| answer.get(key).and_then(Value::as_str).is_none_or(str::is_empty);
    if is_empty("durable") && is_empty("queue") {
        return format!(
            "the subscription of client {} with the inbox {} on channel {}",
            text(answer, "client"),
            text(answer, "inbox"),
            text(answer, "channel")
        );
    }
    named(answer)
}

async fn question(arguments: &PauseArguments, connection: &Connection) -> Outcome<Map<String, Value>> {
    let PauseArguments {
        channel,
        name,
        queue,
        client,
        inbox,
        ..
    } = arguments;
    let mut question = Map::from_iter([("channel".to_owned(), channel.clone().into())]);
    let mut client = client.clone();
    let mut inbox = inbox.clone();
    match (name, queue, &client) {
        (Some(name), None, None) => client = Some(owner(connection, channel, name).await?),
        (None, None, Some(client)) if inbox.is_none() => inbox = Some(inbox_of(connection, channel, client).await?),
        _ => {}
    }
    for (key, value) in [
        ("durable", name.clone()),
        ("queue", queue.clone()),
        ("client", client),
        ("inbox", inbox),
    ] {
        question.extend(value.map(|value| (key.to_owned(), value.into())));
    }
    Ok(question)
}

/// The inbox of the one plain subscription that a client has on a channel.
async fn inbox_of(connection: &Connection, channel: &str, client: &str) -> Outcome<String> {
    let answer = connection.ask("read.clients", &json!({ "client": client })).await?;
    let all = answer
        .pointer("/subscriptions")
        .and_then(|all| all.get(channel))
        .cloned();
    let all: Vec<Plain> = serde_json::from_value(all.unwrap_or_else(|| json!([])))
        .map_err(|error| Failure::failed(format!("the server's answer cannot be read: {error}")))?;
    let mut plain: Vec<String> = { all.into_iter() }
        .filter(|one| one.durable_name.is_empty() && one.queue_name.is_empty())
        .map(|one| one.inbox)
        .collect();
    match plain.len() {
        0 => Err(Failure::failed(format!(
            "client {client:?} has no plain subscription on channel {channel:?}: name a durable, or a queue group with --queue"
        ))),
        1 => Ok(plain.remove(0)),
        several => {
            let names = plain.iter().take(10).map(|inbox| printable(inbox).into_owned());
            Err(Failure::usage(format!(
                "client {client:?} has {several} plain subscriptions on channel {channel:?}: say which with --inbox: {}",
                names.collect::<Vec<_>>().join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::CommandLine;

    #[test]
    fn a_subscription_is_named_in_one_way() {
        for (words, expected) in [
            (&["pause", "a"][..], false),
            (&["pause", "a", "d"], true),
            (&["pause", "a", "d", "--client", "c", "--dry-run"], true),
            (&["pause", "a", "--queue", "q"], true),
            (&["pause", "a", "d", "--queue", "q", "--yes"], true),
            (&["pause", "a", "--queue", "q", "--client", "c"], false),
            (&["resume", "a", "--client", "c"], true),
            (&["resume", "a", "--client", "c", "--inbox", "i"], true),
            (&["resume", "a", "d", "--client", "c", "--inbox", "i"], false),
            (&["resume", "a", "--inbox", "i"], false),
        ] {
            let line = ["seaway", "subscription"].iter().chain(words);
            assert_eq!(CommandLine::try_parse_from(line).is_ok(), expected, "{words:?}");
        }
    }

    #[test]
    fn each_kind_has_words_of_its_own() {
        let plain = json!({"channel": "a", "client": "c", "durable": "", "queue": "", "inbox": "_INBOX.1"});
        let expected = r#"the subscription of client "c" with the inbox "_INBOX.1" on channel "a""#;
        assert_eq!(which(&plain), expected);
        let durable = json!({"channel": "a", "client": "c", "durable": "d", "queue": "", "inbox": ""});
        assert_eq!(which(&durable), r#"durable "d" of client "c" on channel "a""#);
    }
}
