//! The table of options: flags, keys of files, defaults, and what this server does with each.
//!
//! Flags, usage text, keys, environment variables and documentation all come from here.

mod archive;
mod broker;
mod broker_limits;
mod clustering;
mod entry;
mod external;
mod file_store;
mod logging;
mod modes;
mod routes;
mod security;
mod streaming;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) use clustering::IS_BUILT as IS_CLUSTERING_BUILT;
pub(crate) use entry::{Effect, Entry, Group, Information, Section, VARIABLE_PREFIX};

/// Whether a variable belongs to the client commands of the binary (`seaway pub` and its like), which know nothing of options.
pub(crate) fn is_of_commands(variable: &str) -> bool {
    variable == "SEAWAY_CONTEXT" || variable.starts_with("SEAWAY_CLI_")
}

/// Longest key that is looked up; none of the table is longer.
const KEY_LEN_MAX: usize = 64;

/// The parts of the table, in the order in which options are applied.
const PARTS: [&[Entry]; 11] = [
    streaming::ENTRIES,
    file_store::ENTRIES,
    archive::ENTRIES,
    modes::ENTRIES,
    clustering::ENTRIES,
    external::ENTRIES,
    broker::ENTRIES,
    broker_limits::ENTRIES,
    logging::ENTRIES,
    security::ENTRIES,
    routes::ENTRIES,
];

/// Every option.
pub(crate) fn all() -> impl Iterator<Item = &'static Entry> {
    PARTS.into_iter().flatten()
}

/// Number of options.
pub(crate) fn len() -> usize {
    PARTS.iter().map(|part| part.len()).sum()
}

/// An option by one of its flags, with its place in the table; flags are case sensitive.
pub(crate) fn find(flag: &str) -> Option<(usize, &'static Entry)> {
    all().enumerate().find(|(_, entry)| entry.flags.contains(&flag))
}

/// From a key in its section to the place of its option and the option.
type KeyIndex = HashMap<(Section, &'static str), (usize, &'static Entry)>;

/// Every key with its option: files can have very many keys, so that none may cost a walk over the table.
static KEYS: LazyLock<KeyIndex> = LazyLock::new(|| {
    let options = all().enumerate();
    options
        .flat_map(|(place, entry)| {
            entry
                .keys
                .iter()
                .map(move |key| ((entry.section, *key), (place, entry)))
        })
        .collect()
});

/// An option by one of its keys in a section, with its place in the table; keys are not case sensitive.
pub(crate) fn find_key(section: Section, key: &str) -> Option<(usize, &'static Entry)> {
    let is_short = key.len() <= KEY_LEN_MAX;
    KEYS.get(&(section, is_short.then(|| key.to_ascii_lowercase())?.as_str()))
        .copied()
}

