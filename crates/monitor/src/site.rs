//! From a path and its parameters to an answer; knows no sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::limits::{LISTS_AT_A_TIME, QUERY_LEN_MAX, SNAPSHOT_TIME_MAX};
use crate::process::ProcessUse;
use crate::query::Query;
use crate::snapshot::{Source, StreamingState, Unavailable};
use crate::{broker, connections, features, json, metrics, streaming, why};

/// Paths of the broker, whose requests `/varz` counts (core specification §6.1).
const COUNTED_PATHS: [&str; 14] = [
    "/",
    "/accountz",
    "/accstatz",
    "/connz",
    "/gatewayz",
    "/healthz",
    "/ipqueuesz",
    "/jsz",
    "/leafz",
    "/raftz",
    "/routez",
    "/stacksz",
    "/subsz",
    "/varz",
];

/// Paths whose answers grow with what clients do.
const LIST_PATHS: [&str; 7] = [
    "/connz",
    "/subsz",
    "/subscriptionsz",
    "/metrics",
    "/streaming/channelsz",
    "/streaming/clientsz",
    "/streaming/why",
];

/// Kind of an answer's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// No content.
    Empty,
    Json,
    JavaScript,
    Html,
    Text,
    /// The text format of Prometheus.
    Metrics,
}

/// What an asker prefers where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Says nothing about it, or wants JSON.
    Any,
    /// Wants plain text.
    Text,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) body: String,
}

impl Reply {
    /// JSON over several lines.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Reply {
            status: 200,
            content: Content::Json,
            body: json::pretty(value),
        }
    }

    /// JSON in one line.
    pub(crate) fn compact_json(value: &impl Serialize) -> Self {
        Reply {
            status: 200,
            content: Content::Json,
            body: json::compact(value),
        }
    }

    pub(crate) fn not_found(text: String) -> Self {
        Reply {
            status: 404,
            content: Content::Text,
            body: text,
        }
    }

    pub(crate) fn bad_request(text: String) -> Self {
        Reply {
            status: 400,
            content: Content::Text,
            body: text,
        }
    }

    /// In place of an answer of `len` bytes.
    pub(crate) fn too_much(len: usize) -> Self {
        let text = format!("no room for an answer of {len} bytes: ask for less with limit=, or later\n");
        Reply::text(text).status(503)
    }

    /// The same answer with another status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn text(text: String) -> Self {
        Reply {
            status: 200,
            content: Content::Text,
            body: text,
        }
    }

    fn html(page: String) -> Self {
        Reply {
            status: 200,
            content: Content::Html,
            body: page,
        }
    }

    /// JSON as the argument of a call (streaming specification §8.1).
    fn called(mut self, callback: Option<String>) -> Self {
        if let (Content::Json, Some(callback)) = (self.content, callback) {
            self.body = format!("{callback}({})", self.body);
            self.content = Content::JavaScript;
        }
        self
    }
}

/// When a request is answered, and the zone of the times that are shown local.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Moment {
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }

    pub(crate) fn now_ns(&self) -> i64 {
        i64::try_from(self.now.as_nanosecond()).unwrap_or(i64::MAX)
    }

    pub(crate) fn local(&self, at: Timestamp) -> String {
        json::time(at, &self.zone)
    }

    pub(crate) fn local_now(&self) -> String {
        self.local(self.now)
    }
}

/// All endpoints over one source.
pub(crate) struct Site {
    source: Arc<dyn Source>,
    /// Before the paths of the broker; the streaming endpoints have none (streaming specification §8.1).
    base_path: String,
    /// Requests by place in [`COUNTED_PATHS`].
    requests: [AtomicU64; COUNTED_PATHS.len()],
    /// Turns for [`LIST_PATHS`].
    lists: Semaphore,
}

