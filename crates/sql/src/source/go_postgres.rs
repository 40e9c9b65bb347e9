//! What lib/pq takes: `key=value` pairs, or a URL, with the variables that PostgreSQL's own clients know as defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::duration;
use crate::tls_wanted::{Tls, Verify};

/// How a PostgreSQL is reached.
#[derive(Clone)]
pub(crate) struct PostgresSettings {
    pub(crate) config: Config,
    /// None: in clear.
    pub(crate) tls: Option<Tls>,
    /// How long an answer may take; the original reads it from the source itself.
    pub(crate) timeout: Option<Duration>,
    pub(super) shown: String,
}

/// Variables that stand in for keys.
const VARIABLES: [(&str, &str); 11] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
];

/// Keys that mean something to lib/pq alone, or that this side settles itself.
const IGNORED: [&str; 12] = [
    "fallback_application_name",
    "binary_parameters",
    "disable_prepared_binary_result",
    "krbsrvname",
    "krbspn",
    "passfile",
    "sslinline",
    "sslsni",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "writetimeout",
];

type Pairs = BTreeMap<String, String>;

pub(super) fn parse(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<PostgresSettings, String> {
    let mut pairs = Pairs::new();
    for (key, name) in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            pairs.insert(key.to_owned(), value);
        }
    }
    match text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
    {
        Some(rest) => read_url(rest, &mut pairs)?,
        None => read_pairs(text, &mut pairs)?,
    }
    settings(pairs, variable)
}

fn settings(mut pairs: Pairs, variable: &dyn Fn(&str) -> Option<String>) -> Result<PostgresSettings, String> {
    let mut take = |key: &str| pairs.remove(key).filter(|value| !value.is_empty());
    let host = take("host").unwrap_or_else(|| "localhost".to_owned());
    let port = take("port").unwrap_or_else(|| "5432".to_owned());
    let port: u16 = port.parse().map_err(|_| PORT_IS_NONE)?;
    let user = take("user").or_else(|| variable("USER"));
    let user = user.ok_or("the data source names no user: user=NAME")?;
    let database = take("dbname").unwrap_or_else(|| user.clone());
    let mut config = Config::new();
    config.host(&host).port(port).user(&user).dbname(&database);
    config.application_name(take("application_name").unwrap_or_else(|| "seaway".to_owned()));
    if let Some(password) = take("password") {
        config.password(password);
    }
    if let Some(seconds) = take("connect_timeout") {
        let seconds: u64 = seconds
            .parse()
            .map_err(|_| format!("connect_timeout {seconds:?} is no number of seconds"))?;
        // 0 is no limit to the original, and one of ours here.
        if seconds > 0 {
            config.connect_timeout(Duration::from_secs(seconds));
        }
    }
    let timeout = match take("readtimeout") {
        None => None,
        Some(text) => {
            let read = duration::parse(&text).ok_or(format!("readTimeout {text:?} is no duration (5s, 500ms)"))?;
            Some(read).filter(|read| !read.is_zero())
        }
    };
    let tls = tls(&host, &mut take)?;
    config.ssl_mode(if tls.is_some() {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    config.options(run_time_options(&pairs));
    let shown = format!("PostgreSQL database {database} at {host}:{port}");
    Ok(PostgresSettings {
        config,
        tls,
        timeout,
        shown,
    })
}

/// Encrypted without a look at the certificate is what lib/pq does when it is told nothing, and never over a socket of the system.
fn tls(host: &str, take: &mut impl FnMut(&str) -> Option<String>) -> Result<Option<Tls>, String> {
    let mode = take("sslmode").unwrap_or_default();
    let roots = take("sslrootcert").map(PathBuf::from);
    let identity = match (take("sslcert"), take("sslkey")) {
        (Some(certificate), Some(key)) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (None, None) => None,
        _ => return Err("sslcert and sslkey belong together: name both".to_owned()),
    };
    let verify = match mode.as_str() {
        "disable" => return Ok(None),
        _ if host.starts_with('/') => return Ok(None),
        "" | "require" if roots.is_some() => Verify::Authority,
        "" | "require" => Verify::Nothing,
        "verify-ca" => Verify::Authority,
        "verify-full" => Verify::Host,
        _ => {
            return Err(format!(
                "sslmode {mode:?} is not known: require (the default), verify-ca, verify-full or disable"
            ));
        }
    };
    Ok(Some(Tls {
        verify,
        roots,
        identity,
    }))
}

/// Everything else is a setting of the session (`search_path`, for one).
fn run_time_options(pairs: &Pairs) -> String {
    let mut options = String::new();
    for (key, value) in pairs.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str())) {
        if key == "options" {
            options = format!("{value} {options}");
            continue;
        }
        options += &format!("-c {key}=");
        for character in value.chars() {
            if character == '\\' || character.is_whitespace() {
                options.push('\\');
            }
            options.push(character);
        }
        options.push(' ');
    }
    options.trim_end().to_owned()
}

