//! Import circles: files of one crate that can only be understood together, because each leads to all others.
//!
//! **How a circle is found.** The nodes are the files below a crate's `src` without what only tests have. A file *uses*
//! another when its code names something that the other declares, by a `use` or by a path in place that begins with
//! `crate`, `super`, `self`, a child module or an imported name. The name is followed through re-exports to the file that
//! declares it, so the face that a module gives its children costs nothing:
//!
//! - `mod child;` uses nothing, nor does a `pub use` of a name that the file does not mention otherwise. A parent that merely
//!   declares and re-exports its children is in no circle with them.
//! - A parent whose code calls a child while the child needs what the parent declares is a circle of two. What both need
//!   belongs below both, usually into a sibling of the child.
//! - Methods are no imports: an `impl` block in another file is not seen.
//!
//! A circle is a largest set of files in which every file leads to every other. Who must know each other is one room with
//! one face; everything else is cut.
//!
//! `circles.txt` holds the circles that are known. The list only shrinks: a circle that is not in it is refused, and one that
//! became smaller or went away must be so in the list too.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::Context as _;

use modules::Modules;

/// The known circles: each line a crate, a colon, and the files below its `src`.
pub(super) const LIST: &str = "xtask/src/tidy/circles.txt";

/// For each file, whom it uses and by which path.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// Files of one crate that lead to each other, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Circle {
    /// The crate's folder.
    owner: String,
    files: BTreeSet<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        write!(formatter, "{}: {}", self.owner, files.join(" "))
    }
}

/// What was found in the crates of a work tree.
pub(super) struct Circles {
    found: Vec<(Circle, Edges)>,
}

impl Circles {
    /// Reads every crate among the files of the work tree.
    pub(super) fn find(root: &Path, files: &[String]) -> anyhow::Result<Self> {
        let mut crates: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in files.iter().filter(|file| is_looked_at(file)) {
            if let Some((owner, source)) = file.split_once("/src/") {
                crates.entry(owner).or_default().push(source);
            }
        }
        let mut found = Vec::new();
        for (owner, sources) in crates {
            let Some(top) = ["lib.rs", "main.rs"].into_iter().find(|top| sources.contains(top)) else {
                continue;
            };
            // Binaries beside a library are roots of their own, which nobody can import.
            let below = sources.iter().filter(|source| !source.starts_with("bin/"));
            let below = below.filter(|source| **source == top || **source != "main.rs");
            let read = |source: &&str| {
                let text = std::fs::read_to_string(root.join(owner).join("src").join(source));
                text.map(|text| ((*source).to_owned(), text))
            };
            let texts: Vec<_> = below.map(read).collect::<Result<_, _>>()?;
            let edges = Modules::read(top, &texts)
                .with_context(|| format!("the modules of {owner}"))?
                .edges();
            found.extend(circles(owner, &edges).into_iter().map(|circle| (circle, edges.clone())));
        }
        Ok(Circles { found })
    }

    /// What is wrong with the circles, given the list of known ones.
    pub(super) fn check(&self, list: &str) -> Vec<String> {
        let known: Vec<Circle> = list.lines().filter_map(known_circle).collect();
        let mut problems = Vec::new();
        for (circle, edges) in &self.found {
            if !known.iter().any(|known| known.holds(circle)) {
                let unknown = circle.files.iter().find(|file| {
                    let mut lists = known.iter().filter(|known| known.owner == circle.owner);
                    !lists.any(|known| known.files.contains(*file))
                });
                let through = unknown.or(circle.files.first()).map_or("", String::as_str);
                problems.push(format!(
                    "{}: a new import circle of {} files ({}): {}; move what both need below both",
                    circle.owner,
                    circle.files.len(),
                    circle.files.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
                    shortest_loop(through, edges)
                ));
            }
        }
        for known in known {
            let left: Vec<&Circle> = self
                .found
                .iter()
                .map(|(circle, _)| circle)
                .filter(|circle| known.holds(circle))
                .collect();
            match left[..] {
                [] => problems.push(format!("{LIST}: this circle is gone, delete its line: {known}")),
                [circle] if *circle == known => {}
                _ => {
                    let lines: Vec<String> = left.iter().map(|circle| format!("\n    {circle}")).collect();
                    problems.push(format!(
                        "{LIST}: a circle shrank; replace the line\n    {known}\n  by{}",
                        lines.concat()
                    ));
                }
            }
        }
        problems
    }

