//! The table of options: every flag, what it defaults to, and what this server does with it.

mod broker;
mod modes;
mod streaming;

use crate::options::{Options, Personality};

/// Notation of a flag's value (specification §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Truth value; takes a value only with `=`.
    Bool,
    /// 64-bit integer.
    Int,
    /// Any text.
    Text,
    /// Duration such as `1h30m`.
    Duration,
    /// Integer with an optional unit such as `100KB`.
    Size,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Text => "string",
            Kind::Duration => "duration",
            Kind::Size => "size",
        }
    }
}

/// Value of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`], and of [`Kind::Size`] once it was read.
    Int(i64),
    /// Of [`Kind::Text`], and of [`Kind::Size`] before it was read.
    Text(String),
    /// Of [`Kind::Duration`], in nanoseconds.
    Nanos(i64),
}

impl Value {
    /// The truth value; the kind of the flag says that it is one.
    fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    /// The number; the kind of the flag says that it is one.
    fn number(&self) -> i64 {
        match self {
            Value::Int(number) | Value::Nanos(number) => *number,
            Value::Bool(_) | Value::Text(_) => 0,
        }
    }

    /// The text; the kind of the flag says that it is one.
    fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Bool(_) | Value::Int(_) | Value::Nanos(_) => "",
        }
    }
}

/// Puts a value into the options, or says why the server cannot start with it.
pub(crate) type Set = fn(&mut Options, &Value) -> Result<(), String>;

/// What this server does with a flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Sets an option; its default is applied the same way.
    Sets(Set),
    /// Sets options after all others, and only when given.
    Overrides(Set),
    /// Accepted and logged as having no effect, for the reason given.
    Nothing(&'static str),
    /// Refused unless it says what is the default anyway: this build does not have what is named.
    NotBuilt(&'static str),
    /// Prints something instead of starting.
    Prints(Information),
}

/// What an information flag prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Information {
    /// Usage.
    Help,
    /// Version line.
    Version,
    /// Help on TLS.
    TlsHelp,
}

/// Section of the usage text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Streaming,
    Limits,
    FileStore,
    SqlStore,
    Encryption,
    FaultTolerance,
    Clustering,
    StreamingTls,
    Server,
    Logging,
    Security,
    Routes,
    Information,
}

impl Group {
    /// All groups in the order in which they are shown.
    pub(crate) const ALL: [Group; 13] = [
        Group::Streaming,
        Group::Limits,
        Group::FileStore,
        Group::Server,
        Group::Logging,
        Group::Information,
        Group::SqlStore,
        Group::Encryption,
        Group::FaultTolerance,
        Group::Clustering,
        Group::StreamingTls,
        Group::Security,
        Group::Routes,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Streaming => "Streaming",
            Group::Limits => "Streaming limits",
            Group::FileStore => "Streaming file store",
            Group::SqlStore => "Streaming SQL store",
            Group::Encryption => "Streaming encryption",
            Group::FaultTolerance => "Streaming fault tolerance",
            Group::Clustering => "Streaming clustering",
            Group::StreamingTls => "Streaming TLS",
            Group::Server => "Server",
            Group::Logging => "Logging",
            Group::Security => "Authentication and TLS",
            Group::Routes => "Routes",
            Group::Information => "Information",
        }
    }
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// All names, equal in status.
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) group: Group,
    /// Default of `nats-streaming-server`, in the notation of the flag; an empty text is an absent value.
    original: &'static str,
    /// Default of `seaway`.
    seaway: &'static str,
    pub(crate) help: &'static str,
    pub(crate) effect: Effect,
}

