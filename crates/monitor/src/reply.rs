//! An answer, whatever carries it.

use serde::Serialize;

use crate::json;

/// Kind of an answer's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// No content.
    Empty,
    Json,
    JavaScript,
    Html,
    Text,
    /// The text format of Prometheus.
    Metrics,
}

/// What an asker prefers where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Says nothing about it, or wants JSON.
    Any,
    /// Wants plain text.
    Text,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content: Content,
    pub(crate) body: String,
}

impl Reply {
    /// JSON over several lines.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Reply {
            status: 200,
            content: Content::Json,
            body: json::pretty(value),
        }
    }

    /// JSON in one line.
    pub(crate) fn compact_json(value: &impl Serialize) -> Self {
        Reply {
            status: 200,
            content: Content::Json,
            body: json::compact(value),
        }
    }

    pub(crate) fn not_found(text: String) -> Self {
        Reply {
            status: 404,
            content: Content::Text,
            body: text,
        }
    }

    pub(crate) fn bad_request(text: String) -> Self {
        Reply {
            status: 400,
            content: Content::Text,
            body: text,
        }
    }

    /// In place of an answer of `len` bytes.
    pub(crate) fn too_much(len: usize) -> Self {
        let text = format!("no room for an answer of {len} bytes: ask for less with limit=, or later\n");
        Reply::text(text).status(503)
    }

    /// The same answer with another status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn text(text: String) -> Self {
        Reply {
            status: 200,
            content: Content::Text,
            body: text,
        }
    }

    pub(crate) fn html(page: String) -> Self {
        Reply {
            status: 200,
            content: Content::Html,
            body: page,
        }
    }

    /// JSON as the argument of a call (streaming specification §8.1).
    pub(crate) fn called(mut self, callback: Option<String>) -> Self {
        if let (Content::Json, Some(callback)) = (self.content, callback) {
            self.body = format!("{callback}({})", self.body);
            self.content = Content::JavaScript;
        }
        self
    }
}
