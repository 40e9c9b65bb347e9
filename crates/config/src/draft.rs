//! Options while they are being put together, and what only several of them decide together.

mod clustering;
mod parts;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seaway_nats_protocol::limits::{ROUTE_CLIENT_LINE_MAX, ROUTE_PAYLOAD_MAX};
use seaway_nats_protocol::subject;

use crate::options::{
    Account, ArchiveOptions, Cipher, ClusterOptions, Credentials, EncryptionOptions, ExternalNats,
    FaultToleranceOptions, GLOBAL_ACCOUNT, HandshakeFirst, ImportKind, Options, OwnCredentials, Personality,
    SYSTEM_ACCOUNT, Secret, StoreKind, TlsOptions, TlsVersion,
};
use crate::surroundings::Surroundings;

use parts::{ArchiveDraft, ClusterFlags, ClusteringDraft, EncryptionDraft, FaultToleranceDraft, LoginFlags, TlsFlags};

/// Environment variable whose key wins over all others (`stores-and-clustering.md` §5.1).
const ENCRYPTION_KEY_VARIABLE: &str = "NATS_STREAMING_ENCRYPTION_KEY";

/// Defaults of the lame duck mode (core specification §5.4).
const LAME_DUCK_DURATION: Duration = Duration::from_secs(120);
const LAME_DUCK_GRACE: Duration = Duration::from_secs(10);

/// Options and what is not one yet.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) options: Options,
    pub(crate) encryption: EncryptionDraft,
    pub(crate) fault_tolerance: FaultToleranceDraft,
    pub(crate) clustering: ClusteringDraft,
    pub(crate) archive: ArchiveDraft,
    pub(crate) external: ExternalNats,
    pub(crate) login: LoginFlags,
    pub(crate) tls_flags: TlsFlags,
    pub(crate) cluster_flags: ClusterFlags,
    /// A password of the file's authorization that belongs to no user there.
    pub(crate) password_alone: Option<Secret>,
    /// What to say of the file's authorization if nobody else names a user either.
    pub(crate) open_authorization: Option<String>,
    pub(crate) is_trace_verbose_in_file: bool,
}

/// Whether a path lies in a directory, or is it, as far as their names say it.
fn is_within(path: &Path, directory: &Path) -> bool {
    let plain = |path: &Path| -> PathBuf {
        let parts = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        parts.components().collect()
    };
    plain(path).starts_with(plain(directory))
}

impl Deref for Draft {
    type Target = Options;

    fn deref(&self) -> &Options {
        &self.options
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Options {
        &mut self.options
    }
}

impl Draft {
    pub(crate) fn new(options: Options) -> Self {
        Draft {
            options,
            encryption: EncryptionDraft::default(),
            fault_tolerance: FaultToleranceDraft::default(),
            clustering: ClusteringDraft::default(),
            archive: ArchiveDraft::default(),
            external: ExternalNats::default(),
            login: LoginFlags::default(),
            tls_flags: TlsFlags::default(),
            cluster_flags: ClusterFlags::default(),
            password_alone: None,
            open_authorization: None,
            is_trace_verbose_in_file: false,
        }
    }

    /// Decides what several options decide together; adds why the server cannot start with them.
    pub(crate) fn finish(mut self, surroundings: &dyn Surroundings, problems: &mut Vec<String>) -> Options {
        // The only file configures both sides, whichever flag names it.
        if self.config_file.is_none() {
            self.options.config_file = self.options.streaming_config_file.take();
        }
        let mut check = |result: Result<(), String>| problems.extend(result.err());
        check(self.finish_store());
        check(self.finish_fault_tolerance());
        check(self.finish_archive());
        check(self.finish_encryption(surroundings));
        check(self.finish_login());
        check(self.finish_accounts());
        check(self.finish_tls());
        check(self.finish_external());
        check(self.finish_cluster());
        check(self.finish_clustering());
        check(self.finish_broker());
        self.options
    }

