//! The JSON of CONNECT and INFO (core specification §1.4, §1.5).

use serde::{Deserialize, Serialize};

/// What a client says in CONNECT. A key that is absent or `null` keeps its default; unknown keys are ignored.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Send `+OK` after each successful operation (default true).
    pub verbose: bool,
    /// Check publish subjects strictly (default true).
    pub pedantic: bool,
    /// Deliver the connection's own publications to it (default true).
    pub echo: bool,
    /// The client understands HMSG and may send HPUB.
    pub headers: bool,
    /// The client wants a 503 message when nobody receives a request.
    pub no_responders: bool,
    /// Client protocol: 0, or 1 for asynchronous INFO.
    pub protocol: i64,
    /// Connection name, for people.
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// User name, if any.
    pub user: String,
    /// Password, if any.
    pub pass: String,
    /// Token, if any.
    pub auth_token: String,
    /// Public user key, if any.
    pub nkey: String,
    /// Signature of the nonce under that key, in base64.
    pub sig: String,
    /// Legacy field; a value is refused.
    pub account: String,
    /// Legacy field; true is refused.
    pub new_account: bool,
}

impl std::fmt::Debug for ConnectOptions {
    /// Shows who the client says it is, and none of its secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("user", &self.user)
            .field("nkey", &self.nkey)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        RawConnect::default().into()
    }
}

/// What this process says in CONNECT where it is a client itself. Keys without a value are left out.
#[derive(Clone, Copy, Default, Serialize)]
pub struct ClientConnect<'a> {
    /// Send `+OK` after each successful operation.
    pub verbose: bool,
    /// Check publish subjects strictly.
    pub pedantic: bool,
    /// Deliver the connection's own publications to it.
    pub echo: bool,
    /// HMSG is understood, and HPUB may be sent.
    pub headers: bool,
    /// A 503 message is wanted when nobody receives a request.
    pub no_responders: bool,
    /// Whether the connection is protected by TLS.
    pub tls_required: bool,
    /// Client protocol: 1 for asynchronous INFO.
    pub protocol: i64,
    /// Connection name, for people.
    pub name: &'a str,
    /// Language of the client.
    pub lang: &'a str,
    /// Version of the client.
    pub version: &'a str,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<&'a str>,
    /// Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<&'a str>,
    /// Public user key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<&'a str>,
    /// User token in the form of JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<&'a str>,
    /// Signature of the nonce, in base64 for URLs without padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<&'a str>,
}

impl std::fmt::Debug for ClientConnect<'_> {
    /// Shows who it is, and none of its secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClientConnect")
            .field("name", &self.name)
            .field("user", &self.user)
            .field("nkey", &self.nkey)
            .finish_non_exhaustive()
    }
}

/// The argument of CONNECT is not a JSON object with the expected types. It tells where, never what: a value of the wrong
/// type may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("CONNECT options are not a JSON object with the expected types (at byte {column})")]
pub struct InvalidConnect {
    /// Byte of the argument at which reading stopped, from 1.
    pub column: usize,
}

impl ConnectOptions {
    /// Reads the argument of a CONNECT line.
    ///
    /// # Errors
    /// When it is no JSON object or a known key has another type; the server then closes without a word (§1.5).
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConnect> {
        match serde_json::from_slice::<RawConnect>(json) {
            Ok(raw) => Ok(raw.into()),
            Err(error) => Err(InvalidConnect { column: error.column() }),
        }
    }
}

/// The argument of a CONNECT line for logs: `pass`, `auth_token`, `sig` and `jwt` replaced by `[REDACTED]` (§5.7). What
/// cannot be read is not shown at all, as it may hold a secret.
#[must_use]
pub fn redact(json: &[u8]) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(json) else {
        return "[unreadable]".into();
    };
    for key in ["pass", "auth_token", "sig", "jwt"] {
        if let Some(value) = fields.get_mut(key) {
            *value = "[REDACTED]".into();
        }
    }
    serde_json::Value::Object(fields).to_string()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawConnect {
    verbose: Option<bool>,
    pedantic: Option<bool>,
    echo: Option<bool>,
    headers: Option<bool>,
    no_responders: Option<bool>,
    protocol: Option<i64>,
    name: Option<String>,
    lang: Option<String>,
    version: Option<String>,
    user: Option<String>,
    pass: Option<String>,
    auth_token: Option<String>,
    nkey: Option<String>,
    sig: Option<String>,
    account: Option<String>,
    new_account: Option<bool>,
}

