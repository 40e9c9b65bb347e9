//! The answers about the streaming server in one line of JSON, for whoever asks by another way than HTTP. Lists end early
//! rather than grow beyond what that way can carry: `count` says how many entries there are, `total` how many there would be.

use serde::Serialize;

use crate::audit::Audit;
use crate::durables::{DurableRow, Durables, durables};
use crate::json;
use crate::moment::Moment;
use crate::process::ProcessUse;
use crate::snapshot::{
    AuditQuestion, Channel, ChannelLimits, ChannelLimitsSet, Detail, Health, Membership, PageRequest, Source,
    Subscription, Unavailable, WhyQuestion,
};
use crate::streaming::{Clients, List, Serverz, ShownLimits};
use crate::why::Answer as WhyAnswer;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// What was asked for does not exist; in words, with what does.
    NotFound(String),
    /// An answer of so many bytes is more than can be carried.
    TooLong(usize),
    /// The server does not answer at present; the reason.
    Unavailable(String),
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable(reason): Unavailable) -> Refusal {
        Refusal::Unavailable(reason)
    }
}

/// Answers from a source.
pub struct Answers<'a> {
    source: &'a dyn Source,
    len_max: usize,
    moment: Moment,
}

#[derive(Serialize)]
struct ServerAnswer<'a> {
    #[serde(flatten)]
    server: Serverz,
    seaway_version: &'a str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenure: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault_tolerance: Option<Membership>,
    store: StoreAnswer,
}

#[derive(Serialize)]
struct StoreAnswer {
    #[serde(rename = "type")]
    kind: String,
    limits: ShownLimits,
}

#[derive(Serialize)]
struct ChannelsAnswer<'a> {
    channels: &'a [Channel],
}

#[derive(Serialize)]
struct ChannelAnswer<'a> {
    #[serde(flatten)]
    channel: &'a Channel,
    limits: &'a ChannelLimits,
    limits_set: &'a ChannelLimitsSet,
    offset: usize,
    limit: usize,
    count: usize,
    total: usize,
    subscriptions: &'a [Subscription],
}

impl<'a> Answers<'a> {
    /// Answers of this moment, none longer than `len_max` bytes.
    pub fn new(source: &'a dyn Source, len_max: usize) -> Answers<'a> {
        Answers {
            source,
            len_max,
            moment: Moment::now(),
        }
    }

    /// The server and its store; `seaway_version` is told as it is given.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn server(&self, seaway_version: &str) -> Result<String, Refusal> {
        let server = Serverz::look(self.source, &self.moment, ProcessUse::now()).await?;
        let store = self.source.streaming_store().await?;
        let (ready, reason) = match self.source.readiness().await? {
            Health::Ok => (true, None),
            Health::Degraded { reason } => (true, Some(reason)),
            Health::Unavailable { reason } => (false, Some(reason)),
        };
        let identity = self.source.streaming_identity();
        self.whole(&ServerAnswer {
            server,
            seaway_version,
            ready,
            reason,
            tenure: identity.tenure,
            fault_tolerance: identity.membership,
            store: StoreAnswer {
                kind: store.kind,
                limits: store.limits.into(),
            },
        })
    }

