//! The table of options as text: usage and documentation.

use std::fmt::Write as _;

use crate::options::Personality;
use crate::table::{self, Effect, Flag, Group, Kind};

/// What `-help_tls` prints.
pub(crate) const TLS_HELP: &str = "TLS is not in this build yet: its flags are known and refused.\n";

/// Column in which the descriptions of the usage text begin.
const HELP_COLUMN: usize = 44;

/// The usage text of a binary.
pub fn usage(personality: Personality) -> String {
    let mut text = match personality {
        Personality::Seaway => String::from(
            "Seaway is a durable streaming server that speaks NATS.\n\n\
             Usage: seaway [serve] [flags]\n       seaway version | help\n",
        ),
        Personality::NatsStreamingServer => String::from("Usage: nats-streaming-server [flags]\n"),
    };
    for group in Group::ALL {
        text.push('\n');
        text.push_str(group.title());
        text.push_str(":\n");
        for flag in table::all().filter(|flag| flag.group == group) {
            push_usage(&mut text, personality, flag);
        }
    }
    text.push_str(
        "\nFlags may have one or two dashes and their value behind a blank or '='; booleans take one only behind '='.\n",
    );
    text
}

fn push_usage(text: &mut String, personality: Personality, flag: &Flag) {
    let mut head = format!("    {}", names(flag, "-"));
    if flag.kind != Kind::Bool {
        head.push_str(" <");
        head.push_str(flag.kind.name());
        head.push('>');
    }
    if head.len() >= HELP_COLUMN {
        text.push_str(&head);
        text.push('\n');
        head.clear();
    }
    // Writing to a string does not fail.
    let _ = write!(text, "{head:HELP_COLUMN$}{}", flag.help);
    match (flag.effect, flag.default(personality)) {
        (Effect::NotBuilt(_), _) => text.push_str(" (not in this build yet)"),
        (Effect::Nothing(_), _) => text.push_str(" (no effect)"),
        (_, "" | "false") => {}
        (_, default) => drop(write!(text, " (default {default})")),
    }
    text.push('\n');
}

fn names(flag: &Flag, dash: &str) -> String {
    flag.names
        .iter()
        .map(|name| format!("{dash}{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The documentation of all options, as `docs/configuration.md` holds it.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         This file is generated from the table of options in `crates/config`; a test compares the two.\n\n\
         One server, two binaries: `seaway [serve] [flags]` has today's defaults, `nats-streaming-server [flags]` those\n\
         of the server it replaces. Both know the same flags.\n\n\
         - Flags may have one or two dashes; their value follows behind a blank or `=`. Booleans take a value only\n\
         \x20 behind `=`. When a flag is repeated, the last one counts.\n\
         - A duration looks like `300ms`, `1.5h` or `1h30m`. A size is a number with an optional unit: `k` is 1000,\n\
         \x20 `kb`, `ki` and `kib` are 1024, and so on for `m`, `g`, `t`, `p` and `e`.\n\
         - A flag *without effect* is accepted and logged once. A flag that is *not in this build yet* is refused, unless\n\
         \x20 it says what is the default anyway: nothing is ignored silently.\n\
         - `seaway` exits with 2 on a flag it does not know; `nats-streaming-server` prints its usage and exits with 0, as\n\
         \x20 the original does. Options with which a server cannot start exit with 1.\n",
    );
    for group in Group::ALL {
        let _ = write!(
            text,
            "\n## {}\n\n| Flag | Type | Default of `nats-streaming-server` | Default of `seaway` | Meaning |\n\
             | --- | --- | --- | --- | --- |\n",
            group.title()
        );
        for flag in table::all().filter(|flag| flag.group == group) {
            let note = match flag.effect {
                Effect::Nothing(reason) => format!(" *Without effect: {reason}.*"),
                Effect::NotBuilt(_) => " *Not in this build yet.*".to_owned(),
                Effect::Sets(_) | Effect::Overrides(_) | Effect::Prints(_) => String::new(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {}.{note} |",
                names(flag, "-")
                    .split(", ")
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                flag.kind.name(),
                code(flag.default(Personality::NatsStreamingServer)),
                code(flag.default(Personality::Seaway)),
                flag.help,
            );
        }
    }
    text
}

fn code(default: &str) -> String {
    if default.is_empty() {
        String::new()
    } else {
        format!("`{default}`")
    }
}
