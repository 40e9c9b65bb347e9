//! The streaming engine: a pure state machine.
