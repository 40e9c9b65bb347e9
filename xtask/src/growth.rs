//! Guards that what an operation costs does not grow with what there is besides it.
//!
//! Counts, no times: instructions of one operation, or what a program counts itself, for two sizes of which one is twice the other.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::callgrind::instructions;
use crate::shell;

/// How the steps of an operation are counted.
#[derive(Clone, Copy)]
enum Counted {
    /// So many operations: the difference between doing them and not, by an instruction counter. None stands for as many as exist.
    Instructions(Option<u32>),
    /// The program counts steps itself and prints the most of one go.
    AtOnce,
}

/// What an operation may cost while there is so much of what it could walk over, and twice as much.
struct Row {
    program: &'static str,
    operation: &'static str,
    /// The smaller size.
    existing: u32,
    counted: Counted,
    /// Steps of one operation, at most, at the larger size.
    bound: f64,
}

/// By how much twice the size may raise the instructions of one operation: logarithms do, by less than this. What is done at once
/// varies with the order of events, and has one bound for both sizes.
const GROWTH: f64 = 1.25;

const ROWS: [Row; 6] = [
    row(
        "growth",
        "choose-a-member",
        2_500,
        Counted::Instructions(Some(500)),
        20_000.0,
    ),
    row("growth", "end-the-paused", 10_000, Counted::Instructions(None), 5_000.0),
    row("growth", "answer-reads", 10_000, Counted::Instructions(None), 32_000.0),
    row("growth", "commit", 1_500, Counted::Instructions(Some(100)), 9_000.0),
    row("crowds", "overlapping-wildcards", 8_192, Counted::AtOnce, 80_000.0),
    row("crowds", "teardown", 500_000, Counted::AtOnce, 8_192.0),
];

const fn row(program: &'static str, operation: &'static str, existing: u32, counted: Counted, bound: f64) -> Row {
    Row {
        program,
        operation,
        existing,
        counted,
        bound,
    }
}

/// Judges every row, and returns a sentence for each that is off.
pub(crate) fn run(examples: &Path, valgrind: bool) -> anyhow::Result<Vec<String>> {
    let mut failures = Vec::new();
    for row in &ROWS {
        if matches!(row.counted, Counted::Instructions(_)) && !valgrind {
            continue;
        }
        let program = examples.join(row.program);
        let steps = |existing| {
            let steps = steps(&program, row, existing);
            steps.with_context(|| format!("{} {} {existing}", row.program, row.operation))
        };
        let (few, many) = (steps(row.existing)?, steps(2 * row.existing)?);
        println!(
            "{:<22} {few:>9.0} steps beside {}, {many:.0} beside {}",
            row.operation,
            row.existing,
            2 * row.existing
        );
        failures.extend(judge(row, few, many));
    }
    Ok(failures)
}

fn judge(row: &Row, few: f64, many: f64) -> Option<String> {
    let operation = row.operation;
    if many > row.bound {
        return Some(format!(
            "{operation} takes {many:.0} steps, and its bound is {}",
            row.bound
        ));
    }
    if matches!(row.counted, Counted::Instructions(_)) && many > GROWTH * few {
        return Some(format!(
            "{operation} takes {many:.0} steps instead of {few:.0} beside twice as much"
        ));
    }
    None
}

/// Steps of one operation.
fn steps(program: &Path, row: &Row, existing: u32) -> anyhow::Result<f64> {
    let existing_text = existing.to_string();
    match row.counted {
        Counted::AtOnce => {
            let output = shell::run_quietly(std::process::Command::new(program).args([row.operation, &existing_text]))?;
            let steps = output
                .trim()
                .strip_suffix(" at once")
                .and_then(|steps| steps.parse().ok());
            steps.with_context(|| format!("it said {output:?}"))
        }
        Counted::Instructions(count) => {
            let count = count.unwrap_or(existing);
            let total = |count: u32| instructions(program, &[row.operation, &existing_text, &count.to_string()]);
            let (none, all) = (total(0)?.1, total(count)?.1);
            ensure!(all > none, "operations cost something");
            Ok((all - none) / f64::from(count))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_bounds_are_judged() {
        let row = row("growth", "commit", 1_000, Counted::Instructions(None), 1_000.0);
        assert_eq!(judge(&row, 800.0, 900.0), None);
        let grown = judge(&row, 400.0, 800.0).expect("it doubles");
        assert!(grown.contains("twice as much"), "{grown}");
        let beyond = judge(&row, 1_000.0, 1_001.0).expect("it is above");
        assert!(beyond.contains("bound"), "{beyond}");
    }
}
