//! What somebody who asks an in-process service may do: services act in their own name, and have to know.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::access::{Grant, Permissions};
use crate::limits::GLOBAL_ACCOUNT;

/// Who sent a request, with the permissions of this moment.
#[derive(Clone)]
pub struct Requester {
    /// Everybody may do everything here.
    is_open: bool,
    grant: Option<Arc<Grant>>,
    peer: SocketAddr,
}

impl Requester {
    pub(crate) fn new(is_open: bool, grant: Option<Arc<Grant>>, peer: SocketAddr) -> Self {
        Self { is_open, grant, peer }
    }

    /// Whom it authenticated itself as, as monitoring shows it; none where nobody has to.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.grant.as_deref().map(Grant::shown)
    }

    /// What it may do, as an operator wrote it; none where that is everything.
    #[must_use]
    pub fn permissions(&self) -> Option<&Permissions> {
        self.grant.as_deref().and_then(Grant::permissions)
    }

    /// The account that it is in.
    #[must_use]
    pub fn account(&self) -> &str {
        self.grant.as_deref().map_or(GLOBAL_ACCOUNT, Grant::account)
    }

    /// Its address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it may subscribe to `subject`, without a queue group: answers belong nowhere else.
    #[must_use]
    pub fn may_receive(&self, subject: &[u8]) -> bool {
        match &self.grant {
            None => self.is_open,
            Some(grant) => {
                let rules = grant.rules.as_ref();
                rules.is_none_or(|rules| rules.may_subscribe(subject, None))
            }
        }
    }

    /// Whether its permissions say nothing, or [`Requester::is_named`]: what reaches around other permissions takes more than
    /// a pattern that was written without it in mind.
    #[must_use]
    pub fn is_unrestricted_or_named(&self, subject: &[u8]) -> bool {
        let is_unrestricted = |grant: &Arc<Grant>| grant.rules.is_none();
        self.grant.as_ref().is_some_and(is_unrestricted) || self.is_named(subject)
    }

    /// Whether it was given the right to publish to `subject` by name: an allowed pattern begins with the same first
    /// token. A wildcard in its place, no permissions at all, and a right to answer are not enough. Where nobody has to
    /// authenticate, everybody may.
    #[must_use]
    pub fn is_named(&self, subject: &[u8]) -> bool {
        match &self.grant {
            None => self.is_open,
            Some(grant) => grant.rules.as_ref().is_some_and(|rules| rules.names(subject)),
        }
    }
}
