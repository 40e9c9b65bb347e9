//! From a path and its parameters to an answer; knows no sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use crate::json::Nothing;
use crate::limits::{LISTS_AT_A_TIME, QUERY_LEN_MAX, SNAPSHOT_TIME_MAX};
use crate::moment::Moment;
use crate::process::ProcessUse;
use crate::query::Query;
use crate::reply::{Accept, Content, Reply};
use crate::snapshot::{Account, Source, StreamingState, Unavailable};
use crate::{audit, broker, connections, features, metrics, pages, routes, streaming, why};

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
const LIST_PATHS: [&str; 8] = [
    "/connz",
    "/subsz",
    "/subscriptionsz",
    "/metrics",
    "/streaming/auditz",
    "/streaming/channelsz",
    "/streaming/clientsz",
    "/streaming/why",
];

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
            "/" => Reply::html(pages::root(source, moment, &self.base_path).await?),
            "/healthz" | "/healthz/ready" => broker::healthz(source.readiness().await),
            "/healthz/live" => broker::healthz(source.liveness().await),
            "/varz" => broker::varz(source.broker().await?, moment, ProcessUse::now(), self.request_counts()),
            "/connz" => connections::connz(source, moment, query).await?,
            "/subsz" | "/subscriptionsz" => connections::subsz(source, source.broker().await?, moment, query).await?,
            "/routez" => routes::routez(source, source.broker().await?, moment, query).await?,
            "/gatewayz" => features::gatewayz(source.broker().await?, moment),
            "/leafz" => features::leafz(source.broker().await?, moment),
            "/accountz" => features::accountz(source.broker().await?, accounts(source, query).await?, moment, query),
            "/accstatz" => features::accstatz(source.broker().await?, accounts(source, query).await?, moment, query),
            "/jsz" => features::jsz(source.broker().await?, moment),
            "/ipqueuesz" | "/raftz" | "/debug/vars" => Reply::json(&Nothing {}),
            "/stacksz" => features::stacksz(),
            "/metrics" => metrics::metrics(source, moment, query, ProcessUse::now()).await?,
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
            "" => Ok(Reply::html(pages::streaming())),
            "/serverz" => streaming::serverz(source, moment, ProcessUse::now()).await,
            "/storez" => streaming::storez(source, moment).await,
            "/clientsz" => streaming::clientsz(source, moment, query).await,
            "/channelsz" => streaming::channelsz(source, moment, query).await,
            "/auditz" => audit::auditz(source, moment, query).await,
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

/// The accounts that a request is about.
async fn accounts(source: &dyn Source, query: &Query) -> Result<Vec<Account>, Unavailable> {
    match query.text("acc") {
        Some(name) => Ok(source.account(&name).await?.into_iter().collect()),
        None => source.accounts().await,
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod features_tests;
#[cfg(test)]
pub(crate) mod tests;
