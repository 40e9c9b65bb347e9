//! The rules of dependence from `ARCHITECTURE.md`: a crate may use only the crates above it, and some know nothing of the world.

use std::path::Path;

use anyhow::Context as _;

/// The crates from the ground up. Each may use only those before it.
const ORDER: [&str; 23] = [
    "trial",
    "nats-protocol",
    "stan-protocol",
    "journal",
    "streaming",
    "store",
    "backup",
    "tenure",
    "replica",
    "member",
    "transport",
    "broker",
    "config",
    "monitor",
    "sql",
    "original",
    "adoption",
    "client",
    "console",
    "bench",
    "cli",
    "server",
    "simulator",
];

/// What a crate must not use although it stands above it, or although it is somebody else's.
const FORBIDDEN: [(&str, &[&str]); 16] = [
    (
        "nats-protocol",
        &["tokio", "socket2", "rustix", "tracing", "seaway-stan-protocol"],
    ),
    ("stan-protocol", &["tokio", "socket2", "rustix", "tracing"]),
    (
        "journal",
        &["tokio", "prost", "seaway-stan-protocol", "seaway-nats-protocol"],
    ),
    (
        "streaming",
        &[
            "tokio",
            "rustix",
            "socket2",
            "fastrand",
            "rand",
            "tracing",
            "log",
            "jiff",
            "seaway-journal",
        ],
    ),
    ("store", &["tokio", "socket2", "seaway-nats-protocol"]),
    ("backup", &["tokio", "socket2", "seaway-streaming"]),
    (
        "tenure",
        &[
            "tokio",
            "socket2",
            "tracing",
            "fastrand",
            "seaway-journal",
            "seaway-streaming",
        ],
    ),
    (
        "replica",
        &[
            "tokio",
            "socket2",
            "rustix",
            "tracing",
            "fastrand",
            "rand",
            "seaway-streaming",
        ],
    ),
    ("member", &["tokio", "socket2", "rustix", "tracing"]),
    (
        "transport",
        &["seaway-journal", "seaway-streaming", "seaway-store", "tracing"],
    ),
    (
        "broker",
        &[
            "seaway-stan-protocol",
            "seaway-streaming",
            "seaway-store",
            "seaway-journal",
        ],
    ),
    (
        "original",
        &[
            "tokio",
            "socket2",
            "seaway-journal",
            "seaway-streaming",
            "seaway-store",
            "seaway-broker",
            "seaway-config",
            "seaway-monitor",
        ],
    ),
    ("adoption", &["tokio", "socket2", "seaway-journal", "seaway-broker"]),
    (
        "client",
        &[
            "seaway-server",
            "seaway-broker",
            "seaway-streaming",
            "seaway-store",
            "seaway-journal",
        ],
    ),
    (
        "cli",
        &[
            "seaway-server",
            "seaway-broker",
            "seaway-config",
            "seaway-monitor",
            "seaway-streaming",
            "seaway-journal",
        ],
    ),
    (
        "bench",
        &[
            "seaway-server",
            "seaway-broker",
            "seaway-streaming",
            "seaway-store",
            "seaway-journal",
        ],
    ),
];

/// The crates that are pure.
const PURE: [&str; 2] = ["streaming", "replica"];

/// What a pure state machine must not name outside its tests: the world comes in as inputs.
const WORLD: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "Instant::now",
    "SystemTime",
    // What it makes has a random hasher; a map with a fixed one is as good as any other.
    "HashMap::new",
    "println!",
    "RandomState",
];

/// The crates of the workspace that examples use: what a user has, and what their trials are made with.
const SHOWN: [&str; 2] = ["seaway-client", "seaway-trial"];

/// Checks every crate's manifest, and the sources of the pure ones.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for example in folders(&root.join("examples"))? {
        for folder in folders(&example)? {
            let name = folder.strip_prefix(root).unwrap_or(&folder).display().to_string();
            if let Ok(manifest) = std::fs::read_to_string(folder.join("Cargo.toml")) {
                problems.extend(check_example(&name, &manifest));
            }
        }
    }
    for entry in std::fs::read_dir(root.join("crates")).context("list the crates")? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))
            .with_context(|| format!("read the manifest of {name}"))?;
        problems.extend(check_manifest(&name, &manifest));
    }
    let mut sources = Vec::new();
    for name in PURE {
        sources.extend(rust_files(&root.join("crates").join(name).join("src"))?);
    }
    for source in sources {
        let text = std::fs::read_to_string(&source)?;
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        if name != "tests.rs"
            && !name.ends_with("_tests.rs")
            && !source.components().any(|part| part.as_os_str() == "tests")
        {
            problems.extend(check_purity(
                &source.strip_prefix(root).unwrap_or(&source).display().to_string(),
                &text,
            ));
        }
    }
    Ok(problems)
}

