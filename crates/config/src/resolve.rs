//! Puts together what files, environment variables and flags say (specification §7.5): defaults, then files, then the
//! environment, then flags.

use std::path::PathBuf;

use crate::blocks::holds_nothing;
use crate::draft::Draft;
use crate::file::{Reading, Scope};
use crate::go;
use crate::lex::{self, CommandLine};
use crate::limits::PROBLEMS_LISTED_MAX;
use crate::nearest::nearest;
use crate::options::{Options, Personality};
use crate::surroundings::Surroundings;
use crate::table::{self, Effect, Entry, VARIABLE_PREFIX};
use crate::value::{Kind, Value};

/// Where a value comes from; later ones win.
#[derive(Debug, Clone)]
enum Origin {
    /// A key, with its place in front.
    File { place: String, key: String },
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag,
}

/// A value for an option and where it comes from.
/// Why options of a connection to others have no effect.
const IN_PROCESS: &str = "the engine reaches the broker inside the process; -ns names NATS servers of somebody else";

#[derive(Debug, Clone)]
struct Given {
    value: Value,
    origin: Origin,
    /// Values are applied in rising order.
    rank: usize,
}

impl Given {
    /// Where it stands, for the middle of a sentence; nothing when that is no file.
    fn place(&self) -> String {
        match &self.origin {
            Origin::File { place, .. } => format!(" ({place})"),
            Origin::Variable(_) | Origin::Flag => String::new(),
        }
    }

    /// What a problem or notice begins with, and what the option is called there.
    fn subject(&self, entry: &Entry) -> (String, String) {
        match &self.origin {
            Origin::Flag => (String::new(), format!("flag -{}", entry.long_name())),
            Origin::Variable(name) => (format!("{name}: "), format!("variable {name}")),
            Origin::File { place, key } => (format!("{place}: "), format!("key {key}")),
        }
    }
}

/// The options, or why the server cannot start with what was given.
pub(crate) fn resolve(
    personality: Personality,
    line: &CommandLine,
    surroundings: &dyn Surroundings,
) -> Result<Options, Vec<String>> {
    let (options, problems) = resolve_as_far(personality, line, surroundings);
    if problems.is_empty() {
        Ok(options)
    } else {
        Err(problems)
    }
}

/// The options as far as they make sense, and why the server cannot start with what was given, if it cannot.
pub(crate) fn resolve_as_far(
    personality: Personality,
    line: &CommandLine,
    surroundings: &dyn Surroundings,
) -> (Options, Vec<String>) {
    let (draft, mut problems) = drafted(personality, line, surroundings);
    // What several options decide together makes sense only when each of them does.
    let is_sound = problems.is_empty();
    let mut together = Vec::new();
    let options = draft.finish(surroundings, &mut together);
    if is_sound {
        problems = together;
    }
    let more = problems.len().saturating_sub(PROBLEMS_LISTED_MAX);
    problems.truncate(PROBLEMS_LISTED_MAX);
    if more > 0 {
        problems.push(format!("and {more} more problems"));
    }
    (options, problems)
}

/// Every option for itself, and what is wrong with those that are given.
pub(crate) fn drafted(
    personality: Personality,
    line: &CommandLine,
    surroundings: &dyn Surroundings,
) -> (Draft, Vec<String>) {
    let mut draft = Draft::new(Options::blank(personality));
    let mut problems = Vec::new();
    let given = gather(line, surroundings, &mut draft, &mut problems);
    let mut in_order: Vec<_> = table::all().zip(&given).collect();
    for (entry, given) in &in_order {
        if let (Effect::Sets(set), None) = (entry.effect, given)
            && entry.kind != Kind::Block
        {
            let default = effective(personality, entry, None).and_then(|value| set(&mut draft, &value));
            problems.extend(default.err());
        }
    }
    in_order.sort_by_key(|(_, given)| given.as_ref().map(|given| given.rank));
    let servers = table::find("ns").and_then(|(place, _)| given[place].as_ref());
    let is_external = servers.is_some_and(|given| given.value.present().is_some());
    for (entry, given) in &in_order {
        if let (Effect::Toward(_), Some(given), false) = (entry.effect, given, is_external) {
            draft.notices.push(without_effect(entry, given, IN_PROCESS));
            continue;
        }
        if let Some(given) = given {
            problems.extend(apply(personality, &mut draft, entry, given).err());
        }
    }
    for (entry, given) in table::all().zip(&given) {
        let (Some(given), true) = (given, draft.streaming.store == crate::StoreKind::File) else {
            continue;
        };
        if let Effect::Tuning(_, check) = entry.effect
            && let Ok(value) = effective(personality, entry, Some(&given.value))
        {
            let prefix = given.subject(entry).0;
            problems.extend(check(&value).err().map(|text| format!("{prefix}{text}")));
        }
    }
    for (entry, given) in table::all().zip(&given) {
        if let (Effect::Overrides(set), Some(given)) = (entry.effect, given) {
            problems.extend(set(&mut draft, &given.value).err());
        }
    }
    (draft, problems)
}

