//! What has to be done with all subscriptions of a client at once, in slices between which others are served.

use std::collections::hash_set;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::ErrorText;
use seaway_nats_protocol::write::write_error;

use crate::connection::Connection;
use crate::limits::SUBSCRIPTIONS_PER_TURN;
use crate::lock::lock;
use crate::owner::{Owner, Subscription};
use crate::routing::BySid;

/// See the module.
#[derive(Default)]
pub(crate) struct Chores {
    /// They end without a word: the client said CONNECT anew, or has gone.
    ending: Vec<hash_set::IntoIter<BySid<Owner>>>,
    /// A reload may not allow them any more.
    reviewed: Vec<Arc<Subscription>>,
}

impl Chores {
    pub(crate) fn are_done(&self) -> bool {
        self.ending.is_empty() && self.reviewed.is_empty()
    }

    /// From now on the connection has no subscriptions; they end one after the other.
    pub(crate) fn end_all(&mut self, connection: &Connection) {
        #[expect(clippy::mutable_key_type, reason = "the key is the sid, which never changes")]
        let all = std::mem::take(&mut *lock(&connection.subscriptions));
        if !all.is_empty() {
            self.ending.push(all.into_iter());
        }
    }

    /// All subscriptions are to be looked at: permissions have changed.
    pub(super) fn review_all(&mut self, connection: &Connection) {
        let all = lock(&connection.subscriptions);
        self.reviewed = all.iter().map(|known| Arc::clone(&known.0)).collect();
    }

    /// Does a slice of the work.
    pub(crate) fn go_on(&mut self, connection: &Connection) {
        if let Some(ending) = self.ending.last_mut() {
            for known in ending.by_ref().take(SUBSCRIPTIONS_PER_TURN) {
                known.0.remove();
            }
            if ending.len() == 0 {
                self.ending.pop();
            }
            return;
        }
        let first = self.reviewed.len().saturating_sub(SUBSCRIPTIONS_PER_TURN);
        let mut refusals = Vec::new();
        for subscription in self.reviewed.drain(first..) {
            review(connection, &subscription, &mut refusals);
        }
        if self.reviewed.is_empty() {
            self.reviewed = Vec::new();
        }
        connection.outbound.send(&mut refusals, 0, 0);
    }
}

/// Ends a subscription that is not permitted any more.
fn review(connection: &Connection, subscription: &Arc<Subscription>, refusals: &mut Vec<u8>) {
    let grant = connection.admission.grant();
    let rules = grant.as_ref().and_then(|grant| grant.rules.as_ref());
    if rules.is_none_or(|rules| rules.may_subscribe(subscription.subject(), subscription.queue())) {
        // Who gets what may have changed all the same.
        subscription.raise();
    } else if !subscription.removed.load(Ordering::Acquire) {
        subscription.end();
        let error = ErrorText::SubscriptionRevoked(subscription.subject(), subscription.sid());
        write_error(refusals, &error);
    }
}
