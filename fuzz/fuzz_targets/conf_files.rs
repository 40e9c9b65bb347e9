//! Arbitrary text as a configuration file: it is read or refused with a position, and never recurses or grows without bound.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use seaway_config::Surroundings;
use seaway_config::conf::parse_text;

/// Variables that refer to each other, and one file that can be included.
struct Small;

impl Surroundings for Small {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "a" => Some("[1, $b]".to_owned()),
            "b" => Some("$a".to_owned()),
            "c" => Some("5MB".to_owned()),
            _ => None,
        }
    }

    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("i") => Ok(b"x: {y: [1, 2]}\ninclude j\n".to_vec()),
            Some("j") => Ok(b"z: $c".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|text: &str| {
    if let Err(error) = parse_text(Path::new("f"), text, &Small) {
        let position = error.position.expect("a text has positions");
        assert!(position.line >= 1 && position.column >= 1);
    }
});
