//! Commands that change something on a server: each says what would happen, and asks, before it does it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::channel_limits::{Limits, limits_set};
use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::owners::owners;
use crate::readable::{count, counted, parse_duration, parse_size, parse_time, printable, size, utc_time};

/// Whether to ask before something is changed.
#[derive(clap::Args)]
#[command(next_help_heading = "Confirmation")]
pub(crate) struct Confirmation {
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(short, long, conflicts_with = "dry_run")]
    yes: bool,
}

/// Which messages of a channel to remove.
#[derive(clap::Args)]
pub(crate) struct PurgeArguments {
    /// The channel
    name: String,
    #[command(flatten)]
    extent: ExtentArguments,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct ExtentArguments {
    /// Only messages up to this sequence
    #[arg(long, value_name = "SEQ")]
    up_to: Option<u64>,
    /// Only messages older than this, such as 10m or 2d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only messages from before this moment: 2026-01-31T18:30:00Z, or "2026-01-31 18:30" in your time zone
    #[arg(long, value_name = "MOMENT", value_parser = parse_time)]
    before: Option<SystemTime>,
}

/// Which channel to delete.
#[derive(clap::Args)]
pub(crate) struct DeleteArguments {
    /// The channel
    name: String,
    /// Also when it has active subscriptions: they get nothing more, and are not told
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Which limits of a channel to set; what is not named stays as it is.
#[derive(clap::Args)]
pub(crate) struct LimitArguments {
    /// The channel
    name: String,
    #[command(flatten)]
    limits: NewLimits,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(clap::Args)]
#[group(multiple = true, required = true)]
#[command(next_help_heading = "Limits (0 is unlimited)")]
struct NewLimits {
    /// First forget what was set so before: those of the configuration count again
    #[arg(long)]
    reset: bool,
    /// Messages
    #[arg(long, value_name = "NUMBER")]
    max_msgs: Option<u64>,
    /// Bytes, such as 512MB or 10GB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_bytes: Option<u64>,
    /// Age of a message, such as 36h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Subscriptions, offline durables included
    #[arg(long, value_name = "NUMBER")]
    max_subs: Option<u64>,
    /// How long nobody may use the channel before it is deleted
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_inactivity: Option<Duration>,
}

/// What to do with a durable or a queue group.
#[derive(clap::Subcommand)]
pub(crate) enum DurableCommand {
    /// Forget it with its position and everything that is pending
    Remove(RemoveArguments),
    /// Let it go on at another message, with nothing pending
    Move(MoveArguments),
    /// Count one pending message as acknowledged
    Ack(SettleArguments),
    /// Have one pending message sent again at once
    Redeliver(SettleArguments),
}

/// Which pending message.
#[derive(clap::Args)]
pub(crate) struct SettleArguments {
    #[command(flatten)]
    reader: ReaderArguments,
    /// The message's sequence
    #[arg(long, value_name = "SEQ")]
    sequence: u64,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Which durable or queue group.
#[derive(clap::Args)]
struct ReaderArguments {
    /// The channel
    channel: String,
    /// Its durable name; left out for a queue group without
    #[arg(required_unless_present = "queue")]
    name: Option<String>,
    /// The queue group
    #[arg(long, value_name = "GROUP")]
    queue: Option<String>,
    /// The client ID that owns it, where several have a durable of that name
    #[arg(long, value_name = "ID", conflicts_with = "queue")]
    client: Option<String>,
}

/// Which durable or group to remove.
#[derive(clap::Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    reader: ReaderArguments,
    /// Also when somebody subscribes through it: they get nothing more, and are not told
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Which durable or group to move, and where.
#[derive(clap::Args)]
pub(crate) struct MoveArguments {
    #[command(flatten)]
    reader: ReaderArguments,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The message that is delivered next.
#[derive(clap::Args)]
#[group(multiple = false, required = true)]
#[command(next_help_heading = "Place")]
struct PlaceArguments {
    /// The first message that is there
    #[arg(long)]
    start: bool,
    /// Only what is published from now on
    #[arg(long)]
    end: bool,
    /// The message with this sequence
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// The first message that is not older than this, such as 10m or 2d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
    /// The first message since this moment: 2026-01-31T18:30:00Z, or "2026-01-31 18:30" in your time zone
    #[arg(long, value_name = "MOMENT", value_parser = parse_time)]
    at: Option<SystemTime>,
}

/// What to do with a client.
#[derive(clap::Subcommand)]
pub(crate) enum ClientCommand {
    /// End a streaming client, as if its heartbeats had failed, or the connection of a client of NATS
    Disconnect(DisconnectArguments),
}

/// Whom to disconnect.
#[derive(clap::Args)]
pub(crate) struct DisconnectArguments {
    /// The client ID of a streaming client
    #[arg(required_unless_present = "cid", conflicts_with = "cid")]
    id: Option<String>,
    /// The number of a connection, as `/connz` of the monitoring shows it
    #[arg(long)]
    cid: Option<u64>,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn purge(arguments: PurgeArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::from_iter([("channel".to_owned(), arguments.name.into())]);
    let extent = arguments.extent;
    let before = extent.before.or(extent.older_than.map(ago).transpose()?);
    question.extend(extent.up_to.map(|sequence| ("up_to".to_owned(), sequence.into())));
    question.extend(before.map(|time| ("before".to_owned(), utc_time(time).into())));
    let words = |answer: &Value, verb: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let rest = match number("first_seq") > number("last_seq") {
            true => "nothing is left".to_owned(),
            false => format!("{} is the first that is left", count(number("first_seq"))),
        };
        let messages = counted(number("msgs"), "message");
        let channel = text(answer, "channel");
        format!("{} {messages} of channel {channel}: {rest}.", verb.of("Remove"))
    };
    change(
        "change.purge",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

pub(crate) async fn delete(arguments: DeleteArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::from_iter([("channel".to_owned(), arguments.name.into())]);
    question.insert("force".to_owned(), arguments.force.into());
    let words = |answer: &Value, verb: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let active = match number("active_count") {
            0 => String::new(),
            active => format!(" ({} active, which {} nothing more)", count(active), verb.get()),
        };
        format!(
            "{} channel {} with {} ({}) and {}{active}.",
            verb.of("Delete"),
            text(answer, "channel"),
            counted(number("msgs"), "message"),
            size(number("bytes")),
            counted(number("subs_count"), "subscription"),
        )
    };
    change(
        "change.delete",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

pub(crate) async fn limit(arguments: LimitArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = Map::from_iter([("channel".to_owned(), arguments.name.into())]);
    let limits = arguments.limits;
    let [max_age, max_inactivity] = [limits.max_age, limits.max_inactivity]
        .map(|time| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    for (key, limit) in [
        ("max_msgs", limits.max_msgs),
        ("max_bytes", limits.max_bytes),
        ("max_age", max_age),
        ("max_subscriptions", limits.max_subs),
        ("max_inactivity", max_inactivity),
    ] {
        question.extend(limit.map(|limit| (key.to_owned(), limit.into())));
    }
    if limits.reset {
        question.insert("reset".to_owned(), true.into());
    }
    let words = |answer: &Value, verb: Verb| {
        let surplus = match answer.get("surplus_msgs").and_then(Value::as_u64).unwrap_or(0) {
            0 => String::new(),
            surplus => format!("; {} more than that {}", counted(surplus, "message"), verb.go()),
        };
        let limits = answer.get("limits").and_then(|limits| Limits::deserialize(limits).ok());
        format!(
            "{} the limits of channel {} to: {} (set at run time: {}){surplus}.",
            verb.of("Change"),
            text(answer, "channel"),
            limits.unwrap_or_default().words(),
            limits_set(&answer["limits_set"]),
        )
    };
    change(
        "change.limit",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

pub(crate) async fn durable(command: DurableCommand, connection: &Connection, output: &mut Output) -> Outcome {
    match command {
        DurableCommand::Remove(arguments) => remove(arguments, connection, output).await,
        DurableCommand::Move(arguments) => relocate(arguments, connection, output).await,
        DurableCommand::Ack(arguments) => settle("change.ack", "Acknowledge", arguments, connection, output).await,
        DurableCommand::Redeliver(arguments) => {
            settle("change.redeliver", "Redeliver", arguments, connection, output).await
        }
    }
}

async fn remove(arguments: RemoveArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = arguments.reader.question(connection).await?;
    question.insert("force".to_owned(), arguments.force.into());
    let words = |answer: &Value, verb: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let members = match number("members") {
            0 => String::new(),
            members => format!(", {} of which {} nothing more,", count(members), verb.get()),
        };
        let pending = counted(number("pending_count"), "pending message");
        format!("{} {}{members} with {pending}.", verb.of("Remove"), named(answer))
    };
    change(
        "change.remove",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

async fn relocate(arguments: MoveArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let mut question = arguments.reader.question(connection).await?;
    let place = arguments.place;
    let moment = place.at.or(place.since.map(ago).transpose()?);
    let to = match (moment, place.from) {
        (Some(moment), _) => utc_time(moment).into(),
        (None, Some(sequence)) => sequence.into(),
        (None, None) => Value::from(if place.start { "start" } else { "end" }),
    };
    question.insert("to".to_owned(), to);
    let words = |answer: &Value, verb: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let instead = match number("from_seq") {
            from if from == number("to_seq") => " as before".to_owned(),
            from => format!(", and not {}", count(from)),
        };
        format!(
            "{} {}: the next message {} {}{instead}; {} {} pending any more.",
            verb.of("Move"),
            named(answer),
            verb.be(),
            count(number("to_seq")),
            counted(number("pending_count"), "message"),
            verb.be_not(),
        )
    };
    change(
        "change.move",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

async fn settle(
    operation: &str,
    verb: &str,
    arguments: SettleArguments,
    connection: &Connection,
    output: &mut Output,
) -> Outcome {
    let mut question = arguments.reader.question(connection).await?;
    question.insert("sequence".to_owned(), arguments.sequence.into());
    let words = |answer: &Value, tense: Verb| {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        format!(
            "{} message {} for {}; {} {} pending.",
            tense.of(verb),
            count(number("sequence")),
            named(answer),
            counted(number("pending_count"), "message"),
            tense.be_several(),
        )
    };
    change(operation, question, &arguments.confirmation, words, connection, output).await
}

pub(crate) async fn client(command: ClientCommand, connection: &Connection, output: &mut Output) -> Outcome {
    let ClientCommand::Disconnect(arguments) = command;
    let question = match (arguments.id, arguments.cid) {
        (Some(id), _) => Map::from_iter([("client".to_owned(), id.into())]),
        (None, cid) => Map::from_iter([("cid".to_owned(), cid.into())]),
    };
    let words = |answer: &Value, verb: Verb| match answer.get("cid").and_then(Value::as_u64) {
        Some(cid) => format!("{} the connection with the cid {cid}.", verb.of("End")),
        None => {
            let subscriptions = answer.get("subs_count").and_then(Value::as_u64).unwrap_or(0);
            let subscriptions = counted(subscriptions, "subscription");
            let client = text(answer, "client");
            format!(
                "{} client {client} with {subscriptions}; what is durable {}.",
                verb.of("Close"),
                verb.stay()
            )
        }
    };
    change(
        "change.disconnect",
        question,
        &arguments.confirmation,
        words,
        connection,
        output,
    )
    .await
}

impl ReaderArguments {
    /// Which one it is; the owner of a durable is looked up where the command does not say it.
    async fn question(self, connection: &Connection) -> Outcome<Map<String, Value>> {
        let mut question = Map::from_iter([("channel".to_owned(), self.channel.clone().into())]);
        let client = match (&self.queue, self.client, &self.name) {
            (None, None, Some(name)) => Some(owner(connection, &self.channel, name).await?),
            (_, client, _) => client,
        };
        for (key, value) in [("durable", self.name), ("queue", self.queue), ("client", client)] {
            question.extend(value.map(|value| (key.to_owned(), value.into())));
        }
        Ok(question)
    }
}

/// The one client ID that owns a durable of this name.
pub(crate) async fn owner(connection: &Connection, channel: &str, name: &str) -> Outcome<String> {
    let mut owners = owners(connection, channel, name, None).await?;
    match owners.len() {
        // The server says what there is not.
        0 => Ok("?".to_owned()),
        1 => Ok(owners.remove(0)),
        _ => Err(Failure::usage(format!(
            "{} clients have a durable {name:?} on channel {channel:?}: say which with --client",
            owners.len()
        ))),
    }
}

/// The moment so long ago. What lies before all times is refused: it would mean everything.
fn ago(time: Duration) -> Outcome<SystemTime> {
    let moment = SystemTime::now()
        .checked_sub(time)
        .filter(|moment| *moment >= UNIX_EPOCH);
    moment.ok_or_else(|| Failure::usage(format!("{} seconds ago was before 1970", time.as_secs())))
}

pub(crate) fn text(answer: &Value, key: &str) -> String {
    let text = answer.get(key).and_then(Value::as_str).unwrap_or_default();
    printable(&format!("{text:?}")).into_owned()
}

pub(crate) fn named(answer: &Value) -> String {
    let is_given = |key: &str| {
        answer
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    let named = match (is_given("queue"), is_given("durable")) {
        (false, _) => format!(
            "durable {} of client {}",
            text(answer, "durable"),
            text(answer, "client")
        ),
        (true, false) => format!("queue group {}", text(answer, "queue")),
        (true, true) => format!(
            "queue group {} with the durable name {}",
            text(answer, "queue"),
            text(answer, "durable")
        ),
    };
    format!("{named} on channel {}", text(answer, "channel"))
}

/// Whether something would be done, or was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Would,
    Did,
}

impl Verb {
    pub(crate) fn of(self, verb: &str) -> String {
        match self {
            Verb::Would => format!("Would {}", verb.to_lowercase()),
            Verb::Did if verb.ends_with('e') => format!("{verb}d"),
            Verb::Did => format!("{verb}ed"),
        }
    }

    pub(crate) fn get(self) -> &'static str {
        match self {
            Verb::Would => "would get",
            Verb::Did => "get",
        }
    }

    fn be(self) -> &'static str {
        match self {
            Verb::Would => "would be",
            Verb::Did => "is",
        }
    }

    fn be_not(self) -> &'static str {
        match self {
            Verb::Would => "would not be",
            Verb::Did => "are not",
        }
    }

    fn be_several(self) -> &'static str {
        match self {
            Verb::Would => "would be",
            Verb::Did => "are",
        }
    }

    fn go(self) -> &'static str {
        match self {
            Verb::Would => "would go",
            Verb::Did => "go",
        }
    }

    fn stay(self) -> &'static str {
        match self {
            Verb::Would => "would stay",
            Verb::Did => "stays",
        }
    }
}

/// Says what would happen, asks unless that was answered before, and has it done.
pub(crate) async fn change(
    operation: &str,
    mut question: Map<String, Value>,
    confirmation: &Confirmation,
    words: impl Fn(&Value, Verb) -> String,
    connection: &Connection,
    output: &mut Output,
) -> Outcome {
    if !confirmation.yes {
        question.insert("dry_run".to_owned(), json!(true));
        let rehearsed = connection.ask(operation, &Value::Object(question.clone())).await?;
        let would = words(&rehearsed, Verb::Would);
        if confirmation.dry_run {
            return output.done(&would, &rehearsed);
        }
        ask(&would)?;
        question.remove("dry_run");
        if operation == "change.purge" && !question.contains_key("before") {
            // What was shown goes, and not what is published while the question stands.
            let last = rehearsed.get("last_seq").cloned().unwrap_or_default();
            question.entry("up_to").or_insert(last);
        }
    }
    let done = connection.ask(operation, &Value::Object(question)).await?;
    output.done(&words(&done, Verb::Did), &done)
}

/// Asks whether to go on.
fn ask(would: &str) -> Outcome {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{would} Nothing was changed: say --yes where nobody can be asked, or --dry-run"
        )));
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{would}\nGo on? [y/N] ");
    let _ = stderr.flush();
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::CommandLine;

