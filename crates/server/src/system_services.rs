//! The services and events of the system account (core specification §2.6), by which tools ask servers about themselves, and what
//! every client may ask about itself and its own account.
//!
//! Requests wait in a bounded mail box and are answered one after the other by a task of their own, so that a flood of them delays
//! nothing but other requests; what finds the box full is dropped, as whoever asks knows from servers that are not there.

mod mail;
mod user_info;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use seaway_broker::{Attachment, Broker, ConnectionId, Publisher, Requester};
use seaway_monitor::{SystemAnswers, Unavailable};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::monitoring::Monitoring;
use mail::{Mail, Request};

/// What is asked of all servers, and of one.
const SERVERS: &str = "$SYS.REQ.SERVER.";
const ACCOUNTS: &str = "$SYS.REQ.ACCOUNT.";
/// Where services listen, and no asker's inbox is: an answer there would be a request of this server's to another one.
const NO_INBOXES: [&[u8]; 2] = [b"$SYS.REQ.", b"_STAN."];
/// What everybody may ask, about himself and his account.
const USER_INFO: &str = "$SYS.REQ.USER.INFO";
const OWN: [&str; 4] = [
    USER_INFO,
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
];
/// Time between two events that say how this server is, if anybody listens, and from the first to the second one.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);
const STATISTICS_SOON: Duration = Duration::from_millis(250);

/// The running services. Dropping it leaves them running; see [`SystemServices::stop`].
pub(crate) struct SystemServices {
    task: JoinHandle<()>,
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
        let mail = Arc::new(Mail::default());
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
        let attachment = Arc::new(attachment);
        let answers = Arc::new(SystemAnswers::new(source));
        let service = Service {
            broker: broker.clone(),
            publisher: attachment.publisher(),
            statistics: format!("$SYS.SERVER.{}.STATSZ", broker.server_id()),
            answers: Arc::clone(&answers),
            places: BTreeMap::new(),
            mail,
            system,
        };
        Ok(SystemServices {
            task: tokio::spawn(service.run()),
            broker: broker.clone(),
            answers,
            attachment,
        })
    }

    /// Ends them, and tells whoever listens that this server stops.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // It says only that it was aborted.
        let _ = self.task.await;
        if let Ok(text) = self.answers.itself().await {
            let mut publisher = self.attachment.publisher();
            let subject = format!("$SYS.SERVER.{}.SHUTDOWN", self.broker.server_id());
            let _ = publisher.publish(subject.as_bytes(), None, &[text.as_bytes()]);
            publisher.flush_all().await;
        }
    }
}

/// Where clients of one account ask about themselves.
struct Place {
    account: String,
    /// Keeps what it subscribed to.
    _attachment: Attachment,
    publisher: Publisher,
}

struct Service {
    broker: Broker,
    /// In the system account.
    publisher: Publisher,
    /// Where how this server is is told now and then.
    statistics: String,
    answers: Arc<SystemAnswers>,
    /// By the tag of what comes from there.
    places: BTreeMap<u64, Place>,
    mail: Arc<Mail>,
    system: String,
}

