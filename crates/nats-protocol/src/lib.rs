//! Lexing and writing of the core NATS protocol.