    /// Every circle and who uses whom in it.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for (circle, edges) in &self.found {
            text.push_str(&format!("{circle}\n"));
            for file in &circle.files {
                let inside = edges[file].iter().filter(|(to, _)| circle.files.contains(*to));
                text.extend(inside.map(|(to, path)| format!("    {file} uses {to} ({path})\n")));
            }
        }
        text
    }

    /// How many circles there are, and the files of the largest.
    pub(super) fn summary(&self) -> String {
        let largest = self
            .found
            .iter()
            .map(|(circle, _)| circle.files.len())
            .max()
            .unwrap_or(0);
        format!("{} import circles, the largest of {largest} files", self.found.len())
    }
}

impl Circle {
    fn holds(&self, other: &Circle) -> bool {
        self.owner == other.owner && self.files.is_superset(&other.files)
    }
}

fn is_looked_at(file: &str) -> bool {
    let is_test = file.contains("/tests/") || file.ends_with("/tests.rs") || file.ends_with("_tests.rs");
    file.ends_with(".rs") && !is_test && !file.contains("/generated/") && !file.starts_with("fuzz/")
}

fn known_circle(line: &str) -> Option<Circle> {
    let (owner, files) = line.split_once(':')?;
    Some(Circle {
        owner: owner.to_owned(),
        files: files.split_whitespace().map(str::to_owned).collect(),
    })
}

/// The circles in who uses whom.
fn circles(owner: &str, edges: &Edges) -> Vec<Circle> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reach(file, edges))).collect();
    let mut circles = BTreeSet::new();
    for (file, leads_to) in &reached {
        let is_mutual = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(file));
        let files: BTreeSet<String> = leads_to
            .iter()
            .filter(is_mutual)
            .map(|file| (*file).to_owned())
            .collect();
        if files.len() > 1 {
            circles.insert(Circle {
                owner: owner.to_owned(),
                files,
            });
        }
    }
    circles.into_iter().collect()
}

/// Every file that a file leads to.
fn reach<'e>(file: &str, edges: &'e Edges) -> BTreeSet<&'e str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        for to in edges.get(next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    reached
}

