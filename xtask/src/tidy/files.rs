//! Checks of single files: leftovers, machine paths, names that say nothing, and length budgets.

/// A source file's lines without its trailing test module: none over the maximum, and nine files in ten below the goal.
const FILE_LINES_MAX: usize = 1000;
const FILE_LINES_GOAL: usize = 600;

/// A function's lines, outside tests: none over the maximum unless it is one flat match, or says why it is long.
const FUNCTION_LINES_MAX: usize = 80;
const FUNCTION_LINES_GOAL: usize = 70;

/// A function that has at most this many statements beside its one large `match` counts as a flat match.
const FLAT_MATCH_STATEMENTS: usize = 6;

/// A comment with these words inside or right above a function lifts its length budget.
const LONG_FUNCTION_MARK: &str = "Long: ";

/// File and folder names that say nothing about what is inside.
const NAMES_THAT_SAY_NOTHING: [&str; 9] = [
    "util", "utils", "common", "misc", "helper", "helpers", "manager", "managers", "stuff",
];

/// Endings of type names that say nothing either.
const TYPE_ENDINGS_THAT_SAY_NOTHING: [&str; 3] = ["Manager", "Helper", "Util"];

/// What must not stay behind in code. Assembled from pieces, so that this file passes its own check.
const LEFTOVERS: [(&str, &str); 8] = [
    (concat!("todo", "!("), "unfinished code"),
    (concat!("unimplemented", "!("), "unfinished code"),
    (concat!("dbg", "!("), "debugging output"),
    (concat!("FIX", "ME"), "an open end: fix it or file it"),
    (concat!("XX", "X:"), "an open end: fix it or file it"),
    (concat!("TO", "DO"), "an open end: do it or file it"),
    (concat!("<<<<", "<<< "), "a merge conflict"),
    (concat!(">>>>", ">>> "), "a merge conflict"),
];

/// Places that exist only on somebody's machine or network.
const MACHINE_PLACES: [(&str, &str); 9] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/home", "/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("registry.npm", "js.org"), "a registry's host name"),
    (concat!("proxy.golang", ".org"), "a registry's host name"),
    (concat!("sum.golang", ".org"), "a registry's host name"),
    (concat!("files.python", "hosted.org"), "a registry's host name"),
    (concat!("index.crates", ".io"), "a registry's host name"),
];

/// The problems of one file.
pub(super) fn check(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |line: usize, what: String| problems.push(format!("{path}:{line}: {what}"));
    check_name(path, &mut problem);
    if is_generated(path) {
        return problems;
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if is_code(path) && line.ends_with([' ', '\t']) {
            problem(number, "trailing white space".into());
        }
        for (pattern, why) in MACHINE_PLACES {
            if line.contains(pattern) {
                problem(number, format!("{pattern:?} is {why}"));
            }
        }
        for (pattern, why) in LEFTOVERS {
            if is_code(path) && line.contains(pattern) {
                problem(number, format!("{pattern:?} is {why}"));
            }
        }
        if path.ends_with(".rs") {
            check_type_name(line).into_iter().for_each(|what| problem(number, what));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problem(text.lines().count(), "no line end at the end of the file".into());
    }
    if is_rust_source(path) && !is_test_file(path) {
        for (line, name, length) in long_functions(text) {
            if length > FUNCTION_LINES_MAX {
                let hint = format!("(a flat match or table may say so in a comment: `// {LONG_FUNCTION_MARK}why`)");
                problem(
                    line,
                    format!("function {name} has {length} lines; split it below {FUNCTION_LINES_GOAL} {hint}"),
                );
            }
        }
        if !text.trim_start().starts_with("//!") && !text.starts_with("// Generated") {
            problem(
                1,
                "no module documentation: say what this file decides and what it does not know".into(),
            );
        }
    }
    problems
}

fn check_name(path: &str, problem: &mut impl FnMut(usize, String)) {
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if NAMES_THAT_SAY_NOTHING
            .iter()
            .any(|name| stem.eq_ignore_ascii_case(name))
        {
            problem(1, format!("{stem:?} says nothing about what is inside"));
        }
    }
}

fn check_type_name(line: &str) -> Option<String> {
    let words: Vec<&str> = line
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let position = words
        .iter()
        .position(|word| matches!(*word, "struct" | "enum" | "trait"))?;
    let name = words.get(position + 1)?;
    let trimmed = line.trim_start();
    let declares = ["struct ", "enum ", "trait ", "pub"]
        .iter()
        .any(|start| trimmed.starts_with(start));
    let ending = TYPE_ENDINGS_THAT_SAY_NOTHING
        .iter()
        .find(|ending| name.ends_with(**ending))?;
    declares.then(|| format!("type {name} is named {ending:?}: name what it decides or owns"))
}

fn is_code(path: &str) -> bool {
    [".rs", ".go", ".py", ".js", ".toml", ".sh"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

fn is_generated(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("go.sum") || path.contains("/generated/")
}

fn is_rust_source(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.contains("fuzz_targets/")
}

/// A file's lines before its trailing test module.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

/// First line, name and length of every function outside the trailing test module. Relies on formatted source: a function ends
/// with a closing brace at the indentation it began with.
fn long_functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().take(lines_without_tests(text)).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indentation = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indentation));
        let Some(length) = lines[index..].iter().position(|line| *line == end) else {
            continue;
        };
        let from = index.saturating_sub(4);
        let excused = lines[from..=index + length]
            .iter()
            .any(|line| line.trim_start().starts_with("//") && line.contains(LONG_FUNCTION_MARK));
        if length + 1 > FUNCTION_LINES_GOAL && !excused && !is_flat_match(&lines[index..index + length], indentation) {
            found.push((index + 1, name, length + 1));
        }
    }
    found
}

