//! Layout checks: rules of the project that a machine can tell, over every file of the work tree that is not ignored.
//!
//! `files` looks at each file by itself, `layers` at what the manifests say about who may use whom, `compatibility` at the
//! table of what was proven, `documents` at where links lead, `circles` at which files need each other. Each check names the file and the rule; a rule that turns out wrong is changed here, not worked around.

mod circles;
mod compatibility;
mod documents;
mod files;
mod layers;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::shell;

/// Runs every check; an error lists what was found.
pub(crate) fn run() -> anyhow::Result<()> {
    let files = tracked_files()?;
    let mut problems = Vec::new();
    let mut budget = files::Budget::default();
    for path in &files {
        let Ok(bytes) = std::fs::read(shell::root().join(path)) else {
            continue; // Deleted, but not yet committed.
        };
        let Ok(text) = String::from_utf8(bytes) else {
            continue; // A binary file.
        };
        problems.extend(files::check(path, &text));
        budget.count(path, &text);
    }
    problems.extend(budget.check());
    problems.extend(layers::check(shell::root())?);
    let read = |path: &str| std::fs::read_to_string(shell::root().join(path)).ok();
    problems.extend(documents::check(&files, read));
    let circles = circles::Circles::find(shell::root(), &files)?;
    problems.extend(circles.check(&read(circles::LIST).unwrap_or_default()));
    match read(compatibility::DOCUMENT) {
        Some(document) => problems.extend(compatibility::check(&document, read)),
        None => problems.push(format!("{}: missing", compatibility::DOCUMENT)),
    }
    if !problems.is_empty() {
        bail!("{} layout problems:\n  {}", problems.len(), problems.join("\n  "));
    }
    println!(
        "tidy: {} files checked; {}; {}",
        files.len(),
        budget.summary(),
        circles.summary()
    );
    Ok(())
}

/// Prints every import circle and who uses whom in it.
pub(crate) fn show_circles() -> anyhow::Result<()> {
    print!(
        "{}",
        circles::Circles::find(shell::root(), &tracked_files()?)?.describe()
    );
    Ok(())
}

/// Every file that is committed or would be, with `/` between folders.
fn tracked_files() -> anyhow::Result<Vec<String>> {
    let mut list = Command::new("git");
    list.current_dir(shell::root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let text = shell::run_quietly(&mut list).context("list the files of the work tree")?;
    let mut files: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files.retain(|file| shell::root().join(PathBuf::from(file)).is_file());
    Ok(files)
}