fn check_manifest(name: &str, manifest: &str) -> Vec<String> {
    let Some(rank) = ORDER.iter().position(|known| *known == name) else {
        return vec![format!(
            "crates/{name}: not in the table of crates; add it to ARCHITECTURE.md and to xtask's layers"
        )];
    };
    let mut problems = Vec::new();
    for dependency in dependencies(manifest) {
        if let Some(other) = dependency.strip_prefix("seaway-")
            && ORDER
                .iter()
                .position(|known| *known == other)
                .is_none_or(|other| other >= rank)
        {
            problems.push(format!(
                "crates/{name}: uses {dependency}, which does not stand above it"
            ));
        }
        let forbidden = FORBIDDEN
            .iter()
            .any(|(of, list)| *of == name && list.contains(&dependency.as_str()));
        if forbidden {
            problems.push(format!("crates/{name}: must not know {dependency}"));
        }
    }
    problems
}

/// An example uses what users have, and its own crates.
fn check_example(name: &str, manifest: &str) -> Vec<String> {
    let example = name.split('/').nth(1).unwrap_or_default();
    let own = format!("seaway-{example}-");
    let foreign = dependencies(manifest).into_iter().filter(|dependency| {
        dependency.starts_with("seaway-") && !dependency.starts_with(&own) && !SHOWN.contains(&dependency.as_str())
    });
    foreign
        .map(|dependency| format!("{name}: uses {dependency}, which users do not have"))
        .collect()
}

/// The names in `[dependencies]` (not those of tests).
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside =
                section == "dependencies" || (section.starts_with("target.") && section.ends_with(".dependencies"));
            names.extend(section.strip_prefix("dependencies.").map(str::to_owned));
        } else if inside && !line.starts_with('#') && line.contains('=') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            names.push(name.trim_matches('"').to_owned());
        }
    }
    names
}

fn check_purity(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for word in WORLD {
            if code.contains(word) {
                problems.push(format!(
                    "{path}:{}: this crate is pure and must not use {word}",
                    index + 1
                ));
            }
        }
    }
    problems
}

/// The folders in a folder; none when it is missing.
fn folders(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
            found.push(entry?.path());
        }
    }
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

fn rust_files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_uses_only_what_stands_above_it() {
        let upwards = "[dependencies]\nseaway-journal.workspace = true\nbytes = \"1\"\n";
        assert_eq!(check_manifest("store", upwards), Vec::<String>::new());
        let downwards = "[dependencies]\nseaway-server = { workspace = true }\n";
        assert!(check_manifest("journal", downwards)[0].contains("seaway-server"));
        let itself = "[dependencies]\nseaway-journal.workspace = true\n";
        assert_eq!(check_manifest("journal", itself).len(), 1);
    }

    #[test]
    fn forbidden_knowledge_is_found_in_every_form_of_dependency() {
        for manifest in [
            "[dependencies]\ntokio.workspace = true\n",
            "[dependencies]\ntokio = { version = \"1\" }\n",
            "[dependencies.tokio]\nversion = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n",
        ] {
            assert_eq!(
                check_manifest("streaming", manifest),
                ["crates/streaming: must not know tokio"],
                "{manifest}"
            );
        }
        assert_eq!(
            check_manifest("streaming", "[dev-dependencies]\ntokio = \"1\"\n"),
            Vec::<String>::new()
        );
        assert!(check_manifest("newcomer", "")[0].contains("not in the table"));
    }

    #[test]
    fn an_example_uses_what_users_have() {
        let own = "[dependencies]\nseaway-client.workspace = true\nseaway-orders-pb.workspace = true\ntokio = \"1\"\n";
        assert_eq!(check_example("examples/orders/services", own), Vec::<String>::new());
        let server = "[dependencies]\nseaway-server.workspace = true\n";
        assert!(check_example("examples/orders/services", server)[0].contains("seaway-server"));
    }

    #[test]
    fn the_world_is_found_in_code_but_not_in_comments_and_tests() {
        assert_eq!(check_purity("a.rs", "use std::fs;\n").len(), 1);
        assert_eq!(
            check_purity("a.rs", "// no std::fs here\n#[cfg(test)]\nuse std::fs;\n"),
            Vec::<String>::new()
        );
    }
}
