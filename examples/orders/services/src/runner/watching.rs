//! What becomes of the orders: the log as it happens, and the read model at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use seaway_client::Start;
use seaway_orders_pb::messages::{Event, Order, OrderStatus};
use seaway_orders_pb::{ORDER, channel};
use tokio::sync::watch;

use crate::program::SeawayArguments;
use crate::runner::{children, http};
use crate::{reaction, seaway};

/// How often the read model is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Digits of an order's ID that tell it from the others on the screen.
const ID_DIGITS: usize = 8;

/// Prints what happens to orders, for as long as the process runs.
pub(super) struct Watching {
    /// The orders whose end was printed.
    ended: watch::Receiver<BTreeSet<String>>,
}

impl Watching {
    /// Prints the log from now on.
    pub(super) async fn start(arguments: &SeawayArguments) -> anyhow::Result<Self> {
        let client = seaway::connect(arguments, "orders").await?;
        let mut subscription = seaway::subscribe(|| client.subscribe(channel(ORDER)).start(Start::NewOnly)).await;
        let (tell, ended) = watch::channel(BTreeSet::new());
        tokio::spawn(async move {
            while let Some(message) = subscription.next().await {
                let Ok((event, order)) = reaction::decode(&message) else {
                    continue;
                };
                print(message.sequence(), &event, &order);
                if matches!(order.status(), OrderStatus::Paid | OrderStatus::Rejected) {
                    tell.send_modify(|ended| {
                        ended.insert(order.id);
                    });
                }
            }
        });
        Ok(Self { ended })
    }

    /// Waits until the ends of all orders are in the log and in the read model; what became of them.
    pub(super) async fn until_final(&mut self, page: &str, ids: &[String]) -> anyhow::Result<String> {
        let all = |ended: &BTreeSet<String>| ids.iter().all(|id| ended.contains(id));
        self.ended.wait_for(all).await.context("the log has ended")?;
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for id in ids {
            *ends.entry(end(page, id).await?).or_default() += 1;
        }
        let ends: Vec<String> = ends.iter().map(|(status, count)| format!("{count} {status}")).collect();
        Ok(format!("{} orders: {}", ids.len(), ends.join(", ")))
    }
}

/// The last status of an order in the read model, once it has one.
async fn end(page: &str, id: &str) -> anyhow::Result<String> {
    loop {
        let answer = http::get(&format!("{page}/api/orders/{id}")).await?;
        let status = answer.as_ref().and_then(|order| order["status"].as_str());
        if let Some(status @ ("paid" | "rejected")) = status {
            return Ok(status.to_owned());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn print(sequence: u64, event: &Event, order: &Order) {
    let id: String = order.id.chars().take(ID_DIGITS).collect();
    let reason = match order.rejection_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    children::say(&format!(
        "{sequence:>5}  {id}  {:<20} {} at {}, {}.{:02}{reason}",
        event.event_type,
        order.customer,
        order.restaurant,
        order.amount_cents / 100,
        order.amount_cents % 100,
    ));
}
