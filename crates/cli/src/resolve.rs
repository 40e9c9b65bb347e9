//! Which of flags, contexts and variables count.

use std::path::Path;

use crate::connection_flags::ConnectionArguments;
use crate::contexts;
use crate::failure::Outcome;
use crate::settings::Settings;

/// Variable that names a context.
const CONTEXT_VARIABLE: &str = "SEAWAY_CONTEXT";

/// Puts all sources together: flags, then the context that a flag names, or else variables and the selected context. An address
/// by flag or variable puts the selected context aside, so that its secrets go to no other server.
pub(crate) fn resolve(arguments: &ConnectionArguments) -> Outcome<Settings> {
    let variable = |name: &str| std::env::var(name).ok();
    resolve_within(arguments, &variable, contexts::directory().as_deref())
}

fn resolve_within(
    arguments: &ConnectionArguments,
    variable: &dyn Fn(&str) -> Option<String>,
    directory: Option<&Path>,
) -> Outcome<Settings> {
    let flags = Settings::of_arguments(arguments);
    let load = |name: &str| match directory {
        Some(directory) => contexts::load(directory, name),
        None => Err(contexts::no_directory()),
    };
    if let Some(name) = &arguments.context {
        return Ok(flags.over(load(name)?));
    }
    let variables = Settings::of_variables(variable);
    let stronger = flags.over(variables);
    if stronger.server.is_some() {
        return Ok(stronger);
    }
    let named = variable(CONTEXT_VARIABLE).filter(|name| !name.is_empty());
    let named = match (named, directory) {
        (None, Some(directory)) => contexts::selected(directory)?,
        (named, _) => named,
    };
    match named {
        Some(name) => Ok(stronger.over(load(&name)?)),
        None => Ok(stronger),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Credentials, DEFAULT_CLUSTER};

    fn resolved(flags: &ConnectionArguments, variables: &[(&str, &str)], directory: &Path) -> Settings {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        resolve_within(flags, &variable, Some(directory)).unwrap()
    }

    fn with_prod() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let prod = Settings {
            server: Some("nats://prod:4222".to_owned()),
            cluster: Some("prod".to_owned()),
            user: Some("bob".to_owned()),
            credentials: Some(Credentials::PasswordFile("/secret".into())),
            ..Settings::default()
        };
        contexts::save(directory.path(), "prod", &prod).unwrap();
        contexts::select(directory.path(), "prod").unwrap();
        directory
    }

    #[test]
    fn the_selected_context_counts_until_another_address_is_named() {
        let directory = with_prod();
        let nothing = ConnectionArguments::default();
        let selected = resolved(&nothing, &[], directory.path());
        assert_eq!((selected.server(), selected.cluster()), ("nats://prod:4222", "prod"));
        let elsewhere = ConnectionArguments {
            server: Some("nats://other".to_owned()),
            ..ConnectionArguments::default()
        };
        let other = resolved(&elsewhere, &[("SEAWAY_CONTEXT", "prod")], directory.path());
        assert_eq!((other.server(), other.cluster()), ("nats://other", DEFAULT_CLUSTER));
        assert!(
            other.user.is_none() && other.credentials.is_none(),
            "bob's password stays at home"
        );
        let by_variable = [("SEAWAY_CLI_SERVER", "nats://variable"), ("SEAWAY_CLI_PASSWORD", "x")];
        let other = resolved(&nothing, &by_variable, directory.path());
        assert_eq!(other.server(), "nats://variable");
        let named = ConnectionArguments {
            context: Some("prod".to_owned()),
            ..elsewhere
        };
        let both = resolved(&named, &by_variable, directory.path());
        assert_eq!((both.server(), both.user.as_deref()), ("nats://other", Some("bob")));
        assert!(matches!(both.credentials, Some(Credentials::PasswordFile(_))));
    }

    #[test]
    fn nobody_is_given_somebody_elses_password() {
        let directory = with_prod();
        let alice = ConnectionArguments {
            user: Some("alice".to_owned()),
            ..ConnectionArguments::default()
        };
        let settings = resolved(&alice, &[], directory.path());
        assert!(settings.user.as_deref() == Some("alice") && settings.credentials.is_none());
        let nothing = ConnectionArguments::default();
        let settings = resolved(&nothing, &[("SEAWAY_CLI_PASSWORD", "x")], directory.path());
        assert!(settings.user.as_deref() == Some("bob"));
        assert!(matches!(settings.credentials, Some(Credentials::Password(_))));
        let settings = resolved(&alice, &[("SEAWAY_CLI_PASSWORD", "x")], directory.path());
        assert!(settings.user.as_deref() == Some("alice"));
        assert!(matches!(settings.credentials, Some(Credentials::Password(_))));
        let settings = resolved(&nothing, &[("SEAWAY_CLI_TOKEN", "x")], directory.path());
        assert!(settings.user.is_none() && matches!(settings.credentials, Some(Credentials::Token(_))));
    }
}
