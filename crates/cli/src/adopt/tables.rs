//! What NATS Streaming has in a database.

use std::path::Path;

use seaway_adoption::adopt_tables;
use seaway_original::{Key, Source, TablesOptions, check_tables, free_bytes};

use super::arguments::{AdoptArguments, options};
use super::told::{finish, tell_check};
use crate::failure::{Failure, Outcome};
use crate::key;
use crate::output::Output;

pub(super) fn run(arguments: &AdoptArguments, source: &Source, output: &mut Output) -> Outcome {
    let key = key::read(arguments.encryption_key_file.as_deref())?;
    let mut tables = TablesOptions {
        key: key.as_deref().map(Key::new),
        raft_directory: arguments.raft_dir.clone(),
        sessions_are_harmless: arguments.sessions_are_harmless,
        ..TablesOptions::default()
    };
    if arguments.check {
        tables.free_bytes = arguments.to.as_deref().and_then(free_above);
        let report = check_tables(source, &tables, |_| {}).map_err(|error| Failure::failed(error.to_string()))?;
        return tell_check(&report, output);
    }
    let Some(place) = &arguments.to else {
        return Err(Failure::usage(
            "name the directory in which the store is to be made (the new server's -dir): --to DIR",
        ));
    };
    let options = options(arguments, seaway_original::Options::default(), key)?;
    finish(output, |progress| {
        adopt_tables(source, &tables, place, &options, progress)
    })
}

/// What is free where a directory is, or would be made.
fn free_above(directory: &Path) -> Option<u64> {
    let absolute = std::path::absolute(directory).ok()?;
    absolute.ancestors().find_map(|path| free_bytes(path).ok())
}
