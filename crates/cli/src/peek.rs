//! `seaway peek`: stored messages without a subscription.

use std::time::SystemTime;

use serde_json::json;

use crate::admin::Stored;
use crate::connection::Connection;
use crate::failure::Outcome;
use crate::message::{Message, Style};
use crate::output::{Output, note};
use crate::readable::count;

/// Messages asked for at once; the interface's maximum.
const AT_ONCE: u64 = 1000;

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct PeekArguments {
    /// The channel
    channel: String,
    /// Begin with this sequence, or the first one after it that is there [default: the last messages]
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// How many messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Payloads only, a line each
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(arguments: PeekArguments, connection: &Connection, output: &mut Output) -> Outcome {
    let style = Style::asked(arguments.raw, output)?;
    let mut left = arguments.count;
    let mut from = arguments.from;
    if from.is_none() && left > AT_ONCE {
        from = Some(first_of_the_last(&arguments.channel, left, connection).await?);
    }
    let mut shown = 0;
    let bounds = loop {
        let mut question = json!({"channel": arguments.channel, "count": left.min(AT_ONCE)});
        if let (Some(from), Some(question)) = (from, question.as_object_mut()) {
            question.insert("from".to_owned(), from.into());
        }
        let printing = connection.ask_for_messages(&question, |stored| {
            shown += 1;
            left = left.saturating_sub(1);
            print(&arguments.channel, &stored, output, style)
        });
        let end = printing.await?;
        output.flush()?;
        if let Some(damaged) = end.headers.get("Seaway-Damaged") {
            note(&format!(
                "Left out, because they cannot be read from the server's store: {}.",
                damaged.as_str().replace(',', ", ")
            ));
        }
        let number = |name: &str| {
            end.headers
                .get(name)
                .and_then(|value| value.as_str().parse::<u64>().ok())
        };
        match number("Seaway-Next") {
            Some(next) if left > 0 && from.is_none_or(|from| next > from) => from = Some(next),
            _ => break number("Seaway-First").zip(number("Seaway-Last")),
        }
    };
    if shown == 0 && !output.is_json() {
        note(&match bounds {
            Some((first, last)) if last > 0 && first <= last => format!(
                "Channel {} has no such messages: it has those from {} to {}.",
                arguments.channel,
                count(first),
                count(last)
            ),
            _ => format!("Channel {} holds no messages.", arguments.channel),
        });
    }
    Ok(())
}

/// Where the last `messages` of a channel begin.
async fn first_of_the_last(channel: &str, messages: u64, connection: &Connection) -> Outcome<u64> {
    let answer = connection.ask("read.channel", &json!({"channel": channel})).await?;
    let last = answer.get("last_seq").and_then(serde_json::Value::as_u64).unwrap_or(0);
    Ok((last + 1).saturating_sub(messages).max(1))
}

fn print(channel: &str, stored: &Stored, output: &mut Output, style: Style) -> Outcome {
    let header = |name: &str| stored.headers.get(name).map(|value| value.as_str().to_owned());
    let time = header("Seaway-Timestamp").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let message = Message {
        channel,
        sequence: header("Seaway-Sequence")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        time: time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from),
        redeliveries: 0,
        payload: &stored.payload,
    };
    message.print(output, style)
}
