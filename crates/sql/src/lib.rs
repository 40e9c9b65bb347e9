//! A connection to PostgreSQL or MySQL (MariaDB too), opened as Go's usual drivers open one: statements, rows, transactions.
//!
//! - [`Source`] is where a database is, in the words that NATS Streaming takes (`stores-and-clustering.md` §4.1);
//! - [`Connection`] is one session there. Whoever calls waits: one thread, one statement at a time. Rows come one by one, as they are taken,
//!   so that memory does not depend on how many there are.
//!
//! It knows nothing of what the tables mean. No password is in an error, nor in what a [`Source`] says of itself.

#![forbid(unsafe_code)]

mod connection;
mod error;
mod mysql;
mod postgres;
mod row;
mod source;
mod tls;
mod tls_wanted;
mod value;

pub use connection::{Connection, Dialect};
pub use error::Error;
pub use row::Row;
pub use source::{Driver, Source};
pub use value::Value;
