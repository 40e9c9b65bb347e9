//! Requests over HTTP to an order service with a read model and without an event store.

use seaway_orders_pb::Message as _;
use seaway_orders_pb::event_types;
use seaway_orders_pb::messages::{Event, Order};
use serde_json::{Value, json};

use super::*;
use crate::runner::http;

/// Serves a read model in which one order is approved; its address.
async fn serve(folder: &tempfile::TempDir) -> String {
    let url = format!("sqlite:{}", folder.path().join("read-model.db").display());
    let read_model = ReadModel::open(&url.parse().unwrap()).await.unwrap();
    let events = [event_types::ORDER_CREATED, event_types::ORDER_APPROVED];
    let events = (1..)
        .zip(events)
        .map(|(version, event_type)| event(version, event_type));
    read_model.record(events.collect()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // Nobody listens there.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let service = Service {
        events: EventWriter::new(&format!("http://{nowhere}")).unwrap(),
        live: Live::start(read_model.clone(), Stop::never()),
        read_model,
    };
    tokio::spawn(async move { axum::serve(listener, router(service)).await });
    address
}

const ID: &str = "0b2e7a52-7c0f-4a54-8a0e-6e51c0b6a111";

fn event(version: u64, event_type: &str) -> Event {
    let order = Order {
        id: ID.to_owned(),
        customer: "ann".to_owned(),
        restaurant: "Blue Door".to_owned(),
        created_on_ms: 1_700_000_000_123,
        amount_cents: 900,
        ..Order::default()
    };
    Event {
        event_id: version.to_string(),
        aggregate_id: ID.to_owned(),
        aggregate_type: "order".to_owned(),
        version,
        event_type: event_type.to_owned(),
        data: order.encode_to_vec().into(),
        created_on_ms: 1_700_000_000_123,
    }
}

#[tokio::test]
async fn orders_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let address = serve(&folder).await;
    let order = http::get(&format!("{address}/api/orders/{ID}")).await.unwrap().unwrap();
    let at = "2023-11-14T22:13:20.123Z";
    let expected = json!({
        "id": ID, "customer": "ann", "restaurant": "Blue Door", "status": "approved", "created_on": at, "updated_on": at,
        "amount_cents": 900, "version": 2, "items": [],
        "history": [
            { "version": 1, "event_type": "OrderCreated", "at": at },
            { "version": 2, "event_type": "OrderApproved", "at": at },
        ],
    });
    assert_eq!(order, expected);
    let counts = json!({ "created": 0, "approved": 1, "rejected": 0, "paid": 0 });
    for (query, orders) in [("", 1), ("?status=approved&limit=1", 1), ("?status=paid", 0)] {
        let list = http::get(&format!("{address}/api/orders{query}"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(list["orders"].as_array().map(Vec::len), Some(orders), "{query}");
        assert_eq!(list["counts"], counts, "{query}");
    }
    let unknown = ID.replace("111", "222");
    assert_eq!(
        http::get(&format!("{address}/api/orders/{unknown}")).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let address = serve(&folder).await;
    for (path, status, field) in [
        ("/api/orders/17", 422, "id"),
        ("/api/orders?status=lost", 422, "status"),
        ("/api/orders?limit=many", 422, "limit"),
    ] {
        let (found, answer) = http::send(http::Method::GET, &format!("{address}{path}"), &Value::Null)
            .await
            .unwrap();
        assert_eq!(
            (found, answer["error"]["field"].as_str()),
            (status, Some(field)),
            "{path}"
        );
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|words| !words.is_empty())
        );
    }
    let item = json!({ "code": "M1", "name": "Soup", "unit_price_cents": 450, "quantity": 2 });
    let good = json!({ "customer": "ann", "restaurant": "Blue Door", "items": [item] });
    let mut bad = good.clone();
    bad["items"][0]["quantity"] = 0.into();
    let url = format!("{address}/api/orders");
    for (body, status, field) in [
        (bad, 422, Some("items[0].quantity")),
        (json!({ "customer": "ann" }), 422, Some("body")),
        // The event store is away.
        (good, 503, None),
    ] {
        let (found, answer) = http::send(http::Method::POST, &url, &body).await.unwrap();
        assert_eq!((found, answer["error"]["field"].as_str()), (status, field), "{body}");
    }
}
