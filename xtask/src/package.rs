//! Packages of the server, and trials of what operators install: `docs/install.md` is their manual.

mod chart;
mod check;
mod chroot;
mod debian;
mod licences;

use std::path::Path;

use crate::shell;
pub(crate) use debian::Options;

/// What to do with packages once they are made.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trial {
    /// Look at them, at units, rules, dashboards and the chart.
    pub(crate) checks: bool,
    /// Install them in a system of their own, and start the image's file system.
    pub(crate) installs: bool,
}

/// Builds the packages, tries them as wished, and returns what was skipped of that.
pub(crate) fn run(options: &Options, trial: Trial) -> anyhow::Result<Vec<String>> {
    debian::build(options)?;
    let server = shell::server_binary(options.server.as_deref(), shell::Profile::Dist)?;
    let mut skipped = Vec::new();
    if trial.checks {
        skipped.extend(check::run(&server)?);
    }
    if trial.installs {
        skipped.extend(chroot::run(&server)?);
    }
    Ok(skipped)
}

/// The cheap part, on packages of this server; returns what was skipped.
pub(crate) fn check(server: &Path) -> anyhow::Result<Vec<String>> {
    check::run(server)
}
