//! How a "why?" is answered; its words are in [`crate::why`].

mod assess;
mod nearest;
mod report;
mod words;
