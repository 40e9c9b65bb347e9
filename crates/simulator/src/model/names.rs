//! Which names are valid (`streaming-protocol.md` §4), written down a second time.

/// Client IDs: letters, digits, `-` and `_`.
pub(crate) fn is_client_id(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Channels: tokens that are not empty, and no wildcard or slash anywhere.
pub(crate) fn is_channel(name: &str) -> bool {
    !name.contains(['/', '*', '>']) && name.split('.').all(|token| !token.is_empty())
}

/// What a queue group is called: a durable one carries its durable name before a colon.
pub(crate) fn group(durable: &str, queue: &str) -> String {
    if durable.is_empty() {
        queue.to_owned()
    } else {
        format!("{durable}:{queue}")
    }
}

/// What a name is unique by.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Whether a pattern of the limits matches a name, or another pattern taken as a name (§6.2).
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.split('.'), name.split('.'));
    loop {
        match (pattern.next(), name.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(other)) if other != ">" => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

/// How wide a pattern is, the widest first: at each token `>`, then `*`, then a name.
pub(crate) fn width(pattern: &str) -> Vec<u8> {
    let kind = |token| match token {
        ">" => 0,
        "*" => 1,
        _ => 2,
    };
    pattern.split('.').map(kind).collect()
}