/// All keys of a section, names of its blocks included.
pub(crate) fn keys_of(section: Section) -> impl Iterator<Item = &'static str> {
    let blocks = Section::BLOCKS
        .into_iter()
        .filter(move |_| section == Section::Streaming);
    let keys = all().filter(move |entry| entry.section == section);
    keys.flat_map(|entry| entry.keys)
        .chain(blocks.flat_map(Section::names))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Kind;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_defaults_readable() {
        let mut flags = HashSet::new();
        let mut keys = HashSet::new();
        let mut variables = HashSet::new();
        for entry in all() {
            let name = entry.long_name();
            assert!(!name.is_empty() && !entry.help.is_empty());
            for flag in entry.flags {
                assert!(flags.insert(*flag), "-{flag} twice");
            }
            for key in entry.keys {
                assert!(keys.insert((entry.section.prefix(), *key)), "{key} twice");
                assert_eq!(*key, key.to_lowercase());
                assert!(key.len() <= KEY_LEN_MAX);
            }
            if let Some(variable) = entry.variable() {
                assert!(
                    !is_of_commands(&variable),
                    "the variable of {name} means something else to commands"
                );
                assert!(variables.insert(variable), "the variable of {name} twice");
            }
            for default in [entry.original, entry.seaway] {
                match entry.kind {
                    Kind::Text | Kind::List => {}
                    Kind::Block => assert!(default.is_empty() && entry.flags.is_empty(), "{name}"),
                    Kind::Size => assert!(crate::go::parse_size(default).is_some(), "{name}"),
                    kind => assert!(crate::lex::read(kind, default).is_ok(), "{name}"),
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
        assert!(all().all(|entry| Group::ALL.contains(&entry.group)));
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
        let own = [
            "adopt",
            "archive",
            "archive_keep",
            "archive_max_backlog",
            "cluster_members_advertise",
            "cluster_members_listen",
            "cluster_members_secret",
            "cluster_members_tls_ca",
            "cluster_members_tls_cert",
            "cluster_members_tls_key",
            "file_stop_at_damage",
            "ft_lease",
        ];
        assert!(own.iter().all(|name| find(name).is_some()));
        assert_eq!(
            names.split_whitespace().count() + own.len(),
            all().map(|entry| entry.flags.len()).sum::<usize>()
        );
    }

    /// Every key of specification §7.6 is known in its block.
    #[test]
    fn all_keys_of_the_streaming_block_are_known() {
        for (section, keys) in [
            (
                Section::Streaming,
                "id cid cluster_id accounts archive archive_keep archive_max_backlog discover_prefix store st store_type storetype dir datastore sd stan_debug sv \
                 stan_trace ns nats_server nats_server_url credentials username user password pass token \
                 nkey_seed_file secure hbi hb_interval server_to_client_hb_interval hbt hb_timeout \
                 server_to_client_hb_timeout hbf hb_fail_count server_to_client_hb_fail_count ft_group \
                 ft_group_name ft_lease partitioning syslog_name encrypt encryption_cipher encryption_key replace_durable \
                 replace_durables replace_duplicate_durable replace_duplicate_durables",
            ),
            (
                Section::Limits,
                "mc max_channels maxchannels msu max_subs max_subscriptions maxsubscriptions mm max_msgs maxmsgs \
                 max_count maxcount mb max_bytes maxbytes ma max_age maxage mi max_inactivity maxinactivity channels \
                 channels_limits channelslimits per_channel per_channel_limits",
            ),
            (
                Section::File,
                "compact compact_enabled compact_frag compact_fragmentation compact_interval compact_min_size \
                 buffer_size crc do_crc crc_poly sync do_sync sync_on_flush slice_max_msgs slice_max_count \
                 slice_msgs slice_count slice_max_bytes slice_max_size slice_bytes slice_size slice_max_age \
                 slice_age slice_max_time slice_time_limit slice_archive_script slice_archive slice_script \
                 file_descriptors_limit fds_limit parallel_recovery file_read_buffer_size read_buffer_size \
                 file_auto_sync auto_sync",
            ),
            (
                Section::Sql,
                "driver source no_caching max_open_conns max_conns bulk_insert_limit",
            ),
            (
                Section::Cluster,
                "node_id bootstrap peers log_path log_cache_size log_snapshots trailing_logs sync \
                 proceed_on_restore_failure allow_add_remove_node raft_logging raft_heartbeat_timeout \
                 raft_election_timeout raft_lease_timeout raft_commit_timeout bolt_free_list_sync \
                 bolt_free_list_map nodes_connections listen advertise secret tls_cert tls_key tls_ca",
            ),
            (
                Section::Tls,
                "client_cert client_key client_ca client_cacert server_name server_hostname skip_verify insecure",
            ),
        ] {
            for key in keys.split_whitespace() {
                assert!(find_key(section, key).is_some(), "{section:?} {key}");
            }
            let count = all()
                .filter(|entry| entry.section == section)
                .map(|entry| entry.keys.len());
            assert_eq!(count.sum::<usize>(), keys.split_whitespace().count(), "{section:?}");
        }
    }

    /// Every top-level key of core specification §5.4 is known.
    #[test]
    fn all_keys_of_the_broker_are_known() {
        let keys = "listen port host net client_advertise server_name server_tags server_metadata proxy_protocol http \
            https http_port monitor_port https_port http_base_path max_connections max_conn max_payload \
            max_control_line max_pending max_subscriptions max_subs max_sub_tokens max_traced_msg_len \
            max_closed_clients write_deadline write_timeout ping_interval ping_max no_fast_producer_stall \
            lame_duck_duration lame_duck_grace_period logfile log_file logfile_size_limit log_size_limit \
            logfile_max_num log_max_num logtime logtime_utc debug trace trace_verbose trace_headers syslog \
            remote_syslog connect_error_reports reconnect_error_reports pidfile pid_file ports_file_dir prof_port \
            prof_block_rate authorization accounts no_auth_user system_account system no_system_account no_system \
            no_sys_acc tls allow_non_tls ocsp ocsp_cache operator operators root roots resolver account_resolver \
            resolver_tls resolver_preload resolver_pinned_accounts trusted trusted_keys default_sentinel proxies \
            mappings maps disable_sublist_cache no_sublist_cache no_header_support cluster gateway leafnodes leaf \
            websocket ws mqtt jetstream store_dir storedir default_js_domain feature_flags";
        for key in keys.split_whitespace() {
            assert!(find_key(Section::Broker, key).is_some(), "{key}");
        }
    }
}
