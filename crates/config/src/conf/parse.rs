//! From text to tree: keys, maps, arrays, variables and includes (core specification §5.1, §5.2).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bare::{classify, unescape};
use super::scan::Source;
use super::{ConfError, Data, Map, Node, Pair, shown};
use crate::limits::{
    FILE_BYTES_MAX, INCLUDE_DEPTH_MAX, INCLUDES_MAX, NESTING_MAX, NODES_MAX, TOTAL_BYTES_MAX, VARIABLE_DEPTH_MAX,
};
use crate::surroundings::Surroundings;

type Result<T> = std::result::Result<T, ConfError>;

/// Reads a file and everything it includes.
pub fn parse_file(path: &Path, surroundings: &dyn Surroundings) -> Result<Map> {
    let mut parser = Parser::new(surroundings);
    parser.files.push(path.to_owned());
    let text = parser.read(path).map_err(|why| ConfError {
        position: None,
        text: format!("cannot read the configuration file {}: {why}", path.display()),
    })?;
    parser.document(path, &text)
}

/// Reads a text as if it were the content of the file at `path`, from whose folder includes start.
pub fn parse_text(path: &Path, text: &str, surroundings: &dyn Surroundings) -> Result<Map> {
    let mut parser = Parser::new(surroundings);
    parser.files.push(path.to_owned());
    parser.document(path, text)
}

/// What surrounds a pair or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file itself.
    Top,
    /// The braces around a whole file; their end may be missing.
    Wrapper,
    /// A map.
    Map,
}

struct Parser<'s> {
    surroundings: &'s dyn Surroundings,
    /// Files that include each other, from the first to the present one.
    files: Vec<PathBuf>,
    /// Maps that surround the present place in the present file, from the outermost on.
    scopes: Vec<Map>,
    /// Environment variables whose values are being read.
    resolving: Vec<String>,
    depth: usize,
    includes: usize,
    nodes: usize,
    bytes: usize,
}

impl<'s> Parser<'s> {
    fn new(surroundings: &'s dyn Surroundings) -> Self {
        Parser {
            surroundings,
            files: Vec::new(),
            scopes: Vec::new(),
            resolving: Vec::new(),
            depth: 0,
            includes: 0,
            nodes: 0,
            bytes: 0,
        }
    }

