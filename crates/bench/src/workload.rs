//! The workloads by their names, and how a run of several threads is put together.

mod core_flow;
mod core_request;
mod core_routing;
mod definition;
mod disk;
mod jetstream_deliver;
mod jetstream_publish;
mod stream_catch_up;
mod stream_channels;
mod stream_deliver;
mod stream_idle;
mod stream_publish;
mod stream_queue;
mod stream_recovery;
mod stream_redelivery;
mod stream_retention;
mod stream_subscriptions;

pub use definition::{Needs, Workload};

/// Every workload.
pub const WORKLOADS: &[Workload] = &[
    core_flow::C1,
    core_flow::C2,
    core_flow::C3,
    core_request::C4,
    core_routing::C5,
    stream_publish::S1,
    stream_deliver::S2,
    stream_channels::S3,
    stream_subscriptions::S4,
    stream_queue::S5,
    stream_catch_up::S6,
    stream_redelivery::S7,
    stream_idle::S8,
    stream_recovery::S9,
    stream_retention::S10,
    jetstream_publish::J1,
    jetstream_deliver::J2,
    disk::DISK,
];

/// The workload of this name, in whatever case.
pub fn named(name: &str) -> Option<&'static Workload> {
    WORKLOADS
        .iter()
        .find(|workload| workload.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::PARAMETERS;

    #[test]
    fn names_are_found_and_parameters_exist() {
        assert_eq!(named("s10").map(|workload| workload.name), Some("S10"));
        assert!(named("S11").is_none());
        for workload in WORKLOADS {
            assert_eq!(
                named(workload.name).map(|found| found.about),
                Some(workload.about),
                "named twice"
            );
            for name in workload.parameters {
                assert!(
                    PARAMETERS.iter().any(|parameter| parameter.name == *name),
                    "{}: {name}",
                    workload.name
                );
            }
        }
    }
}
