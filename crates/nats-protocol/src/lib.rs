//! Lexing and writing of the core NATS protocol, subjects included.
//!
//! Everything here is a pure function over bytes: no sockets, no clocks, no knowledge of streaming. The parser
//! borrows from the read buffer, the writers append to a vector that the caller owns.

pub mod connect;
pub mod delivery;
pub mod error_text;
pub mod harmless;
pub mod header;
pub mod limits;
pub mod parse;
pub mod quote;
pub mod route;
pub mod route_handshake;
pub mod subject;
pub mod subject_mapping;
pub mod write;

pub use connect::{ClientConnect, ConnectOptions, InvalidConnect, ServerInfo};
pub use delivery::{Delivered, ServerOperation, parse_server_operation};
pub use error_text::ErrorText;
pub use parse::{Operation, ParseError, ParseLimits, Parsed, Publish, parse_operation};
pub use route::{RouteMessage, RouteOperation, parse_route_operation};
pub use route_handshake::{RouteConnect, RouteInfo};
pub use subject_mapping::{InvalidMapping, SubjectMapping};
