//! Flags of the core broker and the process (specification §7.3, core specification §5.5).

use std::path::PathBuf;

use super::Effect::{NotBuilt, Nothing, Overrides, Prints, Sets};
use super::Group::{Information as Informing, Logging, Routes, Security, Server};
use super::Information::{Help, TlsHelp, Version};
use super::Kind::{Bool, Int, Text};
use super::{Flag, Value};
use crate::options::Options;

/// Client port when none, or 0, is given.
const PORT_DEFAULT: u16 = 4222;
/// Value of a port flag that lets the system choose.
const PORT_CHOSEN_BY_SYSTEM: i64 = -1;

const ROUTES: &str = "routes to other servers";
const SYSTEM_LOG: &str = "the system log as a target";

/// See the module.
pub(super) static FLAGS: &[Flag] = &[
    Flag::new(
        Server,
        &["a", "addr", "net"],
        Text,
        "0.0.0.0",
        "Host to listen on",
        Sets(host),
    )
    .seaway("127.0.0.1"),
    Flag::new(
        Server,
        &["p", "port"],
        Int,
        "4222",
        "Client port, -1 lets the system choose",
        Sets(port),
    ),
    Flag::new(
        Server,
        &["m", "http_port"],
        Int,
        "0",
        "Port of HTTP monitoring, 0 is off, -1 lets the system choose",
        Sets(http_port),
    )
    .seaway("8222"),
    Flag::new(
        Server,
        &["n", "name", "server_name"],
        Text,
        "",
        "Name of the server",
        Sets(name),
    ),
    Flag::new(
        Server,
        &["client_advertise"],
        Text,
        "",
        "Address told to clients instead of the own one",
        Sets(client_advertise),
    ),
    Flag::new(
        Server,
        &["P", "pid"],
        Text,
        "",
        "File for the process id",
        Sets(pid_file),
    ),
    Flag::new(
        Server,
        &["ports_file_dir"],
        Text,
        "",
        "Folder for a file that lists the ports in use",
        Sets(ports_file_dir),
    ),
    Flag::new(
        Server,
        &["ms", "https_port"],
        Int,
        "0",
        "Port of HTTPS monitoring",
        NotBuilt("HTTPS monitoring"),
    ),
    Flag::new(
        Server,
        &["c", "config"],
        Text,
        "",
        "Configuration file",
        NotBuilt("configuration files"),
    ),
    Flag::new(
        Server,
        &["t"],
        Bool,
        "false",
        "Test the configuration file",
        NotBuilt("configuration files"),
    ),
    Flag::new(
        Server,
        &["sl", "signal"],
        Text,
        "",
        "Send a signal to another server",
        NotBuilt("sending signals; use kill"),
    ),
    Flag::new(
        Server,
        &["profile"],
        Int,
        "0",
        "Profiling port",
        NotBuilt("a profiling port"),
    ),
    Flag::new(
        Server,
        &["js", "jetstream"],
        Bool,
        "false",
        "Enable JetStream",
        NotBuilt("JetStream"),
    ),
    Flag::new(
        Server,
        &["sd", "store_dir"],
        Text,
        "",
        "Storage directory of JetStream",
        Nothing("it concerns JetStream only"),
    ),
    Flag::new(
        Logging,
        &["l", "log"],
        Text,
        "",
        "Log file; the standard error without one",
        Sets(log_file),
    ),
    Flag::new(
        Logging,
        &["log_size_limit"],
        Int,
        "0",
        "Bytes after which the log file is rotated, 0 is never",
        Sets(log_size_limit),
    ),
    Flag::new(
        Logging,
        &["T", "logtime"],
        Bool,
        "true",
        "Date and time in log lines",
        Sets(logtime),
    ),
    Flag::new(
        Logging,
        &["logtime_utc"],
        Bool,
        "false",
        "Times of log lines are UTC",
        Sets(logtime_utc),
    ),
    Flag::new(
        Logging,
        &["D", "debug"],
        Bool,
        "false",
        "Debug lines of the broker",
        Sets(debug),
    ),
    Flag::new(
        Logging,
        &["V", "trace"],
        Bool,
        "false",
        "Trace lines of the broker",
        Sets(trace),
    ),
    Flag::new(
        Logging,
        &["VV"],
        Bool,
        "false",
        "Trace lines of the broker, internal connections included",
        Overrides(verbose_trace),
    ),
    Flag::new(
        Logging,
        &["DV"],
        Bool,
        "false",
        "Both -D and -V",
        Overrides(debug_and_trace),
    ),
    Flag::new(
        Logging,
        &["DVV"],
        Bool,
        "false",
        "Both -D and -VV",
        Overrides(debug_and_verbose_trace),
    ),
    Flag::new(
        Logging,
        &["max_traced_msg_len"],
        Int,
        "0",
        "Bytes of a payload shown in trace lines, 0 shows all",
        Sets(max_traced_msg_len),
    ),
    Flag::new(
        Logging,
        &["s", "syslog"],
        Bool,
        "false",
        "Log to the system log",
        NotBuilt(SYSTEM_LOG),
    ),
    Flag::new(
        Logging,
        &["r", "remote_syslog"],
        Text,
        "",
        "Log to a remote system log",
        NotBuilt(SYSTEM_LOG),
    ),
    Flag::new(
        Informing,
        &["h", "help"],
        Bool,
        "false",
        "Print this text",
        Prints(Help),
    ),
    Flag::new(
        Informing,
        &["v", "version"],
        Bool,
        "false",
        "Print the version",
        Prints(Version),
    ),
    Flag::new(
        Informing,
        &["help_tls"],
        Bool,
        "false",
        "Print help on TLS",
        Prints(TlsHelp),
    ),
    Flag::new(
        Security,
        &["user"],
        Text,
        "",
        "User that clients must name",
        NotBuilt("authentication"),
    ),
    Flag::new(
        Security,
        &["pass"],
        Text,
        "",
        "Password of that user",
        NotBuilt("authentication"),
    ),
    Flag::new(
        Security,
        &["auth"],
        Text,
        "",
        "Token that clients must present",
        NotBuilt("authentication"),
    ),
    Flag::new(Security, &["tls"], Bool, "false", "Require TLS", NotBuilt("TLS")),
    Flag::new(
        Security,
        &["tlsverify"],
        Bool,
        "false",
        "Require client certificates",
        NotBuilt("TLS"),
    ),
    Flag::new(
        Security,
        &["tlscert"],
        Text,
        "",
        "Certificate of the server",
        NotBuilt("TLS"),
    ),
    Flag::new(Security, &["tlskey"], Text, "", "Its key", NotBuilt("TLS")),
    Flag::new(
        Security,
        &["tlscacert"],
        Text,
        "",
        "Authority that verifies clients",
        NotBuilt("TLS"),
    ),
    Flag::new(Routes, &["routes"], Text, "", "URLs of other servers", NotBuilt(ROUTES)),
    Flag::new(
        Routes,
        &["cluster", "cluster_listen"],
        Text,
        "",
        "URL on which routes are accepted",
        NotBuilt(ROUTES),
    ),
    Flag::new(
        Routes,
        &["cluster_name"],
        Text,
        "",
        "Name of the cluster of servers",
        NotBuilt(ROUTES),
    ),
    Flag::new(
        Routes,
        &["cluster_advertise"],
        Text,
        "",
        "Address told to other servers",
        NotBuilt(ROUTES),
    ),
    Flag::new(
        Routes,
        &["no_advertise"],
        Bool,
        "false",
        "Do not tell clients of other servers",
        NotBuilt(ROUTES),
    ),
    Flag::new(
        Routes,
        &["connect_retries"],
        Int,
        "0",
        "Attempts to connect to other servers",
        NotBuilt(ROUTES),
    ),
];

