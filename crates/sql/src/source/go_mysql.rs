//! What go-sql-driver/mysql takes: `user:password@tcp(host:port)/database?parameter=value`.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;

use super::duration;

/// How a MySQL is reached.
#[derive(Clone)]
pub(crate) struct MySqlSettings {
    user: String,
    password: String,
    address: Address,
    database: String,
    tls: MySqlTls,
    /// Settings of the session: names, and values as SQL has them.
    variables: Vec<(String, String)>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MySqlTls {
    Off,
    Verified,
    Unverified,
}

/// Parameters of the driver that change nothing here.
const IGNORED: [&str; 15] = [
    "allowAllFiles",
    "allowCleartextPasswords",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "columnsWithAlias",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "rejectReadOnly",
];

pub(super) fn parse(text: &str) -> Result<MySqlSettings, String> {
    let form = || "the data source is none: user:password@tcp(host:port)/database".to_owned();
    // The last slash counts, so that a password may hold any: those of parameters are escaped.
    let (front, rest) = text.rsplit_once('/').ok_or_else(form)?;
    let (database, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, net) = match front.rsplit_once('@') {
        Some((login, net)) => (login, net),
        None => ("", front),
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let database = percent_decode_str(database).decode_utf8().map_err(|_| form())?;
    if database.is_empty() {
        return Err("the data source names no database: user:password@tcp(host:port)/database".to_owned());
    }
    let mut settings = MySqlSettings {
        user: user.to_owned(),
        password: password.to_owned(),
        address: address(net)?,
        database: database.into_owned(),
        tls: MySqlTls::Off,
        variables: Vec::new(),
        connect_timeout: None,
        timeout: None,
    };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| format!("parameter {name} is no UTF-8"))?;
        settings.parameter(name, &value)?;
    }
    Ok(settings)
}

fn address(net: &str) -> Result<Address, String> {
    let (net, address) = match net.split_once('(') {
        Some((net, rest)) => (
            net,
            rest.strip_suffix(')')
                .ok_or("the address in the data source does not end in )")?,
        ),
        None => (net, ""),
    };
    match net {
        "unix" => Ok(Address::Unix(PathBuf::from(match address {
            "" => "/tmp/mysql.sock",
            path => path,
        }))),
        "" | "tcp" | "tcp4" | "tcp6" => {
            let (host, port) = match address.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
                    (host, port)
                }
                _ => (address, "3306"),
            };
            let port = port.parse().map_err(|_| format!("port {port:?} is none"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            Ok(Address::Tcp(host.to_owned(), port))
        }
        _ => Err("the data source names a network that is neither tcp nor unix".to_owned()),
    }
}

impl MySqlSettings {
    fn parameter(&mut self, name: &str, value: &str) -> Result<(), String> {
        let read = || {
            let read = duration::parse(value).ok_or(format!("{name} {value:?} is no duration (5s, 500ms)"))?;
            Ok::<_, String>(Some(read).filter(|read| !read.is_zero()))
        };
        match name {
            "timeout" => self.connect_timeout = read()?,
            "readTimeout" => self.timeout = read()?,
            "writeTimeout" => {
                read()?;
            }
            "tls" => {
                self.tls = match value.to_ascii_lowercase().as_str() {
                    "false" | "0" => MySqlTls::Off,
                    "true" | "1" => MySqlTls::Verified,
                    "skip-verify" => MySqlTls::Unverified,
                    "preferred" => {
                        return Err("tls=preferred cannot be kept, as anybody on the way could prevent it: say true, skip-verify or false".to_owned());
                    }
                    _ => return Err(format!("tls {value:?} is not known: true, skip-verify or false")),
                };
            }
            "collation" => self.variables.push(("collation_connection".to_owned(), quoted(value))),
            _ if IGNORED.contains(&name) => {}
            _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                // As the driver does: what is no word or number is quoted by whoever writes it.
                if !is_sql_value(value) {
                    return Err(format!(
                        "the value of the session's setting {name} is neither a word nor in single quotes"
                    ));
                }
                self.variables.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err("the data source has a parameter whose name is no word".to_owned()),
        }
        Ok(())
    }

