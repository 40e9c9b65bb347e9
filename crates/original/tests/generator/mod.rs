//! The independent generator of directories (`compat/original`), and how its directories are read; for whoever takes them over, too.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use seaway_original::{Key, Options};
use serde_json::Value;

/// Runs the generator; says loudly when there is no Python to run it.
pub fn generate(words: &[&str]) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/original/generate.py");
    match Command::new("python3").arg("-B").arg(script).args(words).status() {
        Ok(status) => {
            assert!(status.success(), "the generator fails: {status}");
            true
        }
        Err(error) => {
            // Past the test harness, which keeps what passing tests print to itself.
            let text =
                format!("\n*** SKIPPED: python3 cannot be run ({error}): nothing was generated and compared ***\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            false
        }
    }
}

/// What the independent reader (`compat/original/read.py`) finds in a directory, which has to be as a stop in order leaves one. Only where
/// [`generate`] could run.
pub fn read(directory: &Path, key: Option<&str>) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/original/read.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(directory)
        .args(key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The directories that are wanted: `SEAWAY_ORIGINAL_SEEDS` of them, else `usual`, from `SEAWAY_ORIGINAL_FIRST` on.
pub fn seeds(usual: u64) -> RangeInclusive<u64> {
    let number = |variable: &str, usual: u64| std::env::var(variable).map_or(usual, |text| text.parse().unwrap());
    let first = number("SEAWAY_ORIGINAL_FIRST", 1);
    first..=first + number("SEAWAY_ORIGINAL_SEEDS", usual) - 1
}

/// Makes them, each in a folder of its number; false when that cannot be.
pub fn generate_seeds(folder: &Path, seeds: &RangeInclusive<u64>) -> bool {
    let (first, last) = (seeds.start().to_string(), seeds.end().to_string());
    generate(&[folder.to_str().unwrap(), &first, &last])
}

/// How a directory of the generator is to be read.
pub fn options(expected: &Value, folder: &Path) -> Options {
    Options {
        polynomial: u32::try_from(expected["polynomial"].as_u64().unwrap()).unwrap(),
        key: expected["key"].as_str().map(|key| Key::new(key.as_bytes())),
        raft_directory: expected["raft_directory"].as_str().map(|name| folder.join(name)),
        ..Options::default()
    }
}

/// Names and contents of all files.
pub fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The same but for the lock, which is made when there is none, as the original makes it.
pub fn without_lock(listing: Vec<(PathBuf, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    let is_lock = |path: &Path| path.ends_with(".rootdir.lck");
    listing.into_iter().filter(|(path, _)| !is_lock(path)).collect()
}

/// The same but for what is left of a store that was set aside.
pub fn without_undone(listing: Vec<(PathBuf, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    let is_undone = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(".undone.");
    listing.into_iter().filter(|(path, _)| !is_undone(path)).collect()
}
