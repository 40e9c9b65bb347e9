//! The `authorization` block (core specification §3.2).

use std::collections::HashSet;

use super::fields::{Block, EMPTY_SECRET, at};
use super::permissions;
use crate::conf::{Data, Node};
use crate::draft::Draft;
use crate::options::{Authorization, ConnectionType, Credentials, Login, Secret, User};
use crate::value::Value;

pub(super) const USER: &[&str] = &["user", "username"];
pub(super) const PASSWORD: &[&str] = &["pass", "password"];
pub(super) const TOKEN: &[&str] = &["token"];
pub(super) const TIMEOUT: &[&str] = &["timeout"];
pub(super) const USERS: &[&str] = &["users"];
pub(super) const DEFAULT_PERMISSIONS: &[&str] = &["permissions", "default_permissions", "default_permission"];
const CALLOUT: &[&str] = &["auth_callout", "auth_hook"];
const PROXY: &[&str] = &["proxy_required"];
const NKEY: &[&str] = &["nkey"];
const PERMISSIONS: &[&str] = &["permissions", "permission", "authorization"];
const CONNECTION_TYPES: &[&str] = &["allowed_connection_types", "connection_types", "clients"];

/// Reads the block.
pub(crate) fn set(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::Block(node) = value {
        let mut notices = Vec::new();
        let authorization = authorization(node, &mut options.password_alone, &mut notices)?;
        options.notices.append(&mut notices);
        // Accounts and flags may name users.
        options.open_authorization = (!authorization.is_required() && options.password_alone.is_none()).then(|| {
            let notice = "authorization lets everybody in: it names no user and no token";
            at(&node.position, notice)
        });
        options.broker.authorization = authorization;
    }
    Ok(())
}

/// Reads the block, and a password in it that has no user: a flag may name that.
fn authorization(
    node: &Node,
    password_alone: &mut Option<Secret>,
    notices: &mut Vec<String>,
) -> Result<Authorization, String> {
    let known = [
        USER,
        PASSWORD,
        TOKEN,
        TIMEOUT,
        USERS,
        DEFAULT_PERMISSIONS,
        CALLOUT,
        PROXY,
    ]
    .concat();
    let block = Block::of(node, "authorization", &known)?;
    if matches!(&node.data, Data::Map(map) if map.is_empty()) {
        return Err(at(&node.position, format!("authorization {EMPTY_SECRET}")));
    }
    block.refuse(CALLOUT, "authentication by another service")?;
    block.refuse(PROXY, "trusted proxies")?;
    let (name, password) = (block.secret(USER)?, block.secret(PASSWORD)?);
    if name.is_none() {
        *password_alone = password.map(Secret::new);
    }
    let authorization = Authorization {
        single: name.map(|name| credentials(name, password)),
        token: block.secret(TOKEN)?.map(Secret::new),
        users: users(block)?,
        default_permissions: block
            .find(DEFAULT_PERMISSIONS)
            .map(|pair| permissions::read(&pair.node))
            .transpose()?,
        timeout: block.time(TIMEOUT, notices)?,
    };
    let conflict = match (
        &authorization.single,
        &authorization.token,
        authorization.users.is_empty(),
    ) {
        (Some(_), Some(_), _) => Some("Cannot have a user/pass and token"),
        (Some(_), None, false) => Some("Can not have a single user/pass and a users array"),
        (None, Some(_), false) => Some("Can not have a token and a users array"),
        _ => None,
    };
    if let Some(conflict) = conflict {
        return Err(at(&node.position, conflict));
    }
    Ok(authorization)
}

/// The users of a block, whose names and keys are unique in it.
pub(super) fn users(block: Block<'_>) -> Result<Vec<User>, String> {
    let nodes = block.filled_list(USERS)?.unwrap_or_default();
    let mut users: Vec<User> = Vec::with_capacity(nodes.len());
    let mut names = HashSet::new();
    for node in nodes {
        let user = user(node)?;
        if !names.insert(user.name().to_owned()) {
            let what = match user.login {
                Login::Password(_) => "user",
                Login::Nkey(_) => "nkey",
            };
            return Err(at(
                &node.position,
                format!("Duplicate {what} {:?} detected", user.name()),
            ));
        }
        users.push(user);
    }
    Ok(users)
}

