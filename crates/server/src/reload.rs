//! SIGHUP: the configuration of the broker is read again and what can change in a running server changes
//! (`streaming-protocol.md` §7.7, `nats-core.md` §5.8). The streaming engine keeps its options until the next start.
//!
//! Everything that can fail happens before anything is changed: after a failure the old configuration stays whole.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use seaway_broker::{Broker, BrokerOptions};
use seaway_config::{Import, Options};
use tokio::sync::{mpsc, oneshot};

use crate::files::{Ports, PortsFile, write_pid_file};
use crate::logging::{LogHandle, LoggingOptions, Verbosity};

/// Reloads that wait for their turn.
const RELOADS_MAX: usize = 4;

/// Why there is none where messages are carried by somebody else's NATS.
const EXTERNAL: &str = "Reload supported only for embedded NATS Server's configuration";

/// What a change of an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The switches of the log.
    Switches,
    /// The log's target or style.
    Log,
    /// The broker takes it over.
    Broker,
    /// The process id is written there.
    PidFile,
    /// The ports are written there, and no longer where they were.
    PortsFile,
    /// Possible in the original, and not here.
    NextStart,
    /// Refuses the whole reload.
    Refused,
}

/// An option of the broker.
struct Key {
    name: &'static str,
    effect: Effect,
    differs: fn(&Options, &Options) -> bool,
    /// `None` for what must not be shown, or has no short form.
    show: Option<fn(&Options) -> String>,
}

/// `key!(name, effect, options => value, value => text)`; without a text the value is not shown.
macro_rules! key {
    ($name:literal, $effect:ident, $options:ident => $value:expr) => {
        Key {
            name: $name,
            effect: Effect::$effect,
            differs: |old, new| {
                let value = |$options: &Options| ($value).clone();
                value(old) != value(new)
            },
            show: None,
        }
    };
    ($name:literal, $effect:ident, $options:ident => $value:expr, $shown:ident => $text:expr) => {
        Key {
            show: Some(|$options| {
                let $shown = &$value;
                $text
            }),
            ..key!($name, $effect, $options => $value)
        }
    };
}

