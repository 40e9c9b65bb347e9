//! Endpoints of accounts, and of features that are off or absent: gateways, leaf nodes, JetStream. Their keys are those of a server that has the feature and does not use it (core specification §6.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::json::{Nothing, is_false, utc};
use crate::moment::Moment;
use crate::query::Query;
use crate::reply::Reply;
use crate::snapshot::{Account, Broker};

#[derive(Serialize)]
struct Gatewayz {
    server_id: String,
    now: String,
    outbound_gateways: Nothing,
    inbound_gateways: Nothing,
}

/// `/gatewayz`
pub(crate) fn gatewayz(broker: Broker, moment: &Moment) -> Reply {
    Reply::json(&Gatewayz {
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        outbound_gateways: Nothing {},
        inbound_gateways: Nothing {},
    })
}

#[derive(Serialize)]
struct Leafz {
    server_id: String,
    now: String,
    leafnodes: u64,
    leafs: Option<[Nothing; 0]>,
}

/// `/leafz`
pub(crate) fn leafz(broker: Broker, moment: &Moment) -> Reply {
    Reply::json(&Leafz {
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        leafnodes: 0,
        leafs: None,
    })
}

#[derive(Serialize)]
struct Accountz {
    server_id: String,
    now: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    system_account: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_detail: Option<AccountDetail>,
}

#[derive(Serialize)]
struct AccountDetail {
    account_name: String,
    update_time: String,
    #[serde(skip_serializing_if = "is_false")]
    is_system: bool,
    expired: bool,
    complete: bool,
    jetstream_enabled: bool,
    leafnode_connections: u64,
    client_connections: u64,
    subscriptions: u64,
}

/// `/accountz`
pub(crate) fn accountz(broker: Broker, accounts: Vec<Account>, moment: &Moment, query: &Query) -> Reply {
    let detail = |account: &Account| AccountDetail {
        account_name: account.name.clone(),
        update_time: utc(broker.config_load_ns),
        is_system: account.is_system,
        expired: false,
        complete: true,
        jetstream_enabled: false,
        leafnode_connections: 0,
        client_connections: account.connections,
        subscriptions: account.subscriptions,
    };
    let (accounts, account_detail) = match query.text("acc") {
        None => (accounts.into_iter().map(|account| account.name).collect(), None),
        Some(wanted) => match accounts.iter().find(|account| account.name == wanted) {
            Some(account) => (Vec::new(), Some(detail(account))),
            None => return Reply::bad_request("account missing".to_owned()),
        },
    };
    Reply::json(&Accountz {
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        system_account: broker.system_account,
        accounts,
        account_detail,
    })
}

#[derive(Serialize)]
struct Accstatz {
    server_id: String,
    now: String,
    account_statz: Vec<AccountStatistics>,
}

#[derive(Serialize)]
struct AccountStatistics {
    acc: String,
    name: String,
    conns: u64,
    leafnodes: u64,
    total_conns: u64,
    num_subscriptions: u64,
    sent: Traffic,
    received: Traffic,
    slow_consumers: u64,
}

#[derive(Serialize)]
struct Traffic {
    msgs: u64,
    bytes: u64,
}

/// `/accstatz`; an account without connections is shown when unused ones are asked for.
pub(crate) fn accstatz(broker: Broker, accounts: Vec<Account>, moment: &Moment, query: &Query) -> Reply {
    let unused = match query.broker_bool("unused") {
        Ok(unused) => unused,
        Err(text) => return Reply::bad_request(text),
    };
    let wanted = query.text("acc");
    let is_shown = |account: &Account| match &wanted {
        Some(wanted) => account.name == *wanted,
        None => unused || account.connections > 0,
    };
    let statistics = |account: Account| AccountStatistics {
        acc: account.name.clone(),
        name: account.name,
        conns: account.connections,
        leafnodes: 0,
        total_conns: account.connections,
        num_subscriptions: account.subscriptions,
        sent: Traffic {
            msgs: account.out_msgs,
            bytes: account.out_bytes,
        },
        received: Traffic {
            msgs: account.in_msgs,
            bytes: account.in_bytes,
        },
        slow_consumers: account.slow_consumers,
    };
    Reply::json(&Accstatz {
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        account_statz: accounts.into_iter().filter(is_shown).map(statistics).collect(),
    })
}

#[derive(Serialize)]
struct Jsz {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: Api,
    server_id: String,
    now: String,
    disabled: bool,
    config: BTreeMap<&'static str, u64>,
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    total: u64,
}

#[derive(Serialize)]
struct Api {
    level: u64,
    total: u64,
    errors: u64,
}

/// `/jsz`
pub(crate) fn jsz(broker: Broker, moment: &Moment) -> Reply {
    Reply::json(&Jsz {
        memory: 0,
        storage: 0,
        reserved_memory: 0,
        reserved_storage: 0,
        accounts: 0,
        ha_assets: 0,
        api: Api {
            level: 0,
            total: 0,
            errors: 0,
        },
        server_id: broker.server_id,
        now: utc(moment.now_ns()),
        disabled: true,
        config: BTreeMap::from([("max_memory", 0), ("max_storage", 0)]),
        streams: 0,
        consumers: 0,
        messages: 0,
        bytes: 0,
        total: 0,
    })
}

/// Threads that `/stacksz` lists.
const THREADS_MAX: usize = 1024;

/// `/stacksz`: the threads of the process and what the system says they do; there are no stacks to show.
pub(crate) fn stacksz() -> Reply {
    let mut text = String::new();
    for thread in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .take(THREADS_MAX)
    {
        let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let (name, stat) = (read("comm"), read("stat"));
        // The name may contain anything; what follows its parenthesis begins with the state.
        let state = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest.split(' ').next().unwrap_or(""));
        let id = thread.file_name();
        let _ = writeln!(text, "thread {} [{state}] {}", id.to_string_lossy(), name.trim());
    }
    Reply::text(text)
}
