//! Answers of the services in the system account (core specification §2.6): what the endpoints say, in an envelope that says which
//! server says it. Requests carry the endpoints' parameters as JSON, and which servers they are for; the others stay silent.

mod events;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{compact, is_false, utc};
use crate::moment::Moment;
use crate::process::{self, ProcessUse};
use crate::reply::Accept;
use crate::site::Site;
use crate::snapshot::{Broker, Source, Unavailable};

/// Endpoints that are asked by name, and their paths.
const ENDPOINTS: [(&str, &str); 11] = [
    ("VARZ", "/varz"),
    ("SUBSZ", "/subsz"),
    ("CONNZ", "/connz"),
    ("ROUTEZ", "/routez"),
    ("GATEWAYZ", "/gatewayz"),
    ("LEAFZ", "/leafz"),
    ("ACCOUNTZ", "/accountz"),
    ("JSZ", "/jsz"),
    ("EXPVARZ", "/debug/vars"),
    ("IPQUEUESZ", "/ipqueuesz"),
    ("RAFTZ", "/raftz"),
];

/// Parameters whose names differ from those of the endpoints.
const RENAMED: [(&str, &str); 6] = [
    ("account", "acc"),
    ("subscriptions", "subs"),
    ("include_unused", "unused"),
    ("js_enabled_only", "js-enabled-only"),
    ("js_server_only", "js-server-only"),
    ("js_meta_only", "js-meta-only"),
];

/// The services of one server.
pub struct SystemAnswers {
    source: Arc<dyn Source>,
    site: Site,
    /// Answers given.
    sequence: AtomicU64,
}

/// Which servers a request is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    server_name: String,
    cluster: String,
    host: String,
    exact_match: bool,
    tags: Vec<String>,
    domain: String,
}

impl Filter {
    fn matches(&self, broker: &Broker) -> bool {
        let cluster = broker.cluster.as_ref().map_or("", |cluster| &cluster.name);
        let is = |wanted: &str, name: &str| match self.exact_match {
            _ if wanted.is_empty() => true,
            true => name == wanted,
            false => name.contains(wanted),
        };
        let has_tag = |tag: &String| broker.tags.iter().any(|known| known.eq_ignore_ascii_case(tag));
        is(&self.server_name, &broker.server_name)
            && is(&self.cluster, cluster)
            && is(&self.host, &broker.host)
            && self.tags.iter().all(has_tag)
            // No server here is in one.
            && self.domain.is_empty()
    }
}

/// The server that answers.
#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    ver: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    jetstream: bool,
    flags: u64,
    seq: u64,
    time: String,
}

/// Which server this is, and nothing else.
#[derive(Serialize)]
struct Identity<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct ServiceError<'a> {
    code: u16,
    description: &'a str,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Statistics {
    start: String,
    mem: u64,
    cores: usize,
    cpu: f64,
    connections: u64,
    total_connections: u64,
    active_accounts: usize,
    subscriptions: u64,
    sent: Traffic,
    received: Traffic,
    slow_consumers: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stalled_clients: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteStatistics>,
    active_servers: usize,
    #[serde(skip_serializing_if = "is_false")]
    jetstream: bool,
}

#[derive(Serialize)]
struct RouteStatistics {
    rid: u64,
    name: String,
    sent: Traffic,
    received: Traffic,
    pending: u64,
}