/// `key=value key='value with \'quotes\''`.
fn read_pairs(text: &str, pairs: &mut Pairs) -> Result<(), String> {
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return Ok(());
        }
        let mut key = String::new();
        while let Some(character) = characters.next_if(|character| *character != '=' && !character.is_whitespace()) {
            key.push(character);
        }
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        // What stands where a key is expected may be the rest of a password: it is not shown.
        if characters.next() != Some('=') || key.is_empty() {
            return Err(
                "the data source is none: key=value pairs, or postgres://user:password@host/database".to_owned(),
            );
        }
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        let is_quoted = characters.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match characters.next() {
                Some('\\') => value.push(characters.next().ok_or("the data source ends behind a backslash")?),
                Some('\'') if is_quoted => break,
                None if is_quoted => return Err("the data source ends within a quoted value".to_owned()),
                None => break,
                Some(character) if !is_quoted && character.is_whitespace() => break,
                Some(character) => value.push(character),
            }
        }
        put(&key, value, pairs);
    }
}

/// Names of time-outs are written as people like.
fn put(key: &str, value: String, pairs: &mut Pairs) {
    let lower = key.to_ascii_lowercase();
    let key = match lower.as_str() {
        "readtimeout" | "writetimeout" => lower,
        _ => key.to_owned(),
    };
    pairs.insert(key, value);
}

const PORT_IS_NONE: &str = "the port is no number from 0 to 65535";
const UNESCAPED: &str =
    "a character of the name or the password must be written as %2F is for /, %3F for ?, %23 for #, %40 for @";