fn host(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.host = value.text().to_owned();
    Ok(())
}

fn port(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.port = listen_port("client", value)?.unwrap_or(PORT_DEFAULT);
    Ok(())
}

fn http_port(options: &mut Options, value: &Value) -> Result<(), String> {
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

/// A text of which the empty one means absent.
fn present(value: &Value) -> Option<String> {
    Some(value.text()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn name(options: &mut Options, value: &Value) -> Result<(), String> {
    if value.text().contains(char::is_whitespace) {
        return Err(format!(
            "invalid server name {:?}, should be without spaces",
            value.text()
        ));
    }
    options.broker.name = present(value);
    Ok(())
}

fn client_advertise(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.client_advertise = present(value);
    Ok(())
}

fn pid_file(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.pid_file = present(value).map(PathBuf::from);
    Ok(())
}

fn ports_file_dir(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.ports_file_dir = present(value).map(PathBuf::from);
    Ok(())
}

fn log_file(options: &mut Options, value: &Value) -> Result<(), String> {
    options.log.file = present(value).map(PathBuf::from);
    Ok(())
}

fn log_size_limit(options: &mut Options, value: &Value) -> Result<(), String> {
    // Zero and below are no limit.
    options.log.size_limit = u64::try_from(value.number()).ok().filter(|limit| *limit > 0);
    Ok(())
}

fn logtime(options: &mut Options, value: &Value) -> Result<(), String> {
    options.log.time = value.is_true();
    Ok(())
}

fn logtime_utc(options: &mut Options, value: &Value) -> Result<(), String> {
    options.log.utc = value.is_true();
    Ok(())
}

fn debug(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.debug = value.is_true();
    Ok(())
}

fn trace(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.trace = value.is_true();
    Ok(())
}

fn verbose_trace(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.trace_verbose = value.is_true();
    trace(options, value)
}

fn debug_and_trace(options: &mut Options, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    trace(options, value)
}

fn debug_and_verbose_trace(options: &mut Options, value: &Value) -> Result<(), String> {
    debug(options, value)?;
    verbose_trace(options, value)
}

fn max_traced_msg_len(options: &mut Options, value: &Value) -> Result<(), String> {
    options.broker.max_traced_msg_len = usize::try_from(value.number()).unwrap_or(0);
    Ok(())
}
