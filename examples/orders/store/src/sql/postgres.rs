//! The texts for PostgreSQL and CockroachDB: no sequences, advisory locks, notifications or binary copies, BIGINT for every
//! number, and every parameter used.

use super::statement::{Schema, Statement};

pub(super) fn text(statement: Statement) -> &'static str {
    match statement {
        Statement::DefineSchemaVersions => {
            "CREATE TABLE IF NOT EXISTS schema_versions (
                 component TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (component, version))"
        }
        Statement::AddSchemaVersion => {
            "INSERT INTO schema_versions (component, version) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        }
        Statement::LatestSchemaVersion => "SELECT coalesce(max(version), 0) FROM schema_versions WHERE component = $1",

        // Appends take turns, so that positions are given in the order of commits.
        Statement::LockLog => "SELECT position FROM log_head WHERE id = 1 FOR UPDATE",
        Statement::AdvanceLog => "UPDATE log_head SET position = $1 WHERE id = 1",
        Statement::EventById => {
            "SELECT event_id, aggregate_id, aggregate_type, version, event_type, data, created_on_ms
             FROM events WHERE event_id = $1"
        }
        Statement::AggregateVersion => "SELECT coalesce(max(version), 0) FROM events WHERE aggregate_id = $1",
        Statement::InsertEvent => {
            "INSERT INTO events
                 (position, event_id, aggregate_id, aggregate_type, version, event_type, data, created_on_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        }
        Statement::EventsOfAggregate => {
            "SELECT event_id, aggregate_id, aggregate_type, version, event_type, data, created_on_ms
             FROM events WHERE aggregate_id = $1 AND version > $2 ORDER BY version LIMIT $3"
        }
        Statement::InsertOutbox => "INSERT INTO outbox (position) VALUES ($1)",
        Statement::OldestOutbox => {
            "SELECT event_id, aggregate_id, aggregate_type, version, event_type, data, created_on_ms, position
             FROM outbox JOIN events USING (position) ORDER BY position LIMIT $1"
        }
        Statement::DeleteOutbox => "DELETE FROM outbox WHERE position <= $1",
        // By the clock of the database, the same for everybody.
        Statement::TakeOutboxLease => {
            "UPDATE outbox_lease
             SET holder = $1, expires_ms = (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT + $2
             WHERE id = 1
               AND (holder = $1 OR expires_ms <= (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT)"
        }

        Statement::InsertOrderEvents => {
            "INSERT INTO order_events (order_id, version, event_type, data, created_on_ms)
             SELECT * FROM unnest($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::BYTEA[], $5::BIGINT[])
             ON CONFLICT DO NOTHING"
        }
        // An order without a visible event has version 0: something to lock.
        Statement::EnsureOrder => {
            "INSERT INTO orders
                 (order_id, version, status, customer, restaurant, amount_cents, created_on_ms, updated_on_ms, document)
             VALUES ($1, 0, '', '', '', 0, 0, 0, '') ON CONFLICT DO NOTHING"
        }
        Statement::LockOrder => "SELECT version FROM orders WHERE order_id = $1 FOR UPDATE",
        Statement::EventsOfOrder => {
            "SELECT version, event_type, data, created_on_ms FROM order_events WHERE order_id = $1 ORDER BY version"
        }
        Statement::UpdateOrder => {
            "UPDATE orders
             SET version = $2, status = $3, customer = $4, restaurant = $5, amount_cents = $6, created_on_ms = $7,
                 updated_on_ms = $8, document = $9
             WHERE order_id = $1"
        }
        Statement::OrderById => {
            "SELECT document, version, updated_on_ms FROM orders WHERE order_id = $1 AND version > 0"
        }
        Statement::NewestOrders => {
            "SELECT document, version, updated_on_ms FROM orders
             WHERE version > 0 ORDER BY created_on_ms DESC, order_id LIMIT $1"
        }
        Statement::NewestOrdersOfStatus => {
            "SELECT document, version, updated_on_ms FROM orders
             WHERE version > 0 AND status = $2 ORDER BY created_on_ms DESC, order_id LIMIT $1"
        }
        Statement::CountOrders => "SELECT status, count(*) FROM orders WHERE version > 0 GROUP BY status",
        Statement::DeleteOrders => "DELETE FROM orders",
        Statement::DeleteOrderEvents => "DELETE FROM order_events",

        Statement::InsertTicket => {
            "INSERT INTO tickets (order_id, customer, decision, reason, decided_on_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING"
        }
        Statement::TicketOfOrder => {
            "SELECT order_id, customer, decision, reason, decided_on_ms FROM tickets WHERE order_id = $1"
        }
    }
}

pub(super) fn migrations(schema: Schema) -> &'static [&'static str] {
    match schema {
        Schema::EventLog => &["
            CREATE TABLE IF NOT EXISTS events (
                position BIGINT PRIMARY KEY,
                event_id TEXT NOT NULL UNIQUE,
                aggregate_id TEXT NOT NULL,
                aggregate_type TEXT NOT NULL,
                version BIGINT NOT NULL,
                event_type TEXT NOT NULL,
                data BYTEA NOT NULL,
                created_on_ms BIGINT NOT NULL,
                UNIQUE (aggregate_id, version));
            CREATE TABLE IF NOT EXISTS outbox (position BIGINT PRIMARY KEY);
            CREATE TABLE IF NOT EXISTS log_head (id BIGINT PRIMARY KEY, position BIGINT NOT NULL);
            INSERT INTO log_head (id, position) VALUES (1, 0) ON CONFLICT DO NOTHING;
            CREATE TABLE IF NOT EXISTS outbox_lease (
                id BIGINT PRIMARY KEY, holder TEXT NOT NULL, expires_ms BIGINT NOT NULL);
            INSERT INTO outbox_lease (id, holder, expires_ms) VALUES (1, '', 0) ON CONFLICT DO NOTHING;
        "],
        Schema::ReadModel => &["
            CREATE TABLE IF NOT EXISTS order_events (
                order_id TEXT NOT NULL,
                version BIGINT NOT NULL,
                event_type TEXT NOT NULL,
                data BYTEA NOT NULL,
                created_on_ms BIGINT NOT NULL,
                PRIMARY KEY (order_id, version));
            CREATE TABLE IF NOT EXISTS orders (
                order_id TEXT PRIMARY KEY,
                version BIGINT NOT NULL,
                status TEXT NOT NULL,
                customer TEXT NOT NULL,
                restaurant TEXT NOT NULL,
                amount_cents BIGINT NOT NULL,
                created_on_ms BIGINT NOT NULL,
                updated_on_ms BIGINT NOT NULL,
                document BYTEA NOT NULL);
            CREATE INDEX IF NOT EXISTS orders_newest ON orders (created_on_ms DESC, order_id);
            CREATE INDEX IF NOT EXISTS orders_of_status ON orders (status, created_on_ms DESC, order_id);
        "],
        Schema::Tickets => &["
            CREATE TABLE IF NOT EXISTS tickets (
                order_id TEXT PRIMARY KEY,
                customer TEXT NOT NULL,
                decision TEXT NOT NULL,
                reason TEXT NOT NULL,
                decided_on_ms BIGINT NOT NULL);
        "],
    }
}
