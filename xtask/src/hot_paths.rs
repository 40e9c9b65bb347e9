//! Guards what a message costs: instructions and allocations, per message and path, against bounds.
//!
//! Counts, no times: a busy machine changes nothing. The programs are examples as the tests build them, so this takes no build of
//! its own. Less is optimised in them and their assertions count: the figures are not those of a release, but move with them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::callgrind::{in_memory, instructions};
use crate::shell;

/// What a message may cost on one path. To be set anew by a change that means to move it, with the reason in its commit.
struct Bound {
    /// The example, and its path.
    program: &'static str,
    path: &'static str,
    per_message: Cost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

const BOUNDS: [Bound; 7] = [
    bound("core_paths", "core-publish", 1_278.0, 0.0),
    bound("core_paths", "core-deliver", 1_645.0, 0.0),
    bound("core_paths", "core-fan-out", 2_769.0, 0.0),
    bound("hot_paths", "publish", 4_093.0, 0.010_8),
    bound("hot_paths", "publish-deliver-ack", 5_949.0, 0.026_5),
    bound("hot_paths", "publish-full", 4_489.0, 0.013_9),
    bound("hot_paths", "publish-1000-channels", 4_873.0, 0.050_3),
];

const fn bound(program: &'static str, path: &'static str, instructions: f64, allocations: f64) -> Bound {
    Bound {
        program,
        path,
        per_message: Cost {
            instructions,
            allocations,
        },
    }
}

/// How far from its bound a figure may be. Below is an error too: the bound would guard nothing any more.
const TOLERANCE: f64 = 0.10;

/// What makes no difference even where the bound is zero: the broker pings by the clock, which takes an allocation.
const SLACK: f64 = 0.001;

/// Messages of the two runs whose difference counts: starting and stopping cost the same in both.
const MESSAGES: [u32; 2] = [0, 25_600];

/// Judges every path, and returns what was skipped; an error names each figure that is off.
pub(crate) fn run() -> anyhow::Result<Vec<String>> {
    let examples = shell::test_build()?.join("examples");
    let mut skipped = Vec::new();
    let valgrind = shell::is_installed("valgrind");
    if !valgrind {
        let what = "the instructions per message: valgrind is not installed";
        shell::loudly(&format!("SKIPPED: {what}"));
        skipped.push(what.to_owned());
    }
    let mut failures = Vec::new();
    for bound in &BOUNDS {
        let found = per_message(&examples.join(bound.program), bound.path, valgrind)
            .with_context(|| format!("{} {}", bound.program, bound.path))?;
        let Cost {
            instructions,
            allocations,
        } = found;
        let counted = if valgrind {
            format!("{instructions:.0}")
        } else {
            "uncounted".to_owned()
        };
        println!(
            "{:<22} {counted:>9} instructions, {allocations:.5} allocations",
            bound.path
        );
        failures.extend(judge(bound, "allocations", allocations, bound.per_message.allocations));
        if valgrind {
            failures.extend(judge(
                bound,
                "instructions",
                instructions,
                bound.per_message.instructions,
            ));
        }
    }
    failures.extend(crate::growth::run(&examples, valgrind)?);
    ensure!(
        failures.is_empty(),
        "{}. If a change means that, it sets the bounds in xtask/src/hot_paths.rs or growth.rs anew and says why",
        failures.join("; ")
    );
    Ok(skipped)
}

/// A sentence if the figure is too far from its bound.
fn judge(bound: &Bound, what: &str, found: f64, expected: f64) -> Option<String> {
    let distance = found - expected;
    if distance.abs() <= (expected * TOLERANCE).max(SLACK) {
        return None;
    }
    let side = if distance > 0.0 { "above" } else { "below" };
    let percent = TOLERANCE * 100.0;
    Some(format!(
        "a message of {} takes {found:.4} {what}, more than {percent} % {side} its bound of {expected}",
        bound.path
    ))
}

/// The difference of two runs. Without valgrind no instructions are counted.
fn per_message(program: &Path, path: &str, valgrind: bool) -> anyhow::Result<Cost> {
    let total = |messages: u32| {
        let arguments = [path, &messages.to_string()];
        let (output, instructions) = if valgrind {
            instructions(program, &arguments)?
        } else {
            (
                shell::run_quietly(in_memory(&mut Command::new(program)).args(arguments))?,
                0.0,
            )
        };
        let allocations = allocations_of(&output).with_context(|| format!("it said {output:?}"))?;
        anyhow::Ok(Cost {
            instructions,
            allocations,
        })
    };
    let [few, many] = MESSAGES;
    let messages = f64::from(many - few);
    let (few, many) = (total(few)?, total(many)?);
    Ok(Cost {
        instructions: (many.instructions - few.instructions) / messages,
        allocations: (many.allocations - few.allocations) / messages,
    })
}

/// From `38400 messages, 17 allocations`.
fn allocations_of(output: &str) -> Option<f64> {
    let (_, allocations) = output.trim().split_once(", ")?;
    allocations.strip_suffix(" allocations")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_found() {
        assert_eq!(allocations_of("38400 messages, 17 allocations\n"), Some(17.0));
        assert_eq!(allocations_of("a panic"), None);
    }

    #[test]
    fn both_sides_of_a_bound_are_judged() {
        let bound = bound("hot_paths", "publish", 1_000.0, 0.0);
        for (found, expected) in [(1_099.0, 1_000.0), (901.0, 1_000.0), (0.0, 0.0)] {
            assert_eq!(judge(&bound, "instructions", found, expected), None);
        }
        for (found, expected, side) in [
            (1_101.0, 1_000.0, "above"),
            (899.0, 1_000.0, "below"),
            (0.1, 0.0, "above"),
        ] {
            let sentence = judge(&bound, "instructions", found, expected).expect("too far off");
            assert!(sentence.contains(side), "{sentence}");
        }
    }
}