    fn read(&mut self, path: &Path) -> std::result::Result<String, String> {
        let content = self.surroundings.read(path).map_err(|error| {
            let text = error.to_string();
            // The words of the original, which scripts look for.
            match error.kind() {
                std::io::ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
                _ => format!("open {}: {text}", path.display()),
            }
        })?;
        if content.len() > FILE_BYTES_MAX {
            return Err(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display()));
        }
        self.bytes += content.len();
        if self.bytes > TOTAL_BYTES_MAX {
            return Err(format!("all files together have more than {TOTAL_BYTES_MAX} bytes"));
        }
        let text = String::from_utf8(content).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
            format!("line {line} is not valid UTF-8")
        })?;
        // Editors of some systems put this mark in front; it would be taken for the beginning of the first key.
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// A whole file, with or without braces around it.
    fn document(&mut self, path: &Path, text: &str) -> Result<Map> {
        let source = &mut Source::new(Arc::from(path.to_string_lossy()), text);
        source.skip_filler();
        let place = if source.eat(b'{') { Place::Wrapper } else { Place::Top };
        let outer_scopes = std::mem::take(&mut self.scopes);
        let map = self.pairs(source, place, 0);
        self.scopes = outer_scopes;
        let map = map?;
        loop {
            source.skip_filler();
            if !source.eat(b'}') {
                break;
            }
        }
        match source.peek() {
            None => Ok(map),
            Some(_) => {
                let found = source.found();
                Err(source.error(format!("nothing may follow the closing '}}', found {found}")))
            }
        }
    }

    /// Pairs up to the closing brace, which is passed, or the end of the file.
    fn pairs(&mut self, source: &mut Source<'_>, place: Place, opened_at: usize) -> Result<Map> {
        self.scopes.push(Map::default());
        let result = self.pairs_in_scope(source, place, opened_at);
        let map = self.scopes.pop().unwrap_or_default();
        result.map(|()| map)
    }

    fn pairs_in_scope(&mut self, source: &mut Source<'_>, place: Place, opened_at: usize) -> Result<()> {
        loop {
            source.skip_filler();
            match source.peek() {
                None if place == Place::Map => {
                    return Err(source.error_at(opened_at, "this '{' is never closed"));
                }
                None => return Ok(()),
                Some(b'}') => {
                    source.at += 1;
                    return Ok(());
                }
                Some(b',' | b';' | b'=' | b':' | b']') => {
                    let found = source.found();
                    return Err(source.error(format!("expected a key, found {found}")));
                }
                Some(_) => self.pair(source, place)?,
            }
        }
    }

    fn pair(&mut self, source: &mut Source<'_>, place: Place) -> Result<()> {
        let begin = source.at;
        let quote = source.peek().filter(|byte| matches!(byte, b'"' | b'\''));
        let key = match quote {
            Some(quote) => {
                source.at += 1;
                let key = source.take_until(|byte| byte == quote || matches!(byte, b'\n' | b'\r'));
                if !source.eat(quote) {
                    return Err(source.error_at(begin, "the quotes around this key are never closed"));
                }
                key
            }
            None => source.take_until(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'=' | b':')),
        };
        if key.is_empty() {
            return Err(source.error_at(begin, "a key cannot be empty"));
        }
        let position = source.position_of(begin);
        source.skip_blanks();
        if quote.is_none() && key.eq_ignore_ascii_case("include") && !matches!(source.peek(), Some(b'=' | b':')) {
            self.include(source, begin)?;
            return self.end_of_pair(source, key);
        }
        if source.is_at_line_end() {
            source.skip_filler();
        }
        if source.eat(b'=') || source.eat(b':') {
            source.skip_blanks();
            if source.is_at_line_end() {
                if place == Place::Top {
                    return Err(source.error(format!("Expected value but found new line after key {}", shown(key))));
                }
                source.skip_filler();
            }
        }
        if matches!(source.peek(), None | Some(b'}' | b']' | b',' | b';')) {
            return Err(source.error_at(begin, format!("key {} has no value", shown(key))));
        }
        let node = self.value(source)?;
        let pair = Pair {
            key: key.to_owned(),
            position,
            node,
            is_used: false,
        };
        self.scopes
            .last_mut()
            .expect("pairs are read within a scope")
            .insert(pair);
        self.end_of_pair(source, key)
    }

    /// A pair ends with the line, a comma, a semicolon, the map or the file.
    fn end_of_pair(&mut self, source: &mut Source<'_>, key: &str) -> Result<()> {
        source.skip_blanks();
        let ends_line = source.is_at_line_end() || source.is_at_comment();
        if ends_line {
            source.skip_filler();
        }
        if source.eat(b',') || source.eat(b';') || ends_line || matches!(source.peek(), None | Some(b'}')) {
            return Ok(());
        }
        let found = source.found();
        Err(source.error(format!(
            "expected a new line, ',' or ';' after the value of {}, found {found}",
            shown(key)
        )))
    }

    /// Merges another file into the innermost map.
    fn include(&mut self, source: &mut Source<'_>, begin: usize) -> Result<()> {
        let named = match source.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                source.at += 1;
                source.raw_until(char::from(quote))
            }
            _ => Some(source.take_until(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' | b'}'))),
        };
        let Some(named) = named.filter(|named| !named.is_empty()) else {
            return Err(source.error_at(begin, "include needs the path of a file"));
        };
        let folder = self
            .files
            .last()
            .and_then(|file| file.parent())
            .unwrap_or(Path::new(""));
        let path = folder.join(named);
        if self.files.contains(&path) {
            let text = format!("include file '{named}' includes itself, directly or through others");
            return Err(source.error_at(begin, text));
        }
        self.includes += 1;
        if self.files.len() >= INCLUDE_DEPTH_MAX || self.includes > INCLUDES_MAX {
            let text = format!(
                "too many includes: at most {INCLUDE_DEPTH_MAX} files within each other and {INCLUDES_MAX} in all"
            );
            return Err(source.error_at(begin, text));
        }
        let text = self
            .read(&path)
            .map_err(|why| source.error_at(begin, format!("error parsing include file '{named}', {why}")))?;
        self.files.push(path.clone());
        let included = self.document(&path, &text)?;
        self.files.pop();
        let scope = self.scopes.last_mut().expect("pairs are read within a scope");
        for pair in included.into_pairs() {
            scope.insert(pair);
        }
        Ok(())
    }

    fn value(&mut self, source: &mut Source<'_>) -> Result<Node> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(source.error(format!("more than {NODES_MAX} values")));
        }
        let begin = source.at;
        let position = source.position();
        let data = match source.peek() {
            Some(b'{') => self.nested(source, |parser, source| {
                source.at += 1;
                parser.pairs(source, Place::Map, begin).map(Data::Map)
            })?,
            Some(b'[') => self.nested(source, |parser, source| {
                source.at += 1;
                parser.list(source, begin).map(Data::List)
            })?,
            Some(b'(') => block(source)?,
            Some(b'"') => double_quoted(source)?,
            Some(b'\'') => {
                source.at += 1;
                match source.raw_until('\'') {
                    Some(raw) => Data::Text(raw.to_owned()),
                    None => return Err(source.error_at(begin, "this quote is never closed")),
                }
            }
            Some(b'.') => return Err(source.error("a value that begins with '.' must be quoted")),
            Some(b',' | b';' | b'}' | b']') | None => {
                let found = source.found();
                return Err(source.error(format!("expected a value, found {found}")));
            }
            Some(_) => self.bare(source)?,
        };
        Ok(Node { data, position })
    }

    fn nested(
        &mut self,
        source: &mut Source<'_>,
        read: impl FnOnce(&mut Self, &mut Source<'_>) -> Result<Data>,
    ) -> Result<Data> {
        if self.depth == NESTING_MAX {
            return Err(source.error(format!("more than {NESTING_MAX} maps and arrays within each other")));
        }
        self.depth += 1;
        let data = read(self, source);
        self.depth -= 1;
        data
    }

    /// Items up to the closing bracket, which is passed.
    fn list(&mut self, source: &mut Source<'_>, opened_at: usize) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        source.skip_filler();
        loop {
            match source.peek() {
                None => return Err(source.error_at(opened_at, "this '[' is never closed")),
                Some(b']') => {
                    source.at += 1;
                    return Ok(items);
                }
                Some(_) => items.push(self.value(source)?),
            }
            source.skip_blanks();
            let ends_line = source.is_at_line_end() || source.is_at_comment();
            source.skip_filler();
            let has_comma = source.eat(b',');
            source.skip_filler();
            if !ends_line && !has_comma && !matches!(source.peek(), None | Some(b']')) {
                let found = source.found();
                return Err(source.error(format!("expected ',', a new line or ']' after an item, found {found}")));
            }
        }
    }

    /// A value without quotes.
    fn bare(&mut self, source: &mut Source<'_>) -> Result<Data> {
        let begin = source.at;
        let raw =
            source.take_until(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' | b']' | b'}' | b'\''));
        if raw.contains('\\') {
            return match unescape(raw) {
                Ok(text) => Ok(Data::Text(text)),
                Err((offset, why)) => Err(source.error_at(begin + offset, why)),
            };
        }
        match raw.strip_prefix('$') {
            // Bcrypt hashes of this kind are written without quotes.
            Some(_) if raw.starts_with("$2a$") => Ok(Data::Text(raw.to_owned())),
            Some(name) => self.variable(source, begin, name),
            None => classify(raw).map_err(|why| source.error_at(begin, why)),
        }
    }

    /// What a variable stands for: a key of the maps around it, or else an environment variable.
    fn variable(&mut self, source: &mut Source<'_>, begin: usize, name: &str) -> Result<Data> {
        let found = self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name));
        if let Some(pair) = found {
            pair.is_used = true;
            let weight = weight(&pair.node.data);
            self.nodes = self.nodes.saturating_add(weight.nodes);
            self.bytes = self.bytes.saturating_add(weight.bytes);
            if self.nodes > NODES_MAX || self.bytes > TOTAL_BYTES_MAX || self.depth + weight.depth > NESTING_MAX {
                return Err(source.error_at(
                    begin,
                    "variables repeat or nest more values than a configuration may have",
                ));
            }
            return Ok(pair.node.data.clone());
        }
        if self.resolving.iter().any(|resolving| resolving == name) {
            let text = format!("variable reference cycle for '{name}'");
            return Err(source.error_at(begin, text));
        }
        let value = Some(name)
            .filter(|name| !name.is_empty() && !name.contains(['=', '\0']))
            .and_then(|name| self.surroundings.variable(name));
        let Some(text) = value else {
            let line = source.position_of(begin).line;
            let text = format!("variable reference for '{name}' on line {line} can not be found");
            return Err(source.error_at(begin, text));
        };
        self.bytes = self.bytes.saturating_add(text.len());
        if self.resolving.len() >= VARIABLE_DEPTH_MAX || self.bytes > TOTAL_BYTES_MAX {
            let text =
                format!("variable reference for '{name}': too many variables refer to each other, or too much text");
            return Err(source.error_at(begin, text));
        }
        self.resolving.push(name.to_owned());
        let outer_scopes = std::mem::take(&mut self.scopes);
        let data = self.environment_value(name, &text);
        self.scopes = outer_scopes;
        self.resolving.pop();
        data
    }

    /// The text of an environment variable, read like a value in a file.
    fn environment_value(&mut self, name: &str, text: &str) -> Result<Data> {
        let source = &mut Source::new(Arc::from(format!("environment variable {name}")), text);
        source.skip_filler();
        if source.peek().is_none() {
            return Ok(Data::Text(String::new()));
        }
        let node = self.value(source)?;
        source.skip_filler();
        match source.peek() {
            None => Ok(node.data),
            Some(_) => {
                let found = source.found();
                Err(source.error(format!("expected the end of the value, found {found}")))
            }
        }
    }
}