const KEYS: &[Key] = &[
    key!("host", Refused, o => o.broker.host, host => host.clone()),
    key!("port", Refused, o => o.broker.port, port => port.to_string()),
    key!("http_host", Refused, o => o.broker.http_host, host => optional(host.as_ref())),
    key!("http_port", Refused, o => o.broker.http_port, port => optional(port.as_ref())),
    key!("https_port", Refused, o => o.broker.https_port, port => optional(port.as_ref())),
    key!("http_base_path", Refused, o => o.broker.http_base_path, path => path.clone()),
    key!("server_name", Refused, o => o.broker.name, name => optional(name.as_ref())),
    key!("max_subscriptions", Refused, o => o.broker.max_subscriptions, count => count.to_string()),
    key!("max_sub_tokens", Refused, o => o.broker.max_subscription_tokens, count => count.to_string()),
    key!("max_closed_clients", Refused, o => o.broker.max_closed_clients, count => count.to_string()),
    key!("no_header_support", Refused, o => o.broker.no_header_support, on => on.to_string()),
    key!("debug", Switches, o => o.broker.debug, on => on.to_string()),
    key!("trace", Switches, o => o.broker.trace, on => on.to_string()),
    key!("logtime", Log, o => o.log.time, on => on.to_string()),
    key!("logtime_utc", Log, o => o.log.utc, on => on.to_string()),
    key!("log_file", Log, o => o.log.file, path => path_text(path.as_deref())),
    key!("log_size_limit", Log, o => o.log.size_limit, bytes => optional(bytes.as_ref())),
    key!("log_max_num", Log, o => o.log.max_files, count => optional(count.as_ref())),
    key!("syslog", Log, o => o.log.syslog, on => on.to_string()),
    key!("remote_syslog", Log, o => o.log.remote_syslog, url => optional(url.as_ref())),
    key!("authorization", Broker, o => o.broker.authorization),
    key!("accounts", Broker, o => o.broker.accounts),
    key!("imports of accounts", Refused, o => imports(o), imports => format!("{} of them", imports.len())),
    key!("accounts of the streaming block", Refused, o => o.streaming.account, name => name.clone()),
    key!("system_account", Refused, o => o.broker.system_account, name => name.clone()),
    key!("no_system_account", Refused, o => o.broker.no_system_account, on => on.to_string()),
    key!("no_auth_user", Broker, o => o.broker.no_auth_user, user => optional(user.as_ref())),
    key!("cluster", Refused, o => o.broker.cluster),
    key!("tls", Broker, o => o.broker.tls),
    key!("allow_non_tls", Broker, o => o.broker.allow_non_tls, on => on.to_string()),
    key!("max_connections", Broker, o => o.broker.max_connections, count => count.to_string()),
    key!("max_payload", Broker, o => o.broker.max_payload, bytes => bytes.to_string()),
    key!("max_control_line", Broker, o => o.broker.max_control_line, bytes => bytes.to_string()),
    key!("pid_file", PidFile, o => o.broker.pid_file, path => path_text(path.as_deref())),
    key!("ports_file_dir", PortsFile, o => o.broker.ports_file_dir, path => path_text(path.as_deref())),
    key!("client_advertise", NextStart, o => o.broker.client_advertise, host => optional(host.as_ref())),
    key!("console_hosts", Refused, o => o.broker.console_hosts, hosts => hosts.join(", ")),
    key!("no_console", Refused, o => o.broker.no_console, on => on.to_string()),
    key!("server_tags", NextStart, o => o.broker.server_tags, tags => tags.join(", ")),
    key!("max_pending", NextStart, o => o.broker.max_pending, bytes => bytes.to_string()),
    key!("write_deadline", NextStart, o => o.broker.write_deadline, time => duration(*time)),
    key!("ping_interval", NextStart, o => o.broker.ping_interval, time => duration(*time)),
    key!("ping_max", NextStart, o => o.broker.ping_max, count => count.to_string()),
    key!("lame_duck_duration", NextStart, o => o.broker.lame_duck_duration, time => duration(*time)),
    key!("lame_duck_grace_period", NextStart, o => o.broker.lame_duck_grace_period, time => duration(*time)),
    key!("no_fast_producer_stall", NextStart, o => o.broker.no_fast_producer_stall, on => on.to_string()),
    key!("trace_verbose", NextStart, o => o.broker.trace_verbose, on => on.to_string()),
    key!("max_traced_msg_len", NextStart, o => o.broker.max_traced_msg_len, bytes => bytes.to_string()),
];

/// What each account imports, in whatever order; subscriptions that exist would not follow a change.
fn imports(options: &Options) -> Vec<(String, Import)> {
    let accounts = options.broker.accounts.iter();
    let all = accounts.flat_map(|account| {
        let imports = account.imports.iter();
        imports.map(|import| (account.name.clone(), import.clone()))
    });
    let mut all: Vec<(String, Import)> = all.collect();
    all.sort_unstable();
    all
}

fn optional(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn path_text(path: Option<&Path>) -> String {
    optional(path.map(Path::display).as_ref())
}

fn duration(duration: Duration) -> String {
    seaway_config::format_duration(duration)
}

/// The options whose values differ.
///
/// # Errors
/// One of them cannot change while the server runs.
fn changes(old: &Options, new: &Options) -> Result<Vec<&'static Key>> {
    let changed: Vec<&Key> = KEYS.iter().filter(|key| (key.differs)(old, new)).collect();
    if let Some(key) = changed.iter().find(|key| key.effect == Effect::Refused) {
        let show = |options| key.show.map_or_else(String::new, |show| show(options));
        bail!(
            "config reload not supported for {}: old={}, new={}",
            key.name,
            show(old),
            show(new)
        );
    }
    Ok(changed)
}

