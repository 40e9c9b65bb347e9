//! From what an operator wrote about the broker to what the broker takes: limits, users and their permissions, TLS.

use anyhow::{Context, Result, bail};
use seaway_broker as broker;
use seaway_broker::{Access, Tls};
use seaway_config::{
    Account, AccountLimits, Authorization, ClusterOptions, ConnectionType, Credentials, HandshakeFirst, Import,
    ImportKind, Login, Options, Permissions, Secret, SubjectRules, TlsOptions, TlsVersion, User,
};

use crate::descriptors::Shares;

/// Where the services of the system account take requests.
const SYSTEM_SERVICES: &str = "$SYS.>";

/// The broker's options; reads the files of TLS.
///
/// # Errors
/// When authorization contradicts itself, or a file of TLS cannot be used.
pub(crate) fn broker_options(options: &Options) -> Result<broker::BrokerOptions> {
    let wanted = &options.broker;
    let tls = wanted.tls.as_ref();
    let tls = tls
        .map(|tls| Tls::load(&tls_options(tls, wanted.allow_non_tls)))
        .transpose()?;
    let shares = Shares::now(wanted.cluster.is_some());
    let cluster = wanted.cluster.as_ref().map(|wanted| cluster(wanted, &shares));
    let cluster = cluster.transpose()?;
    Ok(broker::BrokerOptions {
        cluster,
        server_name: wanted.name.clone().unwrap_or_default(),
        host: wanted.host.clone(),
        client_advertise: wanted.client_advertise.clone(),
        version: seaway_config::BROKER_VERSION.to_owned(),
        access: access(options)?,
        accounts: wanted.accounts.iter().map(account).collect(),
        system_account: wanted.system_account.clone(),
        services: [options.streaming.service_subjects(), vec![SYSTEM_SERVICES.to_owned()]].concat(),
        tls,
        max_connections: wanted.max_connections.min(shares.clients),
        max_payload: wanted.max_payload,
        max_control_line: wanted.max_control_line,
        max_pending: wanted.max_pending,
        outbound_bytes_max: crate::memory::outbound_bytes_max(),
        max_subscriptions: wanted.max_subscriptions,
        max_subscription_tokens: wanted.max_subscription_tokens,
        write_deadline: wanted.write_deadline,
        ping_interval: wanted.ping_interval,
        ping_max: wanted.ping_max,
        max_closed_clients: wanted.max_closed_clients,
        no_header_support: wanted.no_header_support,
        no_fast_producer_stall: wanted.no_fast_producer_stall,
        ..broker::BrokerOptions::default()
    })
}

fn cluster(wanted: &ClusterOptions, shares: &Shares) -> Result<broker::ClusterOptions> {
    let presented = |one: &Credentials| (one.user.clone(), secret(&one.password));
    let routes = wanted.routes.iter().map(|route| broker::RouteAddress {
        host: route.host.clone(),
        port: route.port,
        credentials: route.credentials.as_ref().map(presented),
    });
    // Both sides of a route show a certificate.
    let tls = wanted.tls.as_ref().map(|tls| broker::TlsOptions {
        verify: true,
        ..tls_options(tls, false)
    });
    let tls = tls.map(|tls| Tls::load(&tls)).transpose().context("cluster")?;
    Ok(broker::ClusterOptions {
        name: wanted.name.clone(),
        host: wanted.host.clone(),
        advertise: wanted.advertise.clone(),
        no_advertise: wanted.no_advertise,
        credentials: wanted.credentials.as_ref().map(presented),
        authentication_timeout: wanted.auth_timeout,
        routes: routes.collect(),
        connect_retries: wanted.connect_retries,
        tls,
        local_hosts: local_hosts(),
        connections_max: Some(shares.routes),
        ..broker::ClusterOptions::default()
    })
}

/// Addresses of this machine that reach beyond it; without one the one that does not.
fn local_hosts() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let reaches = |address: &std::net::IpAddr| match address {
        std::net::IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        std::net::IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let addresses = interfaces.iter().map(|interface| interface.ip());
    let hosts: Vec<String> = addresses.filter(reaches).map(|address| address.to_string()).collect();
    if hosts.is_empty() {
        vec!["127.0.0.1".to_owned()]
    } else {
        hosts
    }
}

