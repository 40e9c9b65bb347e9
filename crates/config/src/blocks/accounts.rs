//! The `accounts` block (core specification §3.6).

use std::collections::HashMap;

use super::authorization::{DEFAULT_PERMISSIONS, USERS, users};
use super::crossing::{self, Border};
use super::fields::{Block, at, wrong_type};
use super::permissions;
use crate::conf::{Data, Node, Position};
use crate::draft::Draft;
use crate::options::{Account, AccountLimits, GLOBAL_ACCOUNT};
use crate::value::Value;

const NKEY: &[&str] = &["nkey"];
const EXPORTS: &[&str] = &["exports"];
const IMPORTS: &[&str] = &["imports"];
const LIMITS: &[&str] = &["limits"];
const MAPPINGS: &[&str] = &["mappings", "maps"];
const JETSTREAM: &[&str] = &["jetstream"];
const TRACE: &[&str] = &["msg_trace", "trace_dest"];
const MAX_CONNECTIONS: &[&str] = &["max_connections", "max_conn"];
const MAX_SUBSCRIPTIONS: &[&str] = &["max_subscriptions", "max_subs"];
const MAX_PAYLOAD: &[&str] = &["max_payload", "max_pay"];
const MAX_LEAFNODES: &[&str] = &["max_leafnodes", "max_leafs"];

/// Reads the block: names, or accounts by name.
pub(crate) fn set(options: &mut Draft, value: &Value) -> Result<(), String> {
    if let Value::Block(node) = value {
        options.broker.accounts = read(node)?;
    }
    Ok(())
}

fn read(node: &Node) -> Result<Vec<Account>, String> {
    let mut accounts = Vec::new();
    let mut borders = Vec::new();
    let mut known = HashMap::new();
    let mut add = |position: &Position, account: Account| {
        if account.name == GLOBAL_ACCOUNT {
            return Err(at(position, format!("{GLOBAL_ACCOUNT:?} is a Reserved Account")));
        }
        if account.name.is_empty()
            || account
                .name
                .contains(|letter: char| letter.is_whitespace() || letter.is_control())
        {
            let text = format!("account name {:?} is empty or contains blanks", account.name);
            return Err(at(position, text));
        }
        if known.insert(account.name.clone(), ()).is_some() {
            return Err(at(position, format!("Duplicate Account Entry: {:?}", account.name)));
        }
        accounts.push(account);
        Ok(())
    };
    match &node.data {
        Data::List(items) => {
            for item in items {
                let Data::Text(name) = &item.data else {
                    return Err(at(&item.position, wrong_type("accounts", "string", &item.data)));
                };
                let account = Account {
                    name: name.clone(),
                    ..Account::default()
                };
                add(&item.position, account)?;
            }
        }
        Data::Map(map) => {
            for pair in map.iter().filter(|pair| !pair.is_used) {
                let (account, border) = account(&pair.key, &pair.node)?;
                add(&pair.position, account)?;
                borders.push(border);
            }
        }
        data => {
            let text = format!("expected accounts to be a map or a list, got {}", data.kind());
            return Err(at(&node.position, text));
        }
    }
    check_users(&accounts, &node.position)?;
    for (account, imports) in accounts.iter_mut().zip(crossing::fit(&borders)?) {
        account.imports = imports;
    }
    Ok(accounts)
}

fn account(name: &str, node: &Node) -> Result<(Account, Border), String> {
    let known = [
        NKEY,
        USERS,
        EXPORTS,
        IMPORTS,
        DEFAULT_PERMISSIONS,
        LIMITS,
        MAPPINGS,
        JETSTREAM,
        TRACE,
    ]
    .concat();
    let block = Block::of(node, "account", &known)?;
    block.refuse(MAPPINGS, "subject mapping")?;
    block.refuse(JETSTREAM, "JetStream")?;
    block.refuse(TRACE, "message tracing")?;
    let default = block
        .find(DEFAULT_PERMISSIONS)
        .map(|pair| permissions::read(&pair.node))
        .transpose()?;
    let mut users = users(block)?;
    for user in &mut users {
        user.permissions = user.permissions.take().or_else(|| default.clone());
    }
    let exports = block.list(EXPORTS)?.unwrap_or_default();
    let imports = block.list(IMPORTS)?.unwrap_or_default();
    let border = Border {
        account: name.to_owned(),
        exports: exports.iter().map(crossing::export).collect::<Result<_, _>>()?,
        imports: imports.iter().map(crossing::import).collect::<Result<_, _>>()?,
    };
    let account = Account {
        name: name.to_owned(),
        users,
        limits: limits(block)?,
        imports: Vec::new(),
    };
    Ok((account, border))
}

fn limits(block: Block<'_>) -> Result<AccountLimits, String> {
    let Some(pair) = block.find(LIMITS) else {
        return Ok(AccountLimits::default());
    };
    let known = [MAX_CONNECTIONS, MAX_SUBSCRIPTIONS, MAX_PAYLOAD, MAX_LEAFNODES].concat();
    let block = Block::of(&pair.node, "limits", &known)?;
    // Below zero is no bound.
    let bound = |keys: &[&str]| Ok::<_, String>(block.int(keys)?.and_then(|bound| usize::try_from(bound).ok()));
    bound(MAX_LEAFNODES)?;
    Ok(AccountLimits {
        max_connections: bound(MAX_CONNECTIONS)?,
        max_subscriptions: bound(MAX_SUBSCRIPTIONS)?,
        max_payload: bound(MAX_PAYLOAD)?,
    })
}

/// A name says by itself whose it is, so it belongs to one account.
fn check_users(accounts: &[Account], position: &Position) -> Result<(), String> {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for account in accounts {
        for user in &account.users {
            if let Some(other) = owners.insert(user.name(), &account.name) {
                let text = format!(
                    "Duplicate user {:?} detected, in accounts {other:?} and {:?}",
                    user.name(),
                    account.name
                );
                return Err(at(position, text));
            }
        }
    }
    Ok(())
}