/// Whether a function's body is little more than one `match`.
fn is_flat_match(function: &[&str], indentation: usize) -> bool {
    let depth = " ".repeat(indentation + 4);
    let statements = function
        .iter()
        .filter_map(|line| line.strip_prefix(&depth))
        .filter(|rest| rest.starts_with(|first: char| first.is_alphanumeric() || first == '*' || first == '('));
    let statements: Vec<&str> = statements.collect();
    let matches = statements
        .iter()
        .filter(|statement| statement.contains("match "))
        .count();
    matches == 1 && statements.len() <= FLAT_MATCH_STATEMENTS
}

fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = before.split_whitespace().all(|word| {
        word.starts_with("pub")
            || matches!(
                word,
                "async" | "const" | "unsafe" | "extern" | "\"C\"" | "in" | "crate)"
            )
    });
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (modifiers && !name.is_empty() && !line.trim_end().ends_with(['}', ';'])).then_some(name)
}

/// The lengths of all source files, for the rules about the whole.
#[derive(Default)]
pub(super) struct Budget {
    lengths: Vec<(usize, String)>,
    functions_over_goal: usize,
}

impl Budget {
    pub(super) fn count(&mut self, path: &str, text: &str) {
        if is_rust_source(path) && !is_test_file(path) && !is_generated(path) {
            self.lengths.push((lines_without_tests(text), path.to_owned()));
            self.functions_over_goal += long_functions(text).len();
        }
    }

    pub(super) fn check(&mut self) -> Vec<String> {
        self.lengths.sort();
        let mut problems: Vec<String> = self
            .lengths
            .iter()
            .filter(|(lines, _)| *lines > FILE_LINES_MAX)
            .map(|(lines, path)| format!("{path}: {lines} lines without tests; the limit is {FILE_LINES_MAX}"))
            .collect();
        let long: Vec<&(usize, String)> = self
            .lengths
            .iter()
            .filter(|(lines, _)| *lines > FILE_LINES_GOAL)
            .collect();
        if long.len() * 10 > self.lengths.len() {
            problems.push(format!(
                "more than one source file in ten is over {FILE_LINES_GOAL} lines: {long:?}"
            ));
        }
        problems
    }

    pub(super) fn summary(&self) -> String {
        let (longest, path) = self.lengths.last().cloned().unwrap_or_default();
        let over = self
            .lengths
            .iter()
            .filter(|(lines, _)| *lines > FILE_LINES_GOAL)
            .count();
        format!(
            "longest source file without tests {path} with {longest} lines, {over} over {FILE_LINES_GOAL}; {} functions over \
             {FUNCTION_LINES_GOAL} lines",
            self.functions_over_goal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> String {
        check(path, text).join("\n")
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(found("crates/x/src/lib.rs", "//! Decides.\n\nfn main() {}\n"), "");
    }

    #[test]
    fn each_leftover_and_machine_place_is_found_in_code() {
        for (pattern, _) in LEFTOVERS.iter().chain(&MACHINE_PLACES) {
            let text = format!("//! Decides.\n// {pattern}\n");
            assert!(found("crates/x/src/lib.rs", &text).contains(":2: "), "{pattern}");
        }
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert!(found("crates/x/src/utils.rs", "//! Decides.\n").contains("says nothing"));
        assert!(found("crates/common/src/lib.rs", "//! Decides.\n").contains("says nothing"));
        assert!(found("crates/x/src/a.rs", "//! Decides.\npub(crate) struct QueueManager;\n").contains("QueueManager"));
        assert_eq!(found("crates/x/src/commonly.rs", "//! Decides.\n"), "");
    }

    #[test]
    fn white_space_and_line_ends_are_checked() {
        assert!(found("a.toml", "x = 1 \n").contains("trailing"));
        assert!(found("a.toml", "x = 1").contains("no line end"));
        assert!(found("crates/x/src/a.rs", "fn f() {}\n").contains("module documentation"));
    }

    #[test]
    fn long_functions_are_found_unless_they_say_why() {
        let body = "    x();\n".repeat(FUNCTION_LINES_MAX);
        let long = format!("//! Decides.\nimpl X {{\n    pub(crate) async fn long(&self) {{\n{body}    }}\n}}\n");
        assert!(found("crates/x/src/a.rs", &long).contains("function long has 82 lines"));
        let flat = long
            .replacen("    x();", "        match input {", 1)
            .replace("\n    x();", "\n            x();");
        assert_eq!(found("crates/x/src/a.rs", &flat), "");
        let excused = long.replace(
            "    pub(crate)",
            "    // Long: one flat match over the inputs.\n    pub(crate)",
        );
        assert_eq!(found("crates/x/src/a.rs", &excused), "");
        assert_eq!(found("crates/x/tests/a.rs", &long), "");
        let tests = format!("//! Decides.\n\n#[cfg(test)]\nmod tests {{\n    fn long() {{\n{body}    }}\n}}\n");
        assert_eq!(found("crates/x/src/a.rs", &tests), "");
    }

    #[test]
    fn long_files_are_found_without_counting_their_tests() {
        let mut budget = Budget::default();
        let tests = format!(
            "//! Decides.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "//\n".repeat(2 * FILE_LINES_MAX)
        );
        budget.count("crates/x/src/a.rs", &tests);
        assert_eq!(budget.check(), Vec::<String>::new());
        budget.count("crates/x/src/b.rs", &"//\n".repeat(FILE_LINES_MAX + 1));
        let problems = budget.check().join("\n");
        assert!(
            problems.contains("b.rs: 1001 lines") && problems.contains("one source file in ten"),
            "{problems}"
        );
    }
}