impl Flag {
    const fn new(
        group: Group,
        names: &'static [&'static str],
        kind: Kind,
        default: &'static str,
        help: &'static str,
        effect: Effect,
    ) -> Self {
        Flag {
            names,
            kind,
            group,
            original: default,
            seaway: default,
            help,
            effect,
        }
    }

    /// The same flag with another default in `seaway`.
    const fn seaway(mut self, default: &'static str) -> Self {
        self.seaway = default;
        self
    }

    /// Default in the notation of the flag.
    pub(crate) fn default(&self, personality: Personality) -> &'static str {
        match personality {
            Personality::Seaway => self.seaway,
            Personality::NatsStreamingServer => self.original,
        }
    }

    /// Name used when one has to be chosen: the longest is the clearest.
    pub(crate) fn long_name(&self) -> &'static str {
        self.names
            .iter()
            .max_by_key(|name| name.len())
            .copied()
            .unwrap_or_default()
    }
}

/// Every flag.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    streaming::FLAGS.iter().chain(modes::FLAGS).chain(broker::FLAGS)
}

/// Number of flags.
pub(crate) fn len() -> usize {
    streaming::FLAGS.len() + modes::FLAGS.len() + broker::FLAGS.len()
}

/// A flag by one of its names, with its place in the table; names are case sensitive.
pub(crate) fn find(name: &str) -> Option<(usize, &'static Flag)> {
    all().enumerate().find(|(_, flag)| flag.names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_defaults_readable() {
        let mut names = HashSet::new();
        for flag in all() {
            assert!(!flag.names.is_empty() && !flag.help.is_empty());
            for name in flag.names {
                assert!(names.insert(*name), "{name} twice");
            }
            for default in [flag.original, flag.seaway] {
                match flag.kind {
                    Kind::Text => {}
                    Kind::Size => assert!(crate::go::parse_size(default).is_some(), "{:?}", flag.names),
                    kind => assert!(crate::lex::read(kind, default).is_ok(), "{:?}", flag.names),
                }
            }
        }
        assert_eq!(
            Group::ALL.len(),
            Group::ALL
                .iter()
                .map(|group| group.title())
                .collect::<HashSet<_>>()
                .len()
        );
        assert!(all().all(|flag| Group::ALL.contains(&flag.group)));
    }

    /// Every flag of specification §7.2 and §7.3 is known.
    #[test]
    fn all_flags_of_the_original_are_known() {
        let names = "cid cluster_id st store dir mc max_channels msu max_subs mm max_msgs mb max_bytes ma max_age mi \
            max_inactivity hbi hb_interval hbt hb_timeout hbf hb_fail_count SD stan_debug SV stan_trace SDV secure \
            tls_client_cert tls_client_key tls_client_cacert ns nats_server sc stan_config io_batch_size \
            io_sleep_time ft_group syslog_name encrypt encryption_cipher encryption_key replace_durable clustered \
            cluster_node_id cluster_bootstrap cluster_peers cluster_log_path cluster_log_cache_size \
            cluster_log_snapshots cluster_trailing_logs cluster_sync cluster_raft_logging \
            cluster_proceed_on_restore_failure cluster_allow_add_remove_node file_compact_enabled file_compact_frag \
            file_compact_interval file_compact_min_size file_buffer_size file_read_buffer_size file_crc \
            file_crc_poly file_sync file_slice_max_msgs file_slice_max_bytes file_slice_max_age \
            file_slice_archive_script file_fds_limit file_parallel_recovery file_truncate_bad_eof file_auto_sync \
            sql_driver sql_source sql_no_caching sql_max_open_conns sql_bulk_insert_limit h help v version help_tls p \
            port a addr net n name server_name client_advertise m http_port ms https_port c config t sl signal P pid \
            ports_file_dir l log log_size_limit T logtime logtime_utc s syslog r remote_syslog D debug V trace DV VV \
            DVV max_traced_msg_len user pass auth tls tlsverify tlscert tlskey tlscacert routes cluster \
            cluster_listen cluster_name cluster_advertise no_advertise connect_retries profile js jetstream sd \
            store_dir";
        for name in names.split_whitespace() {
            assert!(find(name).is_some(), "-{name}");
        }
        assert_eq!(
            names.split_whitespace().count(),
            all().map(|flag| flag.names.len()).sum::<usize>()
        );
    }
}
