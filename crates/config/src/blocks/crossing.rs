//! `exports` and `imports` of accounts (core specification §2.7, §3.6): what they say by themselves, and whether they fit together.

use std::time::Duration;

use seaway_nats_protocol::{SubjectMapping, subject};

use super::fields::{Block, at, duration, wrong_type};
use crate::conf::{Data, Node, Position};
use crate::options::{Import, ImportKind};

const STREAM: &[&str] = &["stream"];
const SERVICE: &[&str] = &["service"];
const ACCOUNTS: &[&str] = &["accounts"];
const ACCOUNT: &[&str] = &["account"];
const SUBJECT: &[&str] = &["subject"];
const RESPONSE: &[&str] = &["response", "response_type"];
const THRESHOLD: &[&str] = &["threshold", "response_threshold", "response_max_time", "response_time"];
const LATENCY: &[&str] = &["latency"];
const TOKEN_POSITION: &[&str] = &["account_token_position"];
const TRACE: &[&str] = &["allow_trace"];
const PREFIX: &[&str] = &["prefix"];
const TO: &[&str] = &["to"];
const SHARE: &[&str] = &["share"];

/// Time for which answers are waited for when nothing else is said (§2.7).
const THRESHOLD_DEFAULT: Duration = Duration::from_secs(120);

/// What an account lets others have.
pub(super) struct Export {
    subject: String,
    is_service: bool,
    /// `None` is everybody.
    accounts: Option<Vec<String>>,
    is_single: bool,
    threshold: Duration,
}

/// What an account wants of another one.
pub(super) struct Wanted {
    position: Position,
    is_service: bool,
    account: String,
    /// There and here.
    subject: String,
    to: String,
}

/// Exports and imports of one account.
pub(super) struct Border {
    pub(super) account: String,
    pub(super) exports: Vec<Export>,
    pub(super) imports: Vec<Wanted>,
}

/// Reads one export.
pub(super) fn export(node: &Node) -> Result<Export, String> {
    let known = [
        STREAM,
        SERVICE,
        ACCOUNTS,
        RESPONSE,
        THRESHOLD,
        LATENCY,
        TOKEN_POSITION,
        TRACE,
    ]
    .concat();
    let block = Block::of(node, "exports", &known)?;
    block.refuse(LATENCY, "measuring of services")?;
    block.refuse(TOKEN_POSITION, "accounts as tokens of subjects")?;
    let (subject, is_service) = match (block.text(STREAM)?, block.text(SERVICE)?) {
        (Some(subject), None) => (subject, false),
        (None, Some(subject)) => (subject, true),
        _ => {
            return Err(at(
                &node.position,
                "an export is a stream or a service: give one of the two",
            ));
        }
    };
    if !subject::is_pattern(subject.as_bytes()) {
        return Err(at(
            &node.position,
            format!("subject {subject:?} is not a valid subject"),
        ));
    }
    let accounts = match block.find(ACCOUNTS) {
        None => None,
        Some(_) => Some(
            block
                .texts(ACCOUNTS)?
                .into_iter()
                .map(|(_, name)| name.to_owned())
                .collect(),
        ),
    };
    let response = block.text(RESPONSE)?.unwrap_or("single");
    let is_single = match response.to_lowercase().as_str() {
        "single" | "singleton" => true,
        "stream" | "chunk" | "chunked" => false,
        _ => {
            let text = format!("response type {response:?} is none of single, stream and chunk");
            return Err(at(&node.position, text));
        }
    };
    let mut threshold = THRESHOLD_DEFAULT;
    if let Some(pair) = block.find(THRESHOLD) {
        let Data::Text(text) = &pair.node.data else {
            return Err(at(
                &pair.node.position,
                wrong_type(&pair.key, "string", &pair.node.data),
            ));
        };
        let nanos = duration(text).map_err(|text| at(&pair.node.position, text))?;
        let given = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0);
        let given = given.ok_or_else(|| at(&pair.node.position, format!("{} is not above zero", pair.key)))?;
        threshold = Duration::from_nanos(given);
    }
    Ok(Export {
        subject: subject.to_owned(),
        is_service,
        accounts,
        is_single,
        threshold,
    })
}

