//! Options of the core broker and the process, but for limits, log, security and other modes (specification §7.3, core
//! specification §5.4, §5.5).

use std::path::PathBuf;

use super::entry::Effect::{NotBuilt, Nothing, Prints, Sets};
use super::entry::Group::{Information as Informing, Server};
use super::entry::Information::{Help, TlsHelp, Version};
use super::entry::{Entry, Section};
use crate::conf::{Data, Node};
use crate::draft::Draft;
use crate::value::Kind::{Block, Bool, Int, List, Text};
use crate::value::Value;

/// Client port when none, or 0, is given.
const PORT_DEFAULT: u16 = 4222;
/// Value of a port flag that lets the system choose.
const PORT_CHOSEN_BY_SYSTEM: i64 = -1;

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Server,
        &["a", "addr", "net"],
        Text,
        "0.0.0.0",
        "Host to listen on",
        Sets(host),
    )
    .seaway("127.0.0.1")
    .keys(Section::Broker, &["host", "net"]),
    Entry::new(
        Server,
        &["p", "port"],
        Int,
        "4222",
        "Client port, -1 lets the system choose",
        Sets(port),
    )
    .keys(Section::Broker, &["port"]),
    Entry::new(
        Server,
        &["m", "http_port"],
        Int,
        "0",
        "Port of HTTP monitoring, 0 is off, -1 lets the system choose",
        Sets(http_port),
    )
    .seaway("8222")
    .keys(Section::Broker, &["http_port", "monitor_port"]),
    Entry::new(
        Server,
        &["n", "name", "server_name"],
        Text,
        "",
        "Name of the server",
        Sets(name),
    )
    .keys(Section::Broker, &["server_name"]),
    Entry::new(
        Server,
        &["client_advertise"],
        Text,
        "",
        "Address told to clients instead of the own one",
        Sets(client_advertise),
    )
    .keys(Section::Broker, &["client_advertise"]),
    Entry::new(
        Server,
        &["P", "pid"],
        Text,
        "",
        "File for the process id",
        Sets(pid_file),
    )
    .keys(Section::Broker, &["pid_file", "pidfile"]),
    Entry::new(
        Server,
        &["ports_file_dir"],
        Text,
        "",
        "Folder for a file that lists the ports in use",
        Sets(ports_file_dir),
    )
    .keys(Section::Broker, &["ports_file_dir"]),
    Entry::new(
        Server,
        &["ms", "https_port"],
        Int,
        "0",
        "Port of HTTPS monitoring, 0 is off, -1 lets the system choose",
        Sets(https_port),
    )
    .keys(Section::Broker, &["https_port"]),
    Entry::new(Server, &["c", "config"], Text, "", "Configuration file", Sets(config)),
    Entry::new(
        Server,
        &["t"],
        Bool,
        "false",
        "Check the configuration and exit",
        Sets(|_, _| Ok(())),
    )
    .without_variable(),
    Entry::new(
        Server,
        &["sl", "signal"],
        Text,
        "",
        "Send a signal to another server: stop, quit, term, reopen, reload or ldm, with =<pid or pid file>",
        Sets(|_, _| Ok(())),
    )
    .without_variable(),
    Entry::new(
        Server,
        &["profile"],
        Int,
        "0",
        "Profiling port",
        Nothing("there is no profiling port"),
    )
    .keys(Section::Broker, &["prof_port"]),
    Entry::new(
        Server,
        &["js", "jetstream"],
        Bool,
        "false",
        "Enable JetStream",
        NotBuilt("JetStream"),
    ),
    Entry::new(
        Server,
        &["sd", "store_dir"],
        Text,
        "",
        "Storage directory of JetStream",
        Nothing("it concerns JetStream only"),
    )
    .keys(Section::Broker, &["store_dir", "storedir"]),
    Entry::new(
        Informing,
        &["h", "help"],
        Bool,
        "false",
        "Print this text",
        Prints(Help),
    ),
    Entry::new(
        Informing,
        &["v", "version"],
        Bool,
        "false",
        "Print the version",
        Prints(Version),
    ),
    Entry::new(
        Informing,
        &["help_tls"],
        Bool,
        "false",
        "Print help on TLS",
        Prints(TlsHelp),
    ),
    Entry::new(
        Server,
        &[],
        Block,
        "",
        "Host and port for clients: `host:port`, `:port` or a number",
        Sets(listen),
    )
    .keys(Section::Broker, &["listen"]),
    Entry::new(Server, &[], Block, "", "Host and port of HTTP monitoring", Sets(http)).keys(Section::Broker, &["http"]),
    Entry::new(Server, &[], Block, "", "Host and port of HTTPS monitoring", Sets(https))
        .keys(Section::Broker, &["https"]),
    Entry::new(
        Server,
        &[],
        Text,
        "",
        "Path before those of monitoring",
        Sets(http_base_path),
    )
    .keys(Section::Broker, &["http_base_path"]),
    Entry::new(
        Server,
        &[],
        List,
        "",
        "Names of this host by which people may log in to the console, besides those of the machine and its addresses",
        Sets(console_hosts),
    )
    .keys(Section::Broker, &["console_hosts"]),
    Entry::new(
        Server,
        &[],
        Bool,
        "false",
        "Serve no console beside the monitoring",
        Sets(no_console),
    )
    .keys(Section::Broker, &["no_console"]),
    Entry::new(Server, &[], List, "", "Tags shown by monitoring", Sets(server_tags))
        .keys(Section::Broker, &["server_tags"]),
    Entry::new(
        Server,
        &[],
        Block,
        "",
        "Metadata shown by monitoring",
        Nothing("monitoring does not show metadata"),
    )
    .keys(Section::Broker, &["server_metadata"]),
    Entry::new(
        Server,
        &[],
        Bool,
        "false",
        "Expect the PROXY protocol",
        NotBuilt("the PROXY protocol"),
    )
    .keys(Section::Broker, &["proxy_protocol"])
    .without_variable(),
    Entry::new(
        Server,
        &[],
        Bool,
        "false",
        "Do not cache routing decisions",
        Nothing("the cache bounds itself"),
    )
    .keys(Section::Broker, &["disable_sublist_cache", "no_sublist_cache"])
    .without_variable(),
    Entry::new(Server, &[], Bool, "false", "Refuse headers", Sets(no_header_support))
        .keys(Section::Broker, &["no_header_support"]),
    Entry::new(
        Server,
        &[],
        Int,
        "0",
        "Blocking events that a profile samples",
        Nothing("there is no profiling port"),
    )
    .keys(Section::Broker, &["prof_block_rate"])
    .without_variable(),
];

