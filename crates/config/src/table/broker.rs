//! Options of the core broker and the process, but for security and other modes (specification §7.3, core specification
//! §5.4, §5.5).

use std::path::PathBuf;

use std::time::Duration;

use super::Effect::{NotBuilt, Nothing, Overrides, Prints, Sets};
use super::Group::{BrokerLimits, Information as Informing, Logging, Server};
use super::Information::{Help, TlsHelp, Version};
use super::Kind::{Block, Bool, Duration as Time, Int, List, Size, Text};
use super::{Entry, Section, Value};
use crate::conf::{Data, Node};
use crate::draft::Draft;
use crate::go::format_duration_nanos;

/// Client port when none, or 0, is given.
const PORT_DEFAULT: u16 = 4222;
/// Value of a port flag that lets the system choose.
const PORT_CHOSEN_BY_SYSTEM: i64 = -1;
/// Client connections when 0 is given (core specification §1.14).
const CONNECTIONS_DEFAULT: usize = 65_536;
/// Shortest time over which clients may be closed in lame duck mode (core specification §5.4).
const LAME_DUCK_MIN: Duration = Duration::from_secs(30);

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
        NotBuilt("a profiling port"),
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
        Logging,
        &["l", "log"],
        Text,
        "",
        "Log file; the standard error without one",
        Sets(log_file),
    )
    .keys(Section::Broker, &["logfile", "log_file"]),
    Entry::new(
        Logging,
        &["log_size_limit"],
        Int,
        "0",
        "Bytes after which the log file is rotated, 0 is never",
        Sets(log_size_limit),
    )
    .keys(Section::Broker, &["logfile_size_limit", "log_size_limit"]),
    Entry::new(
        Logging,
        &["T", "logtime"],
        Bool,
        "true",
        "Date and time in log lines",
        Sets(logtime),
    )
    .keys(Section::Broker, &["logtime"]),
    Entry::new(
        Logging,
        &["logtime_utc"],
        Bool,
        "false",
        "Times of log lines are UTC",
        Sets(logtime_utc),
    )
    .keys(Section::Broker, &["logtime_utc"]),
    Entry::new(
        Logging,
        &["D", "debug"],
        Bool,
        "false",
        "Debug lines of the broker",
        Sets(debug),
    )
    .keys(Section::Broker, &["debug"]),
    Entry::new(
        Logging,
        &["V", "trace"],
        Bool,
        "false",
        "Trace lines of the broker",
        Sets(trace),
    )
    .keys(Section::Broker, &["trace"]),
    Entry::new(
        Logging,
        &["VV"],
        Bool,
        "false",
        "Trace lines of the broker, internal connections included",
        Overrides(verbose_trace),
    ),
    Entry::new(
        Logging,
        &["DV"],
        Bool,
        "false",
        "Both -D and -V",
        Overrides(debug_and_trace),
    ),
    Entry::new(
        Logging,
        &["DVV"],
        Bool,
        "false",
        "Both -D and -VV",
        Overrides(debug_and_verbose_trace),
    ),
    Entry::new(
        Logging,
        &["max_traced_msg_len"],
        Int,
        "0",
        "Bytes of a payload shown in trace lines, 0 shows all",
        Sets(max_traced_msg_len),
    )
    .keys(Section::Broker, &["max_traced_msg_len"]),
    Entry::new(
        Logging,
        &["s", "syslog"],
        Bool,
        "false",
        "Log to the system log",
        Sets(syslog),
    )
    .keys(Section::Broker, &["syslog"]),
    Entry::new(
        Logging,
        &["r", "remote_syslog"],
        Text,
        "",
        "Log to a remote system log",
        Sets(remote_syslog),
    )
    .keys(Section::Broker, &["remote_syslog"]),
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
    Entry::new(Server, &[], List, "", "Tags shown by monitoring", Sets(server_tags))
        .keys(Section::Broker, &["server_tags"]),
    Entry::new(
        Server,
        &[],
        Block,
        "",
        "Metadata shown by monitoring",
        NotBuilt("metadata of servers"),
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
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "65536",
        "Client connections, 0 is the default, -1 is unlimited",
        Sets(max_connections),
    )
    .keys(Section::Broker, &["max_connections", "max_conn"]),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "1048576",
        "Largest message in bytes, headers included",
        Sets(max_payload),
    )
    .keys(Section::Broker, &["max_payload"]),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "4096",
        "Longest line of the protocol in bytes",
        Sets(max_control_line),
    )
    .keys(Section::Broker, &["max_control_line"]),
    Entry::new(
        BrokerLimits,
        &[],
        Size,
        "67108864",
        "Bytes that wait for one client before it is closed as too slow",
        Sets(max_pending),
    )
    .keys(Section::Broker, &["max_pending"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "0",
        "Subscriptions per connection, 0 is unlimited",
        Sets(max_subscriptions),
    )
    .keys(Section::Broker, &["max_subscriptions", "max_subs"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "0",
        "Tokens per subscription subject, 0 is unlimited",
        Sets(max_sub_tokens),
    )
    .keys(Section::Broker, &["max_sub_tokens"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "10000",
        "Closed connections remembered for monitoring",
        Sets(max_closed_clients),
    )
    .keys(Section::Broker, &["max_closed_clients"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "10s",
        "Time in which a client must take what is offered to it",
        Sets(|options, value| positive("write_deadline", value, &mut options.broker.write_deadline)),
    )
    .keys(Section::Broker, &["write_deadline"]),
    Entry::new(
        BrokerLimits,
        &[],
        Text,
        "default",
        "What happens after the write deadline",
        NotBuilt("a choice of what happens after the write deadline"),
    )
    .keys(Section::Broker, &["write_timeout"])
    .without_variable(),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "2m0s",
        "Time between PINGs to a silent client",
        Sets(|options, value| positive("ping_interval", value, &mut options.broker.ping_interval)),
    )
    .keys(Section::Broker, &["ping_interval"]),
    Entry::new(
        BrokerLimits,
        &[],
        Int,
        "2",
        "Unanswered PINGs tolerated",
        Sets(ping_max),
    )
    .keys(Section::Broker, &["ping_max"]),
    Entry::new(
        BrokerLimits,
        &[],
        Bool,
        "false",
        "Never let producers wait for slow clients, which lose messages instead",
        Sets(no_fast_producer_stall),
    )
    .keys(Section::Broker, &["no_fast_producer_stall"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "2m0s",
        "Time over which clients are closed in lame duck mode, at least 30s",
        Sets(lame_duck_duration),
    )
    .keys(Section::Broker, &["lame_duck_duration"]),
    Entry::new(
        BrokerLimits,
        &[],
        Time,
        "10s",
        "Time before the first client is closed in lame duck mode",
        Sets(|options, value| {
            positive(
                "lame_duck_grace_period",
                value,
                &mut options.broker.lame_duck_grace_period,
            )
        }),
    )
    .keys(Section::Broker, &["lame_duck_grace_period"]),
    Entry::new(
        Logging,
        &[],
        Int,
        "0",
        "Rotated log files kept, 0 keeps all",
        Sets(log_max_files),
    )
    .keys(Section::Broker, &["logfile_max_num", "log_max_num"]),
    Entry::new(
        Logging,
        &[],
        Bool,
        "false",
        "Trace lines of the broker, internal connections included",
        Sets(trace_verbose),
    )
    .keys(Section::Broker, &["trace_verbose"]),
    Entry::new(
        Logging,
        &[],
        Bool,
        "false",
        "Trace headers only",
        NotBuilt("traces of headers only"),
    )
    .keys(Section::Broker, &["trace_headers"])
    .without_variable(),
    Entry::new(
        Logging,
        &[],
        Int,
        "3600",
        "How often failures to connect to other servers are logged",
        Nothing("there are no connections to other servers"),
    )
    .keys(Section::Broker, &["connect_error_reports"])
    .without_variable(),
    Entry::new(
        Logging,
        &[],
        Int,
        "1",
        "How often failures to reconnect to other servers are logged",
        Nothing("there are no connections to other servers"),
    )
    .keys(Section::Broker, &["reconnect_error_reports"])
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
        return Err(format!(
            "invalid server name {:?}, should be without spaces",
            value.text()
        ));
    }
    options.broker.name = value.present();
    Ok(())
}

fn client_advertise(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.client_advertise = value.present();
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

fn log_file(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.file = value.present().map(PathBuf::from);
    Ok(())
}

fn log_size_limit(options: &mut Draft, value: &Value) -> Result<(), String> {
    // Zero and below are no limit.
    options.log.size_limit = u64::try_from(value.number()).ok().filter(|limit| *limit > 0);
    Ok(())
}

fn logtime(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.time = value.is_true();
    Ok(())
}

fn logtime_utc(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.utc = value.is_true();
    Ok(())
}

fn debug(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.debug = value.is_true();
    Ok(())
}

fn trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.trace = value.is_true();
    Ok(())
}

/// The key in files: it can only add to what `trace` says.
fn trace_verbose(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.is_trace_verbose_in_file = value.is_true();
    Ok(())
}

fn verbose_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.trace_verbose = value.is_true();
    trace(options, value)
}

fn debug_and_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    trace(options, value)
}

