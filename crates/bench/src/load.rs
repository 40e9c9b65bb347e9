//! Closed-loop streaming loads: a fixed number of publishes in flight, acknowledged one by one.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use seaway_stan_protocol::messages::{PubAck, PubMsg};
use seaway_stan_protocol::{AckView, Message, MessageView};

use crate::stan::{Session, Subscribed, subscription, token};
use crate::wire::MessageView as Incoming;

/// What to publish.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of the server.
    pub address: String,
    /// Cluster ID.
    pub cluster_id: String,
    /// Channel names are this, followed by a number when there is more than one channel.
    pub channel_prefix: String,
    /// Publishes go round these channels.
    pub channels: usize,
    /// Messages to publish.
    pub messages: u64,
    /// Payload bytes of each.
    pub size: usize,
    /// Publishes not yet acknowledged, at most.
    pub in_flight: u64,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Messages acknowledged, or received.
    pub messages: u64,
    /// From the first byte sent to the last answer.
    pub elapsed: Duration,
    /// Median and worst time from publish to ack; only measured with one publish in flight.
    pub latency: Option<(Duration, Duration)>,
}

impl Outcome {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

/// Length of the numbers that make GUIDs unique.
pub(crate) const GUID_DIGITS: usize = 22;

/// Ready PUB frames, one per channel, in which only the GUID changes.
pub(crate) struct Frames {
    frames: Vec<(Vec<u8>, usize)>,
}

impl Frames {
    pub(crate) fn new(load: &Load, session: &Session) -> Frames {
        let guid = "0".repeat(GUID_DIGITS);
        let frames = (0..load.channels)
            .map(|number| {
                let channel = load.channel(number);
                let message = PubMsg {
                    client_id: session.client_id.clone().into(),
                    guid: guid.clone().into(),
                    subject: channel.clone().into(),
                    data: vec![b'x'; load.size].into(),
                    conn_id: session.connection_id.clone().into(),
                    ..PubMsg::default()
                }
                .encode_to_vec();
                let prefix = String::from_utf8_lossy(&session.response.pub_prefix);
                let head = format!("PUB {prefix}.{channel} {} {}\r\n", session.ack_subject, message.len());
                // The GUID follows the client ID field and its own two header bytes.
                let guid_at = head.len() + 2 + session.client_id.len() + 2;
                let frame = [head.as_bytes(), &message, b"\r\n"].concat();
                debug_assert_eq!(&frame[guid_at..guid_at + GUID_DIGITS], guid.as_bytes());
                (frame, guid_at)
            })
            .collect();
        Frames { frames }
    }

    pub(crate) fn append(&self, output: &mut Vec<u8>, number: u64) {
        let index = usize::try_from(number % self.frames.len() as u64).expect("an index of the frames");
        let (frame, guid_at) = &self.frames[index];
        let start = output.len();
        output.extend_from_slice(frame);
        let mut rest = number;
        for digit in output[start + guid_at..start + guid_at + GUID_DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
    }
}

impl Load {
    /// The name of one of the channels.
    pub fn channel(&self, number: usize) -> String {
        if self.channels == 1 {
            self.channel_prefix.clone()
        } else {
            format!("{}.{number}", self.channel_prefix)
        }
    }

    /// Publishes everything and waits for every ack.
    ///
    /// # Errors
    /// An ack with an error, ten seconds without an ack, or anything the socket says.
    pub fn publish(&self) -> io::Result<Outcome> {
        let mut session = Session::open(&self.address, &self.cluster_id, &format!("bench-pub-{}", token()))?;
        let frames = Frames::new(self, &session);
        let (mut sent, mut acked) = (0, 0);
        let mut latencies = Vec::new();
        let start = Instant::now();
        while acked < self.messages {
            let sent_at = Instant::now();
            while sent < self.messages && sent - acked < self.in_flight {
                frames.append(session.connection.output(), sent);
                sent += 1;
            }
            let mut refused = None;
            let ack_subject = session.ack_subject.as_bytes();
            session.connection.pump(Duration::from_secs(10), |message, output| {
                if message.subject == ack_subject {
                    acked += 1;
                    // A PubAck without error holds the GUID alone.
                    if message.payload.len() != GUID_DIGITS + 2 {
                        refused = Some(refusal(message.payload));
                    }
                } else {
                    answer(&message, output);
                }
            })?;
            if let Some(reason) = refused {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("a publish was refused: {reason}"),
                ));
            }
            if self.in_flight == 1 {
                latencies.push(sent_at.elapsed());
            }
        }
        let elapsed = start.elapsed();
        session.close()?;
        latencies.sort_unstable();
        let latency = latencies.last().map(|worst| (latencies[latencies.len() / 2], *worst));
        Ok(Outcome {
            messages: acked,
            elapsed,
            latency,
        })
    }

