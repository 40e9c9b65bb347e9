//! The JSON with which servers introduce themselves to each other: INFO and CONNECT of a route (core specification §4.3).

use serde::{Deserialize, Serialize};

use crate::connect::{InvalidConnect, is_false};
use crate::write::write_json_line;

/// What a server says of itself in INFO on a route. A key that is absent or `null` keeps its default; unknown keys are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteInfo {
    /// Public key of the server: 56 characters starting with `N`.
    pub server_id: String,
    /// Configured name, else the id.
    pub server_name: String,
    /// Advertised version.
    pub version: String,
    /// Level of the route protocol; 2 is the one with accounts.
    pub proto: i64,
    /// Revision the server was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Non-empty; historically the compiler's version.
    pub go: String,
    /// Host on which routes are accepted.
    pub host: String,
    /// Port on which routes are accepted.
    pub port: u16,
    /// Whether headers are supported.
    pub headers: bool,
    /// Whether CONNECT has to name a user.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Whether TLS follows.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Whether a certificate is asked for.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Largest payload in bytes.
    pub max_payload: usize,
    /// `nats-route://host:port/` under which others reach the server this is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Random; never empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Cluster name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether the cluster's name was made up, so that it yields to one that was not.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// `host:port` of the server's client listeners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The account of a connection that is to carry one account alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// The server is about to leave.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
}

/// What the server that dialled says in CONNECT. A key that is absent or `null` keeps its default; unknown keys are ignored.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteConnect {
    /// Always true.
    pub echo: bool,
    /// Always false.
    pub verbose: bool,
    /// Always false.
    pub pedantic: bool,
    /// User name, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Password, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Whether TLS is used.
    pub tls_required: bool,
    /// Whether headers are supported.
    pub headers: bool,
    /// The sender's server id.
    pub name: String,
    /// Cluster name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether the cluster's name was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// Set by clients alone, which have no business on this port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Name of another cluster, when this is a gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

impl std::fmt::Debug for RouteConnect {
    /// Shows who the server says it is, and none of its secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RouteConnect")
            .field("name", &self.name)
            .field("cluster", &self.cluster)
            .field("lang", &self.lang)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl RouteInfo {
    /// Reads the argument of an INFO line.
    ///
    /// # Errors
    /// When it is no JSON object or a known key has another type.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConnect> {
        from_object(json)
    }

    /// Appends `INFO {json} ␍␊`.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_json_line(out, b"INFO ", self);
    }
}

impl RouteConnect {
    /// Reads the argument of a CONNECT line.
    ///
    /// # Errors
    /// When it is no JSON object or a known key has another type.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidConnect> {
        from_object(json)
    }

    /// Appends `CONNECT {json} ␍␊`.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_json_line(out, b"CONNECT ", self);
    }
}

fn from_object<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, InvalidConnect> {
    let failed = |error: serde_json::Error| InvalidConnect { column: error.column() };
    // The other server's language writes absent lists and texts as null.
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).map_err(failed)?;
    object.retain(|_, value| !value.is_null());
    serde_json::from_value(serde_json::Value::Object(object)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_section_4_3_are_read_as_they_are_written() {
        let info = RouteInfo {
            server_id: "NID".into(),
            proto: 2,
            headers: true,
            connect_urls: vec!["127.0.0.1:4222".into()],
            ..RouteInfo::default()
        };
        let mut line = Vec::new();
        info.write(&mut line);
        assert!(line.starts_with(b"INFO {") && line.ends_with(b"} \r\n"));
        assert_eq!(RouteInfo::parse(&line[5..line.len() - 3]).unwrap(), info);
        let connect = RouteConnect {
            user: "u".into(),
            pass: "secret".into(),
            name: "NID".into(),
            ..RouteConnect::default()
        };
        line.clear();
        connect.write(&mut line);
        assert_eq!(RouteConnect::parse(&line[8..line.len() - 3]).unwrap(), connect);
        assert!(!format!("{connect:?}").contains("secret"));
    }

    #[test]
    fn nulls_and_unknown_keys_are_nothing_and_wrong_types_are_refused() {
        let info =
            RouteInfo::parse(br#"{"connect_urls":null,"shoe":{"size":44},"server_id":"N","port":6222}"#).unwrap();
        assert_eq!(
            (info.server_id.as_str(), info.port, info.connect_urls.len()),
            ("N", 6222, 0)
        );
        for bad in [
            &b""[..],
            b"[]",
            b"{",
            br#"{"port":70000}"#,
            br#"{"server_id":5}"#,
            b"\xff",
        ] {
            assert!(RouteInfo::parse(bad).is_err(), "{bad:?}");
        }
        let error = RouteConnect::parse(br#"{"pass":1234567}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("1234567"));
    }
}
