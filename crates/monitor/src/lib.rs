//! Monitoring endpoints over snapshots.
