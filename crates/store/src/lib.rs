//! Where the streaming engine keeps its state.
