//! Messages, subjects and exact texts of the streaming protocol.
