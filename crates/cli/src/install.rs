//! `seaway install-as-nats-streaming-server`: this program under the name of the server that it replaces.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};

/// The name under which the program behaves like the original.
const NAME: &str = "nats-streaming-server";

/// Where to.
#[derive(clap::Args)]
pub(crate) struct InstallArguments {
    /// The directory that gets `nats-streaming-server`, best one of those in PATH
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
    /// Copy the program instead of linking to it: the copy stays when this program is moved, or replaced by another version
    #[arg(long)]
    copy: bool,
    /// Replace another program of that name
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &InstallArguments, output: &mut Output) -> Outcome {
    let InstallArguments { directory, copy, force } = arguments;
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    let own = own.map_err(|error| Failure::failed(format!("cannot tell where this program lies: {error}")))?;
    let directory = existing(directory)?;
    let installed = directory.join(NAME);
    let shown = installed.display();
    let form = if *copy { "a copy of" } else { "a link to" };
    let what = what_is_there(&installed, &own);
    let sentence = match what {
        There::ThisProgram if !copy => format!("{shown} is {form} {} already.", own.display()),
        There::Directory => return Err(Failure::failed(format!("{shown} is a directory"))),
        There::Another(what) if !force => {
            return Err(Failure::failed(format!(
                "{shown} is {what}; --force replaces it, another directory keeps it"
            )));
        }
        There::Another(_) | There::ThisProgram | There::Nothing => {
            place(&own, &installed, *copy).map_err(|error| cannot_write(&directory, &error))?;
            format!("{shown} is {form} {}.", own.display())
        }
    };
    let document = json!({
        "installed": installed.to_string_lossy(),
        "program": own.to_string_lossy(),
        "copy": copy,
    });
    output.done(&sentence, &document)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(warning) = warning(&installed, &path) {
        note(&warning);
    }
    Ok(())
}

/// The directory without detours, if it is one.
fn existing(directory: &Path) -> Outcome<PathBuf> {
    let shown = directory.display();
    let found = std::fs::canonicalize(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::failed(format!("there is no directory {shown}; `mkdir -p {shown}` makes it"))
        }
        _ => Failure::failed(format!("{shown}: {error}")),
    })?;
    match found.is_dir() {
        true => Ok(found),
        false => Err(Failure::failed(format!("{shown} is not a directory"))),
    }
}

/// What has the name by now.
#[derive(Debug, PartialEq, Eq)]
enum There {
    /// Nothing, or a link that leads nowhere.
    Nothing,
    ThisProgram,
    Directory,
    /// In words.
    Another(String),
}

fn what_is_there(installed: &Path, own: &Path) -> There {
    match std::fs::canonicalize(installed) {
        Ok(found) if found == own => There::ThisProgram,
        Ok(found) if found.is_dir() => There::Directory,
        Ok(found) if found != installed => There::Another(format!("a link to {}", found.display())),
        Ok(_) => There::Another("another program".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => There::Nothing,
        Err(error) => There::Another(format!("something else ({error})")),
    }
}

/// Puts the program there in one step: whoever looks finds what was there, or all of the new.
fn place(own: &Path, installed: &Path, copy: bool) -> io::Result<()> {
    let unfinished = installed.with_file_name(format!(".{NAME}.{}", std::process::id()));
    let made = if copy {
        std::fs::copy(own, &unfinished).map(drop)
    } else if own.parent() == installed.parent() {
        // The pair may be moved together.
        symlink(Path::new(own.file_name().unwrap_or_default()), &unfinished)
    } else {
        symlink(own, &unfinished)
    };
    let placed = made.and_then(|()| std::fs::rename(&unfinished, installed));
    if placed.is_err() {
        // Whatever there is of it is of no use.
        let _ = std::fs::remove_file(&unfinished);
    }
    placed
}

fn cannot_write(directory: &Path, error: &io::Error) -> Failure {
    let shown = directory.display();
    Failure::failed(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "no permission to write into {shown}: run this as a user who has it, or name a directory of your own"
            )
        }
        _ => format!("cannot write into {shown}: {error}"),
    })
}

/// What somebody has to know who types the name into this shell and expects what was installed.
fn warning(installed: &Path, path: &OsStr) -> Option<String> {
    let directory = installed.parent().unwrap_or(installed);
    let named = std::env::split_paths(path).map(|directory| directory.join(NAME));
    let first = { named }.find(|program| program.is_file());
    let is_same = |program: &PathBuf| std::fs::canonicalize(program).ok() == std::fs::canonicalize(installed).ok();
    match first {
        Some(program) if is_same(&program) => None,
        Some(program) => Some(format!(
            "Your shell still starts {}, which comes first in PATH.",
            program.display()
        )),
        None => Some(format!(
            "{} is not in PATH: export PATH=\"{}:$PATH\"",
            directory.display(),
            directory.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_started_by_the_name_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (early, late) = (folder.path().join("early"), folder.path().join("late"));
        for directory in [&early, &late] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join(NAME), "").unwrap();
        }
        let path = std::env::join_paths([&early, &late]).unwrap();
        assert_eq!(warning(&early.join(NAME), &path), None);
        let hidden = warning(&late.join(NAME), &path).unwrap();
        assert!(hidden.contains(early.join(NAME).to_str().unwrap()), "{hidden}");
        let absent = warning(&late.join(NAME), OsStr::new("")).unwrap();
        assert!(absent.contains("is not in PATH: export PATH="), "{absent}");
    }
}