fn debug_and_verbose_trace(options: &mut Draft, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    verbose_trace(options, value)
}

fn max_traced_msg_len(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_traced_msg_len = usize::try_from(value.number()).unwrap_or(0);
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

fn syslog(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.syslog = value.is_true();
    Ok(())
}

fn remote_syslog(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.remote_syslog = value.present();
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

fn http_base_path(options: &mut Draft, value: &Value) -> Result<(), String> {
    let trimmed = value.text().trim_matches('/');
    options.broker.http_base_path = match trimmed {
        "" => String::new(),
        path => format!("/{path}"),
    };
    Ok(())
}

fn server_tags(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.server_tags = value.list().to_vec();
    Ok(())
}

fn no_header_support(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_header_support = value.is_true();
    Ok(())
}

/// A number above zero.
fn count(key: &str, value: &Value) -> Result<usize, String> {
    match usize::try_from(value.number()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{key} must be positive ({})", value.number())),
    }
}

/// A limit of which zero and below mean none.
fn unlimited_below_one(value: &Value) -> usize {
    usize::try_from(value.number()).unwrap_or(0)
}

fn max_connections(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_connections = match value.number() {
        0 => CONNECTIONS_DEFAULT,
        number => usize::try_from(number).unwrap_or(usize::MAX),
    };
    Ok(())
}

fn max_payload(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_payload = count("max_payload", value)?;
    Ok(())
}

fn max_control_line(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_control_line = count("max_control_line", value)?;
    Ok(())
}

fn max_pending(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_pending = count("max_pending", value)?;
    Ok(())
}

fn max_subscriptions(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_subscriptions = unlimited_below_one(value);
    Ok(())
}

fn max_sub_tokens(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_subscription_tokens = unlimited_below_one(value);
    Ok(())
}

fn max_closed_clients(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.max_closed_clients = unlimited_below_one(value);
    Ok(())
}

fn ping_max(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.ping_max =
        u32::try_from(value.number()).map_err(|_| format!("invalid ping_max ({})", value.number()))?;
    Ok(())
}

fn no_fast_producer_stall(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_fast_producer_stall = value.is_true();
    Ok(())
}

fn lame_duck_duration(options: &mut Draft, value: &Value) -> Result<(), String> {
    positive("lame_duck_duration", value, &mut options.broker.lame_duck_duration)?;
    if options.broker.lame_duck_duration < LAME_DUCK_MIN {
        return Err(format!(
            "invalid lame_duck_duration of {}, minimum is 30 seconds",
            format_duration_nanos(value.number())
        ));
    }
    Ok(())
}

fn log_max_files(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.log.max_files = u32::try_from(value.number()).ok().filter(|count| *count > 0);
    Ok(())
}

/// A duration above zero.
fn positive(key: &str, value: &Value, target: &mut Duration) -> Result<(), String> {
    match u64::try_from(value.number()) {
        Ok(nanos) if nanos > 0 => *target = Duration::from_nanos(nanos),
        _ => {
            return Err(format!(
                "{key} must be positive ({})",
                format_duration_nanos(value.number())
            ));
        }
    }
    Ok(())
}