impl Service {
    async fn run(mut self) {
        let mut interval = STATISTICS_SOON;
        let mut next = Instant::now() + interval;
        self.attend_accounts();
        loop {
            tokio::select! {
                () = self.mail.arrived() => {}
                () = tokio::time::sleep_until(next) => {
                    interval = (interval * 2).min(STATISTICS_INTERVAL);
                    next = Instant::now() + interval;
                    self.attend_accounts();
                    self.tell_statistics().await;
                }
            }
            while let Some(request) = self.mail.take() {
                // One that does not answer at present is like one that is not there.
                let _ = self.answer(&request).await;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Listens in accounts that are new.
    fn attend_accounts(&mut self) {
        for account in self.broker.account_names() {
            if account == self.system || self.places.values().any(|place| place.account == account) {
                continue;
            }
            let tag = self.places.len() as u64 + 1;
            let attachment = self
                .broker
                .attach_to(&account, "system services", Arc::clone(&self.mail) as _);
            for subject in OWN {
                if attachment.subscribe_here(subject, tag, false).is_err() {
                    tracing::error!("{subject} is no subject");
                }
            }
            let publisher = attachment.publisher();
            let place = Place {
                account,
                _attachment: attachment,
                publisher,
            };
            self.places.insert(tag, place);
        }
    }

    /// Says how this server is, if anybody listens.
    async fn tell_statistics(&mut self) {
        if self.publisher.has_receiver_with_room(self.statistics.as_bytes()) != Ok(true) {
            return;
        }
        if let Ok(text) = self.answers.statistics().await {
            let _ = self
                .publisher
                .publish(self.statistics.as_bytes(), None, &[text.as_bytes()]);
            self.publisher.flush_all().await;
        }
    }

    async fn answer(&mut self, request: &Request) -> Result<(), Unavailable> {
        if NO_INBOXES.iter().any(|prefix| request.reply.starts_with(prefix)) {
            return Ok(());
        }
        let answer = match request.tag {
            0 => self.answer_system(request).await?,
            tag => self.answer_client(request, tag).await?,
        };
        let Some(mut answer) = answer else { return Ok(()) };
        let len_max = self.broker.options().max_payload;
        if answer.len() > len_max {
            answer = self.answers.too_long(answer.len()).await?;
        }
        match self.places.get_mut(&request.tag) {
            Some(place) => {
                let _ = place.publisher.answer(&request.reply, b"", answer.as_bytes());
                place.publisher.flush_all().await;
            }
            None => {
                let _ = self.publisher.publish(&request.reply, None, &[answer.as_bytes()]);
                self.publisher.flush_all().await;
            }
        }
        Ok(())
    }

    /// What is asked in the system account.
    async fn answer_system(&self, request: &Request) -> Result<Option<String>, Unavailable> {
        let answers = &self.answers;
        if request.subject == USER_INFO {
            return self.describe_user(request, &self.system).await;
        }
        if let Some(rest) = request.subject.strip_prefix(SERVERS) {
            return match rest.split_once('.') {
                None => answers.about_server(None, &request.payload).await,
                Some((server, "KICK")) if server == self.broker.server_id() => self.kick(&request.payload).await,
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

    /// What a client asks about itself and its account. Whoever may not receive the answer gets none.
    async fn answer_client(&self, request: &Request, tag: u64) -> Result<Option<String>, Unavailable> {
        let Some(place) = self.places.get(&tag) else {
            return Ok(None);
        };
        let account = Some(place.account.as_str());
        match request.subject.as_str() {
            USER_INFO => self.describe_user(request, &place.account).await,
            _ if self.asker(request).is_none() => Ok(None),
            "$SYS.REQ.ACCOUNT.PING.STATZ" => self.answers.about_account(account, "STATZ", &request.payload).await,
            _ => self.answers.about_account(account, "CONNZ", &request.payload).await,
        }
    }

    /// Who asks, where he may have the answer.
    fn asker(&self, request: &Request) -> Option<Requester> {
        let requester = self.broker.requester(ConnectionId(request.origin))?;
        requester.may_receive(&request.reply).then_some(requester)
    }

    async fn describe_user(&self, request: &Request, account: &str) -> Result<Option<String>, Unavailable> {
        match self.asker(request) {
            Some(requester) => {
                let info = user_info::describe(&requester, account);
                self.answers.enveloped(&info).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Closes a client's connection.
    async fn kick(&self, request: &[u8]) -> Result<Option<String>, Unavailable> {
        let wanted: Option<serde_json::Value> = serde_json::from_slice(request).ok();
        let id = wanted.and_then(|wanted| wanted["cid"].as_u64());
        match id {
            Some(id) if self.broker.kick(id) => {
                tracing::info!("cid:{id} - closed at the request of the system account");
                self.answers.enveloped("{}").await.map(Some)
            }
            Some(id) => self
                .answers
                .refused(404, &format!("no client has the id {id}"))
                .await
                .map(Some),
            None => self.answers.refused(400, "the request names no cid").await.map(Some),
        }
    }
}
