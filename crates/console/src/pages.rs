//! The files of the console: they are part of the program.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::answer::{Answered, Refused};

struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        const FILES: &[File] = &[$(File {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("../assets/", $name)),
        }),*];
    };
}

files! {
    "index.html": HTML,
    "console.css": CSS,
    "icon.svg": SVG,
    "main.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "server.js": JAVASCRIPT,
    "words.js": JAVASCRIPT,
    "charts.js": JAVASCRIPT,
    "tables.js": JAVASCRIPT,
    "dialogs.js": JAVASCRIPT,
    "overview.js": JAVASCRIPT,
    "channels.js": JAVASCRIPT,
    "channel.js": JAVASCRIPT,
    "messages.js": JAVASCRIPT,
    "durables.js": JAVASCRIPT,
    "subscription.js": JAVASCRIPT,
    "clients.js": JAVASCRIPT,
    "connections.js": JAVASCRIPT,
    "members.js": JAVASCRIPT,
    "audit.js": JAVASCRIPT,
    "login.js": JAVASCRIPT,
}

/// Files change with the program only, and may with each start: a browser asks whether its copy is still right.
fn version() -> HeaderValue {
    const LENGTHS: usize = {
        let (mut sum, mut index) = (0, 0);
        while index < FILES.len() {
            sum = (sum * 31 + FILES[index].text.len()) % 1_000_000_007;
            index += 1;
        }
        sum
    };
    let tag = format!("\"{}-{LENGTHS}\"", env!("CARGO_PKG_VERSION"));
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"console\""))
}

fn send(file: &File, headers: &HeaderMap) -> Response<Body> {
    let version = version();
    let is_known = headers.get(header::IF_NONE_MATCH) == Some(&version);
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(file.text) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.insert(header::ETAG, version);
    response
}

pub(crate) async fn index(headers: HeaderMap) -> Response<Body> {
    send(&FILES[0], &headers)
}

pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Answered {
    let file = FILES.iter().find(|file| file.name == name);
    file.map(|file| send(file, &headers))
        .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "the console has no such page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small enough for a slow line, and nothing in them that the policy for the pages forbids.
    #[test]
    fn files_are_small_and_load_nothing_from_elsewhere() {
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < 200_000, "{bytes} bytes");
        for file in FILES {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=\"",
                "onclick=",
                "https://",
            ] {
                assert!(!file.text.contains(forbidden), "{} has {forbidden}", file.name);
            }
        }
    }

    /// Each module that another one imports is there.
    #[test]
    fn imports_lead_somewhere() {
        for file in FILES {
            for part in file.text.split("from \"./").skip(1) {
                let name = part.split('"').next().unwrap_or_default();
                assert!(
                    FILES.iter().any(|file| file.name == name),
                    "{} imports {name}",
                    file.name
                );
            }
        }
    }
}