/// The shortest way from a file back to itself, in words.
fn shortest_loop(file: &str, edges: &Edges) -> String {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = std::collections::VecDeque::from([file]);
    while let Some(next) = open.pop_front() {
        for to in edges.get(next).into_iter().flat_map(BTreeMap::keys) {
            if from.contains_key(to.as_str()) {
                continue;
            }
            from.insert(to, next);
            open.push_back(to);
        }
    }
    let mut steps = Vec::new();
    let mut to = file;
    while let Some(user) = from.get(to) {
        steps.push(format!("{user} uses {to} ({})", edges[*user][to]));
        to = user;
        if to == file {
            break;
        }
    }
    steps.reverse();
    steps.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(sources: &[(&str, &str)]) -> Edges {
        let sources: Vec<_> = sources
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect();
        Modules::read("lib.rs", &sources)
            .expect("the sources are tokens")
            .edges()
    }

    fn found(sources: &[(&str, &str)]) -> Circles {
        let edges = edges_of(sources);
        let circles = circles("crates/x", &edges);
        Circles {
            found: circles.into_iter().map(|circle| (circle, edges.clone())).collect(),
        }
    }

    const CIRCLE: [(&str, &str); 4] = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub(crate) struct A(B);"),
        (
            "b.rs",
            "pub(crate) struct B; impl B { fn f(&self) { crate::c::g(\"x\") } }",
        ),
        ("c.rs", "pub(crate) fn g(_: &str) { let _: super::a::A; }"),
    ];

    #[test]
    fn a_circle_by_imports_and_paths_in_place_is_found_and_shown() {
        let circles = found(&CIRCLE);
        let problems = circles.check("");
        assert_eq!(problems.len(), 1, "{problems:?}");
        for part in [
            "crates/x: a new import circle of 3 files (a.rs b.rs c.rs)",
            "a.rs uses b.rs (crate::b::B), b.rs uses c.rs (crate::c::g), c.rs uses a.rs (super::a::A)",
        ] {
            assert!(problems[0].contains(part), "{problems:?}");
        }
        assert!(circles.describe().contains("    c.rs uses a.rs (super::a::A)\n"));
        assert_eq!(circles.check("crates/x: a.rs b.rs c.rs"), [""; 0]);
        assert_eq!(circles.check("crates/y: a.rs b.rs c.rs").len(), 2);
    }

    #[test]
    fn the_list_only_shrinks() {
        let circles = found(&CIRCLE);
        let shrank = circles.check("crates/x: a.rs b.rs c.rs d.rs");
        assert!(shrank[0].contains("by\n    crates/x: a.rs b.rs c.rs"), "{shrank:?}");
        let grew = circles.check("crates/x: a.rs b.rs");
        assert!(
            grew.iter().any(|problem| problem.contains("a new import circle of 3")),
            "{grew:?}"
        );
        let gone = found(&[("lib.rs", "mod a;"), ("a.rs", "")]).check("crates/x: a.rs b.rs");
        assert_eq!(
            gone,
            [format!(
                "{LIST}: this circle is gone, delete its line: crates/x: a.rs b.rs"
            )]
        );
    }

    #[test]
    fn a_parent_that_declares_and_re_exports_is_in_no_circle() {
        let sources = [
            ("lib.rs", "mod a; mod user; pub use a::one::One;"),
            (
                "a.rs",
                "pub(crate) mod one; mod two; pub(crate) use one::One; pub(super) use two::{Two, make as build};",
            ),
            (
                "a/one.rs",
                "use super::Two; use crate::a::build; pub struct One(Two); fn f() { build() }",
            ),
            ("a/two.rs", "pub struct Two; pub(super) fn make() {}"),
            ("user.rs", "use crate::One; use crate::a; fn f() { a::build() }"),
        ];
        assert!(found(&sources).found.is_empty());
        let edges = edges_of(&sources);
        assert_eq!(edges["user.rs"].keys().collect::<Vec<_>>(), ["a/one.rs", "a/two.rs"]);
        assert_eq!(edges.get("a.rs"), None);
    }

    #[test]
    fn a_parent_that_uses_a_child_that_uses_it_is_a_circle() {
        let parent = "mod child; pub use child::run; pub const N: u8 = 1; pub fn f() { run() }";
        let sources = [
            ("lib.rs", "mod a;"),
            ("a.rs", parent),
            ("a/child.rs", "use super::N; pub fn run() { N }"),
        ];
        let circles = found(&sources);
        assert_eq!(circles.found[0].0.to_string(), "crates/x: a.rs a/child.rs");
    }

    #[test]
    fn tests_comments_texts_and_other_crates_are_no_imports() {
        let sources = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod fake;"),
            (
                "a.rs",
                "use crate::b::B; #[cfg(test)] mod tests { use crate::fake::F; }",
            ),
            (
                "b.rs",
                "// crate::a::A\nuse other::a::A; pub struct B; const T: &str = \"crate::a::A\"; fn f() { io::a() }\n\
                 #[cfg(test)] use crate::a::A;",
            ),
            ("fake.rs", "use crate::a::A; use crate::b::B;"),
        ];
        assert_eq!(
            edges_of(&sources),
            Edges::from([("a.rs".into(), BTreeMap::from([("b.rs".into(), "crate::b::B".into())]))])
        );
    }

    #[test]
    fn names_that_lead_in_a_circle_of_re_exports_end() {
        let sources = [
            ("lib.rs", "pub use a::N; mod a;"),
            ("a.rs", "pub use crate::N; fn f() { crate::N::g() }"),
        ];
        assert_eq!(edges_of(&sources), Edges::new());
    }
}
