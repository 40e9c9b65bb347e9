//! What a client may publish and subscribe (core specification §3.3): pure rules over subjects.

use std::time::Duration;

use seaway_nats_protocol::subject;

/// Rules of one user, as an operator wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Subjects of publications.
    pub publish: SubjectRules,
    /// Subjects of subscriptions; an entry may be `subject queue`.
    pub subscribe: SubjectRules,
    /// Temporary rights to answer what was delivered. With it and without `publish.allow`, nothing else may be published.
    pub responses: Option<ResponseRules>,
}

/// Patterns of one side. A denial beats everything; an empty list says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectRules {
    /// What is allowed; empty means everything.
    pub allow: Vec<String>,
    /// What is denied.
    pub deny: Vec<String>,
}

/// The right to publish to the reply subject of each delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseRules {
    /// Answers per message, 1 by default; `None` is unlimited.
    pub max_messages: Option<u64>,
    /// Time from the delivery, two minutes by default; `None` is unlimited.
    pub expires: Option<Duration>,
}

impl Default for ResponseRules {
    fn default() -> Self {
        Self {
            max_messages: Some(1),
            expires: Some(Duration::from_secs(120)),
        }
    }
}

/// A text in a permission that is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subject {0:?} is not a valid subject")]
pub struct InvalidRule(pub String);

/// One pattern, perhaps for one queue group only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    subject: Box<[u8]>,
    queue: Option<Box<[u8]>>,
}

/// Rules in the form in which they are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `None` lets everything be published, `Some` what the patterns match.
    publish_allow: Option<Vec<Rule>>,
    publish_deny: Vec<Rule>,
    subscribe_allow: Vec<Rule>,
    subscribe_deny: Vec<Rule>,
    pub(crate) responses: Option<ResponseRules>,
}

impl Rules {
    pub(crate) fn new(permissions: &Permissions) -> Result<Self, InvalidRule> {
        let publish_allow = publish_rules(&permissions.publish.allow)?;
        let restricted = !publish_allow.is_empty() || permissions.responses.is_some();
        Ok(Self {
            publish_allow: restricted.then_some(publish_allow),
            publish_deny: publish_rules(&permissions.publish.deny)?,
            subscribe_allow: subscribe_rules(&permissions.subscribe.allow)?,
            subscribe_deny: subscribe_rules(&permissions.subscribe.deny)?,
            responses: permissions.responses,
        })
    }

    /// Whether some publications are refused.
    pub(crate) fn restricts_publishing(&self) -> bool {
        self.publish_allow.is_some() || !self.publish_deny.is_empty()
    }

    /// Whether some deliveries to permitted subscriptions are withheld.
    pub(crate) fn filters_deliveries(&self) -> bool {
        !self.subscribe_deny.is_empty()
    }

    /// Whether a message may be published to `text`; rights to answer are not looked at here.
    pub(crate) fn may_publish(&self, text: &[u8]) -> bool {
        let allowed = match &self.publish_allow {
            None => true,
            Some(rules) => rules.iter().any(|rule| subject::matches(&rule.subject, text)),
        };
        allowed
            && !self
                .publish_deny
                .iter()
                .any(|rule| subject::matches(&rule.subject, text))
    }

    /// Whether `text` may be published to and an allowed pattern begins with its first token, in letters: a wildcard
    /// there, or no pattern at all, was not written with that part of the subjects in mind.
    pub(crate) fn names(&self, text: &[u8]) -> bool {
        let allowed = self.publish_allow.iter().flatten();
        let mut naming = allowed.filter(|rule| first_token(&rule.subject) == first_token(text));
        naming.any(|rule| subject::matches(&rule.subject, text)) && self.may_publish(text)
    }

    /// Whether `pattern` may be subscribed to, in `queue` if given. What only overlaps a denial is permitted; see
    /// [`Rules::withholds`].
    pub(crate) fn may_subscribe(&self, pattern: &[u8], queue: Option<&[u8]>) -> bool {
        let denied = self
            .subscribe_deny
            .iter()
            .any(|rule| subject::is_subset(pattern, &rule.subject) && rule.concerns(queue));
        if denied {
            return false;
        }
        if self.subscribe_allow.is_empty() {
            return true;
        }
        let mut plain = false;
        let mut grouped = false;
        for rule in &self.subscribe_allow {
            if !subject::is_subset(pattern, &rule.subject) {
                continue;
            }
            match (&rule.queue, queue) {
                (None, _) => plain = true,
                (Some(_), None) => {}
                (Some(_), Some(_)) if rule.concerns(queue) => return true,
                (Some(_), Some(_)) => grouped = true,
            }
        }
        // An entry without a queue permits every queue, unless others name the queues.
        plain && !grouped
    }