    fn is_understood(words: &[&str]) -> bool {
        CommandLine::try_parse_from(["seaway"].iter().chain(words)).is_ok()
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for (words, expected) in [
            (&["channel", "purge", "a"][..], true),
            (&["channel", "purge", "a", "--up-to", "7", "--yes"], true),
            (&["channel", "purge", "a", "--up-to", "7", "--older-than", "1d"], false),
            (&["channel", "delete", "a", "--dry-run", "--yes"], false),
            (&["durable", "move", "a", "d"], false),
            (&["durable", "move", "a", "d", "--start"], true),
            (&["durable", "move", "a", "--queue", "q", "--from", "7"], true),
            (&["durable", "move", "a", "--end"], false),
            (&["durable", "move", "a", "d", "--start", "--end"], false),
            (&["durable", "remove", "a", "d", "--client", "c"], true),
            (&["durable", "remove", "a", "d", "--client", "c", "--queue", "q"], false),
            (&["channel", "limit", "a"], false),
            (&["channel", "limit", "a", "--reset"], true),
            (&["channel", "limit", "a", "--max-msgs", "0", "--max-age", "7d"], true),
            (&["channel", "limit", "a", "--max-age", "soon"], false),
            (&["client", "disconnect"], false),
            (&["client", "disconnect", "c"], true),
            (&["client", "disconnect", "--cid", "7"], true),
            (&["client", "disconnect", "c", "--cid", "7"], false),
        ] {
            assert_eq!(is_understood(words), expected, "{words:?}");
        }
    }

    #[test]
    fn what_would_be_and_what_is_are_told_apart() {
        let would: Vec<String> = ["Remove", "End"].map(|verb| Verb::Would.of(verb)).to_vec();
        assert_eq!(would, ["Would remove", "Would end"]);
        let did: Vec<String> = ["Remove", "End"].map(|verb| Verb::Did.of(verb)).to_vec();
        assert_eq!(did, ["Removed", "Ended"]);
        let answer = json!({"channel": "a\nb", "durable": "d", "queue": "", "client": "c"});
        assert_eq!(named(&answer), r#"durable "d" of client "c" on channel "a\nb""#);
    }
}
