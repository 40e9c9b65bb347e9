//! What is said at the end: text for the terminal, JSON for programs, a page with plots for people.

mod contents;
mod growth;
mod html;
mod plot;
mod quantity;
mod text;

use std::path::Path;

use anyhow::{Context as _, Result};

pub use contents::Report;
pub use text::outcome as outcome_text;

impl Report {
    /// Writes it as JSON; `-` is the standard output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the report as JSON")? + "\n";
        write(path, &text)
    }

    /// Writes it as a page that needs nothing else; `-` is the standard output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        write(path, &html::page(self))
    }
}

#[allow(clippy::print_stdout, reason = "asked for with a dash")]
fn write(path: &Path, text: &str) -> Result<()> {
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
