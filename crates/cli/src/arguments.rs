//! The command line: every command with its flags. Help, completions and errors come from it.

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::adopt::AdoptArguments;
use crate::archive::ArchiveCommand;
use crate::audit::AuditArguments;
use crate::backup::BackupArguments;
use crate::change::{ClientCommand, DurableCommand};
use crate::connection_flags::ConnectionArguments;
use crate::context::ContextCommand;
use crate::export::ExportArguments;
use crate::import::ImportArguments;
use crate::install::InstallArguments;
use crate::look::{
    ChannelCommand, ChannelsArguments, ClientsArguments, DurablesArguments, ServerCommand, WhyArguments,
};
use crate::man_pages::ManPagesArguments;
use crate::pause::SubscriptionCommand;
use crate::peek::PeekArguments;
use crate::publish::PublishArguments;
use crate::repair::RepairArguments;
use crate::restore::RestoreArguments;
use crate::subscribe::SubscribeArguments;
use crate::verify::VerifyArguments;

#[derive(Parser)]
#[command(
    name = "seaway",
    about = "Seaway is a durable streaming server that speaks NATS.",
    disable_version_flag = true,
    max_term_width = 100,
    after_help = "Without a command, `seaway [flags]` runs the server: `seaway --help` lists its flags."
)]
pub(crate) struct CommandLine {
    /// Print JSON: one document, or one object per line for lists and messages
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order in which a newcomer meets them. A new one is a line here and a line in `crate::perform`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Publish messages to a channel
    Pub(PublishArguments),
    /// Subscribe to a channel and print its messages
    Sub(SubscribeArguments),
    /// Look at messages without subscribing
    Peek(PeekArguments),
    /// List channels
    Channels(ChannelsArguments),
    /// One channel: look at it, purge it, delete it
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// List durable subscriptions and queue groups
    Durables(DurablesArguments),
    /// One durable or queue group: move it, remove it
    #[command(subcommand)]
    Durable(DurableCommand),
    /// One subscription, durable or queue group: pause it, resume it
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// List clients, or show one with its subscriptions
    Clients(ClientsArguments),
    /// One client: disconnect it
    #[command(subcommand)]
    Client(ClientCommand),
    /// Say why subscriptions of a channel do, or do not, receive messages
    Why(WhyArguments),
    /// Who changed what, and when: the newest 1,000 changes by operators
    Audit(AuditArguments),
    /// The server: look at it, reload its configuration, set its log level, hand over
    #[command(subcommand)]
    Server(ServerCommand),
    /// Named servers with their credentials
    #[command(subcommand)]
    Context(ContextCommand),
    /// Make `nats-streaming-server`, with that server's flags and defaults, of this program
    InstallAsNatsStreamingServer(InstallArguments),
    /// Take over a data directory of NATS Streaming, look at it first, or give it back
    ///
    /// Stop the server first. What is taken over stays in a folder of the directory: nothing is deleted.
    Adopt(AdoptArguments),
    /// Write messages as lines of JSON, or make a data directory of NATS Streaming
    ///
    /// Lines are of a running server, which serves others meanwhile, or of the store of a stopped one (--dir). The directory is made of
    /// such a store, with clients, subscriptions and positions; what NATS Streaming cannot hold is said before and after.
    Export(ExportArguments),
    /// Publish messages that `seaway export` has written, or make a store of them
    ///
    /// A server gives them new sequences and times; a store that is made (--dir) has the old ones.
    Import(ImportArguments),
    /// Back up a running server, or the store of a stopped one
    ///
    /// A consistent image: every channel, client, durable and pending message as of one moment. Into a directory only what is new is copied;
    /// what is encrypted stays so, and no key is needed.
    Backup(BackupArguments),
    /// Make a store of a backup again, or of an archive as it was at any moment
    ///
    /// Everything is checked before it counts, nothing is overwritten, and what is restored ends where the backup ends, or at the moment.
    Restore(RestoreArguments),
    /// The archive of a server (its -archive): which moments it reaches, and removing what is too old
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Read a store, backups or an archive from end to end, say what is damaged, and change nothing
    ///
    /// Of a store that no server uses, a copy of one, a directory of backups, a file .tar.zst, or an archive: checksums of everything, which messages
    /// are in what is damaged, and whether a server would start on it.
    Verify(VerifyArguments),
    /// Mend what is damaged in the store of a stopped server
    ///
    /// Says what it would do, and does it with --apply: directory files are made again from their segments, and what is damaged in a segment
    /// is taken from a backup that has it.
    Repair(RepairArguments),
    /// Print a completion script for a shell
    ///
    /// Bash: `source <(seaway completions bash)`. Zsh: put the output into a file `_seaway` in a directory of $fpath. Fish: put it
    /// into `~/.config/fish/completions/seaway.fish`.
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command into a directory
    ManPages(ManPagesArguments),
}

