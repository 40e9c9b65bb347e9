//! A group-committed write-ahead log shared by many message logs.
