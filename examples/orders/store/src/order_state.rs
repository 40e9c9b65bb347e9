//! What an order is after its events: the only place that knows how an event changes an order.

use seaway_orders_pb::messages::{Order, OrderStatus};
use seaway_orders_pb::{Message as _, event_types};

use crate::Error;

/// An event of an order, as the read model keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OrderEvent {
    pub(crate) version: u64,
    pub(crate) event_type: String,
    pub(crate) data: Vec<u8>,
    pub(crate) created_on_ms: i64,
}

/// An order after the events up to its version.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderState {
    /// How many events made it.
    pub version: u64,
    /// The order.
    pub order: Order,
    /// When the last of them happened, in milliseconds since 1970.
    pub updated_on_ms: i64,
}

impl OrderState {
    /// Folds events, ordered by version, up to the first gap; `None` while the first event is missing. What comes behind a gap
    /// waits until the gap is filled: so the result depends on which events are there, and not on when each came.
    pub(crate) fn fold(events: &[OrderEvent]) -> Result<Option<Self>, Error> {
        let mut state = None;
        for (version, event) in (1..).zip(events) {
            if event.version != version {
                break;
            }
            state = Some(Self::after(state, event)?);
        }
        Ok(state)
    }

    fn after(before: Option<Self>, event: &OrderEvent) -> Result<Self, Error> {
        let carried = Order::decode(event.data.as_slice())
            .map_err(|error| Error::Failed(format!("event {} of an order: {error}", event.version)))?;
        let mut order = match before {
            Some(before) => before.order,
            None => carried.clone(),
        };
        match event.event_type.as_str() {
            event_types::ORDER_CREATED => order.set_status(OrderStatus::Created),
            event_types::ORDER_APPROVED => order.set_status(OrderStatus::Approved),
            event_types::ORDER_REJECTED => {
                order.set_status(OrderStatus::Rejected);
                order.rejection_reason = carried.rejection_reason;
            }
            event_types::ORDER_PAYMENT_DEBITED => order.set_status(OrderStatus::Paid),
            // A newer program's event: it counts, and changes nothing that this one shows.
            _ => {}
        }
        Ok(Self {
            version: event.version,
            order,
            updated_on_ms: event.created_on_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(version: u64, event_type: &str) -> OrderEvent {
        let order = Order {
            id: "1".to_owned(),
            rejection_reason: if event_type == event_types::ORDER_REJECTED {
                "closed"
            } else {
                ""
            }
            .to_owned(),
            ..Order::default()
        };
        OrderEvent {
            version,
            event_type: event_type.to_owned(),
            data: order.encode_to_vec(),
            created_on_ms: 100 * i64::try_from(version).unwrap(),
        }
    }

    fn status(events: &[OrderEvent]) -> Option<(u64, OrderStatus)> {
        let state = OrderState::fold(events).unwrap()?;
        assert_eq!(state.updated_on_ms, 100 * i64::try_from(state.version).unwrap());
        Some((state.version, state.order.status()))
    }

    #[test]
    fn the_way_of_an_order() {
        use event_types::{ORDER_APPROVED, ORDER_CREATED, ORDER_PAYMENT_DEBITED, ORDER_REJECTED};
        let created = event(1, ORDER_CREATED);
        let approved = event(2, ORDER_APPROVED);
        let paid = event(3, ORDER_PAYMENT_DEBITED);
        for (events, wanted) in [
            (vec![], None),
            (vec![approved.clone(), paid.clone()], None),
            (vec![created.clone()], Some((1, OrderStatus::Created))),
            (vec![created.clone(), paid.clone()], Some((1, OrderStatus::Created))),
            (
                vec![created.clone(), approved.clone()],
                Some((2, OrderStatus::Approved)),
            ),
            (vec![created.clone(), approved, paid], Some((3, OrderStatus::Paid))),
            (
                vec![created.clone(), event(2, ORDER_REJECTED)],
                Some((2, OrderStatus::Rejected)),
            ),
            (
                vec![created.clone(), event(2, "OrderPraised")],
                Some((2, OrderStatus::Created)),
            ),
        ] {
            assert_eq!(status(&events), wanted, "{events:?}");
        }
        let rejected = OrderState::fold(&[created, event(2, ORDER_REJECTED)]).unwrap().unwrap();
        assert_eq!(rejected.order.rejection_reason, "closed");
    }
}