    fn finish_store(&mut self) -> Result<(), String> {
        let streaming = &self.streaming;
        if streaming.store == StoreKind::File && streaming.dir.as_os_str().is_empty() {
            return Err("for FILE stores, root directory must be specified".to_owned());
        }
        let literals = streaming
            .channel_limits
            .iter()
            .filter(|limits| limits.is_literal())
            .count() as u64;
        let max = streaming.limits.max_channels;
        if max > 0 && literals > max {
            return Err(format!(
                "too many channels defined ({literals}). The max channels limit is set to {max}"
            ));
        }
        if streaming.partitioning && streaming.channel_limits.is_empty() {
            return Err("stan: no configured channel".to_owned());
        }
        Ok(())
    }

    /// Each of what is refused here would break a promise at some take-over, and not at the start.
    fn finish_fault_tolerance(&mut self) -> Result<(), String> {
        let Some(group) = self.fault_tolerance.group.take() else {
            return Ok(());
        };
        let streaming = &mut self.options.streaming;
        if streaming.store != StoreKind::File {
            return Err(
                "ft: only FILE or SQL stores supported in FT mode: give -store FILE and -dir with the directory that all members share"
                    .to_owned(),
            );
        }
        if !streaming.file_sync {
            return Err(
                "-file_sync=false cannot be given with -ft_group: whoever takes over would not find what was acknowledged".to_owned(),
            );
        }
        if streaming.give_up_damage {
            return Err(
                "-file_truncate_bad_eof cannot be given with -ft_group, because any later take-over would give up what is damaged: \
                 stop all members, start one of them once without -ft_group, and stop it again"
                    .to_owned(),
            );
        }
        if streaming.adopt {
            return Err(
                "-adopt cannot be given with -ft_group: take the directory over first, with seaway adopt DIR or by one start without \
                 -ft_group"
                    .to_owned(),
            );
        }
        let lease = self.fault_tolerance.lease;
        streaming.fault_tolerance = Some(FaultToleranceOptions { group, lease });
        Ok(())
    }

    fn finish_archive(&mut self) -> Result<(), String> {
        let Some(directory) = self.archive.directory.take() else {
            return Ok(());
        };
        let streaming = &mut self.options.streaming;
        if streaming.store != StoreKind::File {
            return Err("-archive needs -store FILE: another store has no files to archive".to_owned());
        }
        if is_within(&directory, &streaming.dir) || is_within(&streaming.dir, &directory) {
            return Err(format!(
                "-archive {}: the archive and the store (-dir {}) need directories of their own, neither within the other; another disk is best",
                directory.display(),
                streaming.dir.display()
            ));
        }
        let (keep, max_backlog) = (self.archive.keep, self.archive.max_backlog);
        streaming.archive = Some(ArchiveOptions {
            directory,
            keep,
            max_backlog,
        });
        Ok(())
    }

    /// A key turns encryption on; the environment's key does not, it only wins.
    fn finish_encryption(&mut self, surroundings: &dyn Surroundings) -> Result<(), String> {
        let variable = surroundings
            .variable(ENCRYPTION_KEY_VARIABLE)
            .filter(|key| !key.is_empty());
        if !self.encryption.is_on && self.encryption.key.is_none() {
            if variable.is_some() {
                let notice = format!("{ENCRYPTION_KEY_VARIABLE} is set, but encryption is off; -encrypt turns it on");
                self.options.notices.push(notice);
            }
            return Ok(());
        }
        let cipher = match self.encryption.cipher.as_deref().map(str::to_uppercase).as_deref() {
            None => Cipher::default(),
            Some("AES") => Cipher::Aes,
            Some("CHACHA") => Cipher::Chacha,
            Some(other) => return Err(format!("encryption cipher not supported: {other}; AES and CHACHA are")),
        };
        let Some(key) = variable.map(Secret::new).or(self.encryption.key.take()) else {
            return Err("encryption key required".to_owned());
        };
        // What is left of a secret that was not filled in.
        if key.expose().trim().is_empty() {
            return Err("the encryption key is blank: it has nothing but white space".to_owned());
        }
        self.options.streaming.encryption = Some(EncryptionOptions { cipher, key });
        Ok(())
    }

    /// Flags win over the single user or token of the file, each for itself.
    fn finish_login(&mut self) -> Result<(), String> {
        let mut flags = std::mem::take(&mut self.login);
        let accounts = std::mem::take(&mut self.options.broker.accounts);
        let finished = self.finish_users(&mut flags, &accounts);
        self.options.broker.accounts = accounts;
        finished
    }

