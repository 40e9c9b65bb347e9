//! From the subjects of one account to those of another one (core specification §2.7).

use crate::subject::{self, TOKEN_ANY, TOKEN_SEPARATOR, TOKEN_TAIL};

/// Two patterns with the same wildcards, so that every subject of one has its counterpart among those of the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubjectMapping {
    exported: Vec<Token>,
    imported: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Literal(Box<[u8]>),
    /// Stands for one token; counted from 0 on the side of the exporter.
    Wildcard(usize),
    /// Stands for all that follow.
    Tail,
}

/// Patterns that are no counterparts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMapping {
    /// No subject.
    #[error("{0:?} is not a valid subject")]
    Subject(String),
    /// A wildcard of one side is missing on the other, or used twice.
    #[error("{imported:?} has to use every wildcard of {exported:?} once")]
    Wildcards {
        /// The exporter's side.
        exported: String,
        /// The importer's side.
        imported: String,
    },
}

impl SubjectMapping {
    /// From the exporter's `exported` to the importer's `imported`, in which `$n` or `{{wildcard(n)}}` is the n-th `*` of the
    /// exporter's side, and `*` the next one.
    ///
    /// # Errors
    /// Whatever keeps a subject from having exactly one counterpart.
    pub fn new(exported: &str, imported: &str) -> Result<Self, InvalidMapping> {
        let (mut wildcards, mut next) = (0, 0);
        let exported_tokens = tokens(exported, |token| {
            (token == "*").then(|| {
                wildcards += 1;
                wildcards - 1
            })
        })?;
        let imported_tokens = tokens(imported, |token| match token {
            "*" => {
                next += 1;
                Some(next - 1)
            }
            _ => numbered(token).and_then(|number| number.checked_sub(1)),
        })?;
        let mut used: Vec<usize> = { imported_tokens.iter() }
            .filter_map(|token| match token {
                Token::Wildcard(number) => Some(*number),
                Token::Literal(_) | Token::Tail => None,
            })
            .collect();
        used.sort_unstable();
        let has_tail = |tokens: &[Token]| tokens.last() == Some(&Token::Tail);
        if used.into_iter().ne(0..wildcards) || has_tail(&exported_tokens) != has_tail(&imported_tokens) {
            return Err(InvalidMapping::Wildcards {
                exported: exported.to_owned(),
                imported: imported.to_owned(),
            });
        }
        Ok(Self {
            exported: exported_tokens,
            imported: imported_tokens,
        })
    }

    /// The pattern of the exporter's subjects.
    #[must_use]
    pub fn exported_pattern(&self) -> Vec<u8> {
        pattern(&self.exported)
    }

    /// The pattern of the importer's subjects.
    #[must_use]
    pub fn imported_pattern(&self) -> Vec<u8> {
        pattern(&self.imported)
    }

    /// The importer's subject for one of the exporter's; `None` for others.
    #[must_use]
    pub fn import(&self, exported: &[u8]) -> Option<Vec<u8>> {
        translate(exported, &self.exported, &self.imported)
    }

    /// The exporter's subject for one of the importer's; `None` for others.
    #[must_use]
    pub fn export(&self, imported: &[u8]) -> Option<Vec<u8>> {
        translate(imported, &self.imported, &self.exported)
    }

    /// The exporter's pattern whose counterparts are what both the importer's `wanted` and this mapping match; `None` when
    /// nothing is.
    #[must_use]
    pub fn export_pattern(&self, wanted: &[u8]) -> Option<Vec<u8>> {
        self.export(&overlap(wanted, &self.imported)?)
    }
}

/// The number in `$n` or `{{wildcard(n)}}`.
fn numbered(token: &str) -> Option<usize> {
    let inside = |token: &str| {
        let call = token.strip_prefix("{{")?.strip_suffix("}}")?.trim().to_owned();
        let number = call
            .strip_prefix("wildcard(")
            .or_else(|| call.strip_prefix("Wildcard("))?;
        number.strip_suffix(')')?.trim().parse().ok()
    };
    match token.strip_prefix('$') {
        Some(number) => number.parse().ok(),
        None => inside(token),
    }
}

fn tokens(text: &str, mut wildcard: impl FnMut(&str) -> Option<usize>) -> Result<Vec<Token>, InvalidMapping> {
    if !subject::is_pattern(text.as_bytes()) {
        return Err(InvalidMapping::Subject(text.to_owned()));
    }
    let tokens = text.split('.').map(|token| match wildcard(token) {
        Some(number) => Token::Wildcard(number),
        None if token.as_bytes() == TOKEN_TAIL => Token::Tail,
        None => Token::Literal(token.as_bytes().into()),
    });
    Ok(tokens.collect())
}

fn pattern(tokens: &[Token]) -> Vec<u8> {
    let texts: Vec<&[u8]> = { tokens.iter() }
        .map(|token| match token {
            Token::Literal(literal) => &literal[..],
            Token::Wildcard(_) => TOKEN_ANY,
            Token::Tail => TOKEN_TAIL,
        })
        .collect();
    texts.join(&TOKEN_SEPARATOR)
}

