//! Splits a command line into flags and words, as the flag package of Go does (specification §7.1).
//!
//! Decides which argument is a flag, its value or a word; does not know what a value means to a server.

use crate::go::{self, ValueError};
use crate::table;
use crate::value::{Kind, Value};

/// What a command line says, before any of it is applied.
#[derive(Debug)]
pub(crate) struct CommandLine {
    /// Last value of every flag of the table, by its place there.
    pub(crate) values: Vec<Option<Value>>,
    /// First word that is no flag; everything from there on is not looked at.
    pub(crate) word: Option<String>,
}

/// A command line that cannot be split (specification §7.4: unknown flag, malformed value).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Text as the flag package prints it.
    pub(crate) text: String,
    /// Name of the flag, when it is not known.
    pub(crate) unknown: Option<String>,
}

impl CommandLine {
    /// A command line without anything on it.
    pub(crate) fn empty() -> Self {
        CommandLine {
            values: vec![None; table::len()],
            word: None,
        }
    }
}

impl Malformed {
    fn new(text: String) -> Self {
        Malformed { text, unknown: None }
    }
}

/// Splits arguments; the last value of a flag wins, also between its names.
pub(crate) fn split(arguments: &[String]) -> Result<CommandLine, Malformed> {
    let mut line = CommandLine::empty();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(body) = argument.strip_prefix('-').filter(|body| !body.is_empty()) else {
            line.word = Some(argument.clone());
            break;
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() {
            // Two dashes alone end the flags.
            line.word = rest.next().cloned();
            break;
        }
        if body.starts_with(['-', '=']) {
            return Err(Malformed::new(format!("bad flag syntax: {argument}")));
        }
        let (name, attached) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some((place, entry)) = table::find(name) else {
            let text = format!("flag provided but not defined: -{name}");
            return Err(Malformed {
                text,
                unknown: Some(name.to_owned()),
            });
        };
        let value = match (entry.kind, attached) {
            (Kind::Bool, None) => Value::Bool(true),
            (Kind::Bool, Some(text)) => Value::Bool(go::parse_bool(text).map_err(|error| {
                Malformed::new(format!("invalid boolean value {text:?} for -{name}: {}", error.text()))
            })?),
            (kind, attached) => {
                let text = match attached {
                    Some(text) => text,
                    None => rest
                        .next()
                        .ok_or_else(|| Malformed::new(format!("flag needs an argument: -{name}")))?
                        .as_str(),
                };
                read(kind, text).map_err(|error| {
                    Malformed::new(format!("invalid value {text:?} for flag -{name}: {}", error.text()))
                })?
            }
        };
        line.values[place] = Some(value);
    }
    Ok(line)
}

/// Reads a value of a kind; sizes stay text, because a bad size is reported later and in other words (§7.4).
pub(crate) fn read(kind: Kind, text: &str) -> Result<Value, ValueError> {
    Ok(match kind {
        Kind::Bool => Value::Bool(go::parse_bool(text)?),
        Kind::Int => Value::Int(go::parse_int(text)?),
        Kind::Duration => Value::Nanos(go::parse_duration_nanos(text)?),
        Kind::Text | Kind::Size => Value::Text(text.to_owned()),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::List(items.map(str::to_owned).collect())
        }
        // Only files have blocks.
        Kind::Block => return Err(ValueError::Syntax),
    })
}

/// A value as messages show it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Nanos(nanos) => go::format_duration_nanos(*nanos),
        Value::Text(text) => text.clone(),
        Value::List(items) => items.join(","),
        Value::Block(node) => node.data.kind().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<CommandLine, Malformed> {
        split(
            &arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    fn value_of(line: &CommandLine, name: &str) -> Option<Value> {
        line.values[table::find(name).unwrap().0].clone()
    }

    #[test]
    fn one_and_two_dashes_are_equal_and_the_last_value_wins() {
        for arguments in [["-cid", "a"], ["--cid", "a"], ["--cluster_id", "a"]] {
            assert_eq!(
                value_of(&check(&arguments).unwrap(), "cid"),
                Some(Value::Text("a".into()))
            );
        }
        let line = check(&["-cid=x=y", "-cluster_id", "b", "--SD=false", "-mc=0x10"]).unwrap();
        assert_eq!(value_of(&line, "cid"), Some(Value::Text("b".into())));
        assert_eq!(value_of(&line, "stan_debug"), Some(Value::Bool(false)));
        assert_eq!(value_of(&line, "max_channels"), Some(Value::Int(16)));
        assert_eq!(
            value_of(&check(&["-cid=x=y"]).unwrap(), "cid"),
            Some(Value::Text("x=y".into()))
        );
    }

    #[test]
    fn parsing_stops_at_the_first_word() {
        for (arguments, word) in [
            (&["-SD", "false", "-cid", "a"][..], Some("false")),
            (&["version"], Some("version")),
            (&["--", "-cid"], Some("-cid")),
            (&["--"], None),
            (&["-"], Some("-")),
            (&[""], Some("")),
        ] {
            let line = check(arguments).unwrap();
            assert_eq!(line.word.as_deref(), word, "{arguments:?}");
            assert_eq!(value_of(&line, "cid"), None);
        }
    }

    #[test]
    fn texts_of_malformed_lines() {
        for (arguments, text) in [
            (&["-zz"][..], "flag provided but not defined: -zz"),
            (&["--zz=1"], "flag provided but not defined: -zz"),
            (&["---p"], "bad flag syntax: ---p"),
            (&["-=1"], "bad flag syntax: -=1"),
            (&["-p"], "flag needs an argument: -p"),
            (&["-p", "x"], "invalid value \"x\" for flag -p: parse error"),
            (
                &["-mc=99999999999999999999"],
                "invalid value \"99999999999999999999\" for flag -mc: value out of range",
            ),
            (&["-ma", "5x"], "invalid value \"5x\" for flag -ma: parse error"),
            (&["-SD=maybe"], "invalid boolean value \"maybe\" for -SD: parse error"),
        ] {
            assert_eq!(check(arguments).unwrap_err().text, text);
        }
    }
}
