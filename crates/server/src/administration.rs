//! The administration service: requests under `$SEAWAY.api.<cluster ID>.`, answered through the broker.
//!
//! It shows what the monitoring shows, and messages; whoever may publish a request may have the answer, but messages, which
//! other permissions keep from a user, only by name. Requests wait in
//! a bounded mail box, a bounded number of them is worked on, and nobody gets more of that than others by not reading.

mod answer;
mod backup;
mod backups;
mod change;
mod changing;
mod intent;
mod messages;
mod request;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};
use seaway_monitor::Answers;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::bus::{Attachment, Bus, Origin, Sender};
use crate::limits::{ADMINISTRATION_MAIL_BYTES_MAX, ADMINISTRATION_REQUESTS_MAX};
use crate::mail::Mail;
use crate::monitoring::Monitoring;
use crate::reload::Reloads;
use answer::Failure;
use request::{Operation, Question, Request};

/// The running service. Dropping it leaves it running; see [`Administration::stop`].
pub(crate) struct Administration {
    task: JoinHandle<()>,
}

impl Administration {
    /// Answers requests from now on, also while the state is recovered: with the reason why that is no answer.
    ///
    /// # Errors
    /// The cluster ID gives no subject.
    pub(crate) fn start(
        bus: &Bus,
        cluster_id: &str,
        source: Arc<Monitoring>,
        reloads: Reloads,
    ) -> Result<Administration> {
        let mail = Arc::new(Mail::new(ADMINISTRATION_MAIL_BYTES_MAX));
        let attachment = bus.attach("administration", Arc::clone(&mail));
        mail.set_gate(attachment.gate());
        let prefix = format!("$SEAWAY.api.{cluster_id}.");
        // What somebody may ask for is known only of this server's own clients.
        attachment
            .subscribe_here(format!("{prefix}>"), 0, true)
            .map_err(|_| anyhow!("the cluster ID gives an invalid subject: {prefix}>"))?;
        let service = Arc::new(Service {
            bus: bus.clone(),
            sender: Mutex::new(attachment.sender()),
            source,
            mail,
            looking: Mutex::default(),
            backups: backups::Backups::default(),
            reloads,
            composing: tokio::sync::Mutex::default(),
            prefix,
        });
        let task = tokio::spawn(serve(service, attachment));
        Ok(Administration { task })
    }

    /// Ends it: nobody is subscribed to its subjects any more, and no answer is on its way.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // It says only that it was aborted.
        let _ = self.task.await;
    }
}

/// What the answering of requests shares.
struct Service {
    bus: Bus,
    sender: Mutex<Sender>,
    source: Arc<Monitoring>,
    mail: Arc<Mail>,
    /// Connections that messages are being read for, as often as that is.
    looking: Mutex<Vec<Origin>>,
    /// Held while an answer is put together: many long ones at a time would take the threads that serve everybody.
    composing: tokio::sync::Mutex<()>,
    /// What is kept for whoever copies the store.
    backups: backups::Backups,
    /// Where reloads are asked for.
    reloads: Reloads,
    /// What all subjects begin with.
    prefix: String,
}

/// Answers each request in a task of its own. The attachment lives as long as this does.
async fn serve(service: Arc<Service>, _attachment: Attachment) {
    let turns = Arc::new(Semaphore::new(ADMINISTRATION_REQUESTS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        service.mail.arrived().await;
        for batch in service.mail.take() {
            for message in batch.iter() {
                let Some(request) = Request::read(&service.prefix, batch.origin(), &message) else {
                    continue;
                };
                let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                    return;
                };
                let service = Arc::clone(&service);
                tasks.spawn(async move {
                    service.answer(request).await;
                    service.finish_sending().await;
                    drop(turn);
                });
                while tasks.try_join_next().is_some() {}
            }
        }
    }
}

impl Service {
    async fn answer(self: &Arc<Self>, request: Request) {
        // Where the question reaches all servers of the group, those that stand by leave the answer to the one that serves.
        if self.bus.external_snapshot().is_some() && self.source.stands_by() {
            return;
        }
        // A connection that has gone waits for nothing.
        let Some(requester) = self.bus.requester(request.origin) else {
            return;
        };
        if !requester.may_receive(&request.reply) {
            tracing::debug!(target: "stream", "An administration request wants its answer where its sender may not subscribe");
            return;
        }
        if request.is_change() && requester.is_unknown() {
            return self.refuse(&request.reply, &Failure::changes_by_strangers());
        }
        if request.is_change() && !requester.is_named(&request.subject) {
            return self.refuse(&request.reply, &Failure::change_not_permitted(&self.prefix));
        }
        if request.is_for_messages() && !requester.is_unrestricted_or_named(&request.subject) {
            return self.refuse(&request.reply, &Failure::messages_not_permitted(&self.prefix));
        }
        match request.operation() {
            Err(failure) => self.refuse(&request.reply, &failure),
            Ok(Operation::Messages(wanted)) => self.messages(&request, &wanted).await,
            Ok(Operation::Backup(backup)) => self.backup(&request, &requester, backup).await,
            Ok(Operation::Change(change)) => self.change(&request, &requester, change).await,
            Ok(Operation::Question(question)) => {
                let _one_at_a_time = self.composing.lock().await;
                match self.look_up(question).await {
                    Ok(text) => self.send(&request.reply, b"", text.as_bytes()),
                    Err(failure) => self.refuse(&request.reply, &failure),
                }
            }
        }
    }

    /// The answer to a question.
    async fn look_up(&self, question: Question) -> Result<String, Failure> {
        let len_max = self.bus.max_answer();
        let answers = Answers::new(&*self.source, len_max);
        let answer = match question {
            Question::Server => answers.server(seaway_config::SEAWAY_VERSION).await,
            Question::Channels { prefix, page } => answers.channels(&prefix, page.offset, page.limit).await,
            Question::Channel { channel, page } => answers.channel(&channel, page.offset, page.limit).await,
            Question::Durables { channel, page } => answers.durables(channel.as_deref(), page.offset, page.limit).await,
            Question::Clients(page) => answers.clients(page.offset, page.limit).await,
            Question::Client(id) => answers.client(&id).await,
            Question::Why(question) => answers.why(question).await,
            Question::Audit(question) => answers.audit(question).await,
        };
        answer.map_err(|refusal| Failure::of(refusal, len_max))
    }

    fn refuse(&self, reply: &[u8], failure: &Failure) {
        self.send(reply, &failure.headers(), failure.body().as_bytes());
    }

    /// Sends one answer to whoever still waits for it.
    fn send(&self, reply: &[u8], headers: &[u8], payload: &[u8]) {
        let mut sender = self.sender();
        let _ = sender.answer(reply, headers, payload);
        sender.flush();
    }

    /// Sends what has so many receivers that it goes to them in slices.
    async fn finish_sending(&self) {
        while !self.sender().flush() {
            tokio::task::yield_now().await;
        }
    }

    fn sender(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