impl From<RawConnect> for ConnectOptions {
    fn from(raw: RawConnect) -> Self {
        Self {
            verbose: raw.verbose.unwrap_or(true),
            pedantic: raw.pedantic.unwrap_or(true),
            echo: raw.echo.unwrap_or(true),
            headers: raw.headers.unwrap_or_default(),
            no_responders: raw.no_responders.unwrap_or_default(),
            protocol: raw.protocol.unwrap_or_default(),
            name: raw.name.unwrap_or_default(),
            lang: raw.lang.unwrap_or_default(),
            version: raw.version.unwrap_or_default(),
            user: raw.user.unwrap_or_default(),
            pass: raw.pass.unwrap_or_default(),
            auth_token: raw.auth_token.unwrap_or_default(),
            nkey: raw.nkey.unwrap_or_default(),
            sig: raw.sig.unwrap_or_default(),
            account: raw.account.unwrap_or_default(),
            new_account: raw.new_account.unwrap_or_default(),
        }
    }
}

/// What the server says in INFO. Optional keys are left out when they hold the zero value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Public key of the server: 56 characters starting with `N`.
    pub server_id: String,
    /// Configured name, else the id.
    pub server_name: String,
    /// Advertised version; clients gate features on it.
    pub version: String,
    /// Server protocol, 1.
    pub proto: i64,
    /// Revision the server was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Non-empty; historically the compiler's version.
    pub go: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Whether headers are supported.
    pub headers: bool,
    /// Whether authentication is required.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Whether TLS is required.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Whether a client certificate is required.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Whether TLS is possible.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Largest payload in bytes.
    pub max_payload: usize,
    /// Connection id.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// The peer's address as the server sees it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// Challenge for key authentication.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Cluster name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// `host:port` of all known client listeners, once another server is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The server is about to leave.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// This INFO answers the first PING.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// Account the connection is bound to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "signature asked for by serde")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "signature asked for by serde")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_defaults_of_section_1_5() {
        let options = ConnectOptions::parse(b"{}").unwrap();
        assert_eq!(options, ConnectOptions::default());
        assert!(options.verbose && options.pedantic && options.echo);
        assert!(!options.headers && !options.no_responders);
        assert_eq!(options.protocol, 0);
    }

    #[test]
    fn connect_ignores_unknown_keys_and_nulls() {
        let options = ConnectOptions::parse(br#" {"user":null,"verbose":false,"shoe":44,"name":"x"} "#).unwrap();
        assert!(!options.verbose);
        assert_eq!(options.name, "x");
        assert_eq!(options.user, "");
    }

    #[test]
    fn what_this_process_says_is_what_servers_read() {
        let connect = ClientConnect {
            name: "n",
            user: Some("u"),
            pass: Some("p1"),
            headers: true,
            ..ClientConnect::default()
        };
        let text = serde_json::to_string(&connect).unwrap();
        let read = ConnectOptions::parse(text.as_bytes()).unwrap();
        assert_eq!((&read.name[..], &read.user[..], &read.pass[..]), ("n", "u", "p1"));
        assert!(read.headers && !read.echo && !read.verbose);
        assert!(!text.contains("auth_token") && !format!("{connect:?}").contains("p1"));
    }

    #[test]
    fn secrets_stay_out_of_logs_as_section_5_7_says() {
        let line = redact(br#"{"verbose":false,"user":"u","pass":"p1","auth_token":"t1","sig":"s1"}"#);
        let expected =
            r#"{"verbose":false,"user":"u","pass":"[REDACTED]","auth_token":"[REDACTED]","sig":"[REDACTED]"}"#;
        assert_eq!(line, expected);
        assert_eq!(redact(br#"{"pass":"p1""#), "[unreadable]");
    }

    #[test]
    fn secrets_stay_out_of_debug_output_and_of_errors() {
        let options = ConnectOptions::parse(br#"{"user":"u","pass":"p1","auth_token":"t1","sig":"s1"}"#).unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("\"u\"") && !shown.contains("p1") && !shown.contains("t1") && !shown.contains("s1"));
        let error = ConnectOptions::parse(br#"{"user":"u","pass":1234567}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("1234567"));
    }

    #[test]
    fn malformed_connect_is_refused() {
        for bad in [&b"{bad"[..], b"", b"[1]", b"1", b"{\"verbose\":\"yes\"}", b"\xff\xfe"] {
            assert!(ConnectOptions::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn info_leaves_out_zero_values_of_section_1_4() {
        let text = serde_json::to_string(&ServerInfo::default()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let always = [
            "server_id",
            "server_name",
            "version",
            "proto",
            "go",
            "host",
            "port",
            "headers",
            "max_payload",
        ];
        assert_eq!(keys, always);
    }
}
