//! What a load leaves on a server that was not started for it: channels, which no client can delete.
//!
//! Before a run it is seen whether they fit below the server's limit; at the end it is said what is left, and how it goes away.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::stan::token;
use crate::wire::{Connection, Frame};

/// What the channels of every load begin with.
pub(crate) const PREFIX: &str = "bench.";

/// How long the server may take to say what it holds. One that does not know the question does not answer at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Channels that are listed with one question.
const LISTED: u64 = 4096;

/// A server that belongs to somebody else.
pub(crate) struct Host {
    address: String,
    cluster_id: String,
    /// Tokens of the runs, and how many channels each asks for.
    runs: Vec<(String, u64)>,
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    channels: u64,
    /// Zero is unlimited.
    channels_max: u64,
    /// How long a channel may be idle before the server removes it; zero is for ever.
    inactivity: Duration,
}

/// Channels with what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    channels: u64,
    messages: u64,
    bytes: u64,
}

impl Left {
    fn in_words(self, of: &str) -> String {
        let one = |count: u64| if count == 1 { "" } else { "s" };
        format!(
            "{} channel{} of {of}, with {} message{} and {} bytes",
            self.channels,
            one(self.channels),
            self.messages,
            one(self.messages),
            self.bytes
        )
    }

    fn add(&mut self, channel: &Value) {
        let number = |name: &str| channel[name].as_u64().unwrap_or(0);
        self.channels += 1;
        self.messages += number("msgs");
        self.bytes += number("bytes");
    }
}

impl Host {
    pub(crate) fn new(address: &str, cluster_id: &str) -> Host {
        Host {
            address: address.to_owned(),
            cluster_id: cluster_id.to_owned(),
            runs: Vec::new(),
        }
    }

    /// Takes note of a run that makes so many channels, unless the server says that it has no room for them.
    ///
    /// # Errors
    /// When it has not: before anything was made.
    pub(crate) fn admit(&mut self, run: &str, channels: u64) -> Result<()> {
        if Connection::open(&self.address).is_err() {
            // The run will say so; nothing is left where nobody is.
            return Ok(());
        }
        if let Some(room) = self.room() {
            let free = room.channels_max.saturating_sub(room.channels);
            if room.channels_max > 0 && channels > free {
                bail!(
                    "this makes {channels} channels, and the server has room for {free}: {} of its {} (max_channels) are there. \
                     Ask for fewer with --channels, or give the load a server of its own with --server-binary",
                    room.channels,
                    room.channels_max
                );
            }
        }
        self.runs.push((run.to_owned(), channels));
        Ok(())
    }

    /// What is left there, in sentences; nothing when nothing was made.
    pub(crate) fn farewell(&self) -> Option<String> {
        if self.runs.is_empty() {
            return None;
        }
        Some(match (self.left(), self.room()) {
            (Some((ours, earlier)), Some(room)) => told(&self.address, ours, earlier, room),
            _ => {
                let channels: u64 = self.runs.iter().map(|(_, channels)| channels).sum();
                let names: Vec<String> = self.runs.iter().map(|(run, _)| format!("{PREFIX}{run}")).collect();
                format!(
                    "Left on {}: up to {channels} channels, whose names begin with {}. The server does not say more, and no client \
                     can delete a channel; they count against its limits.",
                    self.address,
                    names.join(", ")
                )
            }
        })
    }

    fn room(&self) -> Option<Room> {
        let server = self.ask("read.server", &Value::Null)?;
        let limits = &server["store"]["limits"];
        Some(Room {
            channels: server["channels"].as_u64()?,
            channels_max: limits["max_channels"].as_u64()?,
            inactivity: Duration::from_nanos(limits["max_inactivity"].as_u64().unwrap_or(0)),
        })
    }

    /// What the runs of this call have left, and what earlier ones have.
    fn left(&self) -> Option<(Left, Left)> {
        let (mut ours, mut earlier) = (Left::default(), Left::default());
        let mut offset = 0;
        loop {
            let question = json!({"prefix": PREFIX, "offset": offset, "limit": LISTED});
            let answer = self.ask("read.channels", &question)?;
            let channels = answer["channels"].as_array()?;
            for channel in channels {
                let rest = channel["name"].as_str().and_then(|name| name.strip_prefix(PREFIX));
                let run = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
                match self.runs.iter().any(|(known, _)| Some(known.as_str()) == run) {
                    true => ours.add(channel),
                    false => earlier.add(channel),
                }
            }
            offset += channels.len() as u64;
            if channels.is_empty() || offset >= answer["total"].as_u64()? {
                return Some((ours, earlier));
            }
        }
    }

    /// Asks the administration interface; `None` when there is none, or it does not say.
    fn ask(&self, operation: &str, question: &Value) -> Option<Value> {
        let mut connection = Connection::open(&self.address).ok()?;
        let inbox = format!("_INBOX.{}", token());
        connection.subscribe(&inbox);
        let subject = format!("$SEAWAY.api.{}.{operation}", self.cluster_id);
        let body = if question.is_null() {
            String::new()
        } else {
            question.to_string()
        };
        connection.publish(&subject, &inbox, body.as_bytes());
        loop {
            match connection.next_frame(ANSWER_TIMEOUT) {
                Ok(Frame::Message {
                    header_bytes, payload, ..
                }) => return serde_json::from_slice(payload.get(header_bytes..)?).ok(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

fn told(address: &str, ours: Left, earlier: Left, room: Room) -> String {
    let mut text = format!("Left on {address}: {}", ours.in_words("this load"));
    if earlier.channels > 0 {
        let _ = write!(text, "; {}", earlier.in_words("earlier loads"));
    }
    let _ = match room.channels_max {
        0 => write!(text, ". "),
        most => write!(
            text,
            ". The server has {} channels of at most {most}; {} of them are the loads' own. ",
            room.channels,
            ours.channels + earlier.channels
        ),
    };
    text += &match room.inactivity {
        Duration::ZERO => format!(
            "No client can delete a channel: a server that is started with --max_inactivity 1h, or with max_inactivity for \
             \"{PREFIX}>\" in its configuration, removes them by itself."
        ),
        inactivity => format!("The server removes channels that are idle for {inactivity:?}."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_left_nothing() {
        let unused = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut host = Host::new(&unused.to_string(), "test-cluster");
        host.admit("run", 3).unwrap();
        assert_eq!(host.farewell(), None);
    }

    #[test]
    fn what_is_left_is_told_with_what_becomes_of_it() {
        let ours = Left {
            channels: 3,
            messages: 1000,
            bytes: 128_000,
        };
        let mut room = Room {
            channels: 9,
            channels_max: 100,
            inactivity: Duration::ZERO,
        };
        let earlier = Left {
            channels: 2,
            ..Left::default()
        };
        let text = told("a:1", ours, earlier, room);
        for part in [
            "Left on a:1: 3 channels of this load, with 1000 messages and 128000 bytes",
            "2 channels of earlier loads",
            "The server has 9 channels of at most 100; 5 of them are the loads' own",
            "\"bench.>\" in its configuration",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        room.channels_max = 0;
        room.inactivity = Duration::from_secs(60);
        let text = told("a:1", ours, Left::default(), room);
        assert!(!text.contains("at most") && !text.contains("earlier"), "{text}");
        assert!(
            text.ends_with("The server removes channels that are idle for 60s."),
            "{text}"
        );
    }
}