    fn finish_users(&mut self, flags: &mut LoginFlags, accounts: &[Account]) -> Result<(), String> {
        let authorization = &mut self.options.broker.authorization;
        let has_users = accounts.iter().any(|account| !account.users.is_empty());
        if !authorization.users.is_empty() || has_users {
            // Beside a list of users the flags say what the streaming server presents to the broker (§7.5).
            let own = &mut self.options.streaming.own_credentials;
            own.user = flags.user.take().or(own.user.take());
            own.password = flags.password.take().or(own.password.take());
            own.token = flags.token.take().or(own.token.take());
        }
        if flags.token.is_some() {
            authorization.token = flags.token.take();
        }
        match (flags.user.take(), flags.password.take(), &mut authorization.single) {
            (None, None, _) => {}
            (None, Some(password), Some(single)) => single.password = password,
            (None, Some(_), None) => return Err("a password needs a user: -user names it".to_owned()),
            (Some(user), password, single) => {
                let before = single
                    .take()
                    .map(|single| single.password)
                    .or(self.password_alone.take());
                *single = Some(Credentials {
                    user,
                    password: password.or(before).unwrap_or_default(),
                });
            }
        }
        if authorization.single.is_some() && authorization.token.is_some() {
            return Err("Cannot have a user/pass and token".to_owned());
        }
        authorization.check_beside(accounts)?;
        authorization.check_costs(accounts)?;
        if self.password_alone.take().is_some() && !authorization.is_required() && !has_users {
            let notice = "authorization lets everybody in: a password without a user protects nothing";
            self.options.notices.push(notice.to_owned());
        }
        if let Some(notice) = self
            .open_authorization
            .take()
            .filter(|_| !authorization.is_required() && !has_users)
        {
            self.options.notices.push(notice);
        }
        for user in authorization.without_password(accounts) {
            let notice = format!("authorization: user {user:?} has no password: whoever gives this name is let in");
            self.options.notices.push(notice);
        }
        let Some(wanted) = &self.options.broker.no_auth_user else {
            return Ok(());
        };
        if self.options.broker.authorization.find_user(accounts, wanted).is_none() {
            return Err(format!(
                "no_auth_user: {wanted:?} not present as user or nkey in authorization block or accounts"
            ));
        }
        Ok(())
    }

