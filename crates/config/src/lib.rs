//! Options: one table from which flags, usage text and keys come.
