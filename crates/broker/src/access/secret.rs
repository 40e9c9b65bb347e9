//! Passwords and tokens: how they are compared, and that nobody sees them (core specification §3.1).

use std::sync::{Arc, Mutex};

use aws_lc_rs::{constant_time, hmac};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// A password or token as an operator configured it: plain text, or a bcrypt hash. It shows nothing of itself.
#[derive(Clone)]
pub struct Secret {
    inner: Arc<Inner>,
}

struct Inner {
    text: String,
    hashed: bool,
    /// Of the password that bcrypt accepted last, under a key of this process: a client that comes back after a restart
    /// or a lost network, and a thousand others with it, needs no bcrypt then.
    accepted: Mutex<Option<(hmac::Key, hmac::Tag)>>,
    /// Of the comparisons with this hash one runs at a time, so that however many ask for it, other users come in too.
    turn: Arc<Semaphore>,
}

impl Secret {
    /// Takes plain text, or a hash that looks like `$2a$11$…`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            inner: Arc::new(Inner {
                hashed: looks_hashed(text.as_bytes()),
                text,
                accepted: Mutex::new(None),
                turn: Arc::new(Semaphore::new(1)),
            }),
        }
    }

    /// Whether it is a bcrypt hash.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        self.inner.hashed
    }

    /// The cost that its hash names, if it is one: a comparison computes two to this power.
    pub(crate) fn hash_cost(&self) -> Option<u32> {
        self.inner.hashed.then(|| self.inner.text[4..6].parse().ok()).flatten()
    }

    /// Whether it is the empty text, which an empty password matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.text.is_empty()
    }

    /// The text itself, to be presented elsewhere.
    pub(crate) fn exposed(&self) -> &str {
        &self.inner.text
    }

    /// Compares without work worth mentioning; `None` means that [`Secret::verify_slowly`] has to decide.
    pub(crate) fn check(&self, given: &str) -> Option<bool> {
        if !self.inner.hashed {
            let (kept, given) = (self.inner.text.as_bytes(), given.as_bytes());
            return Some(constant_time::verify_slices_are_equal(kept, given).is_ok());
        }
        let accepted = lock(&self.inner.accepted);
        let (key, tag) = accepted.as_ref()?;
        hmac::verify(key, given.as_bytes(), tag.as_ref()).ok().map(|()| true)
    }

    /// Waits until no other comparison with this hash runs.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.inner.turn).acquire_owned().await.ok()
    }

    /// Compares with bcrypt: milliseconds to seconds of computing, as the hash says. Not for threads that serve sockets.
    pub(crate) fn verify_slowly(&self, given: &str) -> bool {
        // A hash that cannot be read matches nothing.
        let passed = bcrypt::verify(given, &self.inner.text).unwrap_or(false);
        if passed && let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new()) {
            let tag = hmac::sign(&key, given.as_bytes());
            *lock(&self.inner.accepted) = Some((key, tag));
        }
        passed
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[REDACTED]")
    }
}

/// `$2a$`, `$2b$`, `$2x$` or `$2y$`, two digits and `$`.
fn looks_hashed(text: &[u8]) -> bool {
    matches!(text, [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', tens, ones, b'$', ..]
        if tens.is_ascii_digit() && ones.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_secrets_match_themselves_only() {
        let secret = Secret::new("s3cret");
        for (given, expected) in [("s3cret", true), ("s3cre", false), ("s3cret ", false), ("", false)] {
            assert_eq!(secret.check(given), Some(expected), "{given}");
        }
        assert_eq!(Secret::new("").check(""), Some(true));
        assert!(!secret.is_hashed());
    }

    #[test]
    fn hashes_are_recognised_as_section_3_1_says() {
        let cases = [
            ("$2a$11$abc", true),
            ("$2b$04$", true),
            ("$2x$04$x", true),
            ("$2y$04$x", true),
            ("$2c$04$x", false),
            ("$2a$4$x", false),
            ("$2a$11", false),
            ("2a$11$x", false),
        ];
        for (text, expected) in cases {
            let secret = Secret::new(text);
            assert_eq!(secret.is_hashed(), expected, "{text}");
            assert_eq!(secret.hash_cost().is_some(), expected, "{text}");
        }
    }

    #[test]
    fn a_hash_accepts_its_password_slowly_once_and_quickly_after() {
        let hash = bcrypt::hash("s3cret", 4).unwrap();
        let secret = Secret::new(hash.clone());
        assert_eq!(secret.check("s3cret"), None);
        assert!(!secret.verify_slowly("wrong") && secret.check("s3cret").is_none());
        assert!(secret.verify_slowly("s3cret"));
        assert_eq!(secret.check("s3cret"), Some(true));
        // Another password is never refused without asking bcrypt.
        assert_eq!(secret.check("wrong"), None);
        assert!(!secret.verify_slowly(&hash));
        assert!(!Secret::new("$2a$11$garbage").verify_slowly("garbage"));
    }

    #[test]
    fn nothing_is_shown() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "[REDACTED]");
    }
}
