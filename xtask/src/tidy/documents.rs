//! Links of the documents: what they lead to is there, heading included, and the site has all of it.

use std::collections::HashMap;

/// The documents that are pages of the site.
const SITE: &str = "docs/";

/// Lists of all pages: the site's own, and the one for programs that read.
const LISTS: [&str; 2] = ["docs/SUMMARY.md", "docs/llms.txt"];

/// The problems of all documents; `files` are the paths of the work tree.
pub(super) fn check(files: &[String], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    // Pieces among the sources become part of a document elsewhere.
    let is_document =
        |path: &&String| (path.ends_with(".md") && !path.contains("/src/")) || LISTS.contains(&path.as_str());
    let documents: HashMap<&str, String> = files
        .iter()
        .filter(is_document)
        .filter_map(|path| Some((path.as_str(), read(path)?)))
        .collect();
    let mut problems = Vec::new();
    for (path, text) in &documents {
        for (line, target) in links(text) {
            let complain = |what: &str| format!("{path}:{line}: the link to {target} {what}");
            let (place, heading) = target.split_once('#').unwrap_or((target, ""));
            let led_to = if place.is_empty() {
                (*path).to_owned()
            } else {
                resolve(path, place)
            };
            if path.starts_with(SITE) && !led_to.starts_with(SITE) {
                problems.push(complain("leaves docs/, where the site ends: name the page on the web"));
            } else if let Some(text) = documents.get(led_to.as_str()) {
                if !heading.is_empty() && !headings(text).any(|known| known == heading) {
                    problems.push(complain("leads to no heading"));
                }
            } else if !files
                .iter()
                .any(|file| *file == led_to || file.starts_with(&format!("{led_to}/")))
            {
                problems.push(complain("leads nowhere"));
            }
        }
    }
    problems.extend(unlisted(&documents));
    problems.sort();
    problems
}

/// Pages that a list leaves out; the opening page of the site is no news to a program.
fn unlisted(documents: &HashMap<&str, String>) -> Vec<String> {
    let mut problems = Vec::new();
    for list in LISTS {
        let Some(text) = documents.get(list) else {
            problems.push(format!("{list}: missing"));
            continue;
        };
        let listed: Vec<String> = links(text).map(|(_, target)| resolve(list, target)).collect();
        let pages = documents
            .keys()
            .filter(|path| path.starts_with(SITE) && !LISTS.contains(path));
        let pages = pages.filter(|path| list.ends_with(".md") || **path != "docs/introduction.md");
        let missing = pages.filter(|path| !listed.iter().any(|known| known == *path));
        problems.extend(missing.map(|path| format!("{list}: does not list {path}")));
    }
    problems
}

/// Lines and targets of links to places of the work tree, outside code.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(|(index, line)| {
        // Every other piece between backticks is code.
        let pieces = line.split('`').enumerate().filter(|(position, _)| position % 2 == 0);
        let targets = pieces.flat_map(|(_, piece)| piece.split("](").skip(1));
        let targets = targets.filter_map(|rest| rest.split(')').next());
        let targets = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        targets.map(move |target| (index + 1, target))
    })
}

/// A relative link, seen from a file.
fn resolve(from: &str, target: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('#').next().unwrap_or_default().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What headings are called in a link: small letters, digits, `-` for a space.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
    titles.map(|title| {
        let kept = title.trim_start_matches('#').trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        kept.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let all: HashMap<&str, &str> = files.iter().copied().collect();
        let paths: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        check(&paths, |path| all.get(path).map(|text| (*text).to_owned()))
    }

    const LISTED: [(&str, &str); 2] = [
        ("docs/SUMMARY.md", "- [A](a.md)"),
        ("docs/llms.txt", "- [A](a.md): words"),
    ];

    #[test]
    fn sound_links_are_no_problem() {
        let [summary, llms] = LISTED;
        let text = "# A title, `so to say`\n[x](#a-title-so-to-say) [`y`](a.md) [z](https://example.org)\n`[not](one.md)`\n```\n[nor](this.md)\n```";
        let readme = ("README.md", "[a](docs/a.md#a-title-so-to-say) [crates](crates)");
        assert_eq!(
            problems(&[summary, llms, ("docs/a.md", text), readme, ("crates/x.rs", "")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        let [summary, llms] = LISTED;
        let text = "# A\n[x](#b) [y](b.md) [`code`](c.md) [out](../README.md)";
        let found = problems(&[summary, llms, ("docs/a.md", text), ("docs/d.md", ""), ("README.md", "")]);
        let expected = [
            "docs/SUMMARY.md: does not list docs/d.md",
            "docs/a.md:2: the link to #b leads to no heading",
            "docs/a.md:2: the link to ../README.md leaves docs/, where the site ends: name the page on the web",
            "docs/a.md:2: the link to b.md leads nowhere",
            "docs/a.md:2: the link to c.md leads nowhere",
            "docs/llms.txt: does not list docs/d.md",
        ];
        assert_eq!(found, expected);
    }
}
