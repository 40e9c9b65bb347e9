//! What trials of whole programs need: processes that are started and killed, requests over HTTP, and a headless browser. Used by tests
//! alone; nothing here knows what is on trial.

pub mod browser;
pub mod http;
pub mod process;
pub mod waiting;
