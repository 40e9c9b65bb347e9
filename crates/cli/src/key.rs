//! The key with which a server encrypts its store.

use std::path::Path;

use crate::failure::{Failure, Outcome};

/// The original's own variable; it counts when no file is named.
pub(crate) const VARIABLE: &str = "NATS_STREAMING_ENCRYPTION_KEY";

/// What to do when it is needed and not there.
pub(crate) fn required(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "the store in {directory} is encrypted: name the file with its key (--encryption-key-file), or set {VARIABLE}"
    )
}

/// The key in a file, without the ends of its lines, or in the variable; none when neither is there.
pub(crate) fn read(file: Option<&Path>) -> Outcome<Option<Vec<u8>>> {
    if let Some(path) = file {
        let mut text = std::fs::read(path)
            .map_err(|error| Failure::failed(format!("cannot read the key in {}: {error}", path.display())))?;
        let line_end = text
            .iter()
            .rposition(|byte| !b"\r\n".contains(byte))
            .map_or(0, |last| last + 1);
        if line_end == 0 {
            return Err(Failure::failed(format!("{} holds no key", path.display())));
        }
        text.truncate(line_end);
        return Ok(Some(text));
    }
    let variable = std::env::var_os(VARIABLE).filter(|key| !key.is_empty());
    Ok(variable.map(|key| key.as_encoded_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_without_their_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "mykey\r\n").expect("write");
        assert_eq!(read(Some(file.path())).expect("a key").as_deref(), Some(&b"mykey"[..]));
        std::fs::write(file.path(), "\n").expect("write");
        assert!(read(Some(file.path())).is_err());
        assert!(read(Some(Path::new("/nowhere"))).is_err());
    }
}