/// The load generator, which has a command line of its own: it measures other servers too and knows no contexts.
pub(crate) const BENCH: &str = "bench";

/// The command line with the words that the server's own parser takes, so that help, completions and hints know them.
pub(crate) fn command_line() -> clap::Command {
    let file = clap::Arg::new("FILE")
        .required(true)
        .value_hint(clap::ValueHint::FilePath);
    CommandLine::command().subcommands([
        clap::Command::new("serve")
            .about("Run the server; so does `seaway` alone")
            .after_help("`seaway --help` lists its flags."),
        clap::Command::new("check-config")
            .about("Check a configuration file")
            .arg(file),
        clap::Command::new("version").about("Print the version"),
        clap::Command::new(BENCH).about("Load a server and say what it made of it; `seaway bench --help`"),
    ])
}

/// Offers the nearest command where a word is none, and clap sees no likeness: it takes two swapped letters for two others.
pub(crate) fn with_nearest(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.get(ContextKind::SuggestedSubcommand).is_none()
        && let Some(name) = nearest(word, &command_line())
    {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![name]));
    }
    error
}

/// The command that is at most two edits away, a swap being one, and shares more than half of its letters.
fn nearest(word: &str, commands: &clap::Command) -> Option<String> {
    let distance = |name: &str| strsim::osa_distance(&word.to_lowercase(), name);
    let names = commands.get_subcommands().map(clap::Command::get_name);
    let near = names
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= 2 && 2 * distance < name.len());
    near.min().map(|(_, name)| name.to_owned())
}

/// The commands with one line about each, for the usage text of the binary.
pub(crate) fn overview() -> String {
    let commands = command_line();
    let visible = || commands.get_subcommands().filter(|command| !command.is_hide_set());
    let width = visible().map(|command| command.get_name().len()).max().unwrap_or(0);
    visible()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            format!("    {:width$}    {about}\n", command.get_name())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    /// Every command below this one, with the words that lead to it.
    fn commands(of: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        for command in of.get_subcommands().filter(|command| command.get_name() != "help") {
            let path = format!("{path} {}", command.get_name());
            found.extend(commands(command, &path));
            if !command.has_subcommands() {
                found.push((path, command.clone()));
            }
        }
        found
    }

    #[test]
    fn the_manual_has_every_command_and_every_flag() {
        let manual = include_str!("../../../docs/command-line.md");
        let mut missing = Vec::new();
        let is_there = |word: &str| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
            manual
                .match_indices(word)
                .any(|(at, _)| ends(&manual[at + word.len()..]))
        };
        let all = commands(&command_line(), "seaway");
        assert!(all.len() > 15, "{}", all.len());
        for (path, command) in all {
            let flags = command
                .get_opts()
                .chain(command.get_arguments())
                .filter_map(|flag| flag.get_long());
            missing.extend(flags.map(|flag| format!("--{flag}")).filter(|flag| !is_there(flag)));
            missing.extend(Some(path).filter(|path| !is_there(path)));
        }
        for flag in CommandLine::command()
            .get_arguments()
            .filter_map(|flag| flag.get_long())
        {
            missing.extend(Some(format!("--{flag}")).filter(|flag| !is_there(flag)));
        }
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        let pages = crate::man_pages::write(command_line(), folder.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count() as u64, pages);
        for (name, words) in [
            ("seaway.1", "seaway\\-pub(1)"),
            ("seaway-pub.1", "max\\-in\\-flight"),
            ("seaway-channel-info.1", "seaway channel info"),
            ("seaway-bench.1", "warm\\-up"),
        ] {
            assert!(page(name).contains(words), "{words:?} in {name}:\n{}", page(name));
        }
    }

    #[test]
    fn a_swap_a_slip_and_a_gap_are_near_and_other_words_are_not() {
        let table = [
            ("pbu", Some("pub")),
            ("usb", Some("sub")),
            ("PUBS", Some("pub")),
            ("chanels", Some("channels")),
            ("wyh", Some("why")),
            ("publish", None),
            ("x", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, &command_line()).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn the_overview_has_a_line_for_every_command() {
        let overview = overview();
        for name in ["pub", "sub", "peek", "channels", "why", "context", "check-config"] {
            let is_there = |line: &str| line.split_whitespace().next() == Some(name);
            assert!(overview.lines().any(is_there), "{name} in\n{overview}");
        }
    }
}
