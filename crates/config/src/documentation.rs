//! The table of options as documentation.

use std::fmt::Write as _;

use crate::options::Personality;
use crate::table::{self, Effect, Entry, Group};
use crate::usage::flags;

/// What stands before the tables.
const INTRODUCTION: &str = include_str!("documentation/introduction.md");
/// What stands behind them.
const BLOCKS: &str = include_str!("documentation/blocks.md");

/// The documentation of all options, as `docs/configuration.md` holds it.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for group in Group::ALL {
        let _ = write!(
            text,
            "\n## {}\n\n| Flags | Keys in files | Variable | Type | Default | Meaning |\n\
             | --- | --- | --- | --- | --- | --- |\n",
            group.title()
        );
        for entry in table::all().filter(|entry| entry.group == group) {
            push_row(&mut text, entry);
        }
    }
    text.push('\n');
    text.push_str(BLOCKS);
    text
}

fn push_row(text: &mut String, entry: &Entry) {
    let note = match entry.effect {
        Effect::Nothing(reason) | Effect::Tuning(reason, _) => format!(" *Without effect: {reason}.*"),
        Effect::NotBuilt(_) => " *Not in this build yet.*".to_owned(),
        Effect::Sets(_) if entry.long_name() == "clustered" && !table::IS_CLUSTERING_BUILT => {
            " *Not in this build yet.*".to_owned()
        }
        Effect::Sets(_) | Effect::Toward(_) | Effect::Overrides(_) | Effect::Prints(_) => String::new(),
    };
    let keys: Vec<String> = entry
        .keys
        .iter()
        .enumerate()
        .map(|(index, key)| match index {
            0 => format!("{}{key}", entry.section.prefix()),
            _ => (*key).to_owned(),
        })
        .collect();
    let variable = entry.variable().unwrap_or_default();
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {}.{note} |",
        code(&flags(entry)),
        code(&keys),
        code(&[variable]),
        entry.kind.name(),
        defaults(entry),
        entry.help,
    );
}

/// The default, or both where the binaries differ.
fn defaults(entry: &Entry) -> String {
    let [original, seaway] = [Personality::NatsStreamingServer, Personality::Seaway]
        .map(|personality| code(&[entry.default(personality).to_owned()]));
    match original == seaway {
        true => original,
        false if original.is_empty() => format!("`seaway`: {seaway}"),
        false => format!("{original}; `seaway`: {seaway}"),
    }
}

fn code(texts: &[String]) -> String {
    let texts: Vec<_> = texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| format!("`{text}`"))
        .collect();
    texts.join(", ")
}
