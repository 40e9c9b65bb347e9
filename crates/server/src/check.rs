//! `-t` and `check-config`: whether a start could use the files that the options name. Nothing is written.

use std::io::ErrorKind;
use std::path::Path;

use seaway_config::{Options, StoreKind};

use crate::broker_options::{broker_options, check_own_credentials};

/// Why a start with these options would fail, as far as files tell; one sentence each.
pub(crate) fn problems(options: &Options) -> Vec<String> {
    let broker = broker_options(options).and_then(|broker| check_own_credentials(options, &broker.access));
    let files = [
        ("log file", options.log.file.as_deref()),
        ("pid file", options.broker.pid_file.as_deref()),
    ];
    let files = files.into_iter().filter_map(|(what, path)| Some((what, path?)));
    let mut problems: Vec<String> = broker.err().map(|error| format!("{error:#}")).into_iter().collect();
    problems.extend(files.filter_map(|(what, path)| written(what, path)));
    let directories = [
        (
            "folder of the ports file",
            options.broker.ports_file_dir.as_deref(),
            true,
        ),
        (
            "store directory",
            Some(options.streaming.dir.as_path()).filter(|_| options.streaming.store == StoreKind::File),
            false,
        ),
    ];
    problems.extend(
        directories
            .into_iter()
            .filter_map(|(what, path, must_be)| directory(what, path?, must_be)),
    );
    problems
}

/// What is wrong with a path at which a file is to be written.
fn written(what: &str, path: &Path) -> Option<String> {
    let shown = path.display();
    if path.is_dir() {
        return Some(format!("the {what} {shown} is a directory: name a file in it"));
    }
    let folder = match path.parent() {
        None => return None,
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    match folder.metadata() {
        Ok(folder) if folder.is_dir() => None,
        Ok(_) => Some(format!(
            "the {what} {shown} cannot be written: {} is no directory",
            folder.display()
        )),
        Err(error) => Some(format!(
            "the {what} {shown} cannot be written: {}: {error}",
            folder.display()
        )),
    }
}

/// What is wrong with a directory; a start makes one that is missing unless it must be there.
fn directory(what: &str, path: &Path, must_be: bool) -> Option<String> {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!("the {what} {shown} is no directory")),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_be => None,
        Err(error) => Some(format!("the {what} {shown} cannot be used: {error}")),
    }
}
