//! Options of encryption and of modes of operation beyond one server with its own store (specification §7.2, §7.6): what is
//! not built is known and refused.

use super::entry::Effect::{NotBuilt, Sets};
use super::entry::Group::{Encryption, FaultTolerance, SqlStore};
use super::entry::{Entry, Section};
use super::streaming::is_literal_subject;
use crate::draft::Draft;
use crate::go::format_duration;
use crate::limits::{FT_LEASE_MAX, FT_LEASE_MIN};
use crate::options::Secret;
use crate::value::Kind::{Bool, Duration, Int, Text};
use crate::value::Value;

const SQL: &str = "an SQL store";

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        SqlStore,
        &["sql_driver"],
        Text,
        "",
        "Driver: mysql or postgres",
        NotBuilt(SQL),
    )
    .keys(Section::Sql, &["driver"]),
    Entry::new(SqlStore, &["sql_source"], Text, "", "Data source", NotBuilt(SQL)).keys(Section::Sql, &["source"]),
    Entry::new(
        SqlStore,
        &["sql_no_caching"],
        Bool,
        "false",
        "No caching",
        NotBuilt(SQL),
    )
    .keys(Section::Sql, &["no_caching"]),
    Entry::new(
        SqlStore,
        &["sql_max_open_conns"],
        Int,
        "0",
        "Open connections, 0 is unlimited",
        NotBuilt(SQL),
    )
    .keys(Section::Sql, &["max_open_conns", "max_conns"]),
    Entry::new(
        SqlStore,
        &["sql_bulk_insert_limit"],
        Int,
        "0",
        "Messages per bulk insert",
        NotBuilt(SQL),
    )
    .keys(Section::Sql, &["bulk_insert_limit"]),
    Entry::new(
        Encryption,
        &["encrypt"],
        Bool,
        "false",
        "Encrypt payloads at rest",
        Sets(encrypt),
    )
    .keys(Section::Streaming, &["encrypt"]),
    Entry::new(
        Encryption,
        &["encryption_cipher"],
        Text,
        "",
        "AES or CHACHA; AES on x86 and CHACHA elsewhere when nothing is said",
        Sets(encryption_cipher),
    )
    .keys(Section::Streaming, &["encryption_cipher"]),
    Entry::new(
        Encryption,
        &["encryption_key"],
        Text,
        "",
        "Key, which turns encryption on; NATS_STREAMING_ENCRYPTION_KEY wins over it",
        Sets(encryption_key),
    )
    .keys(Section::Streaming, &["encryption_key"])
    .secret(),
    Entry::new(
        FaultTolerance,
        &["ft_group"],
        Text,
        "",
        "Name of the fault-tolerance group: servers on one directory, of which one serves and the others stand by",
        Sets(ft_group),
    )
    .keys(Section::Streaming, &["ft_group", "ft_group_name"]),
    Entry::new(
        FaultTolerance,
        &["ft_lease"],
        Duration,
        "1.25s",
        "After this time without a sign of life a standby server takes over; 250ms to 1m, the same for all of a group",
        Sets(ft_lease),
    )
    .keys(Section::Streaming, &["ft_lease"]),
];

fn ft_group(options: &mut Draft, value: &Value) -> Result<(), String> {
    let group = value.present();
    if let Some(group) = group.as_deref().filter(|group| !is_literal_subject(group)) {
        return Err(format!(
            "invalid fault-tolerance group {group:?}: it becomes a part of a subject, so no blanks, no wildcards, no empty parts"
        ));
    }
    options.fault_tolerance.group = group;
    Ok(())
}

fn ft_lease(options: &mut Draft, value: &Value) -> Result<(), String> {
    let lease = std::time::Duration::from_nanos(u64::try_from(value.number()).unwrap_or(0));
    if !(FT_LEASE_MIN..=FT_LEASE_MAX).contains(&lease) {
        let [given, min, max] = [lease, FT_LEASE_MIN, FT_LEASE_MAX].map(format_duration);
        return Err(format!("ft_lease must be {min} to {max}, and not {given}"));
    }
    options.fault_tolerance.lease = lease;
    Ok(())
}

fn encrypt(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.encryption.is_on = value.is_true();
    Ok(())
}

fn encryption_cipher(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.encryption.cipher = value.present();
    Ok(())
}

fn encryption_key(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.encryption.key = value.present().map(Secret::new);
    Ok(())
}
