//! The Seaway server: sockets, engine loop, start and stop.
