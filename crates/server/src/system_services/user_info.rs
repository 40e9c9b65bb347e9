//! What a client is told about itself (`$SYS.REQ.USER.INFO`).

use seaway_broker::{Permissions, Requester, SubjectRules};
use serde::Serialize;

#[derive(Serialize)]
struct UserInfo<'a> {
    user: &'a str,
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Rules::is_empty")]
    publish: Rules,
    #[serde(skip_serializing_if = "Rules::is_empty")]
    subscribe: Rules,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<Responses>,
}

#[derive(Serialize)]
struct Rules {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

/// Below zero is no bound.
#[derive(Serialize)]
struct Responses {
    max: i64,
    ttl: i64,
}

impl Rules {
    fn new(rules: &SubjectRules) -> Self {
        Self {
            allow: rules.allow.clone(),
            deny: rules.deny.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl Shown {
    fn new(permissions: &Permissions) -> Self {
        let responses = permissions.responses.map(|rights| Responses {
            max: rights
                .max_messages
                .map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX)),
            ttl: rights
                .expires
                .map_or(-1, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
        });
        Self {
            publish: Rules::new(&permissions.publish),
            subscribe: Rules::new(&permissions.subscribe),
            responses,
        }
    }
}

/// The answer's data.
pub(super) fn describe(requester: &Requester) -> String {
    let info = UserInfo {
        user: requester.user().unwrap_or_default(),
        account: requester.account(),
        permissions: requester.permissions().map(Shown::new),
    };
    serde_json::to_string(&info).unwrap_or_default()
}