fn read_url(rest: &str, pairs: &mut Pairs) -> Result<(), String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        // Shown as a host or a database, what is a password would be in the log.
        None if rest.contains('@') || query.split('&').any(|pair| pair.contains('@') && !pair.contains('=')) => {
            return Err(UNESCAPED.to_owned());
        }
        None => (None, authority),
    };
    if authority.contains('#') || authority.chars().any(char::is_whitespace) {
        return Err(UNESCAPED.to_owned());
    }
    if let Some(login) = login {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        pairs.insert("user".to_owned(), decode(user)?);
        if let Some(password) = password {
            pairs.insert("password".to_owned(), decode(password)?);
        }
    }
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        },
    };
    if !host.is_empty() {
        pairs.insert("host".to_owned(), decode(host)?);
    }
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        pairs.insert("port".to_owned(), port.to_owned());
    }
    if !path.is_empty() {
        pairs.insert("dbname".to_owned(), decode(path)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        put(&decode(key)?, decode(&value.replace('+', " "))?, pairs);
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| "the data source has a percent sequence that is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::super::{Driver, Source};
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn of(text: &str) -> PostgresSettings {
        parse(text, &nothing).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn pairs_and_urls_say_the_same() {
        let texts = [
            "host=db.example port=5433 user=me password='p w\\'\\\\' dbname=stan sslmode=verify-full readTimeout=5s",
            "postgres://me:p%20w%27%5C@db.example:5433/stan?sslmode=verify-full&readTimeout=5s",
            "postgresql://me:p%20w%27%5C@db.example:5433/stan?sslmode=verify-full&READTIMEOUT=5s",
        ];
        for text in texts {
            let settings = of(text);
            let config = &settings.config;
            assert_eq!(config.get_hosts(), [Host::Tcp("db.example".to_owned())], "{text}");
            assert_eq!(
                (config.get_ports(), config.get_user()),
                (&[5433][..], Some("me")),
                "{text}"
            );
            assert_eq!(config.get_password(), Some(&b"p w'\\"[..]), "{text}");
            assert_eq!(config.get_dbname(), Some("stan"), "{text}");
            assert_eq!(settings.tls, Some(Tls::default()), "{text}");
            assert_eq!(settings.timeout, Some(Duration::from_secs(5)), "{text}");
            assert_eq!(settings.shown, "PostgreSQL database stan at db.example:5433", "{text}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_original_has_it() {
        let settings = of("user=me");
        assert_eq!(settings.config.get_hosts(), [Host::Tcp("localhost".to_owned())]);
        assert_eq!(
            (settings.config.get_ports(), settings.config.get_dbname()),
            (&[5432][..], Some("me"))
        );
        assert_eq!(
            settings.tls.map(|tls| tls.verify),
            Some(Verify::Nothing),
            "encrypted, and anybody"
        );
        assert_eq!(of("user=me host=/run/postgresql").tls, None);
        let roots = of("user=me sslrootcert=/r.pem").tls.expect("encrypted");
        assert_eq!(
            (roots.verify, roots.roots),
            (Verify::Authority, Some(PathBuf::from("/r.pem")))
        );
        let variables = |name: &str| (name == "PGUSER" || name == "PGDATABASE").then(|| name.to_lowercase());
        let settings = parse("sslmode=disable", &variables).expect("from variables");
        assert_eq!(settings.config.get_user(), Some("pguser"));
        assert_eq!(settings.config.get_dbname(), Some("pgdatabase"));
    }

    #[test]
    fn other_keys_are_settings_of_the_session() {
        let settings = of("user=me sslmode=disable search_path='a, b' binary_parameters=yes");
        assert_eq!(settings.config.get_options(), Some("-c search_path=a,\\ b"));
    }

    /// Read as they stand, a part of the password would be a port, a host or a database, and be shown.
    #[test]
    fn characters_of_a_password_that_end_an_authority_must_be_escaped() {
        for text in [
            "postgres://me:ge?heim@h/x",
            "postgres://me:12/34@h/x",
            "postgres://me:ge#heim@h/x",
            "postgres://me:ge heim@h/x",
            "postgres://me@h:heim/x",
        ] {
            let Err(error) = parse(text, &|_| None) else {
                panic!("{text} was read");
            };
            assert!(!error.contains("heim") && !error.contains("34"), "{text}: {error}");
        }
        assert!(parse("postgres://h/x?user=me%40a&sslmode=disable", &|_| None).is_ok());
    }

    #[test]
    fn nothing_shows_a_password() {
        let source = Source::parse(Driver::Postgres, "user=me password=geheim sslmode=disable").expect("a source");
        assert!(!format!("{source} {source:?}").contains("geheim"));
        let bad = [
            "user=me password=geheim sslmode=maybe",
            "geheim",
            "user=me password=ge heim",
            "user=me password='geheim",
            "user=me password=geheim port=x",
            "user=me password=geheim readTimeout=soon",
            "user=me password=geheim sslcert=x",
            "postgres://me:geheim@h:99999/x",
        ];
        for text in bad {
            let problem = Source::parse_within(Driver::Postgres, text, &nothing).expect_err(text);
            assert!(!problem.contains("heim"), "{text}: {problem}");
        }
    }
}