    /// Channels whose names begin with `prefix`, in byte order.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn channels(&self, prefix: &str, offset: usize, limit: usize) -> Result<String, Refusal> {
        let request = counts(offset, limit);
        let page = match prefix {
            "" => self.source.channels(request).await?,
            _ => {
                let prefix = prefix.as_bytes().to_vec();
                self.source.channels_with_prefix(prefix, offset, limit).await?
            }
        };
        self.list(request, page.total, &page.entries, |channels| ChannelsAnswer {
            channels,
        })
    }

    /// One channel with its limits and a part of its subscriptions.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn channel(&self, name: &str, offset: usize, limit: usize) -> Result<String, Refusal> {
        let bytes = name.as_bytes().to_vec();
        let Some(mut channel) = self.source.channel(bytes, Detail::Subscriptions).await? else {
            return Err(self.no_channel(name).await?);
        };
        let subscriptions = std::mem::take(&mut channel.subscriptions);
        let page = counts(offset, limit).of(subscriptions.into_iter());
        self.fit(&page.entries, |subscriptions| {
            json::compact(&ChannelAnswer {
                channel: &channel,
                limits: &channel.limits,
                limits_set: &channel.limits_set,
                offset,
                limit,
                count: subscriptions.len(),
                total: page.total,
                subscriptions,
            })
        })
    }

    /// Durables and queue groups, of one channel or of all.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn durables(&self, channel: Option<&str>, offset: usize, limit: usize) -> Result<String, Refusal> {
        let request = counts(offset, limit);
        let Some(page) = durables(self.source, channel, request).await? else {
            return Err(self.no_channel(channel.unwrap_or_default()).await?);
        };
        self.list(request, page.total, &page.entries, |durables: &[DurableRow]| Durables {
            durables,
        })
    }

    /// Registered clients in the byte order of their ids.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn clients(&self, offset: usize, limit: usize) -> Result<String, Refusal> {
        let request = counts(offset, limit);
        let page = self.source.clients(request).await?;
        self.list(request, page.total, &page.entries, |clients| Clients { clients })
    }

    /// One client with its subscriptions.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn client(&self, id: &str) -> Result<String, Refusal> {
        let client = self.source.client(id.as_bytes().to_vec(), Detail::Subscriptions);
        match client.await? {
            Some(client) => self.whole(&client),
            None => Err(Refusal::NotFound(format!(
                "there is no client {id:?}: it is not connected, or was lost"
            ))),
        }
    }

    /// Why subscriptions are, or are not, receiving.
    ///
    /// # Errors
    /// See [`Refusal`]; what does not exist in the words of the answer.
    pub async fn why(&self, question: WhyQuestion) -> Result<String, Refusal> {
        let (offset, limit) = (question.offset, question.limit);
        let why = self.source.why(question).await?;
        if !why.found {
            return Err(Refusal::NotFound(format!("{} {}", why.words, why.advice)));
        }
        let identity = self.source.streaming_identity();
        self.whole(&WhyAnswer::new(identity, &self.moment, offset, limit, &why))
    }

    /// Changes that operators have made, the newest first.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn audit(&self, question: AuditQuestion) -> Result<String, Refusal> {
        let request = counts(question.offset, question.limit);
        let page = self.source.audit(question).await?;
        self.list(request, page.total, &page.entries, |changes| Audit { changes })
    }

    /// What to say of a channel that does not exist, with the name that was perhaps meant.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn no_channel(&self, name: &str) -> Result<Refusal, Unavailable> {
        let question = WhyQuestion {
            channel: name.as_bytes().to_vec(),
            limit: 1,
            ..WhyQuestion::default()
        };
        let why = self.source.why(question).await?;
        Ok(Refusal::NotFound(if why.found {
            // It has come since.
            format!("there was no channel {name:?} a moment ago: ask again")
        } else {
            format!("{} {}", why.words, why.advice)
        }))
    }

    fn whole(&self, answer: &impl Serialize) -> Result<String, Refusal> {
        let text = json::compact(answer);
        if text.len() > self.len_max {
            return Err(Refusal::TooLong(text.len()));
        }
        Ok(text)
    }

    fn list<'e, E, T: Serialize>(
        &self,
        request: PageRequest,
        total: usize,
        entries: &'e [E],
        name: impl Fn(&'e [E]) -> T,
    ) -> Result<String, Refusal> {
        self.fit(entries, |entries| {
            let identity = self.source.streaming_identity();
            let count = entries.len();
            json::compact(&List::new(identity, &self.moment, request, count, total, name(entries)))
        })
    }

    /// The answer with as many of the first entries as can be carried, halving until they can.
    fn fit<'e, E>(&self, entries: &'e [E], text_of: impl Fn(&'e [E]) -> String) -> Result<String, Refusal> {
        let mut entries = entries;
        loop {
            let text = text_of(entries);
            if text.len() <= self.len_max {
                return Ok(text);
            }
            if entries.len() <= 1 {
                return Err(Refusal::TooLong(text.len()));
            }
            entries = &entries[..entries.len() / 2];
        }
    }
}

fn counts(offset: usize, limit: usize) -> PageRequest {
    PageRequest {
        offset,
        limit,
        detail: Detail::Counts,
    }
}

#[cfg(test)]
mod tests;