/// Reads one import.
pub(super) fn import(node: &Node) -> Result<Wanted, String> {
    let block = Block::of(node, "imports", &[STREAM, SERVICE, PREFIX, TO, SHARE, TRACE].concat())?;
    block.refuse(SHARE, "services that are told who asks")?;
    let (source, is_service) = match (block.find(STREAM), block.find(SERVICE)) {
        (Some(pair), None) => (&pair.node, false),
        (None, Some(pair)) => (&pair.node, true),
        _ => {
            return Err(at(
                &node.position,
                "an import is a stream or a service: give one of the two",
            ));
        }
    };
    let named = Block::of(source, "imports", &[ACCOUNT, SUBJECT].concat())?;
    let (Some(account), Some(subject)) = (named.text(ACCOUNT)?, named.text(SUBJECT)?) else {
        return Err(at(&source.position, "an import names an account and a subject"));
    };
    let to = match (block.text(PREFIX)?, block.text(TO)?) {
        (Some(_), Some(_)) => {
            return Err(at(
                &node.position,
                "an import has a prefix or is imported to a subject: not both",
            ));
        }
        (Some(_), None) if is_service => {
            return Err(at(&node.position, "a service has no prefix: say to which subject"));
        }
        (Some(prefix), None) => format!("{}.{subject}", prefix.trim_end_matches('.')),
        (None, Some(to)) => to.to_owned(),
        (None, None) => subject.to_owned(),
    };
    Ok(Wanted {
        position: node.position.clone(),
        is_service,
        account: account.to_owned(),
        subject: subject.to_owned(),
        to,
    })
}

/// What each account imports, in their order, once every import is allowed and none leads back to where it came from.
pub(super) fn fit(borders: &[Border]) -> Result<Vec<Vec<Import>>, String> {
    let of_account = |border: &Border| {
        let allowed = border.imports.iter().map(|wanted| allow(borders, border, wanted));
        allowed.collect::<Result<Vec<_>, _>>()
    };
    let imports = borders.iter().map(of_account).collect::<Result<_, _>>()?;
    find_circle(borders)?;
    Ok(imports)
}

fn allow(borders: &[Border], importer: &Border, wanted: &Wanted) -> Result<Import, String> {
    let kind = if wanted.is_service { "service" } else { "stream" };
    let refuse = |text: String| {
        Err(at(
            &wanted.position,
            format!("Error adding {kind} import {:?}: {text}", wanted.subject),
        ))
    };
    if wanted.account == importer.account {
        return refuse(format!("it comes from account {:?} itself", wanted.account));
    }
    let Some(exporter) = borders.iter().find(|border| border.account == wanted.account) else {
        return refuse(format!(
            "there is no account {:?} in the accounts block",
            wanted.account
        ));
    };
    let allows = |export: &&Export| {
        export.is_service == wanted.is_service
            && subject::is_subset(wanted.subject.as_bytes(), export.subject.as_bytes())
            && (export.accounts.as_ref()).is_none_or(|accounts| accounts.contains(&importer.account))
    };
    let Some(export) = exporter.exports.iter().find(allows) else {
        return refuse(format!(
            "{kind} import not authorized: account {:?} does not export it to {:?}",
            wanted.account, importer.account
        ));
    };
    let mapping = match SubjectMapping::new(&wanted.subject, &wanted.to) {
        Ok(mapping) => mapping,
        Err(error) => return refuse(error.to_string()),
    };
    Ok(Import {
        account: wanted.account.clone(),
        mapping,
        kind: match wanted.is_service {
            false => ImportKind::Stream,
            true => ImportKind::Service {
                is_single: export.is_single,
                threshold: export.threshold,
            },
        },
    })
}

/// Refuses imports that lead back to where they came from.
fn find_circle(borders: &[Border]) -> Result<(), String> {
    let all: Vec<(&str, &Wanted)> = { borders.iter() }
        .flat_map(|border| border.imports.iter().map(|wanted| (border.account.as_str(), wanted)))
        .collect();
    // From an import to those of its exporter that bring what is imported.
    let follows = |wanted: &Wanted, (importer, next): (&str, &Wanted)| {
        next.is_service == wanted.is_service
            && wanted.account == importer
            && subject::overlaps(shape(&wanted.subject).as_bytes(), shape(&next.to).as_bytes())
    };
    for (_, start) in &all {
        let mut reached = vec![false; all.len()];
        let mut open = vec![*start];
        while let Some(wanted) = open.pop() {
            for (index, next) in all.iter().enumerate() {
                if reached[index] || !follows(wanted, *next) {
                    continue;
                }
                if std::ptr::eq(next.1, *start) {
                    let text = format!(
                        "import of {:?} from account {:?}: import forms a cycle",
                        start.subject, start.account
                    );
                    return Err(at(&start.position, text));
                }
                reached[index] = true;
                open.push(next.1);
            }
        }
    }
    Ok(())
}

/// A pattern with `*` for whatever stands for a token.
fn shape(text: &str) -> String {
    let tokens: Vec<&str> = { text.split('.') }
        .map(|token| {
            if token.starts_with('$') || token.starts_with("{{") {
                "*"
            } else {
                token
            }
        })
        .collect();
    tokens.join(".")
}
