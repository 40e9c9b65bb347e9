//! The `cluster` block of the broker, and the flags that say the same (core specification §4.2).

use super::authorization::{PASSWORD, TIMEOUT, TOKEN, USER, USERS};
use super::fields::{Block, EMPTY_SECRET, at, wrong_type};
use super::tls;
use crate::conf::{Data, Node, Pair};
use crate::draft::Draft;
use crate::options::{ClusterOptions, Credentials, RouteUrl, Secret};
use crate::url::Url;
use crate::value::Value;

const NAME: &[&str] = &["name"];
const LISTEN: &[&str] = &["listen"];
const HOST: &[&str] = &["host", "net"];
const PORT: &[&str] = &["port"];
const AUTHORIZATION: &[&str] = &["authorization"];
const ROUTES: &[&str] = &["routes"];
const TLS: &[&str] = &["tls"];
const ADVERTISE: &[&str] = &["advertise", "cluster_advertise"];
const NO_ADVERTISE: &[&str] = &["no_advertise"];
const RETRIES: &[&str] = &["connect_retries"];
const PERMISSIONS: &[&str] = &["permissions"];
const ACCOUNTS: &[&str] = &["accounts"];
/// Keys of newer servers that change nothing one could see here.
const WITHOUT_EFFECT: &[&str] = &[
    "pool_size",
    "compression",
    "connect_backoff",
    "ping_interval",
    "ping_max",
    "write_deadline",
    "write_timeout",
];

/// Where other servers are accepted when only a host is given.
const PORT_DEFAULT: u16 = 6222;
/// Schemes of URLs of routes.
const SCHEMES: &[&str] = &["nats", "nats-route", "tls"];

/// Reads the block.
pub(crate) fn set(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::Block(node) = value {
        let mut notices = Vec::new();
        options.broker.cluster = Some(cluster(node, &mut notices)?);
        options.notices.append(&mut notices);
    }
    Ok(())
}

/// `-routes`
pub(crate) fn set_routes(options: &mut Draft, value: &Value) -> Result<(), String> {
    let urls = value.text().split(',').map(str::trim).filter(|url| !url.is_empty());
    let routes: Result<Vec<RouteUrl>, String> = urls.map(route).collect();
    options.cluster_flags.routes = Some(routes.map_err(|text| format!("-routes: {text}"))?);
    Ok(())
}

/// `-cluster`
pub(crate) fn set_listen(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Some(url) = value.present() {
        let listen = listen_url(&url).map_err(|text| format!("-cluster: {text}"))?;
        options.cluster_flags.listen = Some(listen);
    }
    Ok(())
}

/// `-cluster_name`
pub(crate) fn set_name(options: &mut Draft, value: &Value) -> Result<(), String> {
    let name = value.present();
    options.cluster_flags.name = name.map(|name| checked_name(&name)).transpose()?;
    Ok(())
}

/// `-cluster_advertise`
pub(crate) fn set_advertise(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.cluster_flags.advertise = value.present();
    Ok(())
}

/// `-no_advertise`
pub(crate) fn set_no_advertise(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.cluster_flags.no_advertise = Some(value.is_true());
    Ok(())
}

/// `-connect_retries`
pub(crate) fn set_connect_retries(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.cluster_flags.connect_retries = Some(retries(value.number()));
    Ok(())
}

/// Below zero is none.
fn retries(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn checked_name(name: &str) -> Result<String, String> {
    if name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(format!("cluster name {name:?} contains blanks"));
    }
    Ok(name.to_owned())
}

fn cluster(node: &Node, notices: &mut Vec<String>) -> Result<ClusterOptions, String> {
    let known = [
        NAME,
        LISTEN,
        HOST,
        PORT,
        AUTHORIZATION,
        ROUTES,
        TLS,
        ADVERTISE,
        NO_ADVERTISE,
        RETRIES,
        PERMISSIONS,
        ACCOUNTS,
        WITHOUT_EFFECT,
    ];
    let block = Block::of(node, "cluster", &known.concat())?;
    block.refuse(PERMISSIONS, "import and export permissions of routes")?;
    block.refuse(ACCOUNTS, "routes for single accounts")?;
    for key in WITHOUT_EFFECT {
        if let Some(pair) = block.find(&[*key]) {
            notices.push(at(&pair.position, format!("cluster {} has no effect", pair.key)));
        }
    }
    let mut cluster = ClusterOptions {
        name: block.text(NAME)?.filter(|name| !name.is_empty()).map(str::to_owned),
        host: block.text(HOST)?.unwrap_or_default().to_owned(),
        port: block.find(PORT).map(port_of).transpose()?.flatten(),
        advertise: block
            .text(ADVERTISE)?
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        no_advertise: block.bool(NO_ADVERTISE)?.unwrap_or(false),
        connect_retries: block.int(RETRIES)?.map_or(0, retries),
        routes: routes(block)?,
        ..ClusterOptions::default()
    };
    if let (Some(name), Some(pair)) = (&cluster.name, block.find(NAME)) {
        checked_name(name).map_err(|text| at(&pair.node.position, text))?;
    }
    if let Some(pair) = block.find(LISTEN) {
        listen(pair, &mut cluster)?;
    }
    if let Some(pair) = block.find(AUTHORIZATION) {
        authorization(&pair.node, &mut cluster, notices)?;
    }
    if let Some(pair) = block.find(TLS) {
        let tls = tls::tls(&pair.node, notices)?;
        if tls.ca_file.is_none() {
            let text =
                "cluster tls needs a ca_file: both servers of a route show a certificate, which the other verifies";
            return Err(at(&pair.node.position, text));
        }
        cluster.tls = Some(tls);
    }
    Ok(cluster)
}

