//! Scripts: what is said to the engine (`>`), and exactly what leaves it in answer (`<`), in order.
//!
//! Each file in `tests/scripts` reads as a tutorial of one part of the protocol. `SCRIPTS_WRITE=1 cargo test` writes what
//! the engine does into the files, to be read before it is committed.

mod script;
mod world;

use std::path::{Path, PathBuf};

use script::play;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(folder).expect("the scripts folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn scripts_play_as_written() {
    let write = std::env::var_os("SCRIPTS_WRITE").is_some();
    let mut failures = Vec::new();
    let paths = scripts();
    assert!(paths.len() >= 10, "the scripts are there: {paths:?}");
    for path in paths {
        let script = std::fs::read_to_string(&path).expect("a script");
        let actual = play(&script);
        if actual == script {
            continue;
        }
        if write {
            std::fs::write(&path, &actual).expect("a script can be written");
            continue;
        }
        let difference = script
            .lines()
            .zip(actual.lines())
            .position(|(wanted, got)| wanted != got);
        let at = difference.unwrap_or(script.lines().count().min(actual.lines().count()));
        let (wanted, got) = (script.lines().nth(at), actual.lines().nth(at));
        failures.push(format!(
            "{}:{}\n  wanted {wanted:?}\n  got    {got:?}",
            path.display(),
            at + 1
        ));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Invariant 1 of the architecture: the same inputs give the same effects, byte for byte.
#[test]
fn scripts_play_the_same_twice() {
    for path in scripts() {
        let script = std::fs::read_to_string(&path).expect("a script");
        assert_eq!(play(&script), play(&script), "{}", path.display());
    }
}