    /// What the streaming server answers and does holds for one account: no import of a service tells it of another.
    fn check_imported_services(&self) -> Result<(), String> {
        let all = self.options.streaming.service_subjects();
        for account in &self.options.broker.accounts {
            for import in &account.imports {
                let wanted = import.mapping.exported_pattern();
                let reached = all
                    .iter()
                    .find(|services| subject::overlaps(&wanted, services.as_bytes()));
                if let (Some(services), ImportKind::Service { .. }) = (reached, import.kind) {
                    return Err(format!(
                        "Error adding service import {:?} to account {:?}: it would reach {services}, where the streaming server does for \
                         whoever asks what it does for clients of its own account: import subjects beside these",
                        String::from_utf8_lossy(&wanted),
                        account.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// The system account is one that there is, and not everybody's.
    fn finish_accounts(&mut self) -> Result<(), String> {
        self.check_imported_services()?;
        let broker = &self.options.broker;
        let name = &broker.system_account;
        if name == GLOBAL_ACCOUNT {
            return Err(format!(
                "system_account: {GLOBAL_ACCOUNT:?} is the account of all other clients: name one of the accounts block"
            ));
        }
        let streaming = &self.options.streaming;
        let served = &streaming.account;
        if served != GLOBAL_ACCOUNT {
            let fault = match broker.accounts.iter().any(|account| account.name == *served) {
                false => "is not among the accounts of the accounts block",
                true if served == name => "is the system account, which serves nobody but operators",
                true => "",
            };
            if !fault.is_empty() {
                return Err(format!("accounts of the streaming block: {served:?} {fault}"));
            }
            if !self.external.urls.is_empty() {
                return Err(format!(
                    "accounts of the streaming block: {served:?} cannot be chosen at NATS servers of somebody else, where the user that is \
                     presented decides"
                ));
            }
        }
        let is_known = name == SYSTEM_ACCOUNT || broker.accounts.iter().any(|account| account.name == *name);
        match is_known {
            true => Ok(()),
            false => Err(format!(
                "system_account: {name:?} is not among the accounts of the accounts block"
            )),
        }
    }

    /// Servers of somebody else in the place of the own broker, whose credentials win over those of the streaming block (§7.5).
    fn finish_external(&mut self) -> Result<(), String> {
        let mut external = std::mem::take(&mut self.external);
        if external.urls.is_empty() {
            return Ok(());
        }
        let own = &self.options.streaming.own_credentials;
        let authorization = &self.options.broker.authorization;
        let hash = "is a bcrypt hash, which cannot be presented to another server: give it in plain text";
        external.login = match (&authorization.single, &authorization.token) {
            (Some(single), _) => OwnCredentials::of_user(single.user.clone(), single.password.clone()),
            (None, Some(token)) => OwnCredentials::of_token(token.clone()),
            (None, None) => own.clone(),
        };
        let login = &external.login;
        let secrets = [("password", &login.password), ("token", &login.token)];
        if let Some((what, _)) = secrets
            .into_iter()
            .find(|(_, secret)| secret.as_ref().is_some_and(|secret| secret.hash_cost().is_some()))
        {
            return Err(format!("the {what} for the NATS server {hash}"));
        }
        if login.password.is_some() && login.user.is_none() {
            return Err("a password for the NATS server needs a user: username names it".to_owned());
        }
        let ways = [
            ("credentials", external.credentials_file.is_some()),
            ("nkey_seed_file", external.nkey_seed_file.is_some()),
            ("username", login.user.is_some()),
            ("token", login.token.is_some()),
        ];
        let given: Vec<&str> = ways
            .iter()
            .filter(|(_, is_given)| *is_given)
            .map(|(name, _)| *name)
            .collect();
        if let [one, other, ..] = given[..] {
            return Err(format!(
                "{one} and {other} are two ways to log in to the NATS server: give one of them"
            ));
        }
        let tls = &mut external.tls;
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            return Err("a client certificate toward the NATS server and its key go together: give both, client_cert and client_key".to_owned());
        }
        // One that is to be secure makes all so: what is presented to one is presented to the others.
        let is_secure = external.urls.iter().any(|url| url.tls);
        tls.is_wanted |= is_secure || tls.cert_file.is_some() || tls.ca_file.is_some() || tls.server_name.is_some();
        if tls.insecure {
            let notice = "tls insecure: the NATS server is not verified, and whoever is in between reads everything, credentials too";
            self.options.notices.push(notice.to_owned());
        }
        if self.options.broker.cluster.take().is_some() || self.cluster_flags.listen.take().is_some() {
            let notice =
                "cluster and routes have no effect: with -ns there is no broker in this process that could have them";
            self.options.notices.push(notice.to_owned());
        }
        self.cluster_flags.routes = None;
        self.options.streaming.external = Some(external);
        Ok(())
    }

    /// TLS by flags replaces what the file says, unless `-tls=false` puts them aside.
    fn finish_tls(&mut self) -> Result<(), String> {
        let flags = std::mem::take(&mut self.tls_flags);
        let is_wanted = flags.is_on == Some(true)
            || flags.verify == Some(true)
            || flags.cert.is_some()
            || flags.key.is_some()
            || flags.ca.is_some();
        if flags.is_on == Some(false) || !is_wanted {
            return Ok(());
        }
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let cert_file = given(flags.cert).ok_or("TLS Server certificate must be present and valid")?;
        let key_file = given(flags.key).ok_or("TLS Server private key must be present and valid")?;
        if flags.ca.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err("-tlscacert is empty: name the authorities that verify clients, or leave it out".to_owned());
        }
        self.options.broker.tls = Some(TlsOptions {
            cert_file,
            key_file,
            verify: flags.verify == Some(true),
            ca_file: flags.ca,
            verify_and_map: false,
            timeout: None,
            handshake_first: HandshakeFirst::No,
            min_version: TlsVersion::default(),
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            pinned_certs: Vec::new(),
        });
        Ok(())
    }

    /// Flags win over the block of the file, each for itself.
    fn finish_cluster(&mut self) -> Result<(), String> {
        let flags = std::mem::take(&mut self.cluster_flags);
        let is_wanted = flags.listen.is_some() || flags.routes.as_ref().is_some_and(|routes| !routes.is_empty());
        if self.options.broker.cluster.is_none() && !is_wanted {
            let is_given = flags.name.is_some() || flags.advertise.is_some() || flags.no_advertise == Some(true);
            if is_given || flags.connect_retries.is_some_and(|retries| retries > 0) {
                let notice = "-cluster_name, -cluster_advertise, -no_advertise and -connect_retries have no effect without -cluster";
                self.options.notices.push(notice.to_owned());
            }
            return Ok(());
        }
        let cluster = self.options.broker.cluster.get_or_insert_with(ClusterOptions::default);
        if let Some((host, port, credentials)) = flags.listen {
            cluster.host = host;
            cluster.port = Some(port);
            cluster.credentials = credentials.or(cluster.credentials.take());
        }
        cluster.name = flags.name.or(cluster.name.take());
        cluster.routes = flags.routes.unwrap_or(std::mem::take(&mut cluster.routes));
        cluster.advertise = flags.advertise.or(cluster.advertise.take());
        cluster.no_advertise = flags.no_advertise.unwrap_or(cluster.no_advertise);
        cluster.connect_retries = flags.connect_retries.unwrap_or(cluster.connect_retries);
        if cluster.host.is_empty() {
            "0.0.0.0".clone_into(&mut cluster.host);
        }
        if !cluster.routes.is_empty() && cluster.port.is_none() {
            return Err("solicited routes require cluster capabilities, e.g. --cluster".to_owned());
        }
        if cluster.port.is_none() {
            self.options.broker.cluster = None;
            return Ok(());
        }
        let hashed = |credentials: &Credentials| credentials.password.hash_cost().is_some();
        if cluster.credentials.as_ref().is_some_and(hashed) {
            return Err(
                "cluster authorization: the password is a bcrypt hash, which cannot be presented to other servers: give it in plain text"
                    .to_owned(),
            );
        }
        if cluster.name.is_none() {
            let notice = "the cluster has no name: one is made up, and yields to those of other servers; -cluster_name gives it one";
            self.options.notices.push(notice.to_owned());
        }
        Ok(())
    }

    fn finish_broker(&mut self) -> Result<(), String> {
        if self.is_trace_verbose_in_file {
            self.options.broker.trace = true;
            self.options.broker.trace_verbose = true;
        }
        let broker = &self.options.broker;
        if broker.max_payload > broker.max_pending {
            return Err(format!(
                "max_payload ({}) cannot be higher than max_pending ({})",
                broker.max_payload, broker.max_pending
            ));
        }
        if broker.cluster.is_some() {
            for (key, bytes, most) in [
                ("max_payload", broker.max_payload, ROUTE_PAYLOAD_MAX),
                ("max_control_line", broker.max_control_line, ROUTE_CLIENT_LINE_MAX),
            ] {
                if bytes > most {
                    return Err(format!(
                        "{key} ({bytes}) cannot be higher than {most} in a cluster: routes to other servers carry no more"
                    ));
                }
            }
        }
        if broker.lame_duck_grace_period >= broker.lame_duck_duration {
            return Err("lame_duck_grace_period must be shorter than lame_duck_duration".to_owned());
        }
        let is_default =
            broker.lame_duck_duration == LAME_DUCK_DURATION && broker.lame_duck_grace_period == LAME_DUCK_GRACE;
        if !is_default && self.options.personality == Personality::NatsStreamingServer {
            // The original's binary ignores the signal for it (specification §7.7).
            let notice =
                "lame_duck_duration and lame_duck_grace_period have no effect: lame duck mode is there as seaway";
            self.options.notices.push(notice.to_owned());
        }
        if self.options.broker.max_traced_msg_len > 0 {
            let notice = "max_traced_msg_len has no effect: trace lines show whole payloads";
            self.options.notices.push(notice.to_owned());
        }
        let broker = &self.options.broker;
        if broker.https_port.is_some() && broker.tls.is_none() {
            return Err("https_port needs TLS: a tls block, or -tls with -tlscert and -tlskey".to_owned());
        }
        Ok(())
    }
}
