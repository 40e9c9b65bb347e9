//! What the order system keeps, in SQL: three stores, each with one asynchronous API over SQLite, PostgreSQL and CockroachDB.
//!
//! - [`EventLog`]: the events of all aggregates and the outbox of what is still to be published, written together;
//! - [`ReadModel`]: orders as people want to see them, folded from events that may come in any order;
//! - [`Tickets`]: what the restaurant has decided.
//!
//! A transaction is a plain function that runs on a thread of its own, where nothing can cancel it half-way. It may run more
//! than once, when the database asks for it or when nobody knows whether it was committed; so every one of them is written to
//! be repeatable. See [`Error`] for what is left after the repetitions.
//!
//! All SQL is in `sql/`, one file per database. Knows nothing of Seaway, gRPC and HTTP.

mod database;
mod error;
mod event_log;
mod migration;
mod order_state;
mod postgres;
mod read_model;
mod retry;
mod sql;
mod sqlite;
mod tickets;
mod transaction;
mod url;
mod value;

pub use error::Error;
pub use event_log::{Appended, EventLog, Unpublished};
pub use order_state::OrderState;
pub use read_model::{Counts, OrderView, ReadModel, Step};
pub use tickets::{Ticket, Tickets};
pub use url::DatabaseUrl;
