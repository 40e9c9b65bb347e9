//! `seaway context …`: named servers, made, chosen, shown and forgotten.

use std::path::Path;

use serde_json::json;

use crate::connection_flags::ConnectionArguments;
use crate::contexts::{directory, exists, forget, load, names, no_directory, save, select, selected};
use crate::failure::{Failure, Kind, Outcome};
use crate::output::{Align, Output};
use crate::settings::{Credentials, Settings, without_secret};

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
            forget(directory, &name)?;
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
    if !replace && exists(directory, name)? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_shown_without_its_secret() {
        let prod = Settings {
            server: Some("nats://bob:hidden@host".to_owned()),
            credentials: Some(Credentials::PasswordFile("/secret".into())),
            ..Settings::default()
        };
        let document = shown("prod", &prod, None).to_string();
        assert!(
            !document.contains("hidden") && document.contains("/secret"),
            "{document}"
        );
    }
}