    /// Receives and acknowledges `messages` messages of the first channel from its beginning.
    ///
    /// # Errors
    /// Thirty seconds without a message, a gap in the sequences, or anything the socket says.
    pub fn receive(&self, ready: impl FnOnce()) -> io::Result<Outcome> {
        let mut session = Session::open(&self.address, &self.cluster_id, &format!("bench-sub-{}", token()))?;
        let mut request = subscription(&self.channel(0));
        request.start_position = 4;
        request.max_in_flight = 16_384;
        let subscribed: Subscribed = session.subscribe(request)?;
        ready();
        let mut received = 0;
        let mut expected: Option<u64> = None;
        let mut gap = None;
        let start = Instant::now();
        while received < self.messages {
            session.connection.pump(Duration::from_secs(30), |message, output| {
                if !message.reply.is_empty() {
                    answer(&message, output);
                    return;
                }
                let Ok(decoded) = MessageView::decode(message.payload) else {
                    return;
                };
                if expected.is_some_and(|expected| expected != decoded.sequence) && !decoded.redelivered {
                    gap = Some(decoded.sequence);
                }
                expected = Some(decoded.sequence + 1);
                received += 1;
                append_ack(output, &subscribed, decoded.sequence);
            })?;
            if let Some(sequence) = gap {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("gap before sequence {sequence}"),
                ));
            }
        }
        let elapsed = start.elapsed();
        session.close()?;
        Ok(Outcome {
            messages: received,
            elapsed,
            latency: None,
        })
    }
}

/// What a PubAck says.
pub(crate) fn refusal(payload: &[u8]) -> String {
    PubAck::decode(payload).map_or_else(
        |error| error.to_string(),
        |ack| String::from_utf8_lossy(&ack.error).into_owned(),
    )
}

/// Answers a heartbeat.
pub(crate) fn answer(message: &Incoming<'_>, output: &mut Vec<u8>) {
    if !message.reply.is_empty() {
        output.extend_from_slice(b"PUB ");
        output.extend_from_slice(message.reply);
        output.extend_from_slice(b" 0\r\n\r\n");
    }
}

fn append_ack(output: &mut Vec<u8>, subscribed: &Subscribed, sequence: u64) {
    let mut body = [0_u8; 16];
    let mut length = 0;
    let mut rest = sequence;
    loop {
        let low = u8::try_from(rest & 0x7f).expect("seven bits");
        rest >>= 7;
        body[length] = if rest > 0 { low | 0x80 } else { low };
        length += 1;
        if rest == 0 {
            break;
        }
    }
    let channel = subscribed.channel.as_bytes();
    let channel_length = u8::try_from(channel.len().min(127)).expect("at most 127");
    let total = 2 + channel.len() + 1 + length;
    output.extend_from_slice(b"PUB ");
    output.extend_from_slice(subscribed.ack_inbox.as_bytes());
    output.extend_from_slice(format!(" {total}\r\n").as_bytes());
    output.extend_from_slice(&[0x0a, channel_length]);
    output.extend_from_slice(channel);
    output.push(0x10);
    output.extend_from_slice(&body[..length]);
    output.extend_from_slice(b"\r\n");
    debug_assert!(AckView::decode(&output[output.len() - 2 - total..output.len() - 2]).is_ok());
}
