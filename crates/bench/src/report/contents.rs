//! What a report holds.

use serde::Serialize;

use crate::machine::Machine;
use crate::outcome::Outcome;

/// Everything that one call of the tool found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the tool.
    pub version: String,
    /// The command line after the program's name.
    pub command_line: String,
    /// Where it ran.
    pub machine: Machine,
    /// What came out, in the order of the runs.
    pub outcomes: Vec<Outcome>,
}