/// A port; -1 lets the system choose, 0 is none.
fn port_of(pair: &Pair) -> Result<Option<u16>, String> {
    match &pair.node.data {
        Data::Int(-1) => Ok(Some(0)),
        Data::Int(0) => Ok(None),
        Data::Int(port) => match u16::try_from(*port) {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(at(&pair.node.position, format!("{port} is no port"))),
        },
        data => Err(at(&pair.node.position, wrong_type(&pair.key, "int64", data))),
    }
}

/// `host:port`, or a port alone.
fn listen(pair: &Pair, cluster: &mut ClusterOptions) -> Result<(), String> {
    match &pair.node.data {
        Data::Int(_) => cluster.port = port_of(pair)?,
        Data::Text(text) => {
            let (host, port, _) = listen_url(text).map_err(|text| at(&pair.node.position, text))?;
            cluster.host = host;
            cluster.port = Some(port);
        }
        data => return Err(at(&pair.node.position, wrong_type(&pair.key, "string", data))),
    }
    Ok(())
}

fn authorization(node: &Node, cluster: &mut ClusterOptions, notices: &mut Vec<String>) -> Result<(), String> {
    let block = Block::of(
        node,
        "cluster authorization",
        &[USER, PASSWORD, TIMEOUT, TOKEN, USERS].concat(),
    )?;
    if let Some(pair) = block.find(USERS) {
        return Err(at(
            &pair.position,
            "Cluster authorization does not allow multiple users",
        ));
    }
    if let Some(pair) = block.find(TOKEN) {
        return Err(at(&pair.position, "Cluster authorization does not support tokens"));
    }
    cluster.auth_timeout = block.time(TIMEOUT, notices)?;
    match (block.secret(USER)?, block.secret(PASSWORD)?) {
        (Some(user), password) => {
            cluster.credentials = Some(Credentials {
                user: user.to_owned(),
                password: Secret::new(password.unwrap_or_default()),
            });
            Ok(())
        }
        (None, Some(_)) => Err(at(&node.position, "a password needs a user")),
        (None, None) if cluster.auth_timeout.is_none() => {
            Err(at(&node.position, format!("cluster authorization {EMPTY_SECRET}")))
        }
        (None, None) => Ok(()),
    }
}

fn routes(block: Block<'_>) -> Result<Vec<RouteUrl>, String> {
    if let Some(pair) = block.find(ROUTES)
        && let Data::Text(text) = &pair.node.data
    {
        let route = route(text).map_err(|text| at(&pair.node.position, text))?;
        return Ok(vec![route]);
    }
    let urls = block.texts(ROUTES)?.into_iter();
    urls.map(|(position, url)| route(url).map_err(|text| at(position, text)))
        .collect()
}

/// Where other servers are accepted; port -1 lets the system choose.
fn listen_url(url: &str) -> Result<(String, u16, Option<Credentials>), String> {
    let url = Url::parse(url, SCHEMES)?;
    let port = match url.port {
        Some("-1" | "0") => 0,
        _ => url.port(PORT_DEFAULT)?,
    };
    Ok((url.host.to_owned(), port, url.credentials()?))
}

fn route(url: &str) -> Result<RouteUrl, String> {
    let url = Url::parse(url, SCHEMES)?;
    let port = url.port(PORT_DEFAULT)?;
    if url.host.is_empty() || port == 0 {
        return Err("a route needs host and port, such as nats://host:6222".to_owned());
    }
    Ok(RouteUrl {
        host: url.host.to_owned(),
        port,
        credentials: url.credentials()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_routes_are_read() {
        let shown = |route: &RouteUrl| {
            let credentials = route.credentials.as_ref();
            let credentials = credentials.map(|one| format!("{}:{}", one.user, one.password.expose()));
            (route.host.clone(), route.port, credentials.unwrap_or_default())
        };
        for (url, host, port, credentials) in [
            ("nats://127.0.0.1:6222", "127.0.0.1", 6222, ""),
            ("nats-route://u:p@host:1/", "host", 1, "u:p"),
            ("tls://u%40x:p%3a%2F@[::1]:7", "::1", 7, "u@x:p:/"),
            ("host", "host", 6222, ""),
            ("u@host:5", "host", 5, "u:"),
        ] {
            let expected = (host.to_owned(), port, credentials.to_owned());
            assert_eq!(shown(&route(url).unwrap()), expected, "{url}");
        }
        for bad in [
            "http://h:1",
            "nats://:1",
            "nats://h:x",
            "nats://h:70000",
            "h:0",
            "nats://::1:5",
            "%zz@h:1",
            ":p@h:1",
            "a b:1",
        ] {
            let error = route(bad).unwrap_err();
            assert!(!error.contains(":p@"), "{bad}: {error}");
        }
        assert_eq!(listen_url("nats://0.0.0.0:-1").unwrap().1, 0);
        assert_eq!(listen_url(":6222").unwrap(), (String::new(), 6222, None));
    }
}