/// Reads the options again as the start read them; the text says what is wrong with them.
pub(crate) type Reread<'a> = &'a dyn Fn() -> Result<Options, String>;

/// What a reload works on.
pub(crate) struct Reloading<'a> {
    /// What the server runs with.
    pub(crate) options: Options,
    pub(crate) reread: Reread<'a>,
    pub(crate) broker: Broker,
    pub(crate) log: &'a LogHandle,
    pub(crate) ports: Ports,
    /// The file of the ports, if there is one.
    pub(crate) ports_file: Option<PortsFile>,
}

/// What a reload took over, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What counts at once: keys, with the new value where it may be shown.
    pub(crate) at_once: Vec<String>,
    /// What counts from the next start on.
    pub(crate) at_next_start: Vec<String>,
    /// What is new to be said of the configuration.
    pub(crate) warnings: Vec<String>,
    /// Clients that were closed because they may no longer be there.
    pub(crate) closed: usize,
}

/// A reload that is asked for by somebody who waits for what comes of it.
pub(crate) struct Asked {
    is_rehearsal: bool,
    answer: oneshot::Sender<Result<Taken, String>>,
}

impl Asked {
    /// Reloads, or only looks what that would do, and answers.
    pub(crate) fn answer(self, reloading: &mut Reloading<'_>) {
        // Whoever asked may have gone.
        let _ = self.answer.send(match self.is_rehearsal {
            true => reloading.rehearse(),
            false => reloading.reload(),
        });
    }
}

/// Where reloads are asked for.
#[derive(Clone)]
pub(crate) struct Reloads(mpsc::Sender<Asked>);

impl Reloads {
    /// With the end at which they come.
    pub(crate) fn new() -> (Reloads, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(RELOADS_MAX);
        (Reloads(sender), receiver)
    }

    /// Asks for one, or for what it would do, and waits for that.
    ///
    /// # Errors
    /// It cannot be asked for now, in words; inside, it was refused, in words.
    pub(crate) async fn ask(&self, is_rehearsal: bool) -> Result<Result<Taken, String>, String> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { is_rehearsal, answer };
        self.0
            .try_send(asked)
            .map_err(|_| "the server is about to reload, or stops".to_owned())?;
        answered.await.map_err(|_| "the server stops".to_owned())
    }
}

/// What a reload has found out before it changes anything.
struct Prepared {
    new: Options,
    changed: Vec<&'static Key>,
    broker: BrokerOptions,
    taken: Taken,
}

