//! Which channels other servers of the same cluster ID serve (`streaming-protocol.md` §10): lists are exchanged through the
//! bus, at the start and whenever another broker comes into reach. An overlap ends the server.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use seaway_stan_protocol::partition::{
    NO_CONFIGURED_CHANNEL, decode_channel_list, decode_partitioning, encode_channel_lists, encode_partitioning,
    partition_conflict,
};
use seaway_streaming::LimitsTable;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::{Attachment, Bus, Reach, Sender, is_no_responders};
use crate::limits::{PARTITION_MAIL_BYTES_MAX, PARTITION_PATIENCE, PARTITION_SETTLING};
use crate::mail::Mail;

/// Lists of other servers.
const LISTS: u64 = 1;
/// Their answers to ours.
const ANSWERS: u64 = 2;

/// Another server serves one of this server's channels; the text of §3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict(String);

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Conflict {}

/// Says that another broker came into reach.
#[derive(Clone, Default)]
pub struct BrokerLearnt(Arc<Notify>);

impl BrokerLearnt {
    /// The lists are sent again, after a moment in which subscriptions become known there.
    pub fn tell(&self) {
        self.0.notify_one();
    }
}

/// A server's part in the exchange.
pub struct Partition {
    mail: Arc<Mail>,
    /// Keeps the subscriptions.
    _attachment: Attachment,
    sender: Sender,
    server_id: String,
    limits: LimitsTable,
    /// Our list, in as few messages as fit.
    lists: Vec<Vec<u8>>,
    /// Where lists are sent to.
    subject: String,
    /// Where our answers arrive.
    inbox: String,
    learnt: BrokerLearnt,
    reach: Reach,
}

impl Partition {
    /// Listens to other servers' lists from now on.
    ///
    /// # Errors
    /// No channel is listed, a name fits into no message, or the cluster ID is not a subject; the texts of §3 and §10.
    pub fn join(
        bus: &Bus,
        cluster_id: &str,
        server_id: &str,
        limits: LimitsTable,
        max_payload: usize,
    ) -> Result<Partition> {
        if limits.entries().is_empty() {
            return Err(anyhow!(NO_CONFIGURED_CHANNEL));
        }
        let names: Vec<&[u8]> = limits.entries().iter().map(|entry| entry.name.as_bytes()).collect();
        let lists = encode_channel_lists(server_id.as_bytes(), &names, max_payload).map_err(|text| anyhow!(text))?;
        let mail = Arc::new(Mail::new(PARTITION_MAIL_BYTES_MAX));
        let attachment = bus.attach("partitioning", Arc::clone(&mail));
        mail.set_gate(attachment.gate());
        let subject = format!("_STAN.part.{cluster_id}");
        let inbox = format!("_INBOX.{}", crate::token::token());
        attachment.subscribe(&subject, LISTS, true)?;
        attachment.subscribe(&inbox, ANSWERS, true)?;
        let sender = attachment.sender();
        Ok(Partition {
            mail,
            _attachment: attachment,
            sender,
            server_id: server_id.to_owned(),
            limits,
            lists,
            subject,
            inbox,
            learnt: BrokerLearnt::default(),
            reach: bus.reach(),
        })
    }

    /// Tells the partition of brokers that come into reach.
    pub fn broker_learnt(&self) -> BrokerLearnt {
        self.learnt.clone()
    }

    /// Sends the list and waits until nobody has answered for [`PARTITION_PATIENCE`]; not at all when nobody is there.
    /// Other servers are answered meanwhile.
    ///
    /// # Errors
    /// Another server serves one of the channels.
    pub async fn announce(&mut self) -> Result<(), Conflict> {
        let mut receivers = 0;
        for list in &self.lists {
            let (subject, inbox) = (self.subject.as_bytes(), self.inbox.as_bytes());
            receivers += self.sender.send(subject, Some(inbox), &[list]).receivers;
        }
        self.sender.flush();
        if receivers == 0 {
            return Ok(());
        }
        let mut quiet_at = Instant::now() + PARTITION_PATIENCE;
        loop {
            tokio::select! {
                () = self.mail.arrived() => {
                    if self.read_mail()? > 0 {
                        quiet_at = Instant::now() + PARTITION_PATIENCE;
                    }
                }
                () = tokio::time::sleep_until(quiet_at) => return Ok(()),
            }
        }
    }

    /// Answers other servers, and sends the list again when a broker comes into reach. Ends with a conflict.
    pub async fn serve(mut self) -> Conflict {
        let (learnt, mut reach) = (self.learnt.clone(), self.reach.clone());
        loop {
            let outcome = tokio::select! {
                () = self.mail.arrived() => self.read_mail().map(drop),
                () = reach.changed() => {
                    learnt.tell();
                    Ok(())
                }
                () = learnt.0.notified() => {
                    tokio::time::sleep(PARTITION_SETTLING).await;
                    self.announce().await
                }
            };
            if let Err(conflict) = outcome {
                return conflict;
            }
        }
    }

    /// Answers lists and looks at answers; how many of the latter there were.
    fn read_mail(&mut self) -> Result<usize, Conflict> {
        let mut answers = 0;
        for batch in self.mail.take() {
            for message in batch.iter() {
                match message.tag {
                    _ if is_no_responders(&message) => {}
                    LISTS => self.answer_list(message.reply, message.payload),
                    _ => answers += usize::from(self.read_answer(message.payload)?),
                }
            }
        }
        self.sender.flush();
        Ok(answers)
    }

    /// What is not a list, is our own or wants no answer is ignored (§10).
    fn answer_list(&mut self, reply: Option<&[u8]>, payload: &[u8]) {
        let Some(reply) = reply.filter(|reply| !reply.is_empty()) else {
            return;
        };
        let Some(message) = decode_partitioning(payload).filter(|message| message.server_id != self.server_id) else {
            return;
        };
        let Some(theirs) = decode_channel_list(&message.data) else {
            return;
        };
        let overlap = self.limits.first_overlap(&theirs).unwrap_or_default();
        let answer = encode_partitioning(self.server_id.as_bytes(), overlap);
        // Whoever asked may have gone.
        let _ = self.sender.send(reply, None, &[&answer]);
    }

    /// Whether it was an answer of another server.
    fn read_answer(&self, payload: &[u8]) -> Result<bool, Conflict> {
        match decode_partitioning(payload).filter(|message| message.server_id != self.server_id) {
            Some(message) if !message.data.is_empty() => {
                Err(Conflict(partition_conflict(&message.data, &message.server_id)))
            }
            answer => Ok(answer.is_some()),
        }
    }
}
