//! Databases to test with: always SQLite, and PostgreSQL when `SEAWAY_TEST_POSTGRES` holds the address of a server on which
//! databases may be made, once as it is and once with serializable transactions, as CockroachDB has them.
#![allow(dead_code, reason = "not every test program uses everything")]

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use seaway_orders_pb::messages::{Event, Order};
use seaway_orders_pb::{Message as _, event_types};
use seaway_orders_store::DatabaseUrl;

const VARIABLE: &str = "SEAWAY_TEST_POSTGRES";

/// A new, empty database.
pub(crate) struct Fresh {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    pub(crate) fn url(&self) -> DatabaseUrl {
        self.address.parse().unwrap()
    }
}

/// One new database of each kind.
pub(crate) async fn fresh() -> Vec<Fresh> {
    let mut all = vec![sqlite()];
    match postgres().await {
        Some(postgres) => {
            let mut serializable = self::postgres().await.unwrap();
            serializable.name = "PostgreSQL, serializable";
            let mark = if serializable.address.contains('?') { '&' } else { '?' };
            serializable.address += &format!("{mark}options=-c%20default_transaction_isolation%3Dserializable");
            all.extend([postgres, serializable]);
        }
        None => eprintln!("only SQLite is tested: {VARIABLE} holds no address"),
    }
    all
}

pub(crate) fn sqlite() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    Fresh {
        name: "SQLite",
        address: format!("sqlite:{}", folder.path().join("test.db").display()),
        _folder: Some(folder),
    }
}

pub(crate) async fn postgres() -> Option<Fresh> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var(VARIABLE).ok()?;
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // The number of a process may have been that of another before.
    for command in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        client.batch_execute(&format!("{command} {name}")).await.unwrap();
    }
    let (address, options) = server.split_once('?').unwrap_or((&server, ""));
    let (host, _) = address.rsplit_once('/').expect("the address names a database");
    let mark = if options.is_empty() { "" } else { "?" };
    Some(Fresh {
        name: "PostgreSQL",
        address: format!("{host}/{name}{mark}{options}"),
        _folder: None,
    })
}

pub(crate) const WAY: [&str; 3] = [
    event_types::ORDER_CREATED,
    event_types::ORDER_APPROVED,
    event_types::ORDER_PAYMENT_DEBITED,
];

/// An event of an order on its way to its payment.
pub(crate) fn event(order_id: &str, version: u64) -> Event {
    let order = Order {
        id: order_id.to_owned(),
        customer: "ann".to_owned(),
        restaurant: "Blue Door".to_owned(),
        amount_cents: 900,
        created_on_ms: 1_000,
        ..Order::default()
    };
    Event {
        event_id: format!("{order_id}/{version}"),
        aggregate_id: order_id.to_owned(),
        aggregate_type: "order".to_owned(),
        version,
        event_type: WAY[usize::try_from(version).unwrap() - 1].to_owned(),
        data: Bytes::from(order.encode_to_vec()),
        created_on_ms: 1_000 + i64::try_from(version).unwrap(),
    }
}
