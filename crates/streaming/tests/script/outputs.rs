//! What leaves the engine, as lines.

use std::fmt::Write as _;

use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{CloseResponse, ConnectResponse, PingResponse, PubAck, SubscriptionResponse};
use seaway_streaming::Level;

use super::Session;
use crate::world::{self, Output};

impl Session {
    /// Writes what left as lines, and gives back the probes.
    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        let mut probes = Vec::new();
        for output in std::mem::take(&mut self.world.outputs) {
            match output {
                Output::Probe { .. } => probes.push(output),
                Output::Event { level, text } => {
                    let level = match level {
                        Level::Info => "info",
                        Level::Warning => "warning",
                        Level::Error => "error",
                        Level::Debug => "debug",
                        Level::Trace => "trace",
                    };
                    if text.starts_with("Channel") {
                        self.learn_channels();
                    }
                    self.lines.push(format!("log {level}: {text}"));
                }
                Output::Changed { outcome, .. } => self.lines.push(match outcome {
                    Ok(changed) => format!("changed: {changed:?}"),
                    Err(unchanged) => format!("unchanged: {unchanged}"),
                }),
                Output::Reply { subject, payload } => self.reply_line(&subject, &payload),
                Output::Message {
                    inbox,
                    channel,
                    sequence,
                    count,
                    body,
                } => {
                    self.learn_channels();
                    let inbox = String::from_utf8_lossy(&inbox).into_owned();
                    let name = self
                        .channels
                        .get(&channel)
                        .cloned()
                        .unwrap_or_else(|| format!("{channel:?}"));
                    let message = PubMsgBody::of(&body);
                    assert_eq!(
                        (message.sequence, &message.subject),
                        (sequence, &name),
                        "the body is the message"
                    );
                    let again = if count > 0 {
                        format!(" again {count}")
                    } else {
                        String::new()
                    };
                    let payload = if self.show_payload {
                        format!(" {:?}", message.data)
                    } else {
                        String::new()
                    };
                    self.push_message(format!("{inbox} <- {name} "), sequence, format!("{again}{payload}"));
                }
            }
        }
        probes
    }

    /// Neighbours of one subscription become one line.
    pub(super) fn push_message(&mut self, head: String, sequence: u64, tail: String) {
        if let Some(line) = self.lines.last_mut()
            && let Some(rest) = line.strip_prefix(&head)
            && let Some(numbers) = rest.strip_suffix(&tail)
            && !numbers.contains(' ')
        {
            let (first, last) = numbers.split_once("..").unwrap_or((numbers, numbers));
            if last.parse::<u64>().is_ok_and(|last| last + 1 == sequence) {
                *line = format!("{head}{first}..{sequence}{tail}");
                return;
            }
        }
        self.lines.push(format!("{head}{sequence}{tail}"));
    }

    pub(super) fn learn_channels(&mut self) {
        let facts = self.world.records.iter().filter_map(|record| match record {
            world::Record::Message { channel, body, .. } => Some((*channel, PubMsgBody::of(body).subject)),
            _ => None,
        });
        self.channels.extend(facts);
    }

    pub(super) fn reply_line(&mut self, subject: &[u8], payload: &[u8]) {
        let subject = String::from_utf8_lossy(subject).into_owned();
        let (what, who) = subject.split_once(':').unwrap_or((&subject, ""));
        let refused = |error: &[u8]| format!("{what} {who} refused: {}", String::from_utf8_lossy(error));
        let line = match what {
            "connect" => {
                let response = ConnectResponse::decode(payload).expect("a connect response");
                if response.error.is_empty() {
                    assert_eq!(response.protocol, 1, "quirk 1");
                    let mut line = format!("connect {who} ok");
                    if !response.ping_requests.is_empty() {
                        let _ = write!(line, " ping={}/{}", response.ping_interval, response.ping_max_out);
                    }
                    line
                } else {
                    refused(&response.error)
                }
            }
            "publish" => {
                let ack = PubAck::decode(payload).expect("a puback");
                let guid = String::from_utf8_lossy(&ack.guid).into_owned();
                if ack.error.is_empty() {
                    return self.push_puback(&guid);
                }
                format!("puback {guid} refused: {}", String::from_utf8_lossy(&ack.error))
            }
            "subscribe" => {
                let response = SubscriptionResponse::decode(payload).expect("a subscription response");
                if response.error.is_empty() {
                    let inbox = response.ack_inbox.to_vec();
                    assert!(self.world.listened.contains_key(&inbox), "§2.6 rule 2");
                    let place = self.world.ack_inboxes.iter().position(|known| *known == inbox);
                    self.ack_inboxes.insert(who.to_owned(), inbox);
                    format!("subscribe {who} ok, acks to {}", place.expect("it is listened on") + 1)
                } else {
                    refused(&response.error)
                }
            }
            "unsubscribe" | "subclose" => {
                let response = SubscriptionResponse::decode(payload).expect("a subscription response");
                if payload.is_empty() {
                    format!("{what} {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            "close" => {
                let response = CloseResponse::decode(payload).expect("a close response");
                if payload.is_empty() {
                    format!("close {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            "ping" => {
                let response = PingResponse::decode(payload).expect("a ping response");
                if payload.is_empty() {
                    format!("ping {who} ok")
                } else {
                    refused(&response.error)
                }
            }
            _ => panic!("reply on {subject}"),
        };
        self.lines.push(line);
    }

    pub(super) fn push_puback(&mut self, guid: &str) {
        if let Some(line) = self.lines.last_mut()
            && let Some(rest) = line.strip_prefix("puback ")
            && !rest.contains("refused")
        {
            let (first, last) = rest.split_once("..").unwrap_or((rest, rest));
            let number = |guid: &str| guid.strip_prefix('g').and_then(|number| number.parse::<u64>().ok());
            if let (Some(last), Some(next)) = (number(last), number(guid))
                && last + 1 == next
            {
                *line = format!("puback {first}..{guid}");
                return;
            }
        }
        self.lines.push(format!("puback {guid}"));
    }
}

struct PubMsgBody {
    sequence: u64,
    subject: String,
    data: String,
}

impl PubMsgBody {
    fn of(body: &[u8]) -> PubMsgBody {
        let message = seaway_stan_protocol::MessageView::decode(body).expect("a stored message decodes");
        PubMsgBody {
            sequence: message.sequence,
            subject: String::from_utf8_lossy(message.subject).into_owned(),
            data: String::from_utf8_lossy(message.data).into_owned(),
        }
    }
}
