//! The services and events of the system account (core specification §2.6), by which tools ask servers about themselves, and what
//! every client may ask about itself and its own account.
//!
//! Requests wait in bounded mail boxes, those of the system account in one of their own, and each box is emptied by a task of its own,
//! one request after the other: a flood of them delays nothing but requests of the same kind. What finds no room is dropped, as whoever
//! asks knows from servers that are not there.

mod events;
mod mail;
mod own;
mod user_info;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use seaway_broker::{Attachment, Broker, Publisher};
use seaway_monitor::{SystemAnswers, Unavailable};
use tokio::task::JoinHandle;

use crate::limits::{
    SYSTEM_REQUEST_BYTES_MAX, SYSTEM_REQUESTS_MAX, SYSTEM_REQUESTS_PER_CONNECTION_MAX, SYSTEM_REQUESTS_PER_PASS,
};
use crate::monitoring::Monitoring;
use events::Events;
use mail::{Bounds, Mail, Request};
use own::{OwnAffairs, USER_INFO, asker};

/// What is asked of all servers, and of one.
const SERVERS: &str = "$SYS.REQ.SERVER.";
const ACCOUNTS: &str = "$SYS.REQ.ACCOUNT.";
/// Where services listen, and no asker's inbox is: an answer there would be a request of this server's to another one.
const NO_INBOXES: [&[u8]; 2] = [b"$SYS.REQ.", b"_STAN."];

/// The system account is one account.
const BOUNDS: Bounds = Bounds {
    all: SYSTEM_REQUESTS_MAX,
    of_account: SYSTEM_REQUESTS_MAX,
    of_connection: SYSTEM_REQUESTS_PER_CONNECTION_MAX,
    bytes: SYSTEM_REQUEST_BYTES_MAX,
};

/// The running services. Dropping it leaves them running; see [`SystemServices::stop`].
pub(crate) struct SystemServices {
    tasks: Vec<JoinHandle<()>>,
    broker: Broker,
    answers: Arc<SystemAnswers>,
    attachment: Arc<Attachment>,
}

impl SystemServices {
    /// Answers from now on.
    ///
    /// # Errors
    /// The server's id gives no subject, which never happens.
    pub(crate) fn start(broker: &Broker, source: Arc<Monitoring>) -> Result<SystemServices> {
        let mail = Arc::new(Mail::new(BOUNDS));
        let system = broker.options().system_account.clone();
        let attachment = broker.attach_to(&system, "system services", Arc::clone(&mail) as _);
        let of_this = format!("{SERVERS}{}.*", broker.server_id());
        for pattern in [
            "$SYS.REQ.SERVER.PING",
            "$SYS.REQ.SERVER.PING.*",
            &of_this,
            "$SYS.REQ.ACCOUNT.*.*",
        ] {
            attachment.subscribe(pattern, 0, false).context("system services")?;
        }
        attachment
            .subscribe_here(USER_INFO, 0, false)
            .context("system services")?;
        // An operator may export them to other accounts.
        attachment.serve_importers();
        let attachment = Arc::new(attachment);
        let answers = Arc::new(SystemAnswers::new(source));
        let service = Service {
            broker: broker.clone(),
            publisher: attachment.publisher(),
            answers: Arc::clone(&answers),
            mail,
            system,
        };
        let mut tasks = vec![
            tokio::spawn(service.run()),
            tokio::spawn(OwnAffairs::new(broker, &answers).run()),
        ];
        let events = Events::new(broker, &answers, attachment.publisher());
        tasks.extend(events.map(|events| tokio::spawn(events.run())));
        Ok(SystemServices {
            tasks,
            broker: broker.clone(),
            answers,
            attachment,
        })
    }

    /// Ends them, and tells whoever listens that this server stops.
    pub(crate) async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // It says only that it was aborted.
            let _ = task.await;
        }
        if let Ok(text) = self.answers.itself().await {
            let mut publisher = self.attachment.publisher();
            let subject = format!("$SYS.SERVER.{}.SHUTDOWN", self.broker.server_id());
            let _ = publisher.publish(subject.as_bytes(), None, &[text.as_bytes()]);
            publisher.flush_all().await;
        }
    }
}

/// What answers in the system account.
struct Service {
    broker: Broker,
    /// In the system account.
    publisher: Publisher,
    answers: Arc<SystemAnswers>,
    mail: Arc<Mail>,
    system: String,
}

impl Service {
    async fn run(mut self) {
        loop {
            self.mail.arrived().await;
            self.answer_some().await;
        }
    }

    /// Answers as many as there are, and no more than a pass has room for.
    async fn answer_some(&mut self) {
        for _ in 0..SYSTEM_REQUESTS_PER_PASS {
            let Some(request) = self.mail.take() else { return };
            // One that does not answer at present is like one that is not there.
            let _ = self.answer(&request).await;
            tokio::task::yield_now().await;
        }
        self.mail.look_again();
    }

    async fn answer(&mut self, request: &Request) -> Result<(), Unavailable> {
        if NO_INBOXES.iter().any(|prefix| request.reply.starts_with(prefix)) {
            return Ok(());
        }
        let Some(mut answer) = self.answer_system(request).await? else {
            return Ok(());
        };
        if answer.len() > self.broker.options().max_payload {
            answer = self.answers.too_long(answer.len()).await?;
        }
        let _ = self.publisher.publish(&request.reply, None, &[answer.as_bytes()]);
        self.publisher.flush_all().await;
        Ok(())
    }

    /// What is asked in the system account.
    async fn answer_system(&self, request: &Request) -> Result<Option<String>, Unavailable> {
        let answers = &self.answers;
        if request.subject == USER_INFO {
            return self.describe_user(request).await;
        }
        if let Some(rest) = request.subject.strip_prefix(SERVERS) {
            return match rest.split_once('.') {
                None => answers.about_server(None, &request.payload).await,
                Some((server, "KICK")) if server == self.broker.server_id() => {
                    self.with_client(&request.payload, "closed", |id| self.broker.kick(id))
                        .await
                }
                Some((server, "LDM")) if server == self.broker.server_id() => {
                    self.with_client(&request.payload, "sent away", |id| self.broker.send_away(id))
                        .await
                }
                Some((_, endpoint)) => answers.about_server(Some(endpoint), &request.payload).await,
            };
        }
        let rest = request.subject.strip_prefix(ACCOUNTS).unwrap_or_default();
        match rest.rsplit_once('.') {
            Some(("PING", endpoint)) => answers.about_account(None, endpoint, &request.payload).await,
            Some((account, endpoint)) => answers.about_account(Some(account), endpoint, &request.payload).await,
            None => Ok(None),
        }
    }

    async fn describe_user(&self, request: &Request) -> Result<Option<String>, Unavailable> {
        match asker(&self.broker, request, &self.system) {
            Some(requester) => self.answers.enveloped(&user_info::describe(&requester)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Does something with the connection of one client.
    async fn with_client(
        &self,
        request: &[u8],
        done: &str,
        act: impl Fn(u64) -> bool,
    ) -> Result<Option<String>, Unavailable> {
        let wanted: Option<serde_json::Value> = serde_json::from_slice(request).ok();
        let id = wanted.and_then(|wanted| wanted["cid"].as_u64());
        match id {
            Some(id) if act(id) => {
                tracing::info!("cid:{id} - {done} at the request of the system account");
                self.answers.enveloped("{}").await.map(Some)
            }
            Some(id) => {
                let text = format!("no client has the id {id}, or it takes no such news");
                self.answers.refused(404, &text).await.map(Some)
            }
            None => self.answers.refused(400, "the request names no cid").await.map(Some),
        }
    }
}