#[derive(Serialize)]
struct Traffic {
    msgs: u64,
    bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A request that cannot be read.
const BAD_REQUEST: &str = "the request is no JSON object";

impl SystemAnswers {
    /// Answers from a source.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self {
            site: Site::new(Arc::clone(&source)),
            source,
            sequence: AtomicU64::new(0),
        }
    }

    /// The event that says how the server is (`$SYS.SERVER.<id>.STATSZ`), which is the answer to
    /// `$SYS.REQ.SERVER.PING` too.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn statistics(&self) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        let statistics = compact(&self.statsz(&broker).await?);
        Ok(self.envelope(&broker, "statsz", &statistics))
    }

    /// An event about this server that says nothing more (`SHUTDOWN`, `LAMEDUCK`).
    ///
    /// # Errors
    /// The server does not say.
    pub async fn itself(&self) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        Ok(format!("{{\"server\":{}}}", self.server(&broker)))
    }

    /// Answers `$SYS.REQ.SERVER.<this one or PING>.<endpoint>`, where no endpoint is a ping; `None` where the request is for
    /// other servers.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn about_server(&self, endpoint: Option<&str>, request: &[u8]) -> Result<Option<String>, Unavailable> {
        let broker = self.source.broker().await?;
        let parameters = match self.accept(&broker, request) {
            Ok(Some(parameters)) => parameters,
            Ok(None) => return Ok(None),
            Err(refusal) => return Ok(Some(refusal)),
        };
        let Some(endpoint) = endpoint else {
            return self.statistics().await.map(Some);
        };
        let answer = match endpoint {
            "IDZ" => compact(&Identity {
                name: &broker.server_name,
                host: &broker.host,
                id: &broker.server_id,
            }),
            "STATSZ" => return self.statistics().await.map(Some),
            "HEALTHZ" => self.healthz(&broker).await,
            _ => match ENDPOINTS.iter().find(|(name, _)| *name == endpoint) {
                Some((_, path)) => self.endpoint(&broker, path, &parameters, None).await,
                None => self.refusal(&broker, 404, "this server does not have such a service"),
            },
        };
        Ok(Some(answer))
    }

    /// Answers `$SYS.REQ.ACCOUNT.<account>.<endpoint>`, as [`SystemAnswers::about_server`] does; without an account about
    /// all of them.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn about_account(
        &self,
        account: Option<&str>,
        endpoint: &str,
        request: &[u8],
    ) -> Result<Option<String>, Unavailable> {
        let broker = self.source.broker().await?;
        let parameters = match self.accept(&broker, request) {
            Ok(Some(parameters)) => parameters,
            Ok(None) => return Ok(None),
            Err(refusal) => return Ok(Some(refusal)),
        };
        // Every server is asked, and those that do not know the account have nothing to say.
        if let Some(account) = account
            && self.source.account(account).await?.is_none()
        {
            return Ok(None);
        }
        let path = match endpoint {
            "CONNZ" => "/connz",
            "SUBSZ" => "/subsz",
            "LEAFZ" => "/leafz",
            "INFO" => "/accountz",
            "STATZ" | "CONNS" => "/accstatz",
            "JSZ" => "/jsz",
            _ => {
                return Ok(Some(self.refusal(
                    &broker,
                    404,
                    "this server does not have such a service",
                )));
            }
        };
        Ok(Some(self.endpoint(&broker, path, &parameters, account).await))
    }

    /// What `/healthz` says, with its status.
    async fn healthz(&self, broker: &Broker) -> String {
        use crate::snapshot::Health as Is;
        let health = self.source.readiness().await;
        let (status, status_code, error) = match &health {
            Ok(Is::Ok | Is::Degraded { .. }) => ("ok", 200, None),
            Ok(Is::Unavailable { reason }) | Err(Unavailable(reason)) => ("unavailable", 503, Some(reason.as_str())),
        };
        let data = compact(&Health {
            status,
            status_code,
            error,
        });
        self.envelope(broker, "data", &data)
    }

    /// What the endpoint at a path says, of one account if there is one.
    async fn endpoint(&self, broker: &Broker, path: &str, parameters: &Value, account: Option<&str>) -> String {
        let mut query = query_of(path, parameters);
        if let Some(account) = account {
            // The first one counts.
            query.insert_str(0, &format!("acc={}&unused=1&", escaped(account)));
        }
        let reply = self.site.answer_at(Moment::now(), path, &query, Accept::Any).await;
        match reply.status {
            200 if path == "/accountz" && account.is_some() => {
                let shown: Value = serde_json::from_str(&reply.body).unwrap_or_default();
                self.envelope(broker, "data", &compact(&shown["account_detail"]))
            }
            200 => self.envelope(broker, "data", &reply.body),
            status => self.refusal(broker, status, reply.body.trim_end()),
        }
    }

    async fn statsz(&self, broker: &Broker) -> Result<Statistics, Unavailable> {
        let used = ProcessUse::now();
        let routes = self.source.routes().await?;
        let active_servers = routes.len() + 1;
        let routes = routes.into_iter().map(|route| RouteStatistics {
            rid: route.connection.cid,
            name: route.remote_name,
            sent: Traffic {
                msgs: route.connection.out_msgs,
                bytes: route.connection.out_bytes,
            },
            received: Traffic {
                msgs: route.connection.in_msgs,
                bytes: route.connection.in_bytes,
            },
            pending: route.connection.pending_bytes,
        });
        Ok(Statistics {
            start: utc(broker.start_ns),
            mem: used.memory,
            cores: process::cores(),
            cpu: used.cpu_percent,
            connections: broker.connections,
            total_connections: broker.total_connections,
            active_accounts: broker.active_accounts,
            subscriptions: broker.subscriptions,
            sent: Traffic {
                msgs: broker.out_msgs,
                bytes: broker.out_bytes,
            },
            received: Traffic {
                msgs: broker.in_msgs,
                bytes: broker.in_bytes,
            },
            slow_consumers: broker.slow_consumers.total(),
            stalled_clients: broker.stalled_clients,
            routes: routes.collect(),
            active_servers,
            jetstream: false,
        })
    }

    /// The parameters of a request that is for this server; an error is what to answer.
    fn accept(&self, broker: &Broker, request: &[u8]) -> Result<Option<Value>, String> {
        let parameters: Value = match request.trim_ascii() {
            b"" => Value::Null,
            text => serde_json::from_slice(text).map_err(|_| self.refusal(broker, 400, BAD_REQUEST))?,
        };
        if !parameters.is_object() && !parameters.is_null() {
            return Err(self.refusal(broker, 400, BAD_REQUEST));
        }
        let filter = match parameters.is_null() {
            true => Filter::default(),
            false => Filter::deserialize(&parameters).map_err(|_| self.refusal(broker, 400, BAD_REQUEST))?,
        };
        Ok(filter.matches(broker).then_some(parameters))
    }

    fn server(&self, broker: &Broker) -> String {
        compact(&Server {
            name: &broker.server_name,
            host: &broker.host,
            id: &broker.server_id,
            cluster: broker.cluster.as_ref().map_or("", |cluster| &cluster.name),
            ver: &broker.version,
            tags: &broker.tags,
            jetstream: false,
            flags: 0,
            seq: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            time: utc(Moment::now().now_ns()),
        })
    }

    /// `name` and `json` beside the server that says it.
    fn envelope(&self, broker: &Broker, name: &str, json: &str) -> String {
        format!("{{\"server\":{},\"{name}\":{json}}}", self.server(broker))
    }

    fn refusal(&self, broker: &Broker, code: u16, description: &str) -> String {
        self.envelope(broker, "error", &compact(&ServiceError { code, description }))
    }

    /// Something else that is answered here, in JSON.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn enveloped(&self, json: &str) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        Ok(self.envelope(&broker, "data", json))
    }

    /// A refusal of something else that is answered here.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn refused(&self, code: u16, description: &str) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        Ok(self.refusal(&broker, code, description))
    }

    /// An answer in the place of one that is longer than can be carried.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn too_long(&self, len: usize) -> Result<String, Unavailable> {
        let broker = self.source.broker().await?;
        let text = format!("the answer has {len} bytes, more than max_payload: ask for a part with limit and offset");
        Ok(self.refusal(&broker, 413, &text))
    }
}

