//! Options of authentication, TLS and other modes of the broker (core specification §3, §4, §5.4).

use std::path::PathBuf;

use super::entry::Effect::{NotBuilt, Overrides, Sets};
use super::entry::{Entry, Group, Section};
use crate::blocks::{accounts, authorization, tls as tls_block};
use crate::draft::Draft;
use crate::options::{SYSTEM_ACCOUNT, Secret};
use crate::value::Kind::{Block, Bool, Text};
use crate::value::Value;

const OPERATOR: &str = "operators and user tokens (JWT)";

/// See the module.
pub(super) static ENTRIES: &[Entry] = &[
    Entry::new(
        Group::Security,
        &["user"],
        Text,
        "",
        "User that clients must name",
        Sets(user),
    )
    .secret(),
    Entry::new(
        Group::Security,
        &["pass"],
        Text,
        "",
        "Password of that user",
        Sets(password),
    )
    .secret(),
    Entry::new(
        Group::Security,
        &["auth"],
        Text,
        "",
        "Token that clients must present",
        Sets(token),
    )
    .secret(),
    Entry::new(Group::Security, &["tls"], Bool, "false", "Require TLS", Overrides(tls)),
    Entry::new(
        Group::Security,
        &["tlsverify"],
        Bool,
        "false",
        "Require client certificates",
        Overrides(tls_verify),
    ),
    Entry::new(
        Group::Security,
        &["tlscert"],
        Text,
        "",
        "Certificate of the server",
        Overrides(tls_cert),
    ),
    Entry::new(Group::Security, &["tlskey"], Text, "", "Its key", Overrides(tls_key)),
    Entry::new(
        Group::Security,
        &["tlscacert"],
        Text,
        "",
        "Authority that verifies clients",
        Overrides(tls_ca),
    ),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Users, passwords, tokens and permissions, see below",
        Sets(authorization::set),
    )
    .keys(Section::Broker, &["authorization"]),
    Entry::new(
        Group::Security,
        &[],
        Text,
        "",
        "User that clients without credentials are",
        Sets(no_auth_user),
    )
    .keys(Section::Broker, &["no_auth_user"]),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "TLS for clients and HTTPS monitoring, see below",
        Sets(tls_block::set),
    )
    .keys(Section::Broker, &["tls"]),
    Entry::new(
        Group::Security,
        &[],
        Bool,
        "false",
        "Let clients choose not to use TLS",
        Sets(allow_non_tls),
    )
    .keys(Section::Broker, &["allow_non_tls"]),
    Entry::new(
        Group::Security,
        &[],
        Bool,
        "false",
        "Do without the services and events of the system account",
        Sets(no_system_account),
    )
    .keys(Section::Broker, &["no_system_account", "no_system", "no_sys_acc"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Accounts and their users, see below",
        Sets(accounts::set),
    )
    .keys(Section::Broker, &["accounts"]),
    Entry::new(
        Group::Security,
        &[],
        Text,
        "$SYS",
        "Account of the services and events about servers",
        Sets(system_account),
    )
    .keys(Section::Broker, &["system_account", "system"]),
    Entry::new(Group::Security, &[], Block, "", "Operators", NotBuilt(OPERATOR))
        .keys(Section::Broker, &["operator", "operators", "root", "roots"])
        .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Public keys of operators",
        NotBuilt(OPERATOR),
    )
    .keys(Section::Broker, &["trusted", "trusted_keys"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Where account tokens come from",
        NotBuilt(OPERATOR),
    )
    .keys(Section::Broker, &["resolver", "account_resolver"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "TLS of the resolver",
        NotBuilt(OPERATOR),
    )
    .keys(Section::Broker, &["resolver_tls"])
    .without_variable(),
    Entry::new(Group::Security, &[], Block, "", "Account tokens", NotBuilt(OPERATOR))
        .keys(Section::Broker, &["resolver_preload"])
        .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Accounts that are resolved",
        NotBuilt(OPERATOR),
    )
    .keys(Section::Broker, &["resolver_pinned_accounts"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Token for clients without one",
        NotBuilt(OPERATOR),
    )
    .keys(Section::Broker, &["default_sentinel"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Trusted proxies",
        NotBuilt("trusted proxies"),
    )
    .keys(Section::Broker, &["proxies"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Certificate status stapling",
        NotBuilt("certificate status checks"),
    )
    .keys(Section::Broker, &["ocsp"])
    .without_variable(),
    Entry::new(
        Group::Security,
        &[],
        Block,
        "",
        "Cache of certificate states",
        NotBuilt("certificate status checks"),
    )
    .keys(Section::Broker, &["ocsp_cache"])
    .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "Gateways to other clusters",
        NotBuilt("gateways"),
    )
    .keys(Section::Broker, &["gateway"])
    .without_variable(),
    Entry::new(Group::OtherModes, &[], Block, "", "Leaf nodes", NotBuilt("leaf nodes"))
        .keys(Section::Broker, &["leafnodes", "leaf"])
        .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "WebSocket clients",
        NotBuilt("WebSocket clients"),
    )
    .keys(Section::Broker, &["websocket", "ws"])
    .without_variable(),
    Entry::new(Group::OtherModes, &[], Block, "", "MQTT clients", NotBuilt("MQTT"))
        .keys(Section::Broker, &["mqtt"])
        .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "JetStream; `disabled` is accepted",
        NotBuilt("JetStream"),
    )
    .keys(Section::Broker, &["jetstream"])
    .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "Domains of JetStream",
        NotBuilt("JetStream"),
    )
    .keys(Section::Broker, &["default_js_domain"])
    .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "Switches of new features",
        NotBuilt("switches of the original's new features"),
    )
    .keys(Section::Broker, &["feature_flags"])
    .without_variable(),
    Entry::new(
        Group::OtherModes,
        &[],
        Block,
        "",
        "Subject mapping",
        NotBuilt("subject mapping"),
    )
    .keys(Section::Broker, &["mappings", "maps"])
    .without_variable(),
];

fn user(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.login.user = value.present();
    Ok(())
}

fn password(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.login.password = value.present().map(Secret::new);
    Ok(())
}

fn token(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.login.token = value.present().map(Secret::new);
    Ok(())
}

fn no_auth_user(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_auth_user = value.present();
    Ok(())
}

fn system_account(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.system_account = value.present().unwrap_or_else(|| SYSTEM_ACCOUNT.to_owned());
    Ok(())
}

fn no_system_account(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.no_system_account = value.is_true();
    Ok(())
}

fn allow_non_tls(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.broker.allow_non_tls = value.is_true();
    Ok(())
}

fn tls(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.tls_flags.is_on = Some(value.is_true());
    Ok(())
}

fn tls_verify(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.tls_flags.verify = Some(value.is_true());
    Ok(())
}

fn tls_cert(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.tls_flags.cert = Some(PathBuf::from(value.text()));
    Ok(())
}

fn tls_key(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.tls_flags.key = Some(PathBuf::from(value.text()));
    Ok(())
}

fn tls_ca(options: &mut Draft, value: &Value) -> Result<(), String> {
    options.tls_flags.ca = Some(PathBuf::from(value.text()));
    Ok(())
}