/// What `text`, which one side matches, is on the other side.
fn translate(text: &[u8], from: &[Token], to: &[Token]) -> Option<Vec<u8>> {
    let mut given = subject::tokens(text);
    let mut captured: Vec<&[u8]> = Vec::new();
    let mut tail: Vec<&[u8]> = Vec::new();
    for token in from {
        match token {
            Token::Literal(literal) => {
                given.next().filter(|given| *given == &literal[..])?;
            }
            Token::Wildcard(number) => {
                let one = given.next().filter(|given| *given != TOKEN_TAIL)?;
                if captured.len() <= *number {
                    captured.resize(*number + 1, TOKEN_ANY);
                }
                captured[*number] = one;
            }
            Token::Tail => {
                tail.push(given.next()?);
                tail.extend(given.by_ref());
            }
        }
    }
    if given.next().is_some() {
        return None;
    }
    let mut texts: Vec<&[u8]> = Vec::with_capacity(to.len() + tail.len());
    for token in to {
        match token {
            Token::Literal(literal) => texts.push(literal),
            Token::Wildcard(number) => texts.push(captured.get(*number)?),
            Token::Tail => texts.append(&mut tail),
        }
    }
    Some(texts.join(&TOKEN_SEPARATOR))
}

/// The pattern of what both match.
fn overlap(wanted: &[u8], tokens: &[Token]) -> Option<Vec<u8>> {
    let mut common: Vec<&[u8]> = Vec::new();
    let rest;
    let mut given = subject::tokens(wanted);
    for (index, token) in tokens.iter().enumerate() {
        let one = given.next()?;
        if one == TOKEN_TAIL {
            rest = pattern(&tokens[index..]);
            common.push(&rest);
            return Some(common.join(&TOKEN_SEPARATOR));
        }
        match token {
            Token::Literal(literal) if one == TOKEN_ANY || one == &literal[..] => common.push(literal),
            Token::Literal(_) => return None,
            Token::Wildcard(_) => common.push(one),
            Token::Tail => {
                common.push(one);
                common.extend(given.by_ref());
            }
        }
    }
    given.next().is_none().then(|| common.join(&TOKEN_SEPARATOR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mapping(exported: &str, imported: &str) -> SubjectMapping {
        SubjectMapping::new(exported, imported).unwrap()
    }

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn subjects_have_counterparts() {
        for (exported, imported, there, here) in [
            ("foo", "foo", "foo", "foo"),
            ("foo", "a.foo", "foo", "a.foo"),
            ("foo.>", "p.foo.>", "foo.x.y", "p.foo.x.y"),
            ("foo.*.bar.*", "$2.x.$1", "foo.1.bar.2", "2.x.1"),
            ("foo.*", "{{wildcard(1)}}", "foo.x", "x"),
            ("foo.*.*", "*.a.*", "foo.1.2", "1.a.2"),
            ("*.>", "x.$1.>", "a.b.c", "x.a.b.c"),
        ] {
            let mapping = mapping(exported, imported);
            assert_eq!(text(mapping.import(there.as_bytes())).as_deref(), Some(here));
            assert_eq!(text(mapping.export(here.as_bytes())).as_deref(), Some(there));
        }
        assert_eq!(mapping("foo.*", "bar.*").import(b"foo.a.b"), None);
        assert_eq!(mapping("foo.>", "bar.>").import(b"foo"), None);
    }

    #[test]
    fn what_has_no_counterparts_is_refused() {
        for (exported, imported) in [
            ("foo..bar", "foo"),
            ("foo", "foo."),
            ("foo.*", "foo"),
            ("foo", "foo.*"),
            ("foo.*", "$1.$1"),
            ("foo.*", "$2"),
            ("foo.*", "$0"),
            ("foo.>", "foo"),
            ("foo.*", "foo.>"),
        ] {
            assert!(
                SubjectMapping::new(exported, imported).is_err(),
                "{exported} {imported}"
            );
        }
    }

    #[test]
    fn subscriptions_are_cut_to_what_is_imported() {
        for (exported, imported, wanted, expected) in [
            ("foo.>", "p.foo.>", ">", Some("foo.>")),
            ("foo.>", "p.foo.>", "p.>", Some("foo.>")),
            ("foo.>", "p.foo.>", "p.*.x", Some("foo.x")),
            ("foo.>", "p.foo.>", "q.>", None),
            ("foo.>", "p.foo.>", "p.foo", None),
            ("foo.*.*", "x.$2.$1", "x.a.>", Some("foo.*.a")),
            ("foo.*.*", "x.$2.$1", "*.a.b", Some("foo.b.a")),
            ("foo", "bar", "*", Some("foo")),
            ("foo", "bar", "foo", None),
            ("foo.>", "foo.>", "foo.*.x.>", Some("foo.*.x.>")),
        ] {
            let found = text(mapping(exported, imported).export_pattern(wanted.as_bytes()));
            assert_eq!(found.as_deref(), expected, "{exported} as {imported}, {wanted}");
        }
    }

    fn token() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just("*")]
    }

    fn texts(tail: bool) -> impl Strategy<Value = String> {
        (prop::collection::vec(token(), 1..4), any::<bool>()).prop_map(move |(tokens, with_tail)| {
            let mut text = tokens.join(".");
            if tail && with_tail {
                text.push_str(".>");
            }
            text
        })
    }

    proptest! {
        /// A message reaches a subscription through the exporter's pattern exactly when its counterpart is wanted.
        #[test]
        fn patterns_and_subjects_agree(
            exported in texts(true),
            prefix in prop_oneof![Just(""), Just("a."), Just("p.q.")],
            wanted in texts(true),
            subject in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..6),
        ) {
            let mapping = SubjectMapping::new(&exported, &format!("{prefix}{exported}")).unwrap();
            let subject = subject.join(".");
            let is_wanted = mapping
                .import(subject.as_bytes())
                .is_some_and(|here| subject::matches(wanted.as_bytes(), &here));
            let pattern = mapping.export_pattern(wanted.as_bytes());
            let is_matched = pattern.is_some_and(|pattern| subject::matches(&pattern, subject.as_bytes()));
            prop_assert_eq!(is_wanted, is_matched);
        }
    }
}
