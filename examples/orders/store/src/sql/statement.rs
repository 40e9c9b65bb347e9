//! What there is to say to a database, whatever its kind: statements and sets of tables.

/// A set of tables with one owner. Several may live in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    EventLog,
    ReadModel,
    Tickets,
}

impl Schema {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EventLog => "event_log",
            Self::ReadModel => "read_model",
            Self::Tickets => "tickets",
        }
    }
}

macro_rules! statements {
    ($($name:ident,)*) => {
        /// A statement. The comments beside the texts say what they are for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Statement {
            $($name,)*
        }

        #[cfg(test)]
        pub(crate) const STATEMENTS: &[Statement] = &[$(Statement::$name,)*];
    };
}

statements! {
    DefineSchemaVersions,
    AddSchemaVersion,
    LatestSchemaVersion,
    LockLog,
    AdvanceLog,
    EventById,
    AggregateVersion,
    InsertEvent,
    EventsOfAggregate,
    InsertOutbox,
    OldestOutbox,
    DeleteOutbox,
    TakeOutboxLease,
    InsertOrderEvents,
    EnsureOrder,
    LockOrder,
    EventsOfOrder,
    UpdateOrder,
    OrderById,
    NewestOrders,
    NewestOrdersOfStatus,
    CountOrders,
    DeleteOrders,
    DeleteOrderEvents,
    InsertTicket,
    TicketOfOrder,
}