/// The value that counts for every option that is given one, by its place in the table.
fn gather(
    line: &CommandLine,
    surroundings: &dyn Surroundings,
    draft: &mut Draft,
    problems: &mut Vec<String>,
) -> Vec<Option<Given>> {
    let variables = variables(surroundings, draft, problems);
    let path = |flag: &str| {
        let (place, _) = table::find(flag)?;
        let value = line.values[place]
            .as_ref()
            .or(variables[place].as_ref().map(|(_, value)| value))?;
        value.present().map(PathBuf::from)
    };
    let mut reading = Reading::default();
    match (path("sc"), path("c")) {
        (Some(streaming), Some(broker)) => {
            reading.read(&streaming, Scope::Streaming, surroundings);
            reading.read(&broker, Scope::Broker, surroundings);
        }
        (Some(only), None) | (None, Some(only)) => reading.read(&only, Scope::Both, surroundings),
        (None, None) => {}
    }
    problems.append(&mut reading.problems);
    draft.notices.append(&mut reading.warnings);
    let mut given: Vec<Option<Given>> = vec![None; table::len()];
    let mut rank = 0;
    let mut give = |place: usize, value: Value, origin: Origin| {
        rank += 1;
        given[place] = Some(Given { value, origin, rank });
    };
    for value in reading.values {
        let origin = Origin::File {
            place: value.origin,
            key: value.key,
        };
        give(value.place, value.value, origin);
    }
    for (place, variable) in variables.into_iter().enumerate() {
        if let Some((name, value)) = variable {
            give(place, value, Origin::Variable(name));
        }
    }
    for (place, value) in line.values.iter().enumerate() {
        if let Some(value) = value {
            give(place, value.clone(), Origin::Flag);
        }
    }
    given
}

/// What environment variables say, by the place of the option in the table. An empty variable says nothing.
fn variables(
    surroundings: &dyn Surroundings,
    draft: &mut Draft,
    problems: &mut Vec<String>,
) -> Vec<Option<(String, Value)>> {
    let mut known = Vec::new();
    let mut values = Vec::with_capacity(table::len());
    for entry in table::all() {
        let name = entry.variable();
        let text = name.as_deref().and_then(|name| surroundings.variable(name));
        let value = match (&name, text.filter(|text| !text.is_empty())) {
            (Some(name), Some(text)) if entry.kind == Kind::Int && text.starts_with("tcp://") => {
                // Kubernetes sets such variables in every container near a service called "seaway".
                draft
                    .notices
                    .push(format!("Variable {name} has no effect: {text} is no number"));
                None
            }
            (Some(name), Some(text)) => match lex::read(entry.kind, &text) {
                Ok(value) => Some((name.clone(), value)),
                Err(error) => {
                    let kind = entry.kind.name();
                    problems.push(format!("{name}: invalid value {text:?} for a {kind}: {}", error.text()));
                    None
                }
            },
            _ => None,
        };
        values.push(value);
        known.extend(name);
    }
    for name in surroundings.variable_names() {
        let is_of_kubernetes = || {
            let value = surroundings.variable(&name).unwrap_or_default();
            name.contains("_SERVICE_") || name.contains("_PORT_") || value.starts_with("tcp://")
        };
        let is_ours = name.starts_with(VARIABLE_PREFIX) && !table::is_of_commands(&name);
        if is_ours && !known.contains(&name) && !is_of_kubernetes() {
            let near = nearest(&name, known.iter().map(String::as_str));
            let hint = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            draft
                .notices
                .push(format!("Variable {name} has no effect: there is no such option{hint}"));
        }
    }
    values
}

