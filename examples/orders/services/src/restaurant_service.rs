//! The restaurant service: accepts or rejects orders.
//!
//! A decision is written into the restaurant's own table first, and told to the event store after it. So an order that is
//! delivered again gets the same answer, even if the restaurant would decide otherwise by now.

use clap::Parser;
use seaway_orders_pb::messages::{Event, Order, OrderStatus};
use seaway_orders_pb::{ORDER, event_type_channel, event_types};
use seaway_orders_store::{DatabaseUrl, Ticket, Tickets};

use crate::event_writer::EventWriter;
use crate::program::{self, SeawayArguments, Stop};
use crate::reaction::{self, Unanswered};
use crate::{seaway, time};

/// The name of the process, of its client and of its durable subscription.
const NAME: &str = "restaurant-service";
const DURABLE: &str = "restaurant";

/// Dishes in one order that a kitchen takes.
const QUANTITY_MAX: i64 = 20;

/// Accepts or rejects orders: no more than 20 dishes at once, and none from a restaurant that is closed.
#[derive(Clone, Debug, Parser)]
#[command(name = NAME)]
pub struct Arguments {
    /// Where Seaway is.
    #[command(flatten)]
    pub seaway: SeawayArguments,
    /// Address of the event store
    #[arg(
        long,
        env = "ORDERS_EVENT_STORE",
        default_value = "http://127.0.0.1:50051",
        value_name = "URL"
    )]
    pub event_store: String,
    /// Where tickets are kept: sqlite:PATH, postgres://… or cockroachdb://…
    #[arg(
        long,
        env = "ORDERS_DATABASE",
        default_value = "sqlite:tickets.db",
        value_name = "URL"
    )]
    pub database: DatabaseUrl,
    /// Restaurants that are closed, separated by commas
    #[arg(
        long,
        env = "ORDERS_CLOSED",
        default_value = "Night Owl",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub closed: Vec<String>,
}

struct Restaurant {
    tickets: Tickets,
    events: EventWriter,
    closed: Vec<String>,
}

/// Runs the service.
///
/// # Errors
/// When an argument makes no sense, or the database cannot be used.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let events = EventWriter::new(&arguments.event_store)?;
    let Some(tickets) = stop.unless(program::open(|| Tickets::open(&arguments.database))).await else {
        return Ok(());
    };
    let Some(client) = stop.unless(seaway::connect(&arguments.seaway, NAME)).await else {
        return Ok(());
    };
    let client = client?;
    let restaurant = Restaurant {
        tickets: tickets?,
        events,
        closed: arguments.closed,
    };
    let channel = event_type_channel(ORDER, event_types::ORDER_CREATED);
    program::ready(NAME, &channel);
    reaction::react(&client, &channel, DURABLE, &stop, |event, order| {
        restaurant.decide(event, order)
    })
    .await;
    seaway::close(&client).await;
    Ok(())
}

impl Restaurant {
    async fn decide(&self, event: Event, mut order: Order) -> Result<(), Unanswered> {
        let objection = objection(&order, &self.closed);
        let status = match objection {
            None => OrderStatus::Approved,
            Some(_) => OrderStatus::Rejected,
        };
        let ticket = Ticket {
            order_id: order.id.clone(),
            customer: order.customer.clone(),
            decision: status.word().to_owned(),
            reason: objection.unwrap_or_default(),
            decided_on_ms: time::now_ms(),
        };
        let ticket = self.tickets.decide(ticket).await?;
        let is_approved = ticket.decision == OrderStatus::Approved.word();
        let (status, event_type) = match is_approved {
            true => (OrderStatus::Approved, event_types::ORDER_APPROVED),
            false => (OrderStatus::Rejected, event_types::ORDER_REJECTED),
        };
        order.set_status(status);
        order.rejection_reason = ticket.reason;
        self.events.append(event.version, event_type, &order).await?;
        Ok(())
    }
}

/// Why the restaurant does not cook this.
fn objection(order: &Order, closed: &[String]) -> Option<String> {
    let quantity = order
        .items
        .iter()
        .fold(0_i64, |sum, item| sum.saturating_add(item.quantity));
    if closed.contains(&order.restaurant) {
        Some(format!("{} is closed", order.restaurant))
    } else if quantity > QUANTITY_MAX {
        Some(format!("{quantity} dishes at once; the kitchen takes {QUANTITY_MAX}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use seaway_orders_pb::messages::OrderItem;

    use super::*;

    #[test]
    fn what_a_restaurant_does_not_cook() {
        let closed = ["Night Owl".to_owned()];
        for (restaurant, quantities, words) in [
            ("Blue Door", &[1][..], None),
            ("Blue Door", &[10, 10], None),
            ("Blue Door", &[10, 11], Some("21 dishes")),
            ("Blue Door", &[i64::MAX, i64::MAX], Some("dishes at once")),
            ("Night Owl", &[1], Some("is closed")),
        ] {
            let items = quantities.iter().map(|quantity| OrderItem {
                quantity: *quantity,
                ..OrderItem::default()
            });
            let order = Order {
                restaurant: restaurant.to_owned(),
                items: items.collect(),
                ..Order::default()
            };
            let found = objection(&order, &closed);
            match words {
                None => assert_eq!(found, None),
                Some(words) => assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{found:?}"),
            }
        }
    }
}