impl Site {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Site {
            base_path: source.base_path(),
            source,
            requests: Default::default(),
            lists: Semaphore::new(LISTS_AT_A_TIME),
        }
    }

    /// Answers a request; whatever its method.
    pub(crate) async fn answer(&self, path: &str, query: &str, accept: Accept) -> Reply {
        self.answer_at(Moment::now(), path, query, accept).await
    }

    pub(crate) async fn answer_at(&self, moment: Moment, path: &str, query: &str, accept: Accept) -> Reply {
        if query.len() > QUERY_LEN_MAX {
            return Reply::bad_request(format!("query too long, at most {QUERY_LEN_MAX} bytes"));
        }
        let path = self.without_base(path);
        if let Some(place) = COUNTED_PATHS.iter().position(|counted| *counted == path) {
            self.requests[place].fetch_add(1, Ordering::Relaxed);
        }
        let query = Query::parse(query);
        let callback = match query.callback() {
            Ok(callback) => callback,
            Err(text) => return Reply::bad_request(text),
        };
        let route = async {
            let _turn = if LIST_PATHS.contains(&path) {
                self.lists.acquire().await.ok()
            } else {
                None
            };
            match path
                .strip_prefix("/streaming")
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                Some(rest) => self.streaming(&moment, rest, &query, accept).await,
                None => self.broker(&moment, path, &query).await,
            }
        };
        let answer = tokio::time::timeout(SNAPSHOT_TIME_MAX, route).await;
        let answer = answer.unwrap_or_else(|_| Err(Unavailable("the server does not answer".to_owned())));
        match answer {
            Ok(reply) => reply.called(callback),
            Err(unavailable) if path.starts_with("/healthz") => broker::healthz(Err(unavailable)).called(callback),
            Err(Unavailable(reason)) => {
                let what = path.rsplit('/').next().unwrap_or_default();
                let body = format!("Error getting information about {what}: {reason}\n");
                Reply {
                    status: 500,
                    content: Content::Text,
                    body,
                }
            }
        }
    }

    /// The path as if there was no base path. What has to be found without one too keeps its own.
    fn without_base<'a>(&self, path: &'a str) -> &'a str {
        const FIXED: [&str; 3] = ["/streaming", "/metrics", "/healthz"];
        if self.base_path.is_empty() || FIXED.iter().any(|fixed| path.starts_with(fixed)) {
            return path;
        }
        match path.strip_prefix(&self.base_path) {
            Some("") => "/",
            // What has no base path has none behind one either.
            Some(rest) if rest.starts_with('/') && !rest.starts_with("/streaming") => rest,
            _ => "",
        }
    }

    async fn broker(&self, moment: &Moment, path: &str, query: &Query) -> Result<Reply, Unavailable> {
        let source = &*self.source;
        if path.starts_with("/healthz")
            && let Err(text) = broker::healthz_parameters(query)
        {
            return Ok(Reply::bad_request(text));
        }
        Ok(match path {
            "/" => Reply::html(broker::index(&self.base_path)),
            "/healthz" | "/healthz/ready" => broker::healthz(source.readiness().await),
            "/healthz/live" => broker::healthz(source.liveness().await),
            "/varz" => broker::varz(source.broker().await?, moment, ProcessUse::now(), self.request_counts()),
            "/connz" => connections::connz(source, moment, query).await?,
            "/subsz" | "/subscriptionsz" => connections::subsz(source, moment, query).await?,
            "/routez" => features::routez(source.broker().await?, moment),
            "/gatewayz" => features::gatewayz(source.broker().await?, moment),
            "/leafz" => features::leafz(source.broker().await?, moment),
            "/accountz" => features::accountz(source.broker().await?, moment, query),
            "/accstatz" => features::accstatz(source.broker().await?, moment, query),
            "/jsz" => features::jsz(source.broker().await?, moment),
            "/ipqueuesz" | "/raftz" | "/debug/vars" => Reply::json(&features::Nothing {}),
            "/stacksz" => features::stacksz(),
            "/metrics" => metrics::metrics(source, query, ProcessUse::now()).await?,
            _ => Reply::not_found("404 page not found\n".to_owned()),
        })
    }

    /// What is below `/streaming`.
    async fn streaming(
        &self,
        moment: &Moment,
        path: &str,
        query: &Query,
        accept: Accept,
    ) -> Result<Reply, Unavailable> {
        let source = &*self.source;
        match path {
            "" => Ok(Reply::html(streaming::INDEX.to_owned())),
            "/serverz" => streaming::serverz(source, moment, ProcessUse::now()).await,
            "/storez" => streaming::storez(source, moment).await,
            "/clientsz" => streaming::clientsz(source, moment, query).await,
            "/channelsz" => streaming::channelsz(source, moment, query).await,
            "/why" => why::why(source, moment, query, accept).await,
            "/isFTActive" => {
                let active = source.streaming_identity().state == StreamingState::FtActive;
                let status = if active { 200 } else { 204 };
                Ok(Reply {
                    status,
                    content: Content::Empty,
                    body: String::new(),
                })
            }
            _ => Ok(Reply::not_found("404 page not found\n".to_owned())),
        }
    }

    fn request_counts(&self) -> BTreeMap<&'static str, u64> {
        COUNTED_PATHS
            .into_iter()
            .zip(&self.requests)
            .map(|(path, count)| (path, count.load(Ordering::Relaxed)))
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod features_tests;
#[cfg(test)]
pub(crate) mod tests;
