//! What everybody may see: the same as the monitoring endpoints show, in the form in which the administration gives it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use seaway_monitor::{Answers, AuditQuestion, Figures, Histogram, Refusal, WhyQuestion};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::{Answered, Refused, json, json_text};
use crate::body::Parameters;
use crate::console::Console;
use crate::limits::{ANSWER_LEN_MAX, ANSWER_TIME_MAX, LIST_LIMIT_MAX};

/// What is asked for; each name takes some of it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Question {
    prefix: String,
    channel: Option<String>,
    client: Option<String>,
    durable: Option<String>,
    queue: Option<String>,
    since: Option<String>,
    who: Option<String>,
    offset: usize,
    limit: Option<usize>,
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::NotFound(words) => Refused::new(StatusCode::NOT_FOUND, words),
        Refusal::TooLong(bytes) => {
            let words = format!("the answer has {bytes} bytes, more than the console shows: ask with the command line");
            Refused::new(StatusCode::INSUFFICIENT_STORAGE, words)
        }
        Refusal::Unavailable(words) => Refused::new(StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

pub(crate) async fn read(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    Parameters(question): Parameters<Question>,
) -> Answered {
    let turn = timeout(ANSWER_TIME_MAX, console.lists.acquire()).await;
    let _turn = turn.map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "others ask: try again"))?;
    let answers = Answers::new(&*console.source, ANSWER_LEN_MAX);
    let (offset, limit) = (
        question.offset,
        question.limit.unwrap_or(LIST_LIMIT_MAX).clamp(1, LIST_LIMIT_MAX),
    );
    let channel = || {
        question
            .channel
            .as_deref()
            .ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "channel is needed"))
    };
    let text = match name.as_str() {
        "server" => answers.server(env!("CARGO_PKG_VERSION")).await,
        "channels" => answers.channels(&question.prefix, offset, limit).await,
        "channel" => answers.channel(channel()?, offset, limit).await,
        "durables" => answers.durables(question.channel.as_deref(), offset, limit).await,
        "clients" => answers.clients(offset, limit).await,
        "client" => answers.client(question.client.as_deref().unwrap_or_default()).await,
        "why" => answers.why(why(&question, channel()?, (offset, limit))).await,
        "audit" => answers.audit(audit(&question, (offset, limit))?).await,
        "figures" => return figures(&console).await,
        _ => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "the console shows nothing of that name",
            ));
        }
    };
    text.map(json_text).map_err(refused)
}

fn audit(question: &Question, (offset, limit): (usize, usize)) -> Result<AuditQuestion, Refused> {
    let since = question.since.as_deref().map(AuditQuestion::time).transpose();
    Ok(AuditQuestion {
        since_ns: since.map_err(|words| Refused::new(StatusCode::BAD_REQUEST, format!("since: {words}")))?,
        who: question.who.clone(),
        offset,
        limit,
    })
}

fn why(question: &Question, channel: &str, (offset, limit): (usize, usize)) -> WhyQuestion {
    let bytes = |text: &Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
    WhyQuestion {
        channel: channel.as_bytes().to_vec(),
        durable: bytes(&question.durable),
        queue: bytes(&question.queue),
        client: bytes(&question.client),
        offset,
        limit,
    }
}

/// Figures of the engine and the store that no other answer has.
async fn figures(console: &Console) -> Answered {
    // What is wrong with the archive is in the server's health, which the page shows.
    let Figures { engine, journal, .. } = console.source.figures().await.map_err(|error| refused(error.into()))?;
    let journal = journal.map(|journal| {
        json!({
            "disk_bytes": journal.disk_bytes,
            "live_bytes": journal.live_bytes,
            "commits": histogram(&journal.commit_nanoseconds),
            "batch_records": histogram(&journal.batch_records),
        })
    });
    Ok(json(&json!({
        "redelivered": engine.redelivered_messages,
        "failed_heartbeats": engine.failed_heartbeats,
        "lost_clients": engine.lost_clients,
        "damaged": engine.damaged_messages,
        "bus_up": engine.bus_up,
        "backlog_bytes": engine.backlog_bytes,
        "refusing": engine.refusing,
        "journal": journal,
    })))
}

fn histogram(histogram: &Histogram) -> Value {
    json!({ "count": histogram.count, "sum": histogram.sum, "buckets": histogram.buckets })
}