/// What a value adds when it is repeated.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
    /// Maps and arrays within each other.
    depth: usize,
}

fn weight(data: &Data) -> Weight {
    let mut total = Weight {
        nodes: 1,
        ..Weight::default()
    };
    let mut add = |inner: Weight, key: usize| {
        total.nodes += inner.nodes;
        total.bytes += inner.bytes + key;
        total.depth = total.depth.max(inner.depth + 1);
    };
    match data {
        Data::Bool(_) | Data::Int(_) | Data::Float(_) => {}
        Data::Text(text) | Data::Time(text) => total.bytes = text.len(),
        Data::List(items) => items.iter().for_each(|item| add(weight(&item.data), 0)),
        Data::Map(map) => map.iter().for_each(|pair| add(weight(&pair.node.data), pair.key.len())),
    }
    total
}

/// `( … )`, where the closing parenthesis stands alone on its line.
fn block(source: &mut Source<'_>) -> Result<Data> {
    let begin = source.at;
    source.at += 1;
    let rest = source.rest();
    let mut line_begin = 0;
    let mut is_first = true;
    for line in rest.split_inclusive('\n') {
        if !is_first && line.trim() == ")" {
            let content = rest[..line_begin].to_owned();
            source.at += line_begin + line.find(')').unwrap_or(0) + 1;
            return Ok(Data::Text(content));
        }
        is_first = false;
        line_begin += line.len();
    }
    Err(source.error_at(begin, "this '(' is never closed by a ')' alone on its line"))
}

/// `"…"` with escapes, over as many lines as it takes.
fn double_quoted(source: &mut Source<'_>) -> Result<Data> {
    let begin = source.at;
    source.at += 1;
    loop {
        source.take_until(|byte| matches!(byte, b'"' | b'\\'));
        match source.peek() {
            None => return Err(source.error_at(begin, "this quote is never closed")),
            Some(b'"') => break,
            Some(_) => {
                // A backslash and the character it escapes.
                source.at += 1;
                source.at += source.rest().chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    let raw = source.passed_since(begin + 1);
    source.at += 1;
    unescape(raw)
        .map(Data::Text)
        .map_err(|(offset, why)| source.error_at(begin + 1 + offset, why))
}