fn host(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.host = value.text().to_owned();
    Ok(())
}

fn port(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.port = listen_port("client", value)?.unwrap_or(PORT_DEFAULT);
    Ok(())
}

fn http_port(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.http_port = listen_port("monitoring", value)?;
    Ok(())
}

/// The port to listen on, 0 when the system chooses; `None` for 0.
fn listen_port(what: &str, value: &Value) -> Result<Option<u16>, String> {
    match value.number() {
        0 => Ok(None),
        PORT_CHOSEN_BY_SYSTEM => Ok(Some(0)),
        number => match u16::try_from(number) {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(format!("invalid {what} port {number}, should be -1 to 65535")),
        },
    }
}

fn name(options: &mut Draft, value: &Value) -> Result<(), String> {
    if value.text().contains(char::is_whitespace) {
        let notice = format!(
            "The server name {:?} has blanks, which other servers refuse",
            value.text()
        );
        options.notices.push(notice);
    }
    options.broker.name = value.present();
    Ok(())
}

fn client_advertise(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.client_advertise = value.present();
    Ok(())
}

/// With a slash in front and none behind, however it is written.
fn http_base_path(options: &mut Draft, value: &Value) -> Result<(), String> {
    let path = value.text().trim_matches('/');
    let is_word =
        |word: &str| !word.is_empty() && !word.starts_with([':', '*']) && !word.contains(['{', '}', '?', '#', ' ']);
    if !path.is_empty() && !path.split('/').all(is_word) {
        return Err(format!(
            "invalid http_base_path {:?}: words with '/' between them, none empty, beginning with ':' or '*', or with a blank or one of {{}}?# in it",
            value.text()
        ));
    }
    options.broker.http_base_path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    Ok(())
}

fn console_hosts(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::List(hosts) = value {
        options.broker.console_hosts.clone_from(hosts);
    }
    Ok(())
}

fn no_console(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_console = value.is_true();
    Ok(())
}

fn server_tags(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::List(tags) = value {
        options.broker.server_tags.clone_from(tags);
    }
    Ok(())
}

fn pid_file(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.pid_file = value.present().map(PathBuf::from);
    Ok(())
}

fn ports_file_dir(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.ports_file_dir = value.present().map(PathBuf::from);
    Ok(())
}

fn config(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.config_file = value.present().map(PathBuf::from);
    Ok(())
}

fn https_port(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.https_port = listen_port("HTTPS monitoring", value)?;
    Ok(())
}

/// Host, when there is one, and port of an address in a file.
fn address(key: &str, node: &Node) -> Result<(Option<String>, i64), String> {
    match &node.data {
        Data::Int(port) => Ok((None, *port)),
        Data::Text(text) => {
            let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
            let port = port
                .parse()
                .map_err(|_| format!("could not parse {key} {text:?}, should be \"host:port\", \":port\" or a port"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((Some(host).filter(|host| !host.is_empty()).map(str::to_owned), port))
        }
        data => Err(format!(
            "parameter {key:?} value is expected to be string, got {}",
            data.kind()
        )),
    }
}

/// Applies an address; problems name its place.
fn at_address(
    key: &str,
    value: &Value,
    apply: impl FnOnce(Option<String>, Value) -> Result<(), String>,
) -> Result<(), String> {
    let Value::Block(node) = value else {
        return Ok(());
    };
    address(key, node)
        .and_then(|(host, port)| apply(host, Value::Int(port)))
        .map_err(|text| format!("{}: {text}", node.position))
}

fn listen(options: &mut Draft, value: &Value) -> Result<(), String> {
    at_address("listen", value, |host, number| {
        options.broker.host = host.unwrap_or_else(|| options.broker.host.clone());
        port(options, &number)
    })
}

fn http(options: &mut Draft, value: &Value) -> Result<(), String> {
    at_address("http", value, |host, number| {
        options.broker.http_host = host.or_else(|| options.broker.http_host.take());
        http_port(options, &number)
    })
}

fn https(options: &mut Draft, value: &Value) -> Result<(), String> {
    at_address("https", value, |host, number| {
        options.broker.http_host = host.or_else(|| options.broker.http_host.take());
        https_port(options, &number)
    })
}

fn no_header_support(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_header_support = value.is_true();
    Ok(())
}
