//! The administration service: requests under `$SEAWAY.api.<cluster ID>.`, answered through the broker.
//!
//! It shows what the monitoring shows, and messages; whoever may publish a request may have the answer, but messages, which
//! other permissions keep from a user, only by name. Requests wait in
//! a bounded mail box, a bounded number of them is worked on, and nobody gets more of that than others by not reading.

mod answer;
mod messages;
mod request;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, anyhow};
use seaway_broker::{Attachment, Broker, ConnectionId, Publisher, Sink};
use seaway_monitor::Answers;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::limits::{ADMINISTRATION_MAIL_BYTES_MAX, ADMINISTRATION_REQUESTS_MAX};
use crate::mail::Mail;
use crate::monitoring::Monitoring;
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
    pub(crate) fn start(broker: &Broker, cluster_id: &str, source: Arc<Monitoring>) -> Result<Administration> {
        let mail = Arc::new(Mail::new(ADMINISTRATION_MAIL_BYTES_MAX));
        let attachment = broker.attach("administration", Arc::clone(&mail) as Arc<dyn Sink>);
        mail.set_gate(attachment.shared_gate());
        let prefix = format!("$SEAWAY.api.{cluster_id}.");
        attachment
            .subscribe(format!("{prefix}>"), 0, true)
            .map_err(|_| anyhow!("the cluster ID gives an invalid subject: {prefix}>"))?;
        let service = Arc::new(Service {
            broker: broker.clone(),
            publisher: Mutex::new(attachment.publisher()),
            source,
            mail,
            looking: Mutex::default(),
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
    broker: Broker,
    publisher: Mutex<Publisher>,
    source: Arc<Monitoring>,
    mail: Arc<Mail>,
    /// Connections that messages are being read for, as often as that is.
    looking: Mutex<Vec<ConnectionId>>,
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
                let Some(request) = Request::read(&service.prefix, batch.origin, &message) else {
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
    async fn answer(&self, request: Request) {
        // A connection that has gone waits for nothing.
        let Some(requester) = self.broker.requester(request.origin) else {
            return;
        };
        if !requester.may_receive(&request.reply) {
            tracing::debug!(target: "stream", "An administration request wants its answer where its sender may not subscribe");
            return;
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
            Ok(Operation::Question(question)) => match self.look_up(question).await {
                Ok(text) => self.send(&request.reply, b"", text.as_bytes()),
                Err(failure) => self.refuse(&request.reply, &failure),
            },
        }
    }

    /// The answer to a question.
    async fn look_up(&self, question: Question) -> Result<String, Failure> {
        let len_max = self.answer_len_max();
        let answers = Answers::new(&*self.source, len_max);
        let answer = match question {
            Question::Server => answers.server(seaway_config::SEAWAY_VERSION).await,
            Question::Channels { prefix, page } => answers.channels(&prefix, page.offset, page.limit).await,
            Question::Channel { channel, page } => answers.channel(&channel, page.offset, page.limit).await,
            Question::Durables { channel, page } => answers.durables(channel.as_deref(), page.offset, page.limit).await,
            Question::Clients(page) => answers.clients(page.offset, page.limit).await,
            Question::Client(id) => answers.client(&id).await,
            Question::Why(question) => answers.why(question).await,
        };
        answer.map_err(|refusal| Failure::of(refusal, len_max))
    }

    /// Bytes of an answer at most: what clients take, and half of what makes one a slow consumer.
    fn answer_len_max(&self) -> usize {
        let pending = self.broker.options().max_pending / 2;
        self.broker.snapshot().max_payload.min(pending)
    }

    fn refuse(&self, reply: &[u8], failure: &Failure) {
        self.send(reply, &failure.headers(), failure.body().as_bytes());
    }

    /// Sends one answer to whoever still waits for it.
    fn send(&self, reply: &[u8], headers: &[u8], payload: &[u8]) {
        let mut publisher = self.publisher();
        let _ = publisher.answer(reply, headers, payload);
        publisher.flush();
    }

    /// Sends what has so many receivers that it goes to them in slices.
    async fn finish_sending(&self) {
        while !self.publisher().flush() {
            tokio::task::yield_now().await;
        }
    }

    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
