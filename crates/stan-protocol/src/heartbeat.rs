//! The heartbeat of the active server of a fault-tolerance group (`stores-and-clustering.md` §7.2), with one field that the original
//! does not have and skips: the number of the tenure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::control::{CtrlMsg, ctrl_msg};

/// Seconds from the beginning of year 1 to that of 1970, both UTC.
const UNIX_EPOCH_SECONDS: i64 = 62_135_596_800;

/// The notation's version that has whole minutes of zone offset.
const TIME_VERSION: u8 = 1;
/// The zone offset that says UTC.
const UTC: i16 = -1;
/// Bytes of a time.
const TIME_BYTES: usize = 15;

/// What an active server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its server ID; as long as whoever sent it liked.
    pub server_id: Vec<u8>,
    /// When it became active, by its own clock; none when that is not understood.
    pub active_since: Option<SystemTime>,
    /// The number of its tenure; 0 from a server of the original.
    pub tenure: u64,
}

/// Where the heartbeats of a group are sent to.
pub fn subject(cluster_id: &str, group: &str) -> String {
    format!("_STAN.ft.{cluster_id}.{group}")
}

impl Heartbeat {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let time = self.active_since.map(encode_time).unwrap_or_default();
        let message = CtrlMsg {
            msg_type: ctrl_msg::Type::FtHeartbeat.into(),
            server_id: self.server_id.clone().into(),
            data: time.into(),
            tenure: self.tenure,
            ..CtrlMsg::default()
        };
        message.encode_to_vec()
    }

    /// Reads one; `None` for what is no heartbeat.
    pub fn decode(bytes: &[u8]) -> Option<Heartbeat> {
        let message = CtrlMsg::decode(bytes).ok()?;
        let is_heartbeat = message.msg_type == i32::from(ctrl_msg::Type::FtHeartbeat);
        is_heartbeat.then(|| Heartbeat {
            active_since: decode_time(&message.data),
            server_id: message.server_id.into(),
            tenure: message.tenure,
        })
    }
}

fn encode_time(time: SystemTime) -> Vec<u8> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = UNIX_EPOCH_SECONDS.saturating_add_unsigned(since.as_secs());
    let mut bytes = Vec::with_capacity(TIME_BYTES);
    bytes.push(TIME_VERSION);
    bytes.extend_from_slice(&seconds.to_be_bytes());
    bytes.extend_from_slice(&since.subsec_nanos().to_be_bytes());
    bytes.extend_from_slice(&UTC.to_be_bytes());
    bytes
}

/// A time after 1970, in any zone: the zone changes how it is shown, not when it was.
fn decode_time(bytes: &[u8]) -> Option<SystemTime> {
    let bytes: &[u8; TIME_BYTES] = bytes.try_into().ok()?;
    let [version, rest @ ..] = bytes;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (nanoseconds, _) = rest.split_first_chunk::<4>()?;
    let seconds = i64::from_be_bytes(*seconds).checked_sub(UNIX_EPOCH_SECONDS)?;
    let nanoseconds = u32::from_be_bytes(*nanoseconds);
    if *version != TIME_VERSION || nanoseconds >= 1_000_000_000 {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of §7.2, which has no tenure.
    const VECTOR: &str = "080312164e5549443030303030303030303030303030303030311a0f010000000ed6f007001dcd6500ffff";

    fn vector() -> Vec<u8> {
        let digits: Vec<u8> = VECTOR
            .bytes()
            .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn heartbeat(tenure: u64) -> Heartbeat {
        Heartbeat {
            server_id: b"NUID000000000000000001".to_vec(),
            active_since: Some(UNIX_EPOCH + Duration::new(1_600_000_000, 500_000_000)),
            tenure,
        }
    }

    /// §7.2.
    #[test]
    fn a_heartbeat_looks_as_the_originals() {
        assert_eq!(heartbeat(0).encode(), vector());
        assert_eq!(Heartbeat::decode(&vector()), Some(heartbeat(0)));
        let ours = heartbeat(300);
        // What was there is there still; the number comes behind it.
        assert!(ours.encode().starts_with(&vector()));
        assert_eq!(Heartbeat::decode(&ours.encode()), Some(ours));
    }

    /// §8.6: garbage is ignored; §7.3: an undecodable time does not hide the rest.
    #[test]
    fn what_is_no_heartbeat_is_none() {
        assert_eq!(Heartbeat::decode(b"garbage"), None);
        assert_eq!(Heartbeat::decode(b""), None, "another type");
        for time in [&b""[..], b"1", &[2; 15], &[0xff; 15], &[1; 16]] {
            let message = CtrlMsg {
                msg_type: 3,
                data: time.to_vec().into(),
                ..CtrlMsg::default()
            };
            let found = Heartbeat::decode(&message.encode_to_vec()).unwrap();
            assert_eq!(found.active_since, None, "{time:?}");
        }
    }
}