/// Puts one value into the options.
fn apply(personality: Personality, draft: &mut Draft, entry: &Entry, given: &Given) -> Result<(), String> {
    let (prefix, name) = given.subject(entry);
    if entry.is_secret && matches!(&given.value, Value::Text(text) if text.is_empty()) {
        return Err(format!("{prefix}{name} {}", crate::blocks::EMPTY_SECRET));
    }
    if entry.is_positive && is_non_positive(&given.value) {
        let (value, default) = (lex::show(&given.value), entry.default(personality));
        let place = given.place();
        let notice = format!("{}{place} of {value} means the default, {default}", capitalised(&name));
        draft.notices.push(notice);
    }
    if entry.kind == Kind::Text
        && matches!(&given.value, Value::Text(text) if text.is_empty())
        && !entry.default(personality).is_empty()
    {
        let (place, default) = (given.place(), entry.default(personality));
        let notice = format!(
            "{}{place} is empty, which means the default, {default}",
            capitalised(&name)
        );
        draft.notices.push(notice);
    }
    let value = effective(personality, entry, Some(&given.value)).map_err(|text| format!("{prefix}{text}"))?;
    match entry.effect {
        // Blocks name the place of each problem themselves.
        Effect::Sets(set) if entry.kind == Kind::Block => set(draft, &value),
        Effect::Sets(set) | Effect::Toward(set) => set(draft, &value).map_err(|text| format!("{prefix}{text}")),
        Effect::Nothing(reason) | Effect::Tuning(reason, _) => {
            draft.notices.push(without_effect(entry, given, reason));
            Ok(())
        }
        Effect::NotBuilt(what) if matches!(&value, Value::Block(node) if holds_nothing(&node.data)) => {
            let subject = capitalised(&name);
            let notice = format!(
                "{subject}{} has no effect: it is empty, and this build does not have {what} yet",
                given.place()
            );
            draft.notices.push(notice);
            Ok(())
        }
        Effect::NotBuilt(what) if !says_the_default(personality, entry, &value) => {
            Err(format!("{prefix}{name}: this build does not have {what} yet"))
        }
        Effect::NotBuilt(_) | Effect::Overrides(_) | Effect::Prints(_) => Ok(()),
    }
}

/// Says why an option that is given has no effect.
fn without_effect(entry: &Entry, given: &Given, reason: &str) -> String {
    let (_, name) = given.subject(entry);
    format!("{}{} has no effect: {reason}", capitalised(&name), given.place())
}

fn capitalised(text: &str) -> String {
    let mut text = text.to_owned();
    text[..1].make_ascii_uppercase();
    text
}

fn is_non_positive(value: &Value) -> bool {
    matches!(value, Value::Int(number) | Value::Nanos(number) if *number <= 0)
}

/// Whether a value asks for nothing beyond what is there anyway.
fn says_the_default(personality: Personality, entry: &Entry, value: &Value) -> bool {
    match value {
        Value::Block(node) => crate::blocks::is_turned_off(&node.data),
        value => effective(personality, entry, None).is_ok_and(|default| default == *value),
    }
}

/// The value that counts for an option: the given one or the default. An empty text means the default, and zero and below
/// where nothing but what is above makes sense.
fn effective(personality: Personality, entry: &Entry, given: Option<&Value>) -> Result<Value, String> {
    let default = entry.default(personality);
    let value = match given {
        // Data would go where nobody expects it.
        Some(Value::Text(text)) if text.is_empty() && entry.long_name() == "dir" && !default.is_empty() => {
            return Err(format!("-dir names no directory; without it the store is in {default}"));
        }
        Some(Value::Text(text)) if text.is_empty() && entry.kind == Kind::Text => Value::Text(default.to_owned()),
        Some(value) if entry.is_positive && is_non_positive(value) => {
            lex::read(entry.kind, default).map_err(|error| error.text().to_owned())?
        }
        Some(value) => value.clone(),
        None => lex::read(entry.kind, default).map_err(|error| error.text().to_owned())?,
    };
    match (entry.kind, value) {
        (Kind::Size, Value::Text(text)) => go::parse_size(&text)
            .map(Value::Int)
            .ok_or_else(|| format!("{} should be a size, got '{text}'", entry.long_name())),
        (_, value) => Ok(value),
    }
}
