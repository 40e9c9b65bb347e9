//! What operators see and do: command lines, configuration, monitoring, changes, the console, packages.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/nats.rs"]
mod nats;

mod administration;
mod changes;
mod command_line;
mod command_line_look;
mod command_line_tool;
mod configuration;
mod console;
mod console_browser;
mod dashboards;
mod deployments;
mod export;
mod logs;
mod metrics;
mod monitoring;
mod operating;
mod peek;
mod reload;
mod signals;
mod start_sequence;
mod why;