fn access(options: &Options) -> Result<Access> {
    let Authorization {
        single,
        token,
        users,
        default_permissions,
        timeout,
    } = &options.broker.authorization;
    let of_accounts = options.broker.accounts.iter().flat_map(|account| {
        let name = Some(account.name.as_str());
        account.users.iter().map(move |one| user(one, name))
    });
    Access::new(&broker::Authorization {
        single: single
            .as_ref()
            .map(|single| (single.user.clone(), secret(&single.password))),
        token: token.as_ref().map(secret),
        users: users.iter().map(|one| user(one, None)).chain(of_accounts).collect(),
        default_permissions: default_permissions.as_ref().map(permissions),
        no_auth_user: options.broker.no_auth_user.clone(),
        system_account: Some(options.broker.system_account.clone()),
        timeout: *timeout,
    })
    .context("authorization")
}

/// The streaming engine sits inside the broker and presents nothing. Credentials that are given for it all the same, and
/// that no user has, are a mistake that the original does not start with either (`streaming-protocol.md` §13.8).
///
/// # Errors
/// When there are such credentials.
pub(crate) fn check_own_credentials(options: &Options, access: &Access) -> Result<()> {
    let Authorization { single, token, .. } = &options.broker.authorization;
    if single.is_some() || token.is_some() {
        // The original's streaming server presents these too, so they are right.
        return Ok(());
    }
    let own = &options.streaming.own_credentials;
    let text = |secret: &Option<Secret>| {
        secret
            .as_ref()
            .map_or(String::new(), |secret| secret.expose().to_owned())
    };
    let user = own.user.clone().unwrap_or_default();
    let (password, token) = (text(&own.password), text(&own.token));
    let is_given = !user.is_empty() || !password.is_empty() || !token.is_empty();
    if is_given && !access.accepts(&user, &password, &token) {
        bail!(
            "nats: Authorization Violation: the streaming server's own user, password or token is not among those of \
             the authorization block; correct it, or leave it out: it is not needed"
        );
    }
    Ok(())
}

fn secret(secret: &Secret) -> broker::Secret {
    broker::Secret::new(secret.expose())
}

fn account(account: &Account) -> broker::AccountOptions {
    let AccountLimits {
        max_connections,
        max_subscriptions,
        max_payload,
    } = account.limits;
    broker::AccountOptions {
        name: account.name.clone(),
        max_connections,
        max_subscriptions,
        max_payload,
        imports: account.imports.iter().map(import).collect(),
    }
}

fn import(import: &Import) -> broker::ImportOptions {
    broker::ImportOptions {
        account: import.account.clone(),
        mapping: import.mapping.clone(),
        kind: match import.kind {
            ImportKind::Stream => broker::ImportKind::Stream,
            ImportKind::Service { is_single, threshold } => broker::ImportKind::Service { is_single, threshold },
        },
    }
}

fn user(user: &User, account: Option<&str>) -> broker::User {
    broker::User {
        account: account.map(str::to_owned),
        login: match &user.login {
            Login::Password(credentials) => broker::Login::Password {
                name: credentials.user.clone(),
                password: secret(&credentials.password),
            },
            Login::Nkey(text) => broker::Login::Nkey(text.clone()),
        },
        permissions: user.permissions.as_ref().map(permissions),
        standard_connections: user
            .connection_types
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&ConnectionType::Standard)),
    }
}

fn permissions(permissions: &Permissions) -> broker::Permissions {
    let rules = |rules: &SubjectRules| broker::SubjectRules {
        allow: rules.allow.clone(),
        deny: rules.deny.clone(),
    };
    let responses = permissions.allow_responses.as_ref();
    broker::Permissions {
        publish: rules(&permissions.publish),
        subscribe: rules(&permissions.subscribe),
        responses: responses.map(|responses| broker::ResponseRules {
            max_messages: responses.max_messages,
            expires: responses.expires,
        }),
    }
}

