//! What every payload begins with, if it is long enough: who sent it, its number, and when it was sent or due. Receivers prove
//! from it that nothing is lost, doubled or out of order, and take end-to-end latencies.

/// Bytes of a stamp; shorter payloads carry none.
pub const STAMP_BYTES: usize = 16;

/// Bits of the number; the publisher's are above.
const NUMBER_BITS: u32 = 48;

/// What identifies a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who sent it, from 0; below 65,536.
    pub publisher: u64,
    /// The sender's count, from 0; below 2^48.
    pub number: u64,
    /// When it was sent or due, in nanoseconds since the run began.
    pub origin_ns: u64,
}

impl Stamp {
    /// Sender and number in one.
    pub fn tag(&self) -> u64 {
        self.publisher << NUMBER_BITS | self.number
    }

    /// Writes it to the beginning of a payload that is long enough.
    pub fn write(&self, payload: &mut [u8]) {
        if let Some(place) = payload.first_chunk_mut::<STAMP_BYTES>() {
            place[..8].copy_from_slice(&self.tag().to_le_bytes());
            place[8..].copy_from_slice(&self.origin_ns.to_le_bytes());
        }
    }

    /// Reads it; `None` when the payload is too short for one.
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let bytes = payload.first_chunk::<STAMP_BYTES>()?;
        let (tag, origin) = bytes.split_at(8);
        let tag = u64::from_le_bytes(tag.try_into().ok()?);
        Some(Stamp {
            publisher: tag >> NUMBER_BITS,
            number: tag & ((1 << NUMBER_BITS) - 1),
            origin_ns: u64::from_le_bytes(origin.try_into().ok()?),
        })
    }
}

/// What a receiver has seen, for comparison with what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Messages.
    pub count: u64,
    /// Sum of their tags: a message that came twice instead of another shows here.
    pub sum: u64,
    /// Messages marked as sent again; they are counted nowhere else.
    pub redelivered: u64,
}

impl Ledger {
    /// Takes one message.
    pub fn add(&mut self, stamp: Option<Stamp>) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(stamp.map_or(0, |stamp| stamp.tag()));
    }

    /// Takes everything another receiver saw.
    pub fn merge(&mut self, other: &Ledger) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.redelivered += other.redelivered;
    }

    /// What must have been seen when each publisher sent this many and each message came `copies` times.
    pub fn expected(sent: &[u64], copies: u64, is_stamped: bool) -> Ledger {
        let mut all = Ledger::default();
        for (publisher, count) in sent.iter().enumerate() {
            let base = Stamp {
                publisher: publisher as u64,
                number: 0,
                origin_ns: 0,
            }
            .tag();
            // The sum of 0, 1, ... count - 1 in 128 bits, and then its low bits.
            let numbers = u128::from(*count) * u128::from(count.saturating_sub(1)) / 2;
            let sum = base.wrapping_mul(*count).wrapping_add(numbers as u64);
            all.count += count * copies;
            if is_stamped {
                all.sum = all.sum.wrapping_add(sum.wrapping_mul(copies));
            }
        }
        all
    }

    /// What is wrong with what was seen; `None` when it is what was sent.
    pub fn complaint(&self, expected: &Ledger) -> Option<String> {
        if self.count < expected.count {
            let lost = expected.count - self.count;
            return Some(format!("{lost} of {} messages were lost", expected.count));
        }
        if self.count > expected.count {
            let more = self.count - expected.count;
            return Some(format!("{more} messages more than the {} sent arrived", expected.count));
        }
        (self.sum != expected.sum).then(|| "as many messages as sent arrived, but not the same ones".to_owned())
    }
}

/// The order in which the messages of each publisher arrive at one place.
#[derive(Clone, Debug, Default)]
pub struct Order {
    next: Vec<u64>,
}

impl Order {
    /// Takes a message; the complaint when its sender's later one was here before.
    pub fn check(&mut self, stamp: Stamp) -> Option<String> {
        let publisher = usize::try_from(stamp.publisher).unwrap_or(usize::MAX).min(0xffff);
        if publisher >= self.next.len() {
            self.next.resize(publisher + 1, 0);
        }
        let next = self.next[publisher];
        if stamp.number < next {
            return Some(format!(
                "message {} of publisher {publisher} arrived after its message {}",
                stamp.number,
                next - 1
            ));
        }
        self.next[publisher] = stamp.number + 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u64, number: u64) -> Stamp {
        Stamp {
            publisher,
            number,
            origin_ns: 7,
        }
    }

    #[test]
    fn a_stamp_survives_its_way() {
        let mut payload = [b'x'; 20];
        stamp(3, 5_000_000_000).write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp(3, 5_000_000_000)));
        assert_eq!(&payload[16..], b"xxxx");
        let mut short = [b'x'; 15];
        stamp(1, 1).write(&mut short);
        assert_eq!((short, Stamp::read(&short)), ([b'x'; 15], None));
    }

    #[test]
    fn a_ledger_knows_loss_surplus_and_mistakes() {
        let expected = Ledger::expected(&[3, 2], 2, true);
        let ledger = |messages: &[(u64, u64)]| {
            let mut ledger = Ledger::default();
            messages
                .iter()
                .for_each(|(publisher, number)| ledger.add(Some(stamp(*publisher, *number))));
            ledger
        };
        let one = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)];
        let mut both = ledger(&one);
        both.merge(&ledger(&one));
        assert_eq!(both.complaint(&expected), None);
        let complaint = |ledger: Ledger| ledger.complaint(&Ledger::expected(&[3, 2], 1, true));
        assert_eq!(complaint(ledger(&one)), None);
        assert_eq!(
            complaint(ledger(&one[1..])).as_deref(),
            Some("1 of 5 messages were lost")
        );
        assert_eq!(
            complaint(ledger(&[(0, 0), (1, 0), (0, 1), (0, 2), (1, 0)])).as_deref(),
            Some("as many messages as sent arrived, but not the same ones")
        );
        let mut more = ledger(&one);
        more.add(Some(stamp(0, 1)));
        assert_eq!(
            complaint(more).as_deref(),
            Some("1 messages more than the 5 sent arrived")
        );
    }

    #[test]
    fn long_runs_do_not_overflow() {
        let expected = Ledger::expected(&[1 << 40; 3], 1, true);
        assert_eq!(expected.count, 3 << 40);
    }

    #[test]
    fn order_is_kept_per_publisher() {
        let mut order = Order::default();
        for message in [stamp(0, 0), stamp(1, 0), stamp(0, 4), stamp(1, 1)] {
            assert_eq!(order.check(message), None);
        }
        let complaint = order.check(stamp(0, 3)).expect("4 was here before");
        assert_eq!(complaint, "message 3 of publisher 0 arrived after its message 4");
        assert!(order.check(stamp(1, 1)).is_some(), "twice is out of order too");
    }
}
