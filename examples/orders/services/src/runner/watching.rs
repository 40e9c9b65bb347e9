//! What becomes of the orders: the log as it happens, and the read model at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{AbortHandle, Abortable};
use seaway_client::{Message, Start};
use seaway_orders_pb::{ORDER, channel};

use crate::program::SeawayArguments;
use crate::runner::{children, http};
use crate::{reaction, seaway};

/// How often the read model is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Digits of an order's ID that tell it from the others on the screen.
const ID_DIGITS: usize = 8;

/// Ends the printing when it is dropped.
pub(super) struct Printing(AbortHandle);

impl Drop for Printing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Prints what happens to orders from now on.
pub(super) async fn print_log(arguments: &SeawayArguments) -> anyhow::Result<Printing> {
    let client = seaway::connect(arguments, "orders").await?;
    let subscription = seaway::subscribe(|| client.subscribe(channel(ORDER)).start(Start::NewOnly)).await;
    let (end, registration) = AbortHandle::new_pair();
    let printing = subscription.for_each(|message| {
        print(&message);
        std::future::ready(())
    });
    tokio::spawn(Abortable::new(printing, registration));
    Ok(Printing(end))
}

fn print(message: &Message) {
    let Ok((event, order)) = reaction::decode(message) else {
        return;
    };
    let id: String = order.id.chars().take(ID_DIGITS).collect();
    let reason = match order.rejection_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    children::say(&format!(
        "{:>5}  {id}  {:<20} {} at {}, {}.{:02}{reason}",
        message.sequence(),
        event.event_type,
        order.customer,
        order.restaurant,
        order.amount_cents / 100,
        order.amount_cents % 100,
    ));
}

/// Waits until the read model shows all orders at their end; what became of them.
pub(super) async fn until_final(page: &str, ids: &[String]) -> anyhow::Result<String> {
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for id in ids {
        let status = loop {
            let answer = http::get(&format!("{page}/api/orders/{id}")).await?;
            let status = match &answer {
                None => None,
                Some(order) => Some(order["status"].as_str().context("an order has no status")?),
            };
            match status {
                Some(end @ ("paid" | "rejected")) => break end.to_owned(),
                _ => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        };
        *ends.entry(status).or_default() += 1;
    }
    let ends: Vec<String> = ends.iter().map(|(status, count)| format!("{count} {status}")).collect();
    Ok(format!("{} orders: {}", ids.len(), ends.join(", ")))
}
