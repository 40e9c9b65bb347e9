//! Puts the commit into an optimised program, for its start and its users' reports.
//!
//! Cargo runs this again when HEAD moves, and then builds the server again. That is nothing to ask of the builds between two
//! commits, and of the many programs of the tests: they have no commit.

use std::path::Path;
use std::process::Command;

/// Names the commit where there is no repository, for those who build packages.
const VARIABLE: &str = "SEAWAY_GIT_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let is_optimised = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if std::env::var_os(VARIABLE).is_some() || !is_optimised {
        return;
    }
    if let Some(commit) = commit() {
        println!("cargo::rustc-env={VARIABLE}={commit}");
    }
}

/// The commit of HEAD, when these sources lie in a repository of their own and git is installed.
fn commit() -> Option<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    // A package that was unpacked in somebody's own repository has no commit of it.
    if Path::new(&top).canonicalize().ok()? != sources.canonicalize().ok()? {
        return None;
    }
    // HEAD names a branch, whose file moves, or which lies among the packed ones.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", name])?;
        // Cargo takes a file that is not there for one that has changed.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=7", "HEAD"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
