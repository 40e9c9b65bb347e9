//! What a check or an adoption says, and how it ends.

use seaway_adoption::{Adopted, Error, Progress};
use seaway_original::{Report, Severity, Verdict};
use serde_json::json;

use super::report;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::progress::while_drawn;
use crate::readable::{counted, printable};

/// What a check says, and how it ends.
pub(super) fn tell_check(report: &Report, output: &mut Output) -> Outcome {
    tell(report, output)?;
    match report.verdict {
        Verdict::Ready if output.is_json() => Ok(()),
        Verdict::Ready => output.line(&format!("\n{}", verdict(report))),
        Verdict::Losses | Verdict::Refused => Err(Failure::failed(verdict(report))),
    }
}

fn tell(report: &Report, output: &mut Output) -> Outcome {
    match output.is_json() {
        true => output.json(report),
        false => report::show(report, output),
    }
}

/// Takes over, and says what came of it.
pub(super) fn finish(
    output: &mut Output,
    adopt: impl FnOnce(&Progress) -> Result<seaway_adoption::Outcome, Error> + Send,
) -> Outcome {
    let progress = Progress::default();
    let adopted = while_drawn(&progress, || adopt(&progress))?;
    match adopted {
        Ok(seaway_adoption::Outcome::Adopted(adopted)) => tell_adopted(&adopted, output),
        Ok(seaway_adoption::Outcome::Finished) => output.done(
            "The last steps of an earlier adoption were taken. The directory is Seaway's now.",
            &json!({ "finished": true }),
        ),
        Err(Error::Findings(report)) => {
            tell(&report, output)?;
            Err(Failure::failed(verdict(&report)))
        }
        Err(Error::Losses(report)) => {
            tell(&report, output)?;
            let text = verdict(&report);
            Err(Failure::failed(format!(
                "{text}; to take over the rest, say so with --accept-losses"
            )))
        }
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}

fn tell_adopted(adopted: &Adopted, output: &mut Output) -> Outcome {
    if output.is_json() {
        return output.json(adopted);
    }
    report::show(&adopted.report, output)?;
    output.line("")?;
    if adopted.filled > 0 {
        let filled = counted(adopted.filled, "missing message");
        output.line(&format!("Empty messages are in the place of {filled}."))?;
    }
    if adopted.left_out > 0 {
        let left_out = counted(adopted.left_out, "durable");
        output.line(&format!(
            "Left out because another has the same client and name: {left_out}."
        ))?;
    }
    let directory = adopted.directory.display();
    output.line(&format!(
        "{directory} is Seaway's now: {} in {}.",
        counted(adopted.report.totals.messages + adopted.filled, "message"),
        counted(adopted.report.totals.channels, "channel"),
    ))?;
    let originals = match &adopted.originals {
        Some(folder) => format!("The original's files are in {}.", folder.display()),
        None => format!("{} is as it was.", adopted.report.place),
    };
    output.line(&originals)?;
    output.line(&format!(
        "Start it with: seaway -cid {} -dir {directory}",
        printable(&adopted.cluster_id)
    ))
}

fn verdict(report: &Report) -> String {
    let of = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count() as u64
    };
    match report.verdict {
        Verdict::Ready => "All of it can be taken over. Nothing was changed.".to_owned(),
        Verdict::Losses => format!(
            "{} could be taken over, but for what {} above say is lost; nothing was changed",
            report.place,
            counted(of(Severity::Loss), "line"),
        ),
        Verdict::Refused => format!(
            "{} cannot be taken over before what {} above say is settled; nothing was changed",
            report.place,
            counted(of(Severity::Refusal), "line"),
        ),
    }
}