fn tls_options(tls: &TlsOptions, allow_plain: bool) -> broker::TlsOptions {
    broker::TlsOptions {
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        ca_file: tls.ca_file.clone(),
        verify: tls.verify,
        verify_and_map: tls.verify_and_map,
        allow_plain,
        timeout: tls.timeout,
        handshake_first: match tls.handshake_first {
            HandshakeFirst::No => broker::HandshakeFirst::No,
            HandshakeFirst::Yes => broker::HandshakeFirst::Yes,
            HandshakeFirst::For(patience) => broker::HandshakeFirst::For(patience),
        },
        only_1_3: tls.min_version == TlsVersion::V1_3,
        cipher_suites: tls.cipher_suites.clone(),
        curve_preferences: tls.curve_preferences.clone(),
        pinned_certs: tls.pinned_certs.clone(),
    }
}

#[cfg(test)]
mod tests {
    use seaway_config::{OwnCredentials, Personality};

    use super::*;

    fn options(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options::new(Personality::NatsStreamingServer);
        change(&mut options);
        options
    }

    fn one_user(options: &mut Options) {
        options.broker.authorization.users = vec![User {
            login: Login::Password(Credentials {
                user: "a".into(),
                password: Secret::new("pa"),
            }),
            permissions: None,
            connection_types: None,
        }];
    }

    /// `streaming-protocol.md` §13.8 Authentication*: right credentials of its own are accepted, wrong ones are not.
    #[test]
    fn own_credentials_are_right_or_absent() {
        let own = |user: &str, password: &str| OwnCredentials {
            user: Some(user.into()),
            password: Some(Secret::new(password)),
            token: None,
        };
        let check = |options: &Options| check_own_credentials(options, &access(options).unwrap());
        let with = |own: OwnCredentials| {
            check(&options(|options| {
                one_user(options);
                options.streaming.own_credentials = own;
            }))
        };
        assert!(with(OwnCredentials::default()).is_ok());
        assert!(with(own("a", "pa")).is_ok());
        let refused = with(own("a", "wrong")).unwrap_err().to_string();
        assert!(
            refused.starts_with("nats: Authorization Violation") && !refused.contains("wrong"),
            "{refused}"
        );
        // A broker that asks nobody does not ask the streaming server.
        let open = options(|options| options.streaming.own_credentials = own("x", "y"));
        assert!(check(&open).is_ok());
        // -auth wins over the streaming token.
        let token = options(|options| {
            options.broker.authorization.token = Some(Secret::new("t"));
            options.streaming.own_credentials.token = Some(Secret::new("other"));
        });
        assert!(check(&token).is_ok());
    }

    #[test]
    fn routes_have_descriptors_of_their_own() {
        let clients = |cluster: Option<ClusterOptions>| {
            let options = options(|options| {
                options.broker.max_connections = usize::MAX;
                options.broker.cluster = cluster;
            });
            broker_options(&options).unwrap().max_connections
        };
        let (alone, clustered) = (clients(None), clients(Some(ClusterOptions::default())));
        assert_eq!(alone - clustered, broker::ROUTES_MAX.min(alone / 4));
    }

    #[test]
    fn faults_are_told_before_anything_listens() {
        let missing = options(|options| {
            options.broker.tls = Some(TlsOptions {
                cert_file: "/nowhere/cert.pem".into(),
                key_file: "/nowhere/key.pem".into(),
                ca_file: None,
                verify: false,
                verify_and_map: false,
                timeout: None,
                handshake_first: HandshakeFirst::No,
                min_version: TlsVersion::V1_2,
                cipher_suites: Vec::new(),
                curve_preferences: Vec::new(),
                pinned_certs: Vec::new(),
            });
        });
        let text = format!("{:#}", broker_options(&missing).unwrap_err());
        assert!(text.contains("/nowhere/cert.pem"), "{text}");
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
    }

    #[test]
    fn users_of_other_kinds_of_connections_stay_out() {
        let kinds = |kinds: Option<Vec<ConnectionType>>| {
            let mut options = options(one_user);
            options.broker.authorization.users[0].connection_types = kinds;
            access(&options).unwrap().accepts("a", "pa", "")
        };
        assert!(kinds(None) && kinds(Some(vec![ConnectionType::Mqtt, ConnectionType::Standard])));
        assert!(!kinds(Some(vec![ConnectionType::WebSocket])));
    }
}
