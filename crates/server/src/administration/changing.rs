//! The class `change`: makes what was asked for, and says what came of it.

use seaway_streaming::Changed;
use serde_json::{Value, json};

use super::Service;
use super::answer::Failure;
use super::intent::Change;
use super::request::Request;
use crate::bus::Requester;
use crate::engine::Wanted;

impl Service {
    /// Makes a change that its asker may make, and answers.
    pub(super) async fn change(&self, request: &Request, requester: &Requester, change: Change) {
        let by = requester.words(request.origin);
        let outcome = match change {
            Change::Failover => self.failover(&by),
            Change::Connection { cid, is_rehearsal } => self.end_connection(&by, cid, is_rehearsal),
            Change::Engine { wanted, is_rehearsal } => {
                let changed = self.source.change(by, is_rehearsal, wanted.clone()).await;
                changed
                    .map(|changed| answer(&wanted, changed, is_rehearsal))
                    .map_err(|unchanged| Failure::unchanged(&unchanged))
            }
        };
        match outcome {
            Ok(answer) => self.send(&request.reply, b"", answer.to_string().as_bytes()),
            Err(failure) => self.refuse(&request.reply, &failure),
        }
    }

    fn failover(&self, by: &str) -> Result<Value, Failure> {
        let tenure = self.source.hand_over().map_err(|reason| Failure::conflict(&reason))?;
        tracing::info!(target: "stream", "{by} asks this server to hand over");
        Ok(json!({ "tenure": tenure }))
    }

    fn end_connection(&self, by: &str, cid: u64, is_rehearsal: bool) -> Result<Value, Failure> {
        if !self.source.end_connection(cid, is_rehearsal) {
            return Err(Failure::not_found(&format!(
                "there is no connection with the cid {cid}"
            )));
        }
        if !is_rehearsal {
            tracing::info!(target: "stream", "{by} ended the connection with the cid {cid}");
        }
        Ok(json!({ "cid": cid, "dry_run": is_rehearsal }))
    }
}

/// What was asked for, and what came of it.
fn answer(wanted: &Wanted, changed: Changed, is_rehearsal: bool) -> Value {
    let mut answer = match wanted {
        Wanted::Purge { channel, .. } | Wanted::Delete { channel, .. } | Wanted::Limit { channel, .. } => {
            json!({ "channel": channel })
        }
        Wanted::Remove { reader, .. } | Wanted::Move { reader, .. } => json!({
            "channel": reader.channel,
            "client": reader.client,
            "durable": reader.durable,
            "queue": reader.queue,
        }),
        Wanted::Disconnect { client } => json!({ "client": client }),
        Wanted::Settle { reader, sequence, .. } => json!({
            "channel": reader.channel,
            "client": reader.client,
            "durable": reader.durable,
            "queue": reader.queue,
            "sequence": sequence,
        }),
    };
    let numbers = match changed {
        Changed::Purged { messages, first, last } => {
            json!({ "msgs": messages, "first_seq": first, "last_seq": last })
        }
        Changed::Removed { members, pending } => json!({ "members": members, "pending_count": pending }),
        Changed::Moved { from, to, pending } => json!({ "from_seq": from, "to_seq": to, "pending_count": pending }),
        Changed::Deleted {
            messages,
            bytes,
            subscriptions,
            active,
        } => json!({ "msgs": messages, "bytes": bytes, "subs_count": subscriptions, "active_count": active }),
        Changed::Disconnected { subscriptions } => json!({ "subs_count": subscriptions }),
        Changed::Settled { pending } => json!({ "pending_count": pending }),
        Changed::Limited { limits, set, surplus } => json!({
            "limits": crate::monitoring::channel_limits(&limits),
            "limits_set": crate::monitoring::limits_set(&set),
            "surplus_msgs": surplus,
        }),
    };
    if let (Value::Object(answer), Value::Object(numbers)) = (&mut answer, numbers) {
        answer.extend(numbers);
        answer.insert("dry_run".to_owned(), is_rehearsal.into());
    }
    answer
}