    /// Whether a message on `text` is kept from a subscription in `queue`, because a denial matches it.
    pub(crate) fn withholds(&self, text: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe_deny
            .iter()
            .any(|rule| rule.concerns(queue) && subject::matches(&rule.subject, text))
    }
}

impl Rule {
    /// Whether the rule is about subscriptions in `queue`: one without a queue is about all.
    fn concerns(&self, queue: Option<&[u8]>) -> bool {
        match (&self.queue, queue) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(rule), Some(queue)) => **rule == *queue || subject::matches(rule, queue),
        }
    }
}

fn first_token(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'.').next().unwrap_or_default()
}

fn publish_rules(texts: &[String]) -> Result<Vec<Rule>, InvalidRule> {
    texts.iter().map(|text| rule(text, None, text)).collect()
}

fn subscribe_rules(texts: &[String]) -> Result<Vec<Rule>, InvalidRule> {
    texts
        .iter()
        .map(|text| {
            let mut words = text.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(subject), queue, None) => rule(subject, queue, text),
                _ => Err(InvalidRule(text.clone())),
            }
        })
        .collect()
}

fn rule(subject: &str, queue: Option<&str>, whole: &str) -> Result<Rule, InvalidRule> {
    if !subject::is_pattern(subject.as_bytes()) {
        return Err(InvalidRule(whole.to_owned()));
    }
    Ok(Rule {
        subject: subject.as_bytes().into(),
        queue: queue.map(|queue| queue.as_bytes().into()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn publish(allow: &[&str], deny: &[&str]) -> Rules {
        Rules::new(&Permissions {
            publish: SubjectRules {
                allow: list(allow),
                deny: list(deny),
            },
            ..Permissions::default()
        })
        .unwrap()
    }

    fn subscribe(allow: &[&str], deny: &[&str]) -> Rules {
        Rules::new(&Permissions {
            subscribe: SubjectRules {
                allow: list(allow),
                deny: list(deny),
            },
            ..Permissions::default()
        })
        .unwrap()
    }

    #[test]
    fn publishing() {
        let cases: &[(&[&str], &[&str], &str, bool)] = &[
            (&[], &[], "foo", true),
            (&["foo"], &[], "foo", true),
            (&["foo"], &[], "bar", false),
            (&["foo.*", "bar.>"], &[], "foo.a", true),
            (&["foo.*", "bar.>"], &[], "foo.a.b", false),
            (&["foo.*", "bar.>"], &[], "bar.a.b", true),
            (&[], &["foo"], "foo", false),
            (&[], &["foo"], "bar", true),
            (&[], &[">"], "bar", false),
            (&["foo.>"], &["foo.secret"], "foo.secret", false),
            (&["foo.>"], &["foo.secret"], "foo.open", true),
            (&["foo"], &[], "foo..bar", false),
        ];
        for (allow, deny, subject, expected) in cases {
            let rules = publish(allow, deny);
            assert_eq!(
                rules.may_publish(subject.as_bytes()),
                *expected,
                "{allow:?} {deny:?} {subject}"
            );
        }
        assert!(!publish(&[], &[]).restricts_publishing());
    }

    /// A right that has to be given by name does not come with a wildcard.
    #[test]
    fn naming() {
        let cases: &[(&[&str], &[&str], bool)] = &[
            (&[], &[], false),
            (&[">"], &[], false),
            (&["*.change.>"], &[], false),
            (&["$S.>"], &[], true),
            (&["$S.*.purge"], &[], true),
            (&[">", "$S.change.purge"], &[], true),
            (&["$S.read.>"], &[], false),
            (&[">", "$S.read.>"], &[], false),
            (&["$S.>"], &["$S.change.>"], false),
            (&["$S.>"], &["*.*.purge"], false),
            (&["$Sx.>", "$S"], &[], false),
        ];
        for (allow, deny, expected) in cases {
            let rules = publish(allow, deny);
            assert_eq!(rules.names(b"$S.change.purge"), *expected, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn responses_without_allow_forbid_everything_else() {
        let mut permissions = Permissions {
            responses: Some(ResponseRules::default()),
            ..Permissions::default()
        };
        let rules = Rules::new(&permissions).unwrap();
        assert!(rules.restricts_publishing() && !rules.may_publish(b"foo"));
        permissions.publish.allow = list(&["foo"]);
        let rules = Rules::new(&permissions).unwrap();
        assert!(rules.may_publish(b"foo") && !rules.may_publish(b"bar"));
    }

    /// Allowed, denied, pattern, queue, whether it may be subscribed to.
    type SubscribeCase = (
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
        Option<&'static str>,
        bool,
    );

    #[test]
    fn subscribing() {
        let cases: &[SubscribeCase] = &[
            (&[], &[], ">", None, true),
            (&["foo"], &[], "foo", None, true),
            (&["foo"], &[], "foo", Some("q"), true),
            (&["foo"], &[], ">", None, false),
            (&["foo.*"], &[], "foo.*", None, true),
            (&["foo.*"], &[], "foo.>", None, false),
            (&["foo.>"], &[], "foo.*.bar", None, true),
            (&["foo"], &[], "foo..bar", None, false),
            // Queues.
            (&["foo q"], &[], "foo", None, false),
            (&["foo q"], &[], "foo", Some("q"), true),
            (&["foo q"], &[], "foo", Some("r"), false),
            (&["bar", "bar v1"], &[], "bar", Some("v1"), true),
            (&["bar", "bar v1"], &[], "bar", Some("v2"), false),
            (&["bar", "bar v1"], &[], "bar", None, true),
            (&["bar v2.*"], &[], "bar", Some("v2.x"), true),
            (&["bar v2.*"], &[], "bar", Some("v2.x.y"), false),
            (&["bar v2.>"], &[], "bar", Some("v2.x.y"), true),
            // Denials.
            (&[], &["foo"], "foo", None, false),
            (&[], &["foo"], "foo", Some("q"), false),
            (&[], &["foo.>"], "foo.bar.*", None, false),
            (&[], &["foo.secret"], "foo.*", None, true),
            (&[], &["foo q"], "foo", None, true),
            (&[], &["foo q"], "foo", Some("q"), false),
            (&[], &["foo q"], "foo", Some("r"), true),
            (&["foo"], &["foo"], "foo", None, false),
        ];
        for (allow, deny, pattern, queue, expected) in cases {
            let rules = subscribe(allow, deny);
            assert_eq!(
                rules.may_subscribe(pattern.as_bytes(), queue.map(str::as_bytes)),
                *expected,
                "{allow:?} {deny:?} {pattern} {queue:?}"
            );
        }
    }

    #[test]
    fn denials_withhold_what_a_wider_subscription_would_get() {
        let rules = subscribe(&[], &["foo.secret", "bar.* q"]);
        assert!(rules.filters_deliveries());
        assert!(rules.withholds(b"foo.secret", None) && rules.withholds(b"foo.secret", Some(b"q")));
        assert!(!rules.withholds(b"foo.open", None));
        assert!(rules.withholds(b"bar.a", Some(b"q")) && !rules.withholds(b"bar.a", None));
        assert!(!subscribe(&["foo"], &[]).filters_deliveries());
    }

    #[test]
    fn invalid_subjects_are_named() {
        for bad in ["foo..bar", "", "foo.>.bar", "a b c"] {
            let permissions = Permissions {
                subscribe: SubjectRules {
                    allow: list(&[bad]),
                    deny: Vec::new(),
                },
                ..Permissions::default()
            };
            assert_eq!(Rules::new(&permissions), Err(InvalidRule(bad.to_owned())), "{bad}");
        }
        assert_eq!(
            InvalidRule("foo..bar".into()).to_string(),
            "subject \"foo..bar\" is not a valid subject"
        );
    }

    proptest! {
        /// What may be subscribed to and is not withheld is neither outside of the allowed nor denied.
        #[test]
        fn nothing_denied_is_received(
            allow in proptest::collection::vec("[ab*>](\\.[ab*]){0,2}", 0..3),
            deny in proptest::collection::vec("[ab*](\\.[ab*>]){0,1}", 0..3),
            pattern in "[ab*](\\.[ab*]){0,2}",
            text in "[ab](\\.[ab]){0,2}",
        ) {
            let rules = SubjectRules { allow: allow.clone(), deny: deny.clone() };
            let Ok(rules) = Rules::new(&Permissions { subscribe: rules, ..Permissions::default() }) else {
                return Ok(());
            };
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            if rules.may_subscribe(pattern, None) && subject::matches(pattern, text) && !rules.withholds(text, None) {
                prop_assert!(!deny.iter().any(|rule| subject::matches(rule.as_bytes(), text)));
                prop_assert!(allow.is_empty() || allow.iter().any(|rule| subject::matches(rule.as_bytes(), text)));
            }
        }
    }
}
