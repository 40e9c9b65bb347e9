//! Names of probes that cannot be guessed: whoever answers one must have been asked.
//!
//! A probe is a number that counts up. Its name on the bus is that number, scrambled with a key of this process, as eight base-62
//! digits; so nothing has to be remembered to understand an answer.

use std::hash::{BuildHasher, Hasher, RandomState};

use seaway_streaming::ProbeId;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub(super) const TOKEN_LEN: usize = 8;
/// Two halves of a number that fits in as many digits.
const HALF_BITS: u32 = 23;
const HALF: u64 = (1 << HALF_BITS) - 1;
const ROUNDS: u8 = 6;

const _: () = assert!(1_u64 << (2 * HALF_BITS) < 62_u64.pow(TOKEN_LEN as u32));

/// Makes tokens of probes and reads them.
#[derive(Clone)]
pub(super) struct ProbeTokens {
    /// Keyed by the system's randomness.
    key: RandomState,
}

impl ProbeTokens {
    pub(super) fn new() -> ProbeTokens {
        ProbeTokens {
            key: RandomState::new(),
        }
    }

    /// The probe's name. Numbers above 2^46 share names with smaller ones; nobody lives that long.
    pub(super) fn token(&self, probe: ProbeId) -> [u8; TOKEN_LEN] {
        let (mut left, mut right) = ((probe.0 >> HALF_BITS) & HALF, probe.0 & HALF);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.scramble(round, right));
        }
        let mut number = (left << HALF_BITS) | right;
        let mut token = [0; TOKEN_LEN];
        for digit in token.iter_mut().rev() {
            *digit = DIGITS[(number % 62) as usize];
            number /= 62;
        }
        token
    }

    /// The probe that a subject's last token names; what was not made here names none, or one that nobody sent.
    pub(super) fn probe(&self, subject: &[u8]) -> Option<ProbeId> {
        let token = subject.rsplit(|byte| *byte == b'.').next()?;
        if token.len() != TOKEN_LEN {
            return None;
        }
        let number = token.iter().try_fold(0, |number, byte| {
            let digit = DIGITS.binary_search(byte).ok()? as u64;
            Some(number * 62 + digit)
        })?;
        let (mut left, mut right) = (number >> HALF_BITS, number & HALF);
        if left > HALF {
            return None;
        }
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.scramble(round, left), left);
        }
        Some(ProbeId((left << HALF_BITS) | right))
    }

    fn scramble(&self, round: u8, half: u64) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write_u8(round);
        hasher.write_u64(half);
        hasher.finish() & HALF
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_lead_back_to_their_probes_and_nowhere_else() {
        let (tokens, others) = (ProbeTokens::new(), ProbeTokens::new());
        let mut seen = HashSet::new();
        for number in (0..2_000).chain([1 << 23, 1 << 40, (1 << 46) - 1]) {
            let token = tokens.token(ProbeId(number));
            let subject = [b"_INBOX.abc.", &token[..]].concat();
            assert_eq!(tokens.probe(&subject), Some(ProbeId(number)));
            assert_ne!(others.probe(&subject), Some(ProbeId(number)), "keys differ");
            assert!(seen.insert(token), "no two probes share a name");
        }
        for strange in [
            &b""[..],
            b"_INBOX.abc",
            b"_INBOX.abc.1234567",
            b"_INBOX.abc.1234567+",
            b"_INBOX.abc.zzzzzzzz",
        ] {
            assert_eq!(tokens.probe(strange), None, "{strange:?}");
        }
    }
}
