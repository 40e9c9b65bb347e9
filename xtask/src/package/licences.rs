//! The licences of everything that is linked into the server, with their texts: who passes the program on has to pass them on too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::shell;

/// How the names of files begin in which a crate has its licence.
const BEGINNINGS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// A document: who has which licence, then each text once.
pub(super) fn of_the_server() -> anyhow::Result<String> {
    let mut metadata = shell::cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    metadata.args(["--filter-platform", &host()?]);
    let metadata: Value = serde_json::from_str(&shell::run_quietly(&mut metadata)?).context("cargo metadata")?;
    let mut list = String::from("Linked into seaway, with the licences that their authors chose:\n\n");
    let mut texts: BTreeMap<String, (String, BTreeSet<&str>)> = BTreeMap::new();
    for package in linked(&metadata)? {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let _ = writeln!(list, "{} {}: {}", field("name"), field("version"), field("license"));
        let folder = Path::new(field("manifest_path"))
            .parent()
            .context("a manifest lies in a folder")?;
        for text in texts_in(folder)? {
            // The same words in other lines are the same text.
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            texts
                .entry(words)
                .or_insert_with(|| (text, BTreeSet::new()))
                .1
                .insert(field("name"));
        }
    }
    for (text, names) in texts.values() {
        let names = names.iter().copied().collect::<Vec<_>>().join(", ");
        let _ = write!(list, "\n{}\n{names}\n\n{}\n", "-".repeat(80), text.trim_end());
    }
    Ok(list)
}

/// The platform for which cargo builds here.
fn host() -> anyhow::Result<String> {
    let said = shell::run_quietly(std::process::Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names its host")
}

/// Packages of others that the server needs when it runs, by name.
fn linked(metadata: &Value) -> anyhow::Result<Vec<&Value>> {
    let by_id = |list: &'_ Value| -> HashMap<String, usize> {
        let ids = items(list).map(|item| item["id"].as_str().unwrap_or_default().to_owned());
        ids.zip(0..).collect()
    };
    let (packages, nodes) = (&metadata["packages"], &metadata["resolve"]["nodes"]);
    let (package_of, node_of) = (by_id(packages), by_id(nodes));
    let server = items(packages).find(|package| package["name"] == "seaway-server");
    let server = server.context("seaway-server is no package")?;
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![server["id"].as_str().unwrap_or_default()];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = node_of.get(id).context("a package that is not resolved")?;
        for needed in items(&nodes[*node]["deps"]) {
            // A kind without a name is what the program itself needs; tests and build scripts have one.
            if items(&needed["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                open.extend(needed["pkg"].as_str());
            }
        }
    }
    let mut linked: Vec<&Value> = found
        .iter()
        .filter_map(|id| Some(&packages[*package_of.get(*id)?]))
        .collect();
    // What lies in the work tree has no source.
    linked.retain(|package| !package["source"].is_null());
    linked.sort_by_key(|package| package["name"].as_str());
    ensure!(!linked.is_empty(), "cargo names nothing that the server needs");
    Ok(linked)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The texts in a crate's folder, and those of what it bundles, one folder below.
fn texts_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut folders = vec![folder.to_owned()];
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    for folder in folders {
        let mut files: Vec<_> = fs::read_dir(&folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .collect();
        files.sort();
        let is_licence = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file() && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        };
        for file in files.iter().filter(|path| is_licence(path)) {
            // Sources may have such a name, too; a licence is text.
            texts.extend(fs::read_to_string(file).ok().filter(|text| !text.trim().is_empty()));
        }
    }
    Ok(texts)
}
