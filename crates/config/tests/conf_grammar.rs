//! The grammar of configuration files (core specification §5.1, §5.2).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use seaway_config::conf::{Data, Map, parse_file, parse_text};
use support::Fake;

/// Shows a tree without its positions: `{a: 1, b: ["x"]}`.
fn show(data: &Data) -> String {
    match data {
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => format!("{value}f"),
        Data::Text(value) => format!("{value:?}"),
        Data::Time(value) => format!("<{value}>"),
        Data::List(items) => {
            let items: Vec<_> = items.iter().map(|item| show(&item.data)).collect();
            format!("[{}]", items.join(", "))
        }
        Data::Map(map) => show_map(map),
    }
}

fn show_map(map: &Map) -> String {
    let pairs: Vec<_> = map
        .iter()
        .map(|pair| format!("{}: {}", pair.key, show(&pair.node.data)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[track_caller]
fn check_with(surroundings: &Fake, text: &str, expected: &str) {
    let map = parse_text(Path::new("f"), text, surroundings).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(show_map(&map), expected, "{text:?}");
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_with(&Fake::default(), text, expected);
}

#[track_caller]
fn check_error_with(surroundings: &Fake, text: &str, expected: &str) {
    let error = parse_text(Path::new("f"), text, surroundings)
        .map(|map| show_map(&map))
        .unwrap_err()
        .to_string();
    let error = without_the_words_of_the_original(&error);
    assert!(error.starts_with(expected), "{text:?}: {error}, not {expected}");
}

/// A syntax error without the words between its place and its text (§5.3), which it must have.
#[track_caller]
fn without_the_words_of_the_original(error: &str) -> String {
    let (place, rest) = error
        .split_once(": Parse error on line ")
        .unwrap_or_else(|| panic!("{error}"));
    let (line, text) = rest.split_once(": ").unwrap_or_else(|| panic!("{error}"));
    assert_eq!(place.rsplit(':').nth(1), Some(line), "{error}");
    format!("{place}: {text}")
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    check_error_with(&Fake::default(), text, expected);
}

/// §5.1: separators, terminators, comments, quoted keys.
#[test]
fn keys_and_separators() {
    check("", "{}");
    check("  \n# only a comment\n// another", "{}");
    check("a: 1\nb = 2\nc 3", "{a: 1, b: 2, c: 3}");
    check("a: 1, b: 2; c: 3\r\nd: 4\re: 5", "{a: 1, b: 2, c: 3, d: 4, e: 5}");
    check("a:1 # one\nb:2 // two\nc:3#x", "{a: 1, b: 2, c: \"3#x\"}");
    check("url: nats://h:1//x", "{url: \"nats://h:1//x\"}");
    check("\"a b\": 1\n'c:d' 2", "{a b: 1, c:d: 2}");
    check("a\n{ b: 1 }", "{a: {b: 1}}");
    check("a {\n b =\n 1\n, c: 2 ; }", "{a: {b: 1, c: 2}}");
    check("Case: 1, case: 2", "{Case: 1, case: 2}");
    // A byte order mark is not skipped.
    check("\u{feff}a: 1", "{\u{feff}a: 1}");
}

#[test]
fn a_file_may_be_wrapped_in_braces() {
    check("{ a: 1 }", "{a: 1}");
    check(
        "{\n\"a\": [1, 2],\n\"b\": {\"c\": \"d\", \"e\": false}\n}\n",
        "{a: [1, 2], b: {c: \"d\", e: false}}",
    );
    check("{ a: 1", "{a: 1}");
    check("a: 1 }\n# end", "{a: 1}");
    check_error("a: 1 }\nb: 2", "f:2:1: nothing may follow");
    check_error("{ a: { b: 1", "f:1:6: this '{' is never closed");
}

#[test]
fn strings_and_arrays() {
    check(r#"a: "x\ty\x41" "#, r#"{a: "x\tyA"}"#);
    check("a: \"two\nlines\"", r#"{a: "two\nlines"}"#);
    check(r"a: 'no \t escape'", r#"{a: "no \\t escape"}"#);
    check(r"a: b\tc", r#"{a: "b\tc"}"#);
    check("a: x{(:=\"y", r#"{a: "x{(:=\"y"}"#);
    check("a: (\n one\n  )\nb: 2", r#"{a: "\n one\n", b: 2}"#);
    check("a: [1,2,3]", "{a: [1, 2, 3]}");
    check("a: [\n 1\n\n 2,\n # three\n 'x'\n]", "{a: [1, 2, \"x\"]}");
    check("a: [ {b: 1}, [2] ,]", "{a: [{b: 1}, [2]]}");
    check("a: []\nb: {}", "{a: [], b: {}}");
    check(
        "listen: 0.0.0.0:-1\nhost: ::1\ntime: 2024-01-02T03:04:05Z",
        "{listen: \"0.0.0.0:-1\", host: \"::1\", time: <2024-01-02T03:04:05Z>}",
    );
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    // What is no configuration can look like one long key.
    let error = parse_text(Path::new("f"), &"é".repeat(1_000_000), &Fake::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "f:1:1: Parse error on line 1: key \"{}\"... has no value",
            "é".repeat(80)
        )
    );
    for (text, expected) in [
        ("a =\n1", "f:1:4: Expected value but found new line"),
        ("a: 1\n  b", "f:2:3: key \"b\" has no value"),
        ("a: }", "f:1:1: key \"a\" has no value"),
        ("a {\n b: 1", "f:1:3: this '{' is never closed"),
        ("a: [1", "f:1:4: this '[' is never closed"),
        ("a: [,1]", "f:1:5: expected a value, found ','"),
        ("a: [1,,2]", "f:1:7: expected a value, found ','"),
        ("a: [1 2]", "f:1:7: expected ',', a new line or ']'"),
        (
            "a: 1 b: 2",
            "f:1:6: expected a new line, ',' or ';' after the value of \"a\", found 'b'",
        ),
        ("a: it's", "f:1:6: expected a new line"),
        ("a: ./x", "f:1:4: a value that begins with '.' must be quoted"),
        ("a: \"x\\qy\"", "f:1:6: invalid escape '\\q'"),
        ("a: x\\q", "f:1:5: invalid escape '\\q'"),
        ("a: \"x", "f:1:4: this quote is never closed"),
        ("a: 'x", "f:1:4: this quote is never closed"),
        ("\"a: 1", "f:1:1: the quotes around this key"),
        ("a: (\nx )", "f:1:4: this '(' is never closed"),
        (
            "a: 99999999999999999999",
            "f:1:4: integer 99999999999999999999 is out of range",
        ),
        (", a: 1", "f:1:1: expected a key, found ','"),
        ("é: 1 x", "f:1:6: expected a new line"),
        ("\"\": 1", "f:1:1: a key cannot be empty"),
        ("include", "f:1:1: include needs the path"),
    ] {
        check_error(text, expected);
    }
    let deep = format!("a: {}", "[".repeat(1_000_000));
    check_error(&deep, "f:1:68: more than 64 maps and arrays");
}

/// §5.2.
#[test]
fn variables_come_from_the_file_first_and_then_from_the_environment() {
    let fake = Fake::with_variables(&[
        ("SIZE", "5MB"),
        ("LIST", "[a, b]"),
        ("ONE", "$TWO"),
        ("TWO", "2"),
        ("EMPTY", ""),
    ]);
    check_with(
        &fake,
        "a: $SIZE\nb: $LIST\nc: $ONE\nd: $EMPTY",
        "{a: 5242880, b: [\"a\", \"b\"], c: 2, d: \"\"}",
    );
    check_with(&fake, "SIZE: 1\na: $SIZE", "{SIZE: 1, a: 1}");
    check_with(
        &fake,
        "x: 1\nm { a: $x\nx: 2\nn { b: $x } }",
        "{x: 1, m: {a: 1, x: 2, n: {b: 2}}}",
    );
    check_with(&fake, "t: {a: 1}\nu: [$t, $t]", "{t: {a: 1}, u: [{a: 1}, {a: 1}]}");
    // A key defined later is not seen; a name in quotes is no variable; a bcrypt hash is none either.
    check_with(&fake, "a: $SIZE\nSIZE: 1", "{a: 5242880, SIZE: 1}");
    check_with(
        &fake,
        "a: '$SIZE', b: \"$SIZE\", c: $2a$11$abc",
        "{a: \"$SIZE\", b: \"$SIZE\", c: \"$2a$11$abc\"}",
    );
    let map = parse_text(Path::new("f"), "x: 1\ny: $x", &fake).unwrap();
    assert!(map.get("x").unwrap().is_used && !map.get("y").unwrap().is_used);
    check_error_with(
        &fake,
        "\na: $NONE",
        "f:2:4: variable reference for 'NONE' on line 2 can not be found",
    );
    check_error_with(&fake, "case: 1\na: $CASE", "f:2:4: variable reference for 'CASE'");
}

#[test]
fn variables_cannot_run_in_circles_or_explode() {
    let fake = Fake::with_variables(&[("A", "$B"), ("B", "$A"), ("BAD", "a b")]);
    check_error_with(
        &fake,
        "x: $A",
        "environment variable B:1:1: variable reference cycle for 'A'",
    );
    check_error_with(
        &fake,
        "x: $BAD",
        "environment variable BAD:1:3: expected the end of the value",
    );
    let mut bomb = String::from("a0: [0, 0, 0, 0, 0, 0, 0, 0]\n");
    for level in 1..40 {
        let items = vec![format!("$a{}", level - 1); 8].join(", ");
        bomb.push_str(&format!("a{level}: [{items}]\n"));
    }
    check_error(&bomb, "f:7:");
    // Never wide, but deeper and deeper.
    let mut deep = String::from("a0: 1\n");
    for level in 1..10_000 {
        deep.push_str(&format!("a{level}: [$a{}]\n", level - 1));
    }
    check_error(&deep, "f:66:");
}

#[test]
fn repeated_keys_count_last() {
    check("a: 1\na: 2", "{a: 2}");
    check("a: 1\nb: 2\na: {c: 3}", "{b: 2, a: {c: 3}}");
}

#[test]
fn includes_merge_into_the_present_map() {
    let mut fake = Fake::default();
    for (path, text) in [
        (
            "dir/main.conf",
            "a: 1\nINCLUDE 'sub/users.conf'\nm { include ./sub/m.conf ; z: 9 }",
        ),
        ("dir/sub/users.conf", "{ a: 2, b: 3 }\n"),
        ("dir/./sub/m.conf", "include \"n.conf\"\nx: $n\n"),
        ("dir/./sub/n.conf", "n: 5"),
        ("self.conf", "include self.conf"),
        ("one.conf", "include two.conf"),
        ("two.conf", "\ninclude one.conf"),
        ("missing.conf", "m {\n include x }"),
        ("broken.conf", "include part.conf"),
        ("part.conf", "\n\n a: ["),
        ("key.conf", "include: x"),
        ("marked.conf", "\u{feff}port: 1\r\ninclude n.conf\r\n"),
        ("n.conf", "\u{feff}n: 5"),
    ] {
        fake.files.insert(path, text.to_owned());
    }
    let read = |path: &str| {
        parse_file(Path::new(path), &fake)
            .map(|map| show_map(&map))
            .map_err(|e| e.to_string())
    };
    assert_eq!(read("dir/main.conf"), Ok("{a: 2, b: 3, m: {n: 5, x: 5, z: 9}}".into()));
    assert_eq!(read("key.conf"), Ok("{include: \"x\"}".into()));
    // A byte order mark in front of a file is no part of its first key.
    assert_eq!(read("marked.conf"), Ok("{port: 1, n: 5}".into()));
    for (path, expected) in [
        ("self.conf", "self.conf:1:1: include file 'self.conf' includes itself"),
        ("one.conf", "two.conf:2:1: include file 'one.conf' includes itself"),
        (
            "missing.conf",
            "missing.conf:2:2: error parsing include file 'x', open x: no such file or directory",
        ),
        ("broken.conf", "part.conf:3:5: this '[' is never closed"),
        (
            "none",
            "cannot read the configuration file none: open none: no such file or directory",
        ),
    ] {
        let error = read(path).unwrap_err();
        // A file that is not there has no place in it.
        let error = match path {
            "none" => error,
            _ => without_the_words_of_the_original(&error),
        };
        assert!(error.starts_with(expected), "{path}: {error}");
    }
    // Each of these includes the next one twice, and none itself.
    let names: Vec<&'static str> = (0..40).map(|n| &*Box::leak(format!("n{n}").into_boxed_str())).collect();
    for pair in names.windows(2) {
        fake.files
            .insert(pair[0], format!("include {0}\ninclude {0}\n", pair[1]));
    }
    let error = parse_file(Path::new("n0"), &fake).unwrap_err().to_string();
    assert!(error.contains("too many includes"), "{error}");
}

/// A tree to print.
fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(Tree::Int),
        (-1_000_000i32..1_000_000).prop_map(|number| Tree::Float(f64::from(number) + 0.5)),
        any::<String>().prop_map(Tree::Text),
        "[a-z][a-z0-9.*>_-]{0,12}".prop_map(Tree::Text),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            pairs(inner).prop_map(Tree::Map),
        ]
    })
}

fn pairs(inner: impl Strategy<Value = Tree>) -> impl Strategy<Value = BTreeMap<String, Tree>> {
    prop::collection::btree_map("[a-zA-Z_>*][a-zA-Z0-9_.>* -]{0,10}", inner, 0..6)
}

#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    fn of(data: &Data) -> Tree {
        match data {
            Data::Bool(value) => Tree::Bool(*value),
            Data::Int(value) => Tree::Int(*value),
            Data::Float(value) => Tree::Float(*value),
            Data::Text(value) | Data::Time(value) => Tree::Text(value.clone()),
            Data::List(items) => Tree::List(items.iter().map(|item| Tree::of(&item.data)).collect()),
            Data::Map(map) => Tree::of_map(map),
        }
    }

    fn of_map(map: &Map) -> Tree {
        Tree::Map(
            map.iter()
                .map(|pair| (pair.key.clone(), Tree::of(&pair.node.data)))
                .collect(),
        )
    }
}

/// Prints trees with separators, quotes and comments that a stream of choices picks.
struct Printer<'c> {
    choices: std::iter::Cycle<std::slice::Iter<'c, u8>>,
    text: String,
}

impl Printer<'_> {
    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[usize::from(*self.choices.next().unwrap()) % among.len()]
    }

    fn push(&mut self, among: &[&str]) {
        let picked = self.pick(among);
        self.text.push_str(picked);
    }

    fn pairs(&mut self, pairs: &BTreeMap<String, Tree>, is_top: bool) {
        for (key, tree) in pairs {
            self.push(&["", " ", "\t", "\n", "\r\n", "# a comment {[\n", " // \"another\n"]);
            match key.contains(' ') || self.pick(&["bare", "quoted"]) == "quoted" {
                true => self.text.push_str(&format!("\"{key}\"")),
                false => self.text.push_str(key),
            }
            let separators: &[&str] = if is_top {
                &[": ", "=", " = ", " ", " :"]
            } else {
                &[": ", "=", " =\n", "\n", " "]
            };
            self.push(separators);
            self.tree(tree);
            self.push(&["\n", ",", " ;", " # a comment\n", ",\n", "\r\n"]);
        }
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Bool(value) => self.push(if *value {
                &["true", "Yes", "on"]
            } else {
                &["false", "no", "OFF"]
            }),
            Tree::Int(value) => self.text.push_str(&value.to_string()),
            Tree::Float(value) => self.text.push_str(&format!("{value:.1}")),
            Tree::Text(value) => {
                let is_bare = value.starts_with(|c: char| c.is_ascii_lowercase())
                    && value
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".*>_-".contains(&byte))
                    && !["true", "yes", "on", "false", "no", "off"].contains(&value.as_str());
                match self.pick(&["bare", "single", "double"]) {
                    "bare" if is_bare => self.text.push_str(value),
                    "single" if !value.contains('\'') => self.text.push_str(&format!("'{value}'")),
                    _ => {
                        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t");
                        self.text.push_str(&format!("\"{escaped}\""));
                    }
                }
            }
            Tree::List(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.push(&[",", ", ", "\n", ",\n", " # x\n, "]);
                    }
                    self.tree(item);
                }
                self.push(&["]", " ]", "\n]", ""].map(|end| {
                    if end.is_empty() && items.is_empty() {
                        "]"
                    } else if end.is_empty() {
                        ",]"
                    } else {
                        end
                    }
                }));
            }
            Tree::Map(pairs) => {
                self.text.push('{');
                self.pairs(pairs, false);
                self.text.push('}');
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn printed_documents_parse_back(map in pairs(tree()), choices in prop::collection::vec(any::<u8>(), 1..64)) {
        let mut printer = Printer { choices: choices.iter().cycle(), text: String::new() };
        let is_wrapped = printer.pick(&["top", "wrapped"]) == "wrapped";
        if is_wrapped {
            printer.text.push('{');
        }
        printer.pairs(&map, !is_wrapped);
        if is_wrapped {
            printer.text.push('}');
        }
        match parse_text(Path::new("f"), &printer.text, &Fake::default()) {
            Ok(parsed) => prop_assert_eq!(Tree::of_map(&parsed), Tree::Map(map), "{}", printer.text),
            Err(error) => prop_assert!(false, "{error}: {}", printer.text),
        }
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_position(text in prop_oneof![
        any::<String>(),
        "[a-c$ \\t\\n\\r{}\\[\\]():=,;#/\"'\\\\x0-9.km-]{0,60}",
        "(include|a|b|\\$a| |\n|:|=|\\{|\\}|\\[|\\]|,|;|1k|'|\"|\\(|\\)|#|\\\\x4){0,40}",
    ]) {
        let fake = Fake::with_variables(&[("a", "$b"), ("b", "[1, $c]"), ("c", "$a")]);
        if let Err(error) = parse_text(Path::new("f"), &text, &fake) {
            let position = error.position.clone().expect("a text has positions");
            prop_assert!(position.line >= 1 && position.column >= 1 && !error.text.is_empty());
        }
    }
}
