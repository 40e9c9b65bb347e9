//! The payment service: what is approved is paid for.
//!
//! It keeps nothing: the event that says that the money was taken is the record of it. A real one would ask a bank here, with
//! the order's ID as the key under which the bank takes the money once.

use clap::Parser;
use seaway_orders_pb::messages::{Event, Order, OrderStatus};
use seaway_orders_pb::{ORDER, event_type_channel, event_types};

use crate::event_writer::EventWriter;
use crate::program::{self, SeawayArguments, Stop};
use crate::reaction::{self, Unanswered};
use crate::seaway;

/// The name of the process, of its client and of its durable subscription.
const NAME: &str = "payment-service";
const DURABLE: &str = "payment";

/// Takes the money for approved orders.
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
}

/// Runs the service.
///
/// # Errors
/// When an argument makes no sense.
pub async fn run(arguments: Arguments, stop: Stop) -> anyhow::Result<()> {
    let events = EventWriter::new(&arguments.event_store)?;
    let Some(client) = stop.unless(seaway::connect(&arguments.seaway, NAME)).await else {
        return Ok(());
    };
    let client = client?;
    let channel = event_type_channel(ORDER, event_types::ORDER_APPROVED);
    program::ready(NAME, &channel);
    reaction::react(&client, &channel, DURABLE, &stop, |event, order| {
        pay(&events, event, order)
    })
    .await;
    seaway::close(&client).await;
    Ok(())
}

async fn pay(events: &EventWriter, event: Event, mut order: Order) -> Result<(), Unanswered> {
    order.set_status(OrderStatus::Paid);
    events
        .append(event.version, event_types::ORDER_PAYMENT_DEBITED, &order)
        .await?;
    Ok(())
}
