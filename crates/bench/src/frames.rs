//! Publishes that are acknowledged, ready to be sent: one frame per channel, in which only a number and the stamp change.

use anyhow::{Context as _, Result};
use seaway_stan_protocol::Message as _;
use seaway_stan_protocol::messages::{PubAck, PubMsg};

use crate::stamp::Stamp;
use crate::stan::Session;
use crate::wire::{MessageView, number};

/// Length of the numbers that make publishes tell their acks apart.
pub(crate) const NUMBER_DIGITS: usize = 22;

/// Names of channels that fit into one byte's length.
const CHANNEL_BYTES_MAX: usize = 127;

/// Ready frames.
pub(crate) struct Frames {
    /// What comes before the payload, for each channel.
    heads: Vec<Head>,
    /// The payload and what follows it.
    tail: Vec<u8>,
    size: usize,
    order: Choice,
}

struct Head {
    bytes: Vec<u8>,
    digits_at: usize,
}

/// Which channel a publish goes to.
pub(crate) enum Choice {
    /// Each in turn.
    RoundRobin,
    /// Drawn with Zipf's distribution: the n-th channel is chosen in proportion to 1/n.
    Zipf(Vec<u32>),
}

/// Draws of a Zipf distribution that are made before the run; then they repeat.
const DRAWS: usize = 1 << 20;

impl Choice {
    /// Draws for so many channels, always the same ones.
    pub(crate) fn zipf(channels: u64) -> Choice {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let mut sums = Vec::new();
        let mut sum = 0.0;
        for rank in 1..=channels.max(1) {
            sum += 1.0 / rank as f64;
            sums.push(sum);
        }
        let draw = |_| {
            let at = random.f64() * sum;
            u32::try_from(sums.partition_point(|part| *part <= at).min(sums.len() - 1)).unwrap_or(u32::MAX)
        };
        Choice::Zipf((0..DRAWS).map(draw).collect())
    }
}

impl Frames {
    /// Publishes of a streaming session.
    ///
    /// # Errors
    /// A channel name that is too long.
    pub(crate) fn streaming(session: &Session, channels: &[String], size: usize, order: Choice) -> Result<Frames> {
        let guid = "0".repeat(NUMBER_DIGITS);
        let prefix = String::from_utf8_lossy(&session.response.pub_prefix);
        // The connection ID follows the data, behind two bytes of its own.
        let tail_bytes = size + 2 + session.connection_id.len();
        let mut tail = Vec::new();
        let mut heads = Vec::with_capacity(channels.len());
        for channel in channels {
            anyhow::ensure!(
                channel.len() <= CHANNEL_BYTES_MAX,
                "channel {channel} has a name that is too long"
            );
            let mut message = PubMsg {
                client_id: session.client_id.clone().into(),
                guid: guid.clone().into(),
                subject: channel.clone().into(),
                data: vec![b'x'; size].into(),
                conn_id: session.connection_id.clone().into(),
                ..PubMsg::default()
            }
            .encode_to_vec();
            let line = format!("PUB {prefix}.{channel} {} {}\r\n", session.ack_subject, message.len());
            tail = message.split_off(message.len() - tail_bytes);
            // The GUID follows the client ID field and its own two header bytes.
            let digits_at = line.len() + 2 + session.client_id.len() + 2;
            heads.push(Head {
                bytes: [line.as_bytes(), &message].concat(),
                digits_at,
            });
        }
        tail.extend_from_slice(b"\r\n");
        Ok(Frames {
            heads,
            tail,
            size,
            order,
        })
    }

    /// Publishes to subjects of streams, acknowledged on `prefix` and the number.
    pub(crate) fn jetstream(subjects: &[String], prefix: &str, size: usize, order: Choice) -> Frames {
        let heads = subjects.iter().map(|subject| {
            let line = format!("PUB {subject} {prefix}");
            let digits_at = line.len();
            let bytes = format!("{line}{} {size}\r\n", "0".repeat(NUMBER_DIGITS)).into_bytes();
            Head { bytes, digits_at }
        });
        Frames {
            heads: heads.collect(),
            tail: [&vec![b'x'; size], &b"\r\n"[..]].concat(),
            size,
            order,
        }
    }

