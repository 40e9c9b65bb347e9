//! Who a connection is, as others see it: deliveries look here whether they are withheld or give a right to answer, a
//! reload replaces it. The connection's own task works with a copy (see `session`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::access::{Access, Grant, Responses, Rules};
use crate::limits::GLOBAL_ACCOUNT;
use crate::lock::lock;

/// What is known of the client.
enum Standing {
    /// It has not authenticated itself yet.
    Unknown,
    /// It is this one; `None` where nobody is asked.
    Known(Option<Arc<Grant>>),
}

/// See the module.
pub(crate) struct Admission {
    standing: Mutex<Standing>,
    /// A reload replaced the standing, and the connection's task has not looked yet.
    changed: AtomicBool,
    /// Some deliveries are withheld.
    filtered: AtomicBool,
    /// Deliveries give rights to answer.
    answers: AtomicBool,
    responses: Mutex<Option<Box<Responses>>>,
}

/// What a reload means for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Nothing, or nothing yet.
    Same,
    /// Its permissions are others; its task has to be woken.
    Changed,
    /// It is nobody any more.
    Refused,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            standing: Mutex::new(Standing::Unknown),
            changed: AtomicBool::new(false),
            filtered: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            responses: Mutex::default(),
        }
    }
}

impl Admission {
    /// The client has authenticated itself as this one, or nobody is asked.
    pub(crate) fn admit(&self, grant: Option<Arc<Grant>>) {
        let mut standing = lock(&self.standing);
        self.apply(grant.as_deref().and_then(|grant| grant.rules.as_ref()));
        *standing = Standing::Known(grant);
    }

    /// Asks a new access about a client that is known already.
    pub(crate) fn renew(&self, access: &Access) -> Renewal {
        let mut standing = lock(&self.standing);
        let Standing::Known(old) = &*standing else {
            return Renewal::Same;
        };
        match access.renew(old.as_ref()) {
            None => Renewal::Refused,
            Some(new) if new == *old => Renewal::Same,
            Some(new) => {
                self.apply(new.as_deref().and_then(|grant| grant.rules.as_ref()));
                *standing = Standing::Known(new);
                self.changed.store(true, Ordering::Release);
                Renewal::Changed
            }
        }
    }

    fn apply(&self, rules: Option<&Rules>) {
        self.filtered
            .store(rules.is_some_and(Rules::filters_deliveries), Ordering::Release);
        let rights = rules.and_then(|rules| rules.responses);
        *lock(&self.responses) = rights.map(|rights| Box::new(Responses::new(rights, Instant::now())));
        self.answers.store(rights.is_some(), Ordering::Release);
    }

    /// The new grant, if a reload has replaced the one the task works with.
    pub(crate) fn take_change(&self) -> Option<Option<Arc<Grant>>> {
        if !self.changed.load(Ordering::Acquire) {
            return None;
        }
        self.changed.store(false, Ordering::Release);
        Some(self.grant())
    }

    pub(crate) fn grant(&self) -> Option<Arc<Grant>> {
        match &*lock(&self.standing) {
            Standing::Unknown => None,
            Standing::Known(grant) => grant.clone(),
        }
    }

    /// Name of the client's account, once it is in one.
    pub(crate) fn account(&self) -> Option<String> {
        let account = match &*lock(&self.standing) {
            Standing::Unknown => return None,
            Standing::Known(grant) => grant.as_deref().map_or(GLOBAL_ACCOUNT, Grant::account).to_owned(),
        };
        Some(account)
    }

    /// Whether a message on `subject` is kept from the client's subscriptions in `queue`.
    pub(crate) fn withholds(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        if !self.filtered.load(Ordering::Acquire) {
            return false;
        }
        match &*lock(&self.standing) {
            Standing::Known(Some(grant)) => grant
                .rules
                .as_ref()
                .is_some_and(|rules| rules.withholds(subject, queue)),
            Standing::Known(None) | Standing::Unknown => false,
        }
    }

    /// Whether deliveries have to be told to [`Admission::delivered`].
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    /// A message with a reply subject is being delivered to the client.
    pub(crate) fn delivered(&self, reply: &[u8]) {
        if let Some(responses) = &mut *lock(&self.responses) {
            responses.delivered(Instant::now(), reply);
        }
    }

    /// Uses a right to answer; false when there is none.
    pub(crate) fn redeem(&self, subject: &[u8]) -> bool {
        self.answers()
            && lock(&self.responses)
                .as_mut()
                .is_some_and(|responses| responses.redeem(Instant::now(), subject))
    }
}
