//! The class `change`: makes what was asked for, and says what came of it.

use seaway_streaming::Changed;
use serde_json::{Value, json};

use super::Service;
use super::answer::Failure;
use super::intent::Change;
use super::request::Request;
use crate::bus::Requester;
use crate::engine::Wanted;
use crate::logging::{LogHandle, Verbosity};

impl Service {
    /// Makes a change that its asker may make, and answers.
    pub(super) async fn change(&self, request: &Request, requester: &Requester, change: Change) {
        let by = requester.words(request.origin);
        let outcome = match change {
            Change::Failover => self.failover(by).await,
            Change::Connection { cid, is_rehearsal } => self.end_connection(by, cid, is_rehearsal).await,
            Change::LogLevel {
                broker,
                streaming,
                is_rehearsal,
            } => self.set_log_level(by, (broker, streaming), is_rehearsal).await,
            Change::Reload { is_rehearsal } => self.reload(by, is_rehearsal).await,
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

    /// Writes down what is, or was, changed outside of the engine, with the engine's changes. Where there is no engine, or its store takes
    /// nothing, the log alone says it.
    pub(super) async fn note(&self, by: String, words: String) {
        let wanted = Wanted::Note { words: words.clone() };
        if self.source.change(by.clone(), false, wanted).await.is_err() {
            tracing::info!(target: "stream", "{by} {words}");
        }
    }

    async fn failover(&self, by: String) -> Result<Value, Failure> {
        self.source
            .may_hand_over()
            .map_err(|reason| Failure::conflict(&reason))?;
        // Behind the end of the tenure nothing can be written down.
        self.note(by, "asks this server to hand over".to_owned()).await;
        let tenure = self.source.hand_over().map_err(|reason| Failure::conflict(&reason))?;
        Ok(json!({ "tenure": tenure }))
    }

    async fn end_connection(&self, by: String, cid: u64, is_rehearsal: bool) -> Result<Value, Failure> {
        if !self.source.end_connection(cid, is_rehearsal) {
            return Err(Failure::not_found(&format!(
                "there is no connection with the cid {cid}"
            )));
        }
        if !is_rehearsal {
            self.note(by, format!("ended the connection with the cid {cid}")).await;
        }
        Ok(json!({ "cid": cid, "dry_run": is_rehearsal }))
    }

    async fn set_log_level(
        &self,
        by: String,
        (broker, streaming): (Option<Verbosity>, Option<Verbosity>),
        is_rehearsal: bool,
    ) -> Result<Value, Failure> {
        let Some(log) = LogHandle::of_process() else {
            return Err(Failure::conflict("this process has no log of its own"));
        };
        let before = log.verbosity();
        let now = (broker.unwrap_or(before.0), streaming.unwrap_or(before.1));
        if !is_rehearsal && now != before {
            log.set_verbosity(now.0, now.1);
            let words = format!(
                "set the log level of the broker to {} and that of streaming to {}, until a reload or restart",
                now.0.name(),
                now.1.name()
            );
            self.note(by, words).await;
        }
        Ok(json!({
            "broker": now.0.name(),
            "streaming": now.1.name(),
            "before": { "broker": before.0.name(), "streaming": before.1.name() },
            "kept_over_restarts": false,
            "dry_run": is_rehearsal,
        }))
    }

    async fn reload(&self, by: String, is_rehearsal: bool) -> Result<Value, Failure> {
        let outcome = self
            .reloads
            .ask(is_rehearsal)
            .await
            .map_err(|reason| Failure::unavailable(&reason))?;
        let taken = outcome.map_err(|refused| Failure::conflict(&format!("nothing was reloaded: {refused}")))?;
        if !is_rehearsal {
            let words = match taken.at_once.is_empty() {
                true => "had the configuration reloaded: nothing of the broker had changed".to_owned(),
                false => format!("had the configuration reloaded: {}", taken.at_once.join(", ")),
            };
            self.note(by, words).await;
        }
        Ok(json!({
            "reloaded": taken.at_once,
            "at_next_start": taken.at_next_start,
            "warnings": taken.warnings,
            "closed_clients": taken.closed,
            "dry_run": is_rehearsal,
        }))
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
        Wanted::Pause { reader, inbox, .. } => json!({
            "channel": reader.channel,
            "client": reader.client,
            "durable": reader.durable,
            "queue": reader.queue,
            "inbox": inbox,
        }),
        Wanted::Note { .. } => json!({}),
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
        Changed::Paused { members, pending } => json!({ "members": members, "pending_count": pending, "paused": true }),
        Changed::Resumed { members, pending } => {
            json!({ "members": members, "pending_count": pending, "paused": false })
        }
        Changed::Noted => json!({}),
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
