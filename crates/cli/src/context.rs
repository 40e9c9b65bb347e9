//! Contexts: named servers, one JSON file each below the user's configuration directory.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::arguments::ConnectionArguments;
use crate::failure::{Failure, Kind, Outcome};
use crate::output::{Align, Output};
use crate::settings::{Credentials, Settings, without_secret};

const NAME_LENGTH_MAX: usize = 64;

/// What to do with contexts.
#[derive(clap::Subcommand)]
pub(crate) enum ContextCommand {
    /// Remember a server, its cluster ID and credentials under a name
    ///
    /// Give what belongs to it with the connection flags, such as --server and --cluster. Secrets stay in files of their own:
    /// the context remembers where they are. The first context is selected at once.
    Add {
        /// Letters, digits, '.', '-' and '_'
        name: String,
        /// Replace the context if there is one of this name
        #[arg(long)]
        replace: bool,
        /// Select it
        #[arg(long)]
        select: bool,
    },
    /// List contexts; the selected one has a star
    Ls,
    /// Show a context, or the selected one
    Show {
        /// The context
        name: Option<String>,
    },
    /// Use a context from now on
    Select {
        /// The context
        name: String,
    },
    /// Forget a context
    Rm {
        /// The context
        name: String,
    },
}

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

/// `seaway context …`
pub(crate) fn run(command: ContextCommand, arguments: &ConnectionArguments, output: &mut Output) -> Outcome {
    let directory = &directory().ok_or_else(no_directory)?;
    match command {
        ContextCommand::Add { name, replace, select } => {
            let settings = Settings::of_arguments(arguments).with_absolute_paths();
            add(directory, &name, &settings, replace, select, output)
        }
        ContextCommand::Ls => list(directory, output),
        ContextCommand::Show { name } => {
            let name = match name.or(arguments.context.clone()) {
                Some(name) => name,
                None => selected(directory)?.ok_or_else(|| {
                    Failure::new(
                        Kind::NotFound,
                        "no context is selected: name one, or select one with `seaway context select NAME`",
                    )
                })?,
            };
            show(&name, &load(directory, &name)?, output)
        }
        ContextCommand::Select { name } => {
            load(directory, &name)?;
            select_and_say(directory, &name, output)
        }
        ContextCommand::Rm { name } => {
            load_file(directory, &name)?;
            let path = file(directory, &name)?;
            std::fs::remove_file(&path).map_err(|error| at(&path, &error))?;
            if selected(directory)?.as_deref() == Some(&name) {
                write(&selection_file(directory), &Selection::default())?;
            }
            output.done(&format!("Context {name} is forgotten."), &json!({"removed": name}))
        }
    }
}

fn add(
    directory: &Path,
    name: &str,
    settings: &Settings,
    replace: bool,
    wants_selection: bool,
    output: &mut Output,
) -> Outcome {
    if !replace && file(directory, name)?.exists() {
        return Err(Failure::failed(format!(
            "there is a context {name} already: `--replace` replaces it, `seaway context show {name}` shows it"
        )));
    }
    if settings
        .credentials
        .as_ref()
        .is_some_and(|one| matches!(one, Credentials::PasswordFile(_)))
        != settings.user.is_some()
    {
        return Err(Failure::usage("--user and --password-file belong together"));
    }
    let is_first = names(directory)?.is_empty();
    save(directory, name, settings)?;
    if wants_selection || is_first {
        return select_and_say(directory, name, output);
    }
    output.done(
        &format!(
            "Context {name} is there: use it with --context {name}, or select it with `seaway context select {name}`."
        ),
        &json!({"added": name}),
    )
}

fn select_and_say(directory: &Path, name: &str, output: &mut Output) -> Outcome {
    let settings = load(directory, name)?;
    select(directory, name)?;
    let server = without_secret(settings.server());
    output.done(
        &format!(
            "Context {name} is selected: cluster {} at {server}.",
            settings.cluster()
        ),
        &json!({"selected": name}),
    )
}

fn list(directory: &Path, output: &mut Output) -> Outcome {
    let chosen = selected(directory)?;
    let mut rows = Vec::new();
    for name in names(directory)? {
        let settings = load(directory, &name)?;
        let is_chosen = chosen.as_deref() == Some(&name);
        if output.is_json() {
            output.json(&shown(&name, &settings, Some(is_chosen)))?;
        } else {
            let star = if is_chosen { "*" } else { "" };
            let server = without_secret(settings.server());
            rows.push(vec![star.to_owned(), name, server, settings.cluster().to_owned()]);
        }
    }
    if output.is_json() {
        return Ok(());
    }
    if rows.is_empty() {
        return output.line("No contexts yet: `seaway context add NAME --server URL --cluster ID` makes one.");
    }
    let columns = [
        ("", Align::Left),
        ("NAME", Align::Left),
        ("SERVER", Align::Left),
        ("CLUSTER", Align::Left),
    ];
    output.table(&columns, &rows)
}

fn show(name: &str, settings: &Settings, output: &mut Output) -> Outcome {
    let document = shown(name, settings, None);
    if output.is_json() {
        return output.json(&document);
    }
    let mut rows = Vec::new();
    for (key, value) in document.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Object(inner) => {
                rows.extend(inner.iter().map(|(key, value)| (key.replace('_', " "), word(value))));
            }
            value => rows.push((key.replace('_', " "), word(value))),
        }
    }
    let rows: Vec<(&str, String)> = rows.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    output.facts(&rows)
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A context without anything secret.
fn shown(name: &str, settings: &Settings, selected: Option<bool>) -> serde_json::Value {
    let mut open = settings.clone();
    open.server = Some(without_secret(settings.server()));
    open.cluster = Some(settings.cluster().to_owned());
    let mut document = json!({"name": name});
    if let (Some(document), Ok(serde_json::Value::Object(rest))) =
        (document.as_object_mut(), serde_json::to_value(&open))
    {
        document.extend(rest);
        document.extend(selected.map(|selected| ("selected".to_owned(), selected.into())));
    }
    document
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

/// The settings of a context.
pub(crate) fn load(directory: &Path, name: &str) -> Outcome<Settings> {
    load_file(directory, name)
}

fn load_file(directory: &Path, name: &str) -> Outcome<Settings> {
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
fn names(directory: &Path) -> Outcome<Vec<String>> {
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
        let document = shown("prod", &prod, None).to_string();
        assert!(
            !document.contains("hidden") && document.contains("/secret"),
            "{document}"
        );
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