impl Reloading<'_> {
    /// Reloads, and says how it went.
    ///
    /// # Errors
    /// Nothing was changed, with the reason in words.
    pub(crate) fn reload(&mut self) -> Result<Taken, String> {
        if self.is_external() {
            tracing::warn!(target: "stream", "{EXTERNAL}");
            return Err(EXTERNAL.to_owned());
        }
        self.try_reload().map_err(|error| {
            let reason = format!("{error:#}");
            tracing::error!("Reload: {reason}");
            reason
        })
    }

    /// What a reload would do.
    ///
    /// # Errors
    /// It would change nothing, with the reason in words.
    fn rehearse(&self) -> Result<Taken, String> {
        if self.is_external() {
            return Err(EXTERNAL.to_owned());
        }
        let prepared = self.prepare().map_err(|error| format!("{error:#}"))?;
        Ok(prepared.taken)
    }

    /// There is no broker that could take anything over then (§7.7).
    fn is_external(&self) -> bool {
        self.options.streaming.external.is_some()
    }

    fn prepare(&self) -> Result<Prepared> {
        if self.options.config_file.is_none() {
            bail!("can only reload config when a file is provided using -c or --config");
        }
        let mut new = (self.reread)().map_err(|text| anyhow::Error::msg(text.trim_end().to_owned()))?;
        let changed = changes(&self.options, &new)?;
        let mut taken = Taken::default();
        if new.streaming != self.options.streaming {
            taken.at_next_start.push("options of the streaming engine".to_owned());
            new.streaming = self.options.streaming.clone();
        }
        for key in &changed {
            match (key.effect, key.show) {
                (Effect::NextStart, _) => taken.at_next_start.push(key.name.to_owned()),
                (_, Some(show)) => taken.at_once.push(format!("{} = {}", key.name, show(&new))),
                (_, None) => taken.at_once.push(key.name.to_owned()),
            }
        }
        let said = &self.options.notices;
        let notices = new.notices.iter().filter(|notice| !said.contains(notice));
        taken.warnings.extend(notices.map(ToString::to_string));
        let broker = crate::broker_options::broker_options(&new)?;
        Ok(Prepared {
            new,
            changed,
            broker,
            taken,
        })
    }

    fn try_reload(&mut self) -> Result<Taken> {
        let Prepared {
            new,
            changed,
            broker,
            mut taken,
        } = self.prepare()?;
        let has = |effect| changed.iter().any(|key| key.effect == effect);
        if has(Effect::PidFile)
            && let Some(path) = &new.broker.pid_file
        {
            write_pid_file(path)?;
        }
        let ports_file = match &new.broker.ports_file_dir {
            Some(directory) if has(Effect::PortsFile) => Some(PortsFile::write(directory, &self.ports)?),
            _ => None,
        };
        if has(Effect::Log) {
            self.log.replace(&LoggingOptions::try_from(&new)?)?;
        }
        // From here on nothing fails.
        if has(Effect::PortsFile) {
            self.ports_file = ports_file;
        }
        self.log
            .set_verbosity(Verbosity::of_broker(&new), Verbosity::of_streaming(&new));
        // Certificates may have changed behind the same names.
        let reloaded = self.broker.reload(&broker);
        taken.closed = reloaded.refused + reloaded.surplus;
        tell(&taken);
        self.options = new;
        Ok(taken)
    }
}

/// Says in the log what was taken over.
fn tell(taken: &Taken) {
    for what in &taken.at_next_start {
        let change = if what.contains(' ') { "change" } else { "changes" };
        tracing::warn!("Reload: {what} {change} with the next start");
    }
    for notice in &taken.warnings {
        tracing::warn!("Reload: {notice}");
    }
    for what in &taken.at_once {
        tracing::info!("Reloaded: {what}");
    }
    if taken.closed > 0 {
        tracing::info!("Closed {} clients", taken.closed);
    }
    tracing::info!("Reloaded server configuration");
}

#[cfg(test)]
mod tests {
    use seaway_config::Personality;

    use super::*;

    fn options(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options::new(Personality::NatsStreamingServer);
        change(&mut options);
        options
    }

    #[test]
    fn changes_are_named_and_shown() {
        let old = options(|_| {});
        let new = options(|o| {
            o.broker.debug = true;
            o.log.file = Some("/a/log".into());
            o.broker.no_auth_user = Some("guest".to_owned());
            o.broker.ping_interval = Duration::from_secs(90);
        });
        let shown: Vec<_> = changes(&old, &new)
            .unwrap()
            .into_iter()
            .map(|key| (key.name, key.show.unwrap()(&new)))
            .collect();
        let expected = [
            ("debug", "true"),
            ("log_file", "/a/log"),
            ("no_auth_user", "guest"),
            ("ping_interval", "1m30s"),
        ];
        assert_eq!(shown, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(changes(&new, &new).unwrap().is_empty());
    }

    /// `nats-core.md` §5.8, §9.10 row 146.
    #[test]
    fn what_cannot_change_is_refused_with_both_values() {
        let old = options(|_| {});
        let new = options(|o| {
            o.broker.debug = true;
            o.broker.port = 4333;
        });
        let error = changes(&old, &new).err().unwrap();
        assert_eq!(
            error.to_string(),
            "config reload not supported for port: old=4222, new=4333"
        );
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
    }
}
