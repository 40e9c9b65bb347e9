//! A shared secret, and how two sides show each other that they have it without saying it: HMAC-SHA-256 over everything that was said
//! on the connection so far, the numbers that both drew for it included.

use std::fmt;

use aws_lc_rs::hmac;

/// A secret that all members share.
#[derive(Clone)]
pub struct SharedSecret(hmac::Key);

impl SharedSecret {
    /// Of a text as configured; one that is short can be guessed by whoever records a handshake.
    pub fn new(text: &str) -> Self {
        // A key of its own for this use, whatever else the same text protects.
        let outer = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let key = hmac::sign(&outer, b"seaway: connections between members, 1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SharedSecret")
    }
}

/// Which side shows that it has the secret; a proof of one side is none of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

/// What was said on a connection, as both sides heard it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transcript(Vec<u8>);

impl Transcript {
    /// Of a connection within the TLS session that `binding` stands for; zero without TLS.
    pub(crate) fn new(binding: [u8; 32]) -> Self {
        Self(binding.to_vec())
    }

    /// Adds a whole message with its head.
    pub(crate) fn add(&mut self, message: &[u8]) {
        self.0.extend((message.len() as u32).to_le_bytes());
        self.0.extend(message);
    }

    pub(crate) fn prove(&self, side: Side, secret: Option<&SharedSecret>) -> [u8; 32] {
        let mut proof = [0; 32];
        if let Some(SharedSecret(key)) = secret {
            proof.copy_from_slice(hmac::sign(key, &self.said_by(side)).as_ref());
        }
        proof
    }

    /// Whether the other side has the secret; looked at in constant time. Without a secret everybody has it.
    pub(crate) fn is_proof(&self, side: Side, secret: Option<&SharedSecret>, proof: &[u8; 32]) -> bool {
        secret.is_none_or(|SharedSecret(key)| hmac::verify(key, &self.said_by(side), proof).is_ok())
    }

    fn said_by(&self, side: Side) -> Vec<u8> {
        let label: &[u8] = match side {
            Side::Dialler => b"dialler:",
            Side::Acceptor => b"acceptor",
        };
        [label, &self.0].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_secret_one_side_and_one_conversation() {
        let (secret, other) = (SharedSecret::new("sesame"), SharedSecret::new("sesamE"));
        let mut said = Transcript::new([0; 32]);
        said.add(b"hello");
        let proof = said.prove(Side::Dialler, Some(&secret));
        assert!(said.is_proof(Side::Dialler, Some(&secret), &proof));
        assert!(!said.is_proof(Side::Dialler, Some(&other), &proof));
        assert!(!said.is_proof(Side::Acceptor, Some(&secret), &proof));
        assert!(!said.is_proof(Side::Dialler, Some(&secret), &[0; 32]));
        let mut more = said.clone();
        more.add(b"");
        assert!(!more.is_proof(Side::Dialler, Some(&secret), &proof));
        let mut bound = Transcript::new([1; 32]);
        bound.add(b"hello");
        assert!(!bound.is_proof(Side::Dialler, Some(&secret), &proof));
        assert!(said.is_proof(Side::Dialler, None, &[7; 32]));
        assert_eq!(format!("{secret:?}"), "SharedSecret");
    }
}
