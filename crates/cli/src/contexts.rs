//! Contexts: named servers, one JSON file each below the user's configuration directory.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind, Outcome};
use crate::settings::Settings;

const NAME_LENGTH_MAX: usize = 64;

/// Which context is selected.
#[derive(Default, Serialize, Deserialize)]
struct Selection {
    selected: Option<String>,
}

/// Where contexts are: `$XDG_CONFIG_HOME/seaway`, or `~/.config/seaway`.
pub(crate) fn directory() -> Option<PathBuf> {
    let path = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")))?;
    Some(base.join("seaway"))
}

pub(crate) fn no_directory() -> Failure {
    Failure::failed("there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set to an absolute path")
}

fn file(directory: &Path, name: &str) -> Outcome<PathBuf> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || name.starts_with('.') || !name.chars().all(is_known) {
        return Err(Failure::usage(format!(
            "{name:?} is no name for a context: it may hold up to {NAME_LENGTH_MAX} letters, digits, '.', '-' and '_', and not begin with '.'"
        )));
    }
    Ok(directory.join("contexts").join(format!("{name}.json")))
}

fn selection_file(directory: &Path) -> PathBuf {
    directory.join("selected.json")
}

/// The selected context's name.
pub(crate) fn selected(directory: &Path) -> Outcome<Option<String>> {
    let path = selection_file(directory);
    match read::<Selection>(&path)? {
        Some(selection) => Ok(selection.selected),
        None => Ok(None),
    }
}

pub(crate) fn select(directory: &Path, name: &str) -> Outcome {
    let selection = Selection {
        selected: Some(name.to_owned()),
    };
    write(&selection_file(directory), &selection)
}

/// Whether there is a context of this name.
pub(crate) fn exists(directory: &Path, name: &str) -> Outcome<bool> {
    Ok(file(directory, name)?.exists())
}

/// Removes a context; one that was selected is so no more.
pub(crate) fn forget(directory: &Path, name: &str) -> Outcome {
    load(directory, name)?;
    let path = file(directory, name)?;
    std::fs::remove_file(&path).map_err(|error| at(&path, &error))?;
    match selected(directory)?.as_deref() == Some(name) {
        true => write(&selection_file(directory), &Selection::default()),
        false => Ok(()),
    }
}

/// The settings of a context.
pub(crate) fn load(directory: &Path, name: &str) -> Outcome<Settings> {
    match read(&file(directory, name)?)? {
        Some(settings) => Ok(settings),
        None => {
            let known = names(directory)?;
            let hint = match known.is_empty() {
                true => "there are none yet: `seaway context add NAME --server URL` makes one".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            Err(Failure::new(
                Kind::NotFound,
                format!("there is no context {name}: {hint}"),
            ))
        }
    }
}

pub(crate) fn save(directory: &Path, name: &str, settings: &Settings) -> Outcome {
    write(&file(directory, name)?, settings)
}

/// All names, sorted.
pub(crate) fn names(directory: &Path) -> Outcome<Vec<String>> {
    let folder = directory.join("contexts");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(&folder, &error)),
    };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned);
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(name)
        .filter(|name| file(directory, name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Outcome<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| at(path, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path, &error)),
    }
}

/// Writes a file that only its owner may read; a crash leaves the old one or the new one.
fn write(path: &Path, content: &impl Serialize) -> Outcome {
    let folder = path.parent().unwrap_or(path);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|error| at(folder, &error))?;
    let text = serde_json::to_string_pretty(content).map_err(|error| at(path, &error))?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|error| at(path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::settings::Credentials;

    fn settings(server: &str) -> Settings {
        Settings {
            server: Some(server.to_owned()),
            user: Some("bob".to_owned()),
            credentials: Some(Credentials::PasswordFile("/secret".into())),
            ..Settings::default()
        }
    }

    #[test]
    fn contexts_are_kept_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let seaway = directory.path().join("seaway");
        save(&seaway, "prod", &settings("nats://bob:hidden@host")).unwrap();
        save(&seaway, "test", &settings("nats://test")).unwrap();
        select(&seaway, "test").unwrap();
        for path in [seaway.join("contexts/prod.json"), seaway.join("selected.json")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(seaway.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(names(&seaway).unwrap(), ["prod", "test"]);
        assert_eq!(selected(&seaway).unwrap().as_deref(), Some("test"));
        let prod = load(&seaway, "prod").unwrap();
        assert_eq!(prod.server(), "nats://bob:hidden@host");
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "../x", ".x", "a/b", "a b", &"x".repeat(65)] {
            let failure = load(directory.path(), name).err().unwrap();
            assert!(matches!(failure, Failure::Told(Kind::Usage, _)), "{name}");
        }
        let failure = load(directory.path(), "none").err().unwrap();
        assert!(matches!(failure, Failure::Told(Kind::NotFound, _)));
    }

    #[test]
    fn a_file_with_unknown_keys_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), "x", &settings("nats://x")).unwrap();
        std::fs::write(directory.path().join("contexts/x.json"), r#"{"sever":"nats://x"}"#).unwrap();
        let Failure::Told(_, words) = load(directory.path(), "x").err().unwrap() else {
            panic!("told")
        };
        assert!(words.contains("contexts/x.json") && words.contains("sever"), "{words}");
    }
}
