//! Placing an order: checks it, gives it an ID, and asks the event store to remember that it was created.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use seaway_orders_pb::messages::{Event, Order, OrderItem, OrderStatus};
use seaway_orders_pb::{Message as _, event_types};
use serde::Deserialize;
use uuid::Uuid;

use super::Service;
use super::answers::{Failure, Item, OrderInList};
use crate::backoff::Backoff;
use crate::event_writer::WriteError;
use crate::time;

/// How long a request waits for an event store that is away.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Characters of names and codes, items of an order, and what one item may be.
const NAME_CHARACTERS_MAX: usize = 100;
const CODE_CHARACTERS_MAX: usize = 32;
const ITEMS_MAX: usize = 50;
const QUANTITY_MAX: i64 = 1_000;
const UNIT_PRICE_CENTS_MAX: i64 = 10_000_000;

/// The same key gives the same order.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const KEY_BYTES_MAX: usize = 128;
/// The space of order IDs that are made from keys.
const KEYS: Uuid = Uuid::from_u128(0x6f2b_4a0e_3c1d_4b57_9a61_8d1f_0c2e_7b35);

/// The body of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    customer: String,
    restaurant: String,
    items: Vec<Item>,
}

pub(super) async fn place(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<OrderInList>), Failure> {
    let new: NewOrder = serde_json::from_slice(&body).map_err(|error| Failure::invalid("body", error.to_string()))?;
    let order = order(new, order_id(&headers)?)?;
    let event = write(&service, &order).await?;
    // With a key that was used before, this is the order of that time.
    let stored =
        Order::decode(event.data).map_err(|error| Failure::Internal(format!("order {}: {error}", order.id)))?;
    let answer = OrderInList::new(stored, event.version, event.created_on_ms);
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Writes the first event of an order, and tries again for a while: the event store recognises an event that it has.
async fn write(service: &Service, order: &Order) -> Result<Event, Failure> {
    let mut unavailable = String::from("the event store does not answer");
    let trying = async {
        let mut backoff = Backoff::new();
        loop {
            match service.events.append(0, event_types::ORDER_CREATED, order).await {
                Ok(event) => return Ok(event),
                Err(error @ WriteError::Unavailable(_)) => unavailable = error.to_string(),
                Err(error) => return Err(Failure::Internal(format!("order {}: {error}", order.id))),
            }
            backoff.wait(unavailable.clone()).await;
        }
    };
    let outcome = tokio::time::timeout(WRITE_TIMEOUT, trying).await;
    match outcome {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Unavailable(format!(
            "{unavailable}; whether the order was taken is not known: send it again with an {IDEMPOTENCY_KEY}"
        ))),
    }
}

fn order_id(headers: &HeaderMap) -> Result<Uuid, Failure> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(Uuid::new_v4());
    };
    match key.as_bytes() {
        key if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Uuid::new_v5(&KEYS, key)),
        _ => Err(Failure::invalid(
            IDEMPOTENCY_KEY,
            format!("must have 1 to {KEY_BYTES_MAX} bytes"),
        )),
    }
}

/// The order that a request describes, if it makes sense.
fn order(new: NewOrder, id: Uuid) -> Result<Order, Failure> {
    check_text("customer", &new.customer, NAME_CHARACTERS_MAX)?;
    check_text("restaurant", &new.restaurant, NAME_CHARACTERS_MAX)?;
    check_range("items", "items", new.items.len() as i64, ITEMS_MAX as i64)?;
    for (index, item) in new.items.iter().enumerate() {
        let field = |name: &str| format!("items[{index}].{name}");
        check_text(&field("code"), &item.code, CODE_CHARACTERS_MAX)?;
        check_text(&field("name"), &item.name, NAME_CHARACTERS_MAX)?;
        check_range(
            &field("unit_price_cents"),
            "cents",
            item.unit_price_cents,
            UNIT_PRICE_CENTS_MAX,
        )?;
        check_range(&field("quantity"), "pieces", item.quantity, QUANTITY_MAX)?;
    }
    // Far from any overflow, by the limits above.
    let amount_cents = new.items.iter().map(|item| item.unit_price_cents * item.quantity).sum();
    Ok(Order {
        id: id.to_string(),
        customer: new.customer,
        restaurant: new.restaurant,
        status: OrderStatus::Created.into(),
        created_on_ms: time::now_ms(),
        amount_cents,
        items: new.items.into_iter().map(OrderItem::from).collect(),
        rejection_reason: String::new(),
    })
}

fn check_text(field: &str, text: &str, characters_max: usize) -> Result<(), Failure> {
    let characters = text.chars().count();
    if text.trim().is_empty() {
        Err(Failure::invalid(field, "must not be empty"))
    } else if characters > characters_max {
        Err(Failure::invalid(
            field,
            format!("has {characters} characters; at most {characters_max} are taken"),
        ))
    } else if text.chars().any(char::is_control) {
        Err(Failure::invalid(field, "must not hold control characters"))
    } else {
        Ok(())
    }
}

fn check_range(field: &str, unit: &str, value: i64, max: i64) -> Result<(), Failure> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(Failure::invalid(field, format!("{value}: must be 1 to {max} {unit}"))),
    }
}

impl From<Item> for OrderItem {
    fn from(item: Item) -> Self {
        Self {
            code: item.code,
            name: item.name,
            unit_price_cents: item.unit_price_cents,
            quantity: item.quantity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_order() -> NewOrder {
        let body = br#"{"customer":"ann","restaurant":"Blue Door",
            "items":[{"code":"M1","name":"Soup","unit_price_cents":450,"quantity":2},
                     {"code":"M2","name":"Bread","unit_price_cents":120,"quantity":1}]}"#;
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn an_order_has_its_sum() {
        let order = order(new_order(), Uuid::nil()).unwrap();
        assert_eq!(order.amount_cents, 1020);
        assert_eq!(order.status(), OrderStatus::Created);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        type Change = fn(&mut NewOrder);
        let cases: [(&str, Change); 9] = [
            ("customer", |order| order.customer = " ".to_owned()),
            ("restaurant", |order| order.restaurant = "x".repeat(101)),
            ("restaurant", |order| order.restaurant = "a\nb".to_owned()),
            ("items", |order| order.items.clear()),
            ("items", |order| order.items = vec![order.items[0].clone(); 51]),
            ("items[1].code", |order| order.items[1].code.clear()),
            ("items[0].quantity", |order| order.items[0].quantity = 0),
            ("items[1].quantity", |order| order.items[1].quantity = i64::MAX),
            ("items[0].unit_price_cents", |order| {
                order.items[0].unit_price_cents = -1
            }),
        ];
        for (wanted, change) in cases {
            let mut new = new_order();
            change(&mut new);
            match order(new, Uuid::nil()) {
                Err(Failure::Invalid { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_key_gives_an_id() {
        let with_key = |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, key.parse().unwrap());
            order_id(&headers)
        };
        assert_eq!(with_key("one").unwrap(), with_key("one").unwrap());
        assert_ne!(with_key("one").unwrap(), with_key("two").unwrap());
        assert!(with_key("").is_err());
        assert!(with_key(&"x".repeat(129)).is_err());
        assert_ne!(
            order_id(&HeaderMap::new()).unwrap(),
            order_id(&HeaderMap::new()).unwrap()
        );
    }
}
