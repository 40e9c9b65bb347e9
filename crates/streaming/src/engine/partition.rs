//! Partitioning (`streaming-protocol.md` §10): which channels are served, and requests that overtook their client's connect.
//!
//! Several servers share the subjects of one cluster ID, so a publish may reach this one before the connect that it follows.
//! Such a request waits for the registration, a second at most; whoever failed is remembered and refused at once.

use seaway_stan_protocol::{PubMsgView, errors};

use super::Engine;
use crate::effects::Effects;
use crate::registry::keys::ClientKey;
use crate::time::Now;
use crate::waiting::unregistered::Early;

impl Engine {
    /// Whether a channel is another server's, or nobody's.
    pub(super) fn is_elsewhere(&self, channel: &[u8]) -> bool {
        self.options.partitioning && !self.options.limits.is_listed(channel)
    }

    /// Lets a request of an unknown client wait for its connect; false when it has to be refused now.
    pub(super) fn wait_for_registration(
        &mut self,
        now: Now,
        kind: Early,
        sender: (&[u8], &[u8]),
        reply: &[u8],
        payload: &[u8],
    ) -> bool {
        let waits = self.options.partitioning && self.unregistered.push(now.monotonic, kind, sender, reply, payload);
        self.unregistered.arm(&mut self.timers);
        waits
    }

    /// The wait of the oldest requests is over.
    pub(super) fn unregistered_due(&mut self, now: Now, effects: &mut Effects<'_>) {
        while let Some(waiting) = self.unregistered.take_due(now.monotonic) {
            match waiting.kind {
                Early::Publish => {
                    let guid = PubMsgView::decode(&waiting.payload).map_or(&b""[..], |publish| publish.guid);
                    self.refuse_publish(&waiting.reply, guid, errors::INVALID_PUBLISH_REQUEST, effects);
                }
                Early::Subscribe => {
                    let text = errors::INVALID_SUBSCRIPTION_REQUEST.to_owned();
                    self.refuse_subscribe(&waiting.reply, text, effects);
                }
            }
        }
        self.unregistered.arm(&mut self.timers);
    }

    /// A client was registered: what it had sent before is served now, in order.
    pub(super) fn serve_early(&mut self, now: Now, key: ClientKey, effects: &mut Effects<'_>) {
        if !self.options.partitioning {
            return;
        }
        let client = self.clients[key].fact();
        let served = self.unregistered.take_of(&client.name, &client.conn_id);
        self.unregistered.arm(&mut self.timers);
        for early in served {
            match early.kind {
                Early::Publish => {
                    if let Ok(publish) = PubMsgView::decode(&early.payload) {
                        let channel = self.channels.find(publish.subject);
                        self.accept_publish(now, channel, &early.reply, &early.payload, &publish, effects);
                    }
                }
                Early::Subscribe => self.subscribe(now, &early.reply, &early.payload, effects),
            }
        }
    }
}
