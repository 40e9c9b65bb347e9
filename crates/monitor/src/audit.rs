//! `/streaming/auditz`: who changed what, and when.

use serde::Serialize;

use crate::moment::Moment;
use crate::query::Query;
use crate::reply::Reply;
use crate::snapshot::{AuditEntry, AuditQuestion, Source, Unavailable};
use crate::streaming::List;

#[derive(Serialize)]
pub(crate) struct Audit<'a> {
    pub(crate) changes: &'a [AuditEntry],
}

/// `/streaming/auditz`
pub(crate) async fn auditz(source: &dyn Source, moment: &Moment, query: &Query) -> Result<Reply, Unavailable> {
    let since_ns = match query.text("since").as_deref().map(AuditQuestion::time).transpose() {
        Ok(since) => since,
        Err(text) => return Ok(Reply::bad_request(format!("since: {text}\n"))),
    };
    let request = query.page();
    let question = AuditQuestion {
        since_ns,
        who: query.text("who"),
        offset: request.offset,
        limit: request.limit,
    };
    let page = source.audit(question).await?;
    let (identity, changes) = (source.streaming_identity(), &page.entries);
    let list = List::new(identity, moment, request, changes.len(), page.total, Audit { changes });
    Ok(Reply::json(&list))
}
