//! The table of options as usage text.

use std::fmt::Write as _;

use crate::options::Personality;
use crate::table::{self, Effect, Entry, Group};
use crate::value::Kind;

/// What `-help_tls` prints.
pub(crate) const TLS_HELP: &str = "\
TLS for clients:
    -tls                Require TLS; needs -tlscert and -tlskey
    -tlscert <file>     Certificate of the server, PEM
    -tlskey <file>      Its key, PEM
    -tlsverify          Require client certificates
    -tlscacert <file>   Authorities that verify clients, PEM

Any of these flags turns TLS on and replaces the tls block of the configuration file; -tls=false puts them aside.
The tls block has more: verify_and_map, pinned_certs, timeout, handshake_first, min_version, cipher_suites,
curve_preferences. The engine reaches the broker inside the process: -secure and -tls_client_* have no effect.
";

/// Column in which the descriptions of the usage text begin.
const HELP_COLUMN: usize = 44;

/// The usage text of a binary.
pub fn usage(personality: Personality) -> String {
    usage_with_commands(personality, "")
}

/// The usage text of a binary with a list of its commands, indented, one a line.
pub fn usage_with_commands(personality: Personality, commands: &str) -> String {
    let mut text = match personality {
        Personality::Seaway => String::from(
            "Seaway is a durable streaming server that speaks NATS.\n\n\
             Usage: seaway [serve] [flags]            run the server\n       \
             seaway COMMAND [arguments]        'seaway help COMMAND' describes it\n       \
             seaway version | help\n",
        ),
        Personality::NatsStreamingServer => String::from("Usage: nats-streaming-server [flags]\n"),
    };
    if !commands.is_empty() {
        text.push_str("\nCommands:\n");
        text.push_str(commands);
    }
    for group in Group::ALL {
        let mut entries = table::all()
            .filter(|entry| entry.group == group && !entry.flags.is_empty())
            .peekable();
        if entries.peek().is_some() {
            text.push('\n');
            text.push_str(group.title());
            text.push_str(":\n");
        }
        for entry in entries {
            push_usage(&mut text, personality, entry);
        }
    }
    text.push_str(
        "\nFlags may have one or two dashes and their value behind a blank or '='; booleans take one only behind '='.\n\
         Every option can be set by an environment variable too: SEAWAY_ and the longest flag in capitals, such as\n\
         SEAWAY_MAX_BYTES. Flags win over variables, variables over files. More options are in files only:\n\
         docs/configuration.md has all.\n",
    );
    text
}

fn push_usage(text: &mut String, personality: Personality, entry: &Entry) {
    let mut head = format!("    {}", flags(entry).join(", "));
    if entry.kind != Kind::Bool {
        head.push_str(" <");
        head.push_str(entry.kind.name());
        head.push('>');
    }
    if head.len() >= HELP_COLUMN {
        text.push_str(&head);
        text.push('\n');
        head.clear();
    }
    // Writing to a string does not fail.
    let _ = write!(text, "{head:HELP_COLUMN$}{}", entry.help);
    match (entry.effect, entry.default(personality)) {
        (Effect::NotBuilt(_), _) => text.push_str(" (not in this build yet)"),
        (Effect::Nothing(_) | Effect::Tuning(..), _) => text.push_str(" (no effect)"),
        (_, "" | "false") => {}
        (_, default) => drop(write!(text, " (default {default})")),
    }
    text.push('\n');
}

/// The flags of an option, with their dash.
pub(crate) fn flags(entry: &Entry) -> Vec<String> {
    entry.flags.iter().map(|flag| format!("-{flag}")).collect()
}
