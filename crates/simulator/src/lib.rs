//! A seeded simulator: engine, store and journal on a faulty disk.
