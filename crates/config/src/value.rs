//! A value of an option, as flags, the environment and files give it.

use crate::conf::Node;

/// Notation of a value (specification §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Truth value; takes a value only with `=`.
    Bool,
    /// 64-bit integer.
    Int,
    /// Any text.
    Text,
    /// Duration such as `1h30m`.
    Duration,
    /// Integer with an optional unit such as `100KB`.
    Size,
    /// Texts; separated by commas outside of files.
    List,
    /// Whatever the entry itself reads; in files only.
    Block,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Text => "string",
            Kind::Duration => "duration",
            Kind::Size => "size",
            Kind::List => "list",
            Kind::Block => "block",
        }
    }
}

/// Value of an option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`], and of [`Kind::Size`] once it was read.
    Int(i64),
    /// Of [`Kind::Text`], and of [`Kind::Size`] before it was read.
    Text(String),
    /// Of [`Kind::Duration`], in nanoseconds.
    Nanos(i64),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of [`Kind::Block`].
    Block(Node),
}

impl Value {
    /// The truth value; the kind of the option says that it is one.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    /// The number; the kind of the option says that it is one.
    pub(crate) fn number(&self) -> i64 {
        match self {
            Value::Int(number) | Value::Nanos(number) => *number,
            Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Block(_) => 0,
        }
    }

    /// The text; the kind of the option says that it is one.
    pub(crate) fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Bool(_) | Value::Int(_) | Value::Nanos(_) | Value::List(_) | Value::Block(_) => "",
        }
    }

    /// The text, unless it is the empty one, which means absent.
    pub(crate) fn present(&self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}
