//! Whose a durable is, where a command names only the durable.

use serde::Deserialize;
use serde_json::Map;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Durable {
    name: String,
    queue: String,
    client_id: String,
}

/// The client IDs that own durables of this name and group on a channel.
pub(crate) async fn owners(
    connection: &Connection,
    channel: &str,
    durable: &str,
    queue: Option<&str>,
) -> Outcome<Vec<String>> {
    let question = Map::from_iter([("channel".to_owned(), channel.into())]);
    let mut owners = Vec::new();
    let asking = connection.ask_for_list("read.durables", question, "durables", |page| {
        for entry in page {
            let entry: Durable = serde_json::from_value(entry)
                .map_err(|error| Failure::failed(format!("the server's answer cannot be read: {error}")))?;
            if entry.name == durable && entry.queue == queue.unwrap_or_default() {
                owners.push(entry.client_id);
            }
        }
        Ok(())
    });
    asking.await?;
    Ok(owners)
}
