//! Parameters of requests (streaming specification §8.1, core specification §6.3).

use crate::limits::{CALLBACK_LEN_MAX, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, PARAMETERS_MAX};
use crate::snapshot::{Detail, PageRequest};

/// Parameters of a request; names and values are bytes, because names of channels are.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Query {
    /// Reads `a=b&c=d`; parameters with a broken escape are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
        let decode = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(name)?, unescape(value)?))
        };
        Query {
            pairs: pairs.filter_map(decode).collect(),
        }
    }

    /// Value of a parameter, the first of several; empty ones count as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.pairs.iter().find(|(key, _)| key == name.as_bytes())?;
        Some(value.as_slice()).filter(|value| !value.is_empty())
    }

    /// Value as text, with what is not UTF-8 replaced.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All values of a parameter as text.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let values = self
            .pairs
            .iter()
            .filter(|(key, value)| key == name.as_bytes() && !value.is_empty());
        values
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// Value as an integer; anything else counts as absent.
    fn integer(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.get(name)?).ok()?.parse().ok()
    }

    /// Part of a list as the streaming endpoints read it: what is invalid gets the default.
    pub(crate) fn page(&self) -> PageRequest {
        self.page_of(LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX)
    }

    /// The same with other bounds.
    pub(crate) fn page_of(&self, limit_default: usize, limit_max: usize) -> PageRequest {
        PageRequest {
            offset: self
                .integer("offset")
                .and_then(|offset| usize::try_from(offset).ok())
                .unwrap_or(0),
            limit: match usize::try_from(self.integer("limit").unwrap_or(0)) {
                Ok(limit) if limit > 0 => limit.min(limit_max),
                _ => limit_default,
            },
            detail: self.detail(),
        }
    }

    /// `subs=1`, with the integer 1 exactly.
    pub(crate) fn detail(&self) -> Detail {
        if self.integer("subs") == Some(1) {
            Detail::Subscriptions
        } else {
            Detail::Counts
        }
    }

    /// Name of a JSONP callback: an identifier, possibly with dots.
    ///
    /// # Errors
    /// When it is anything else: it would be code that a request puts into the answer.
    pub(crate) fn callback(&self) -> Result<Option<String>, String> {
        let Some(name) = self.get("callback") else {
            return Ok(None);
        };
        let identifier = |part: &[u8]| {
            let letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$');
            part.first().is_some_and(|&first| letter(first)) && part.iter().all(|&b| letter(b) || b.is_ascii_digit())
        };
        if name.len() > CALLBACK_LEN_MAX || !name.split(|&byte| byte == b'.').all(identifier) {
            return Err("invalid callback, must be an identifier".to_owned());
        }
        Ok(Some(String::from_utf8_lossy(name).into_owned()))
    }

    /// An integer as the broker's endpoints read it; 0 when absent.
    ///
    /// # Errors
    /// The text of core specification §6.1.
    pub(crate) fn broker_integer(&self, name: &str) -> Result<i64, String> {
        match self.text(name) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| {
                format!("Error decoding int for '{name}': strconv.Atoi: parsing {text:?}: invalid syntax")
            }),
        }
    }

    /// A truth value as the broker's endpoints read it; false when absent.
    ///
    /// # Errors
    /// The text of core specification §6.1.
    pub(crate) fn broker_bool(&self, name: &str) -> Result<bool, String> {
        match self.text(name).as_deref() {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(text) => Err(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {text:?}: invalid syntax"
            )),
        }
    }
}

/// The limit in use for the one asked for.
pub(crate) fn effective_limit(limit: i64) -> usize {
    match usize::try_from(limit) {
        Ok(limit) if limit > 0 => limit.min(LIST_LIMIT_MAX),
        _ => LIST_LIMIT_DEFAULT,
    }
}

/// Undoes `%xx` and `+`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let high = digit(bytes.next()?)?;
                let low = digit(bytes.next()?)?;
                (high << 4 | low) as u8
            }
            b'+' => b' ',
            _ => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_unescaped_and_the_first_counts() {
        let query = Query::parse("channel=a%2eb+%FF&channel=x&empty=&bad=%g1&&flag&a%3d=1");
        assert_eq!(query.get("channel"), Some(&b"a.b \xff"[..]));
        for absent in ["empty", "bad", "flag", "none"] {
            assert_eq!(query.get(absent), None, "{absent}");
        }
        assert_eq!(query.get("a="), Some(&b"1"[..]));
    }

    #[test]
    fn paging_of_section_8_1() {
        for (text, offset, limit) in [
            ("", 0, 1024),
            ("offset=10&limit=5", 10, 5),
            ("offset=-1&limit=-1", 0, 1024),
            ("offset=x&limit=0", 0, 1024),
            ("limit=99999999999999999999&offset=99999999999999999999", 0, 1024),
            ("limit=9999999999", 0, LIST_LIMIT_MAX),
        ] {
            let page = Query::parse(text).page();
            assert_eq!((page.offset, page.limit), (offset, limit), "{text}");
        }
        for (text, detail) in [
            ("subs=1", Detail::Subscriptions),
            ("subs=true", Detail::Counts),
            ("subs=2", Detail::Counts),
            ("", Detail::Counts),
        ] {
            assert_eq!(Query::parse(text).detail(), detail, "{text}");
        }
    }

    #[test]
    fn callbacks_are_identifiers() {
        for name in ["f", "$", "jQuery.cb_1", "_x"] {
            assert_eq!(
                Query::parse(&format!("callback={name}")).callback(),
                Ok(Some(name.to_owned()))
            );
        }
        for name in ["1f", "f(", "f.", ".f", "a b", "alert%281%29//", "é", &"f".repeat(65)] {
            assert!(Query::parse(&format!("callback={name}")).callback().is_err(), "{name}");
        }
        assert_eq!(Query::parse("callback=").callback(), Ok(None));
    }

    proptest! {
        #[test]
        fn arbitrary_queries_are_bounded_and_do_not_panic(text in ".{0,200}") {
            let query = Query::parse(&text);
            prop_assert!(query.pairs.len() <= PARAMETERS_MAX);
            prop_assert!((1..=LIST_LIMIT_MAX).contains(&query.page().limit));
            let _ = (query.callback(), query.broker_integer("limit"), query.broker_bool("auth"));
        }
    }
}