/// A user needs no password.
fn credentials(user: &str, password: Option<&str>) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: Secret::new(password.unwrap_or_default()),
    }
}

fn user(node: &Node) -> Result<User, String> {
    let known = [USER, PASSWORD, NKEY, PERMISSIONS, CONNECTION_TYPES, PROXY].concat();
    let block = Block::of(node, "users", &known)?;
    block.refuse(PROXY, "trusted proxies")?;
    let login = match (block.secret(USER)?, block.secret(PASSWORD)?, block.text(NKEY)?) {
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            return Err(at(&node.position, "Nkey users do not take usernames or passwords"));
        }
        (Some(user), password, None) => Login::Password(credentials(user, password)),
        (None, Some(_), None) => return Err(at(&node.position, "a password needs a user")),
        (None, None, Some(key)) if is_public_user_key(key) => Login::Nkey(key.to_owned()),
        (None, None, Some(_)) => return Err(at(&node.position, "Not a valid public nkey for a user")),
        (None, None, None) => return Err(at(&node.position, "User entry requires a user")),
    };
    Ok(User {
        login,
        permissions: block
            .find(PERMISSIONS)
            .map(|pair| permissions::read(&pair.node))
            .transpose()?,
        connection_types: connection_types(block)?,
    })
}

fn connection_types(block: Block<'_>) -> Result<Option<Vec<ConnectionType>>, String> {
    if block.find(CONNECTION_TYPES).is_none() {
        return Ok(None);
    }
    let types = block.texts(CONNECTION_TYPES)?.into_iter().map(|(position, text)| {
        Ok(match text.to_uppercase().as_str() {
            "STANDARD" => ConnectionType::Standard,
            "WEBSOCKET" => ConnectionType::WebSocket,
            "LEAFNODE" => ConnectionType::LeafNode,
            "LEAFNODE_WS" => ConnectionType::LeafNodeWebSocket,
            "MQTT" => ConnectionType::Mqtt,
            "MQTT_WS" => ConnectionType::MqttWebSocket,
            "IN_PROCESS" => ConnectionType::InProcess,
            _ => return Err(at(position, format!("invalid connection type {text:?}"))),
        })
    });
    types.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Whether a text is the public key of a user: base32 of a prefix byte, 32 bytes and a checksum (core specification §3.4).
fn is_public_user_key(text: &str) -> bool {
    const LEN: usize = 56;
    const USER_PREFIX: u8 = 20 << 3;
    const CHECKSUM_LEN: usize = 2;
    let Some(bytes) = Some(text).filter(|text| text.len() == LEN).and_then(base32) else {
        return false;
    };
    let Some((body, checksum)) = bytes.split_at_checked(bytes.len() - CHECKSUM_LEN) else {
        return false;
    };
    body.first() == Some(&USER_PREFIX) && crc16(body).to_le_bytes() == checksum
}

/// Decodes unpadded upper-case base32 whose bits fill whole bytes.
fn base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(digit);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// CRC-16 with polynomial 0x1021 and start 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_have_a_prefix_and_a_checksum() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let mut bytes = vec![20 << 3];
        bytes.extend([7; 32]);
        bytes.extend(crc16(&bytes).to_le_bytes());
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let digits = bits.as_bytes().chunks(5).map(|five| {
            let five = std::str::from_utf8(five).unwrap();
            char::from(alphabet[usize::from_str_radix(five, 2).unwrap()])
        });
        let key: String = digits.collect();
        assert!(key.starts_with('U') && is_public_user_key(&key));
        for wrong in [
            key[1..].to_owned(),
            key.replace('U', "A"),
            key.to_lowercase(),
            format!("{}A", &key[..55]),
            String::new(),
            "é".repeat(28),
        ] {
            assert!(wrong == key || !is_public_user_key(&wrong), "{wrong}");
        }
    }
}
