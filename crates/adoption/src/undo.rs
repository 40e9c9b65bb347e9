//! The way back: the original's files return to their place, the store stays beside them under other names.
//!
//! Mirrors [`in_place`](crate::in_place). A file says that it has begun; from then on neither server starts until it is complete. Its last step
//! is the return of the original's `server.dat`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use seaway_store::verify::ChannelsFound;
use seaway_store::{Encryption, FileOptions, FileStore, GUARD_NAME, Store as _, beside};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::in_place::{
    FOLDER, Name, PLAN, Plan, SERVER, STAGING, State, UNDOING, exists, rename, rename_if_there, state, sync,
    write_whole,
};
use crate::lock::RootLock;

/// What is lost when the original goes on where it was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Loss {
    /// When the directory was taken over, RFC 3339.
    pub adopted_at: String,
    /// Messages published since, in all channels.
    pub messages: u64,
    /// Channels that got messages since, each with how many.
    pub channels: Vec<(String, u64)>,
}

/// What is needed to go on.
#[derive(Debug, Serialize, Deserialize)]
struct Undoing {
    had_server: bool,
}

/// Says what an undoing would lose. Opens the store like a start of the server, which must not be running.
///
/// # Errors
/// The directory was not taken over, or its store cannot be opened.
pub fn loss(directory: &Path, encryption: Option<Encryption>) -> Result<Loss, Error> {
    match state(directory)? {
        State::TakenOver => {}
        State::Undoing => return Ok(Loss::default()),
        State::Unfinished => {
            crate::in_place::finish(directory)?;
        }
        State::Original | State::Neither | State::Store | State::Begun => return Err(not_taken_over(directory)),
    }
    let plan = Plan::read(&directory.join(FOLDER).join(PLAN))?;
    let options = FileOptions {
        encryption,
        ..FileOptions::default()
    };
    let mut found = ChannelsFound::default();
    let store = FileStore::open(directory, options, || {}, &mut found);
    let mut store = store.map_err(|error| Error::store(directory, error))?;
    store.close().map_err(|problem| Error::store(directory, problem))?;
    let before: BTreeMap<&str, u64> = plan.channels.iter().map(|(name, last)| (&name[..], *last)).collect();
    let mut loss = Loss {
        adopted_at: plan.adopted_at,
        ..Loss::default()
    };
    // Ids are given in order, so whatever is above these was made since, also under a name that there was before.
    let adopted = plan.channels.len() as u64;
    for (id, (_, last)) in &found.bounds {
        let Some(name) = found.names.get(id) else { continue };
        let before = before.get(&name[..]).filter(|_| *id <= adopted).copied();
        let new = last.saturating_sub(before.unwrap_or(0));
        if new > 0 {
            loss.messages += new;
            loss.channels.push((name.clone(), new));
        }
    }
    loss.channels.sort();
    Ok(loss)
}

/// Puts the original's files back. What was published since stays in files that begin with [`beside::UNDONE_PREFIX`], of which neither server
/// takes notice.
///
/// # Errors
/// A step cannot be taken; the next call goes on there.
pub fn undo(directory: &Path) -> Result<(), Error> {
    let is_due = |state| matches!(state, State::TakenOver | State::Undoing);
    if !is_due(state(directory)?) {
        return Err(not_taken_over(directory));
    }
    let _lock = RootLock::take(directory)?;
    // Another process may have been at it until now.
    let begun = state(directory)?;
    if !is_due(begun) {
        return Err(not_taken_over(directory));
    }
    let marker = directory.join(UNDOING);
    let (folder, staging) = (directory.join(FOLDER), directory.join(STAGING));
    if begun == State::TakenOver {
        let plan = Plan::read(&folder.join(PLAN))?;
        check_whole(&folder, &plan)?;
        if let Some(holder) = beside::holder(directory).map_err(Error::io("lock the store in", directory))? {
            return Err(Error::Refused(format!(
                "the store in {} is in use by another process ({holder}): stop the server first",
                directory.display()
            )));
        }
        if beside::has_undone(directory).map_err(Error::io("list", directory))? {
            return Err(Error::Refused(format!(
                "{} has files of an earlier undoing, whose names begin with {}: move them away or remove them",
                directory.display(),
                beside::UNDONE_PREFIX
            )));
        }
        let undoing = Undoing {
            had_server: plan.had_server,
        };
        let text = serde_json::to_vec(&undoing).map_err(|error| Error::io("write", &marker)(error.into()))?;
        write_whole(&marker, &text)?;
        sync(directory)?;
    }
    let text = fs::read(&marker).map_err(Error::io("read", &marker))?;
    let undoing: Undoing = serde_json::from_slice(&text).map_err(|error| Error::io("read", &marker)(error.into()))?;
    beside::set_aside(directory).map_err(Error::io("set the store aside in", directory))?;
    // A channel may have the folder's name: it has no plan in it.
    if exists(&folder.join(PLAN)) {
        rename(&folder, &staging)?;
        sync(directory)?;
    }
    if exists(&staging.join(PLAN)) {
        for name in Plan::read(&staging.join(PLAN))?.entries.iter().map(Name::file_name) {
            rename_if_there(&staging.join(&name), &directory.join(&name))?;
        }
        rename_if_there(&staging.join(GUARD_NAME), &directory.join(SERVER))?;
        sync(directory)?;
        sync(&staging)?;
        let path = staging.join(PLAN);
        check_empty(&staging)?;
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    match fs::remove_dir(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &staging)(error)),
        _ => sync(directory)?,
    }
    let server = directory.join(GUARD_NAME);
    if undoing.had_server {
        rename_if_there(&directory.join(SERVER), &server)?;
    } else {
        fs::remove_file(&server).map_err(Error::io("remove", &server))?;
    }
    sync(directory)?;
    fs::remove_file(&marker).map_err(Error::io("remove", &marker))?;
    sync(directory)
}

/// What was moved there has to be there still: of less the original would make less, without a word.
fn check_whole(folder: &Path, plan: &Plan) -> Result<(), Error> {
    let server = plan.had_server.then(|| GUARD_NAME.into());
    let moved = plan.entries.iter().map(Name::file_name).chain(server);
    match moved.map(|name| folder.join(name)).find(|path| !exists(path)) {
        None => Ok(()),
        Some(path) => Err(Error::Refused(format!(
            "{} is no longer there, and nothing was changed: put it back from a copy, and undo again",
            path.display()
        ))),
    }
}

/// Nothing but the plan may be left: the original would take the folder for a channel.
fn check_empty(staging: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(staging).map_err(Error::io("list", staging))?;
    for entry in entries {
        let name = entry.map_err(Error::io("list", staging))?.file_name();
        if name != PLAN {
            return Err(Error::Refused(format!(
                "{} was not the original's: move it away, and undo again",
                staging.join(name).display()
            )));
        }
    }
    Ok(())
}

fn not_taken_over(directory: &Path) -> Error {
    Error::Refused(format!(
        "{} was not taken over from NATS Streaming: there is nothing to undo",
        directory.display()
    ))
}
