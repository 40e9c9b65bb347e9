//! An event-driven order system on Seaway: six processes and one log.
//!
//! ```text
//! POST /api/orders -> order_service --gRPC--> event_store --outbox--> order-notification ---> order_query_store (twice)
//!                                       ^                 `--> order-notification.OrderCreated ---> restaurant_service
//!                                       |                  `-> order-notification.OrderApproved --> payment_service
//!                                       `---------- OrderApproved, OrderRejected, OrderPaymentDebited ------'
//! ```
//!
//! Every process is a module with a `run` and a binary of the same name; `orders` starts them all. Nothing is shared but
//! messages: each process has its own database, but for the read model, which the query stores write and the order service
//! reads.
//!
//! What is delivered at least once is worked on as if once: the ID of an event that answers another is derived from it, so the
//! second attempt is recognised by the event store.

pub mod event_store;
pub mod order_query_store;
pub mod order_service;
pub mod payment_service;
pub mod program;
pub mod restaurant_service;
pub mod runner;

mod backoff;
mod event_writer;
mod reaction;
mod seaway;
mod time;
