//! In-process parties: a sink that receives batches, a publisher that sends them, a gate that holds publishers back.
//! The streaming engine sits here; it knows subjects, never connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seaway_nats_protocol::subject;

use crate::broker::Broker;
use crate::gate::Gate;
use crate::limits::GLOBAL_ACCOUNT;
use crate::lock::lock;
use crate::owner::{AttachmentShared, Owner, Subscription};
use crate::publisher::Publisher;
use crate::shared::Shared;
use crate::sink::{ConnectionId, Sink};

/// The subject cannot be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subscribe to {pattern:?}: not a valid subject")]
pub struct InvalidPattern {
    /// The refused text.
    pub pattern: String,
}

/// An in-process party of the broker. Dropping it removes its subscriptions and opens its gate.
pub struct Attachment {
    pub(crate) broker: Arc<Shared>,
    pub(crate) shared: Arc<AttachmentShared>,
}

impl Attachment {
    /// Delivers what `pattern` matches to the sink, under `tag`. A tag may have several patterns. Messages that
    /// this attachment publishes itself are not delivered to it. With `holdable`, see [`Gate`].
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn subscribe(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidPattern> {
        self.subscribe_as(pattern.as_ref(), tag, holdable, true)
    }

    /// The same for clients of this server alone: other servers of the cluster are not told.
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn subscribe_here(&self, pattern: impl AsRef<[u8]>, tag: u64, holdable: bool) -> Result<(), InvalidPattern> {
        self.subscribe_as(pattern.as_ref(), tag, holdable, false)
    }

    fn subscribe_as(&self, pattern: &[u8], tag: u64, holdable: bool, announced: bool) -> Result<(), InvalidPattern> {
        if !subject::is_pattern(pattern) {
            return Err(InvalidPattern {
                pattern: String::from_utf8_lossy(pattern).into_owned(),
            });
        }
        let owner = Owner::Attachment {
            shared: Arc::clone(&self.shared),
            tag,
            holdable,
            announced,
        };
        let subscription = Subscription::new(pattern, None, b"", owner);
        let mut subscriptions = lock(&self.shared.subscriptions);
        if self.shared.detached.load(Ordering::Acquire) {
            return Ok(());
        }
        self.shared.account.routing.insert(&subscription);
        subscriptions.entry(tag).or_default().push(subscription);
        drop(subscriptions);
        self.broker.tell_news_soon();
        Ok(())
    }

    /// From now on it takes requests of accounts that import its services, too. Otherwise nothing reaches it that another account
    /// brings, whatever an operator lets accounts import.
    pub fn serve_importers(&self) {
        self.shared.serves_importers.store(true, Ordering::Release);
    }

    /// Ends all subscriptions under `tag`; unknown tags are ignored. A batch that is being gathered may still
    /// bring messages for it.
    pub fn unsubscribe(&self, tag: u64) {
        let removed = lock(&self.shared.subscriptions).remove(&tag).unwrap_or_default();
        for subscription in removed {
            subscription.remove();
        }
        self.broker.tell_news_soon();
    }

    /// The gate of this attachment's holdable subscriptions.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The same gate, to be kept elsewhere.
    #[must_use]
    pub fn shared_gate(&self) -> Arc<Gate> {
        Arc::clone(&self.shared.gate)
    }

    /// The origin that other attachments see for what this one publishes.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.shared.id)
    }

    /// The name it was attached under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A publisher of its own: one thread at a time, no lock per message.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.broker), Arc::clone(&self.shared))
    }

    /// Reports to [`Sink::interest`] when the first subscription to a subject that overlaps `pattern` appears and
    /// when the last one disappears, whoever subscribes. What exists already is reported at once; what appears at
    /// the same moment may be reported twice.
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn watch_interest(&self, pattern: &str) -> Result<(), InvalidPattern> {
        if !subject::is_pattern(pattern.as_bytes()) {
            return Err(InvalidPattern {
                pattern: pattern.to_owned(),
            });
        }
        self.shared
            .account
            .routing
            .watch(pattern.as_bytes(), self.shared.id, Arc::clone(&self.shared.sink));
        Ok(())
    }

    /// The same from now on: what exists already is not reported, and not looked at.
    ///
    /// # Errors
    /// When `pattern` is no valid subject (§2.1).
    pub fn watch_new_interest(&self, pattern: &str) -> Result<(), InvalidPattern> {
        if !subject::is_pattern(pattern.as_bytes()) {
            return Err(InvalidPattern {
                pattern: pattern.to_owned(),
            });
        }
        self.shared
            .account
            .routing
            .watch_new(pattern.as_bytes(), self.shared.id, Arc::clone(&self.shared.sink));
        Ok(())
    }
}

impl Attachment {
    /// Does what dropping it does, whoever else still has it: nothing is delivered to it from now on, and what it subscribes to is
    /// nothing.
    pub fn detach(&self) {
        self.shared.account.routing.unwatch(self.shared.id);
        let all = {
            let mut subscriptions = lock(&self.shared.subscriptions);
            self.shared.detached.store(true, Ordering::Release);
            std::mem::take(&mut *subscriptions)
        };
        for subscription in all.into_values().flatten() {
            subscription.remove();
        }
        self.broker.tell_news_soon();
        self.shared.gate.open();
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.detach();
    }
}

impl Broker {
    /// Attaches an in-process party to the global account, under a name for people.
    #[must_use]
    pub fn attach(&self, name: &str, sink: Arc<dyn Sink>) -> Attachment {
        self.attach_to(GLOBAL_ACCOUNT, name, sink)
    }

    /// Attaches an in-process party to an account, under a name for people. Subjects are those of that account.
    #[must_use]
    pub fn attach_to(&self, account: &str, name: &str, sink: Arc<dyn Sink>) -> Attachment {
        let account = self.shared.accounts.get_or_add(account);
        let shared = Arc::new(AttachmentShared::new(self.shared.next_id(), name, account, sink));
        Attachment {
            broker: Arc::clone(&self.shared),
            shared,
        }
    }
}
