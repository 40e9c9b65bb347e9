//! Events in the system account about clients and accounts (core specification §2.6).

use serde::Serialize;

use super::SystemAnswers;
use crate::json::{compact, utc};
use crate::moment::Moment;
use crate::snapshot::{Account, ClientChange, Connection, Unavailable};

/// Who is there.
#[derive(Serialize)]
struct Client<'a> {
    start: String,
    host: &'a str,
    id: u64,
    acc: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    lang: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ver: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    kind: &'static str,
    client_type: &'static str,
}

impl<'a> Client<'a> {
    fn new(connection: &'a Connection) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            start: utc(connection.start_ns),
            host: &connection.ip,
            id: connection.cid,
            acc: text(&connection.account),
            user: text(&connection.authorized_user),
            name: text(&connection.name),
            lang: text(&connection.lang),
            ver: text(&connection.version),
            rtt: connection.rtt.map(|rtt| rtt.as_nanos()),
            stop: connection.stop_ns.map(utc),
            kind: "Client",
            client_type: "nats",
        }
    }
}

/// Messages and bytes.
#[derive(Serialize)]
struct Count {
    msgs: u64,
    bytes: u64,
}

/// What is said of an account.
#[derive(Serialize)]
struct AccountFigures<'a> {
    acc: &'a str,
    name: &'a str,
    conns: u64,
    leafnodes: u64,
    total_conns: u64,
    num_subscriptions: u64,
    sent: Count,
    received: Count,
    slow_consumers: u64,
}

impl SystemAnswers {
    /// What is said when a client came or went: `id` is the event's own, unlike all others. What a client sent to the server is `sent`.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn client_event(
        &self,
        change: ClientChange,
        connection: &Connection,
        id: &str,
    ) -> Result<String, Unavailable> {
        let client = compact(&Client::new(connection));
        let rest = match change {
            ClientChange::Connect => String::new(),
            ClientChange::Disconnect => format!(
                ",\"sent\":{},\"received\":{},\"reason\":{}",
                compact(&Count {
                    msgs: connection.in_msgs,
                    bytes: connection.in_bytes,
                }),
                compact(&Count {
                    msgs: connection.out_msgs,
                    bytes: connection.out_bytes,
                }),
                compact(&connection.reason.as_deref().unwrap_or_default()),
            ),
        };
        let kind = match change {
            ClientChange::Connect => "client_connect",
            ClientChange::Disconnect => "client_disconnect",
        };
        self.event(kind, id, &format!("\"client\":{client}{rest}")).await
    }

    /// What is said of an account when clients came or went, and now and then.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn account_event(&self, account: &Account, id: &str) -> Result<String, Unavailable> {
        let figures = compact(&AccountFigures {
            acc: &account.name,
            name: &account.name,
            conns: account.connections,
            leafnodes: 0,
            total_conns: account.connections,
            num_subscriptions: account.subscriptions,
            sent: Count {
                msgs: account.out_msgs,
                bytes: account.out_bytes,
            },
            received: Count {
                msgs: account.in_msgs,
                bytes: account.in_bytes,
            },
            slow_consumers: account.slow_consumers,
        });
        // They stand beside the server, without a name of their own.
        let figures = figures.strip_prefix('{').and_then(|figures| figures.strip_suffix('}'));
        self.event("account_connections", id, figures.unwrap_or_default()).await
    }

    /// An event: its type, what tells it apart, when and where, and what there is to say of it.
    async fn event(&self, kind: &str, id: &str, what: &str) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        Ok(format!(
            "{{\"type\":\"io.nats.server.advisory.v1.{kind}\",\"id\":{},\"timestamp\":\"{}\",\"server\":{},{what}}}",
            compact(&id),
            utc(Moment::now().now_ns()),
            self.server(&broker)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::site::fake::Fake;

    fn said(event: impl AsyncFnOnce(SystemAnswers) -> Result<String, Unavailable>) -> Value {
        let answers = SystemAnswers::new(Arc::new(Fake::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = runtime.block_on(event(answers)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn section_2_6_who_came_and_who_went() {
        let connection = Connection {
            cid: 7,
            ip: "127.0.0.1".into(),
            account: Some("A".into()),
            authorized_user: Some("a \"quoted\" one".into()),
            lang: Some("go".into()),
            rtt: Some(Duration::from_micros(2)),
            in_msgs: 1,
            in_bytes: 2,
            out_msgs: 3,
            out_bytes: 4,
            stop_ns: Some(1_000_000_000),
            reason: Some("Client Closed".into()),
            ..Connection::default()
        };
        let change = |change| said(async |answers| answers.client_event(change, &connection, "e1").await);
        let came = change(ClientChange::Connect);
        assert_eq!(came["type"], "io.nats.server.advisory.v1.client_connect");
        assert_eq!((&came["id"], &came["server"]["id"]), (&"e1".into(), &"NB".into()));
        let client = &came["client"];
        assert_eq!(
            (&client["id"], &client["acc"], &client["user"], &client["rtt"]),
            (&7.into(), &"A".into(), &"a \"quoted\" one".into(), &2000.into())
        );
        assert!(came.get("reason").is_none() && client.get("name").is_none());
        let went = change(ClientChange::Disconnect);
        assert_eq!(went["type"], "io.nats.server.advisory.v1.client_disconnect");
        assert_eq!(went["sent"], json!({ "msgs": 1, "bytes": 2 }));
        assert_eq!(went["received"], json!({ "msgs": 3, "bytes": 4 }));
        assert_eq!(
            (&went["reason"], &went["client"]["stop"]),
            (&"Client Closed".into(), &"1970-01-01T00:00:01Z".into())
        );
    }

    #[test]
    fn section_2_6_how_many_there_are() {
        let account = Account {
            name: "A".into(),
            connections: 2,
            slow_consumers: 1,
            in_msgs: 5,
            ..Account::default()
        };
        let event = said(async |answers| answers.account_event(&account, "e2").await);
        assert_eq!(event["type"], "io.nats.server.advisory.v1.account_connections");
        assert_eq!((&event["acc"], &event["conns"]), (&"A".into(), &2.into()));
        assert_eq!(
            (&event["slow_consumers"], &event["received"]["msgs"]),
            (&1.into(), &5.into())
        );
    }
}
