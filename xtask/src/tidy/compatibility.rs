//! The compatibility table: every line of `docs/compatibility.md` has a state, and its proofs exist and are about it.
//!
//! Knows how a test is named there and where it lies, not what the lines mean.

/// The table.
pub(super) const DOCUMENT: &str = "docs/compatibility.md";

/// What a line may say about itself; all but the first are followed by a reason.
const SAME: &str = "same";
const STATES: [&str; 3] = ["different: ", "not yet: ", "nothing to see: "];

/// Lines further than this above a function do not belong to it.
const ATTRIBUTE_BYTES_MAX: usize = 600;

/// The problems of the document; `read` gives the text of a file of the work tree, and whether a path is there.
pub(super) fn check(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lines = 0;
    for (index, line) in document.lines().enumerate() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if cells[0] == "Line" || cells[0].starts_with("--") {
            continue;
        }
        lines += 1;
        let mut problem = |what: String| problems.push(format!("{DOCUMENT}:{}: {what}", index + 1));
        match cells[..] {
            [behaviour, state, proofs] => check_row(behaviour, state, proofs, &read, &mut problem),
            _ => problem(format!("{} cells instead of 3", cells.len())),
        }
    }
    if lines == 0 {
        problems.push(format!("{DOCUMENT}: holds no line"));
    }
    problems
}

fn check_row(
    behaviour: &str,
    state: &str,
    proofs: &str,
    read: &impl Fn(&str) -> Option<String>,
    problem: &mut impl FnMut(String),
) {
    let reason = STATES.iter().find_map(|known| state.strip_prefix(known));
    if state != SAME && reason.is_none_or(|reason| reason.trim().is_empty()) {
        problem(format!(
            "the state {state:?} is neither {SAME:?} nor one of {STATES:?} with a reason"
        ));
    }
    let mut texts = Vec::new();
    for proof in proofs.split('`').skip(1).step_by(2) {
        match proof_text(proof, read) {
            Ok(text) => texts.push(text),
            Err(why) => problem(format!("{proof}: {why}")),
        }
    }
    if texts.is_empty() && (state == SAME || state.starts_with(STATES[0])) {
        problem(format!("{behaviour:?} names no test"));
    }
    let names = upstream_names(behaviour);
    let told = |text: &String| names.iter().any(|name| text.contains(name));
    if !names.is_empty() && !texts.is_empty() && !texts.iter().any(told) {
        problem(format!("none of its tests says that it is about {}", names.join(", ")));
    }
}

/// The names in the parentheses at the end of a line's first cell: what the original's tests are called.
fn upstream_names(behaviour: &str) -> Vec<&str> {
    let inside = behaviour
        .strip_suffix(')')
        .and_then(|rest| rest.rsplit_once('('))
        .map_or("", |(_, inside)| inside);
    let names = inside.split(", ").map(|name| name.trim_end_matches('*'));
    names
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(char::is_alphanumeric))
        .collect()
}

/// The text of a test with its comments, or of a script, or nothing for a folder of scenarios.
fn proof_text(proof: &str, read: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    if let Some(script) = proof.strip_prefix("scripts/") {
        let path = format!("crates/streaming/tests/scripts/{script}.txt");
        return read(&path).ok_or(format!("there is no {path}"));
    }
    let Some((file, test)) = proof.rsplit_once("::") else {
        return read(proof).ok_or("neither a test nor a file".to_owned());
    };
    let path = match file.split_once('/') {
        None => return Err("a test without its crate".to_owned()),
        Some((owner, rest)) if rest.starts_with("src/") => format!("crates/{owner}/{rest}.rs"),
        Some((owner, rest)) => format!("crates/{owner}/tests/{rest}.rs"),
    };
    let text = read(&path).ok_or_else(|| format!("there is no {path}"))?;
    let at = text
        .find(&format!("fn {test}("))
        .ok_or_else(|| format!("there is no such test in {path}"))?;
    let mut begin = at.saturating_sub(ATTRIBUTE_BYTES_MAX);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    // What belongs to the function before it ends here.
    let before = &text[begin..at];
    let before = before.rsplit_once("}\n").map_or(before, |(_, own)| own);
    if !before.contains("#[test]") && !before.contains("::test") {
        return Err(format!("it is no test in {path}"));
    }
    let rest = &text[at..];
    let end = rest
        .find("#[test]")
        .or_else(|| rest.find("::test"))
        .unwrap_or(rest.len());
    let body = rest[..end].rfind("}\n").map_or(&rest[..end], |last| &rest[..last]);
    Ok([before, body].concat())
}

#[cfg(test)]
mod tests {
    use super::check;

    const TESTS: &str = "#[test]\nfn first() {\n    // §13.1 GoodName.\n}\n\n/// OtherName\n#[test]\nfn second() {}\n\nfn no_test() {}\n";

    fn problems(row: &str) -> Vec<String> {
        let document = format!("| Line | State | Proof |\n| --- | --- | --- |\n{row}\n");
        check(&document, |path| match path {
            "crates/server/tests/group/file.rs" | "crates/broker/tests/conformance/file.rs" => Some(TESTS.to_owned()),
            "crates/streaming/tests/scripts/01-one.txt" => Some("# (ScriptName)".to_owned()),
            "compat/go/streaming.go" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn lines_with_their_tests_pass() {
        for row in [
            "| it works (GoodName) | same | `server/group/file::first` |",
            "| it works (AnyName, OtherName) | same | `server/group/file::second`, `scripts/01-one` |",
            "| it works (Script*) | different: better | `scripts/01-one` |",
            "| without a name (quirk 3) | same | `broker/conformance/file::first` |",
            "| clients do it | same | `compat/go/streaming.go` |",
            "| a mode | not yet: clustering |  |",
        ] {
            assert_eq!(problems(row), [""; 0], "{row}");
        }
    }

    #[test]
    fn lines_without_proof_are_found() {
        for (row, text) in [
            ("| it works | same | |", "names no test"),
            ("| it works | same |", "cells instead of 3"),
            ("| it works | fine | `server/group/file::first` |", "is neither"),
            ("| it works | different: | `server/group/file::first` |", "is neither"),
            ("| it works | same | `server/group/file::third` |", "no such test"),
            ("| it works | same | `server/group/file::no_test` |", "it is no test"),
            (
                "| it works | same | `server/other::first` |",
                "there is no crates/server/tests/other.rs",
            ),
            (
                "| it works (OtherName) | same | `server/group/file::first` |",
                "about OtherName",
            ),
            ("| it works | same | `scripts/02-two` |", "there is no crates/streaming"),
        ] {
            let found = problems(row);
            assert!(found.iter().any(|problem| problem.contains(text)), "{row}: {found:?}");
        }
        assert!(!check("nothing", |_| None).is_empty());
    }
}