    pub(super) fn shown(&self) -> String {
        match &self.address {
            Address::Tcp(host, port) => format!("MySQL database {} at {host}:{port}", self.database),
            Address::Unix(path) => format!("MySQL database {} at {}", self.database, path.display()),
        }
    }

    pub(crate) fn options(&self) -> Result<Opts, String> {
        let mut builder = OptsBuilder::default()
            .user(Some(&self.user))
            .pass(Some(&self.password))
            .db_name(Some(&self.database))
            // The address that was given counts.
            .prefer_socket(false)
            // Counts of changed rows are those that were found (§4.3: "insert if no row was affected").
            .client_found_rows(true);
        builder = match &self.address {
            Address::Tcp(host, port) => builder.ip_or_hostname(host.as_str()).tcp_port(*port),
            Address::Unix(path) => builder.socket(Some(path.display().to_string())),
        };
        if !self.variables.is_empty() {
            let settings: Vec<String> = { self.variables.iter() }
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            builder = builder.init(vec![format!("SET {}", settings.join(", "))]);
        }
        let tls = match self.tls {
            MySqlTls::Off => None,
            MySqlTls::Verified => Some(
                SslOpts::default()
                    .with_root_certs(
                        crate::tls::system_roots()?
                            .into_iter()
                            .map(|root| root.to_vec().into())
                            .collect(),
                    )
                    .with_disable_built_in_roots(true),
            ),
            MySqlTls::Unverified => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
        };
        Ok(builder.ssl_opts(tls).into())
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace(['\\', '\''], ""))
}

/// A word, a number, or one text in single quotes.
fn is_sql_value(value: &str) -> bool {
    let inner = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) => !inner.contains(['\'', '\\']),
        None => {
            !value.is_empty()
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-@".contains(&byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Driver, Source};
    use super::*;

    #[test]
    fn every_form_of_an_address() {
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        let cases = [
            ("me:p@tcp(db.example:3307)/stan", tcp("db.example", 3307)),
            ("me:p@tcp(db.example)/stan", tcp("db.example", 3306)),
            ("me:p@tcp([::1]:3307)/stan", tcp("::1", 3307)),
            ("me:p@tcp/stan", tcp("127.0.0.1", 3306)),
            ("me:p@/stan", tcp("127.0.0.1", 3306)),
            ("me:p@unix(/run/my.sock)/stan", Address::Unix("/run/my.sock".into())),
        ];
        for (text, address) in cases {
            let settings = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            let login = (settings.user.as_str(), settings.password.as_str());
            assert_eq!((settings.address, login), (address, ("me", "p")), "{text}");
            assert_eq!(settings.database, "stan", "{text}");
        }
    }

    #[test]
    fn passwords_hold_anything_and_parameters_are_read() {
        let settings =
            parse("me:p@s/s:w(o)rd@tcp(h)/st%20an?readTimeout=5s&tls=skip-verify&sql_mode=%27ANSI%27&parseTime=true")
                .expect("a source");
        assert_eq!(settings.password, "p@s/s:w(o)rd");
        assert_eq!(settings.database, "st an");
        assert_eq!(settings.timeout, Some(Duration::from_secs(5)));
        assert_eq!(settings.tls, MySqlTls::Unverified);
        assert_eq!(settings.variables[0], ("sql_mode".to_owned(), "'ANSI'".to_owned()));
    }

    #[test]
    fn nothing_shows_a_password() {
        let source = Source::parse(Driver::MySql, "me:geheim@tcp(h)/stan").expect("a source");
        assert!(!format!("{source} {source:?}").contains("geheim"));
        let bad = [
            "me:geheim@tcp(h)",
            "me:geheim@tcp(h)/",
            "me:geheim@tcp(h/stan",
            "me:geheim@pipe(h)/stan",
            "me:geheim@tcp(h:x)/stan",
            "me:geheim@tcp(h)/stan?tls=own",
            "me:geheim@tcp(h)/stan?tls=preferred",
            "me:geheim@tcp(h)/stan?readTimeout=5",
            "me:geheim@tcp(h)/stan?x=1;DROP",
        ];
        for text in bad {
            let problem = Source::parse(Driver::MySql, text).expect_err(text);
            assert!(!problem.contains("geheim"), "{text}: {problem}");
        }
    }
}
