//! The restaurant's own table: what it has decided about each order.

use crate::database::Database;
use crate::sql::{Schema, Statement};
use crate::{DatabaseUrl, Error};

/// The table; clones share its connections.
#[derive(Clone, Debug)]
pub struct Tickets {
    database: Database,
}

/// A decision about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The order's UUID.
    pub order_id: String,
    /// Who ordered.
    pub customer: String,
    /// `approved` or `rejected`.
    pub decision: String,
    /// Why it was rejected; empty otherwise.
    pub reason: String,
    /// When it was decided, in milliseconds since 1970.
    pub decided_on_ms: i64,
}

impl Tickets {
    /// Opens the table, and makes it when it is missing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        let database = Database::open(url, Schema::Tickets).await?;
        Ok(Self { database })
    }

    /// Writes a ticket unless the order has one; the one it has from now on, so that a decision is made once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn decide(&self, ticket: Ticket) -> Result<Ticket, Error> {
        self.database
            .write(move |transaction| {
                let values = [
                    ticket.order_id.as_str().into(),
                    ticket.customer.as_str().into(),
                    ticket.decision.as_str().into(),
                    ticket.reason.as_str().into(),
                    ticket.decided_on_ms.into(),
                ];
                transaction.execute(Statement::InsertTicket, &values)?;
                let row = transaction.query_one(Statement::TicketOfOrder, &[ticket.order_id.as_str().into()])?;
                Ok(Ticket {
                    order_id: row.text(0)?,
                    customer: row.text(1)?,
                    decision: row.text(2)?,
                    reason: row.text(3)?,
                    decided_on_ms: row.integer(4)?,
                })
            })
            .await
    }
}