/// The parameters of an endpoint, as its query has them.
fn query_of(path: &str, parameters: &Value) -> String {
    let mut query = String::new();
    let Value::Object(parameters) = parameters else {
        return query;
    };
    for (key, value) in parameters {
        let renamed = RENAMED.iter().find(|(from, _)| from == key);
        let name = renamed.map_or(key.as_str(), |(_, to)| to);
        let (name, text) = match (name, value) {
            ("subscriptions_detail", Value::Bool(true)) => ("subs", "detail".to_owned()),
            ("state", Value::Number(state)) if path == "/connz" => {
                let names = ["open", "closed", "all"];
                let index = state
                    .as_u64()
                    .and_then(|state| usize::try_from(state).ok())
                    .unwrap_or(0);
                (name, names.get(index).copied().unwrap_or("open").to_owned())
            }
            (_, Value::Bool(true)) => (name, "1".to_owned()),
            (_, Value::Number(number)) => (name, number.to_string()),
            (_, Value::String(text)) => (name, text.clone()),
            (_, Value::Bool(false) | Value::Null | Value::Array(_) | Value::Object(_)) => continue,
        };
        let pair = format!("{name}={}&", escaped(&text));
        // Details are asked for beside the list that they are of.
        match text.as_str() {
            "detail" => query.insert_str(0, &pair),
            _ => query.push_str(&pair),
        }
    }
    query
}

