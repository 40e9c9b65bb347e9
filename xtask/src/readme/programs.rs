//! The pieces of programs in `README.md`: each must be part of a program that is built and run here.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::shell;

/// How long a program may run.
const RUN_DEADLINE: Duration = Duration::from_secs(30);

const GO_FOLDER: &str = "compat/go/readme";
const RUST_EXAMPLE: &str = "crates/client/examples/readme.rs";

fn go_binary() -> PathBuf {
    shell::root().join("compat/.build/go/readme")
}

/// Builds the programs, while there is a network.
pub(super) fn build() -> anyhow::Result<()> {
    shell::test_build()?;
    if shell::is_installed("go") {
        let mut build = Command::new("go");
        build.current_dir(shell::root().join("compat/go"));
        build
            .args(["build", "-mod=readonly", "-o"])
            .arg(go_binary())
            .arg("./readme");
        shell::run_quietly(&mut build)?;
    }
    Ok(())
}

/// Checks that the text is part of the program in its language, and runs that.
pub(super) fn run(language: &str, text: &str) -> anyhow::Result<()> {
    let (source, binary) = match language {
        "go" => (format!("{GO_FOLDER}/main.go"), go_binary()),
        "rust" => (
            RUST_EXAMPLE.to_owned(),
            shell::target_directory().join("debug/examples/readme"),
        ),
        other => bail!("no program holds what the README says in {other}"),
    };
    let program = std::fs::read_to_string(shell::root().join(&source)).with_context(|| format!("read {source}"))?;
    ensure!(
        is_part_of(text, &program),
        "the lines do not stand in {source} as they do in the README"
    );
    if !binary.exists() {
        shell::loudly(&format!(
            "SKIPPED: the {language} program of the README, as {language} is not installed here"
        ));
        return Ok(());
    }
    println!("readme: {language} program");
    let mut child = Command::new(&binary)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let mut status = None;
    shell::wait_until(RUN_DEADLINE, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    let Some(status) = status else {
        let _ = child.kill();
        bail!("goes on after {RUN_DEADLINE:?}");
    };
    ensure!(status.success(), "ended with {status}");
    Ok(())
}

/// Whether the lines of a piece stand together in a program, whatever their indentation.
fn is_part_of(piece: &str, program: &str) -> bool {
    let lines = |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    let (piece, program) = (lines(piece), lines(program));
    !piece.is_empty() && program.windows(piece.len()).any(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_whatever_its_indentation() {
        let program = "fn main() {\n    one();\n    if x {\n        two();\n    }\n}\n";
        assert!(is_part_of("one();\nif x {\n    two();\n}\n", program));
        assert!(!is_part_of("one();\ntwo();\n", program));
        assert!(!is_part_of("", program));
    }
}