    /// Appends the publish with this stamp.
    pub(crate) fn append(&self, output: &mut Vec<u8>, stamp: Stamp) {
        let count = self.heads.len() as u64;
        let index = match &self.order {
            Choice::RoundRobin => usize::try_from(stamp.number % count).unwrap_or(0),
            Choice::Zipf(draws) => draws[usize::try_from(stamp.number % DRAWS as u64).unwrap_or(0)] as usize,
        };
        let head = &self.heads[index];
        let start = output.len();
        output.extend_from_slice(&head.bytes);
        let mut rest = stamp.number;
        for digit in output[start + head.digits_at..start + head.digits_at + NUMBER_DIGITS]
            .iter_mut()
            .rev()
        {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let payload = output.len();
        output.extend_from_slice(&self.tail);
        stamp.write(&mut output[payload..payload + self.size]);
    }
}

/// How acknowledgements look.
pub(crate) enum Acks {
    /// PubAcks on this subject.
    Streaming(String),
    /// Acks of streams, on subjects that begin like this and end with the publish's number.
    JetStream(String),
}

/// What a message is to a publisher.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The publish with this number is stored.
    Ack(u64),
    /// A publish was refused, in these words.
    Refused(String),
    /// Nothing of this publisher.
    Other,
}

impl Acks {
    pub(crate) fn read(&self, message: &MessageView<'_>) -> Seen {
        match self {
            Acks::Streaming(subject) if message.subject == subject.as_bytes() => streaming_ack(message.payload),
            Acks::JetStream(prefix) => match message.subject.strip_prefix(prefix.as_bytes()) {
                Some(digits) => jetstream_ack(digits, message),
                None => Seen::Other,
            },
            Acks::Streaming(_) => Seen::Other,
        }
    }
}

fn streaming_ack(payload: &[u8]) -> Seen {
    // A PubAck without error holds the GUID alone.
    let digits = payload.get(2..).filter(|digits| digits.len() == NUMBER_DIGITS);
    match digits.and_then(number) {
        Some(number) => Seen::Ack(number),
        None => Seen::Refused(match PubAck::decode(payload) {
            Ok(ack) => String::from_utf8_lossy(&ack.error).into_owned(),
            Err(error) => error.to_string(),
        }),
    }
}

fn jetstream_ack(digits: &[u8], message: &MessageView<'_>) -> Seen {
    if message.has_headers() {
        return Seen::Refused("nobody listens: no stream has this subject".to_owned());
    }
    match number(digits) {
        Some(number) if message.payload.starts_with(b"{\"stream\"") => Seen::Ack(number),
        _ => Seen::Refused(String::from_utf8_lossy(message.payload).into_owned()),
    }
}

/// The publishes of a session to the channels of a run, and how their acks look.
pub(crate) fn of_session(session: &Session, channels: &[String], size: usize, zipf: bool) -> Result<(Frames, Acks)> {
    let choice = if zipf {
        Choice::zipf(channels.len() as u64)
    } else {
        Choice::RoundRobin
    };
    let frames = Frames::streaming(session, channels, size, choice).context("prepare publishes")?;
    Ok((frames, Acks::Streaming(session.ack_subject.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp {
            publisher: 1,
            number,
            origin_ns: 9,
        }
    }

    #[test]
    fn frames_of_streams_differ_in_number_and_stamp_only() {
        let frames = Frames::jetstream(&["a".into(), "b".into()], "in.", 17, Choice::RoundRobin);
        let mut output = Vec::new();
        frames.append(&mut output, stamp(41));
        let (line, payload) = output.split_at(output.iter().position(|byte| *byte == b'\n').expect("a line") + 1);
        assert_eq!(line, b"PUB b in.0000000000000000000041 17\r\n");
        assert_eq!(Stamp::read(payload), Some(stamp(41)));
        assert_eq!(&payload[16..], b"x\r\n");
    }

    #[test]
    fn zipf_prefers_the_first_channels() {
        let Choice::Zipf(draws) = Choice::zipf(1_000) else {
            panic!("draws");
        };
        let share = |channel| draws.iter().filter(|draw| **draw == channel).count() as f64 / DRAWS as f64;
        // The sum of 1/n up to 1,000 is about 7.485.
        assert!((share(0) - 1.0 / 7.485).abs() < 0.005, "{}", share(0));
        assert!((share(9) - 0.1 / 7.485).abs() < 0.002, "{}", share(9));
        assert!(draws.iter().all(|draw| *draw < 1_000));
    }

    #[test]
    fn acks_and_refusals_are_told_apart() {
        let guid = "0".repeat(20) + "17";
        let ack = |error: &str| {
            PubAck {
                guid: guid.clone().into(),
                error: error.to_owned().into(),
            }
            .encode_to_vec()
        };
        assert_eq!(streaming_ack(&ack("")), Seen::Ack(17));
        assert_eq!(streaming_ack(&ack("no")), Seen::Refused("no".to_owned()));
        assert!(matches!(streaming_ack(b"\xff\xff\xff"), Seen::Refused(_)));
    }
}
