//! `seaway man-pages`: a manual page for every command, of the same descriptions as its help.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::CommandFactory as _;
use clap_mangen::Man;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::readable::counted;

/// Where to.
#[derive(clap::Args)]
pub(crate) struct ManPagesArguments {
    /// The directory that gets the pages, as `man1` below one of MANPATH
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &ManPagesArguments, commands: clap::Command, output: &mut Output) -> Outcome {
    let directory = &arguments.directory;
    let pages = write(commands, directory).map_err(|error| {
        Failure::failed(format!(
            "cannot write manual pages into {}: {error}",
            directory.display()
        ))
    })?;
    let sentence = format!("{} in {}.", counted(pages, "manual page"), directory.display());
    let document = json!({"directory": directory.to_string_lossy(), "pages": pages});
    output.done(&sentence, &document)
}

/// Writes the pages, those of commands below a command included, and counts them.
pub(crate) fn write(commands: clap::Command, directory: &Path) -> io::Result<u64> {
    let mut command = commands.disable_help_subcommand(true);
    command.build();
    fs::create_dir_all(directory)?;
    let pages = write_with_subcommands(command, directory)?;
    // The load generator has a command line of its own, of which the other one knows a line: its page takes that one's place.
    write_with_subcommands(seaway_bench::Arguments::command().name("seaway-bench"), directory)?;
    Ok(pages)
}

fn write_with_subcommands(command: clap::Command, directory: &Path) -> io::Result<u64> {
    let mut pages = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages += write_with_subcommands(below.clone(), directory)?;
    }
    let source = format!("seaway {}", env!("CARGO_PKG_VERSION"));
    Man::new(command)
        .source(source)
        .manual("Seaway")
        .generate_to(directory)?;
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_make_their_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("man/man1");
        write(clap::Command::new("seaway"), &directory).expect("written");
        assert!(directory.join("seaway.1").is_file() && directory.join("seaway-bench.1").is_file());
    }
}