/// A value of a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::fake::Fake;

    fn asked(endpoint: Option<&str>, request: &str) -> Option<Value> {
        let answers = SystemAnswers::new(Arc::new(Fake::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let answer = runtime
            .block_on(answers.about_server(endpoint, request.as_bytes()))
            .unwrap();
        answer.map(|text| serde_json::from_str(&text).unwrap())
    }

    fn of_account(account: Option<&str>, endpoint: &str, request: &str) -> Option<Value> {
        let answers = SystemAnswers::new(Arc::new(Fake::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let answer = runtime
            .block_on(answers.about_account(account, endpoint, request.as_bytes()))
            .unwrap();
        answer.map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn every_service_of_section_2_6_says_which_server_it_is() {
        let ping = asked(None, "").unwrap();
        assert_eq!(
            (&ping["server"]["id"], &ping["statsz"]["connections"]),
            (&"NB".into(), &1.into())
        );
        assert!(ping.get("data").is_none());
        for name in [
            "VARZ", "SUBSZ", "CONNZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ", "JSZ",
        ] {
            let answer = asked(Some(name), "{}").unwrap();
            assert_eq!(answer["server"]["id"], "NB", "{name}");
            assert!(answer["data"]["server_id"].is_string(), "{name}: {answer}");
        }
        assert_eq!(asked(Some("HEALTHZ"), "").unwrap()["data"]["status_code"], 200);
        assert_eq!(asked(Some("IDZ"), "").unwrap()["id"], "NB");
        assert_eq!(asked(Some("NOTHING"), "").unwrap()["error"]["code"], 404);
        assert!(asked(Some("STATSZ"), "").unwrap()["statsz"]["cores"].as_u64() > Some(0));
    }

    #[test]
    fn servers_that_are_not_meant_stay_silent() {
        for (request, expected) in [
            (r#"{"server_name":"m"}"#, true),
            (r#"{"server_name":"m","exact_match":true}"#, false),
            (r#"{"server_name":"me","exact_match":true}"#, true),
            (r#"{"cluster":"x"}"#, false),
            (r#"{"host":"127."}"#, true),
            (r#"{"tags":["none"]}"#, false),
            (r#"{"domain":"d"}"#, false),
            ("null", true),
        ] {
            assert_eq!(asked(None, request).is_some(), expected, "{request}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for request in ["{", "[]", "7", r#"{"tags":3}"#] {
            assert_eq!(asked(Some("VARZ"), request).unwrap()["error"]["code"], 400, "{request}");
        }
        assert_eq!(asked(Some("CONNZ"), r#"{"sort":"zz"}"#).unwrap()["error"]["code"], 400);
    }

    #[test]
    fn options_of_a_request_are_those_of_the_endpoint() {
        let connz = asked(
            Some("CONNZ"),
            r#"{"subscriptions":true,"subscriptions_detail":true,"limit":1,"state":0}"#,
        )
        .unwrap();
        assert_eq!(
            (&connz["data"]["limit"], &connz["data"]["num_connections"]),
            (&1.into(), &1.into())
        );
        assert!(
            connz["data"]["connections"][0]["subscriptions_list_detail"].is_array(),
            "{connz}"
        );
        let closed = asked(Some("CONNZ"), r#"{"state":1}"#).unwrap();
        assert!(closed["data"]["connections"][0]["stop"].is_string(), "{closed}");
        assert_eq!(
            query_of("/subsz", &serde_json::json!({"test": "a&b=c"})),
            "test=a%26b%3Dc&"
        );
    }

    #[test]
    fn an_account_is_asked_about_by_its_name() {
        assert_eq!(
            of_account(Some("$G"), "INFO", "").unwrap()["data"]["account_name"],
            "$G"
        );
        assert_eq!(
            of_account(Some("$SYS"), "STATZ", "").unwrap()["data"]["account_statz"][0]["acc"],
            "$SYS"
        );
        assert_eq!(
            of_account(None, "STATZ", "").unwrap()["data"]["account_statz"]
                .as_array()
                .map(Vec::len),
            Some(1)
        );
        let all = of_account(None, "STATZ", r#"{"include_unused":true}"#).unwrap();
        assert_eq!(all["data"]["account_statz"].as_array().map(Vec::len), Some(2));
        assert!(of_account(Some("$G"), "CONNZ", "").unwrap()["data"]["connections"].is_array());
        assert!(of_account(Some("other"), "INFO", "").is_none());
        // Whoever asks about one account does not get another one by its parameters.
        let own = of_account(Some("$SYS"), "STATZ", r#"{"acc":"$G","account":"$G"}"#).unwrap();
        assert_eq!(own["data"]["account_statz"][0]["acc"], "$SYS");
    }
}
