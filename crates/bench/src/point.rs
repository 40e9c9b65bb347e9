//! What a workload is run with: one value for each parameter. Lists on the command line make a point of each combination.

use std::time::Duration;

/// A window that holds nothing back.
pub const UNLIMITED: u64 = u64::MAX;

/// The parameters of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Payload bytes.
    pub size: usize,
    /// Publishes in flight of each publisher, at most; 0 lets a core workload choose.
    pub window: u64,
    /// Channels, or streams, that publishes go round.
    pub channels: u64,
    /// Publishing connections.
    pub publishers: u64,
    /// Receiving connections.
    pub subscribers: u64,
    /// Subscriptions in all.
    pub subscriptions: u64,
    /// Connections that only exist.
    pub connections: u64,
    /// Messages delivered to a subscription and not yet acknowledged, at most.
    pub max_in_flight: u64,
    /// Messages in the store before anything is measured.
    pub backlog: u64,
    /// Sends per second of all publishers together; 0 sends as fast as the server takes them.
    pub rate: u64,
}

/// A parameter by its name: how to read it and how to set it.
pub struct Parameter {
    /// As in reports and on the command line.
    pub name: &'static str,
    /// Reads it.
    pub get: fn(&Point) -> u64,
    /// Sets it.
    pub set: fn(&mut Point, u64),
}

macro_rules! parameters {
    ($($field:ident),*) => {
        [$(Parameter {
            name: stringify!($field),
            get: |point| point.$field,
            set: |point, value| point.$field = value,
        }),*]
    };
}

/// Every parameter, in the order of reports.
pub const PARAMETERS: [Parameter; 10] = {
    let [
        window,
        channels,
        publishers,
        subscribers,
        subscriptions,
        connections,
        max_in_flight,
        backlog,
        rate,
    ] = parameters!(
        window,
        channels,
        publishers,
        subscribers,
        subscriptions,
        connections,
        max_in_flight,
        backlog,
        rate
    );
    let size = Parameter {
        name: "size",
        get: |point| point.size as u64,
        set: |point, value| point.size = usize::try_from(value).unwrap_or(usize::MAX),
    };
    [
        size,
        window,
        channels,
        publishers,
        subscribers,
        subscriptions,
        connections,
        max_in_flight,
        backlog,
        rate,
    ]
};

impl Default for Point {
    fn default() -> Self {
        Point {
            size: 128,
            window: 1024,
            channels: 1,
            publishers: 1,
            subscribers: 1,
            subscriptions: 1,
            connections: 0,
            max_in_flight: 1024,
            backlog: 0,
            rate: 0,
        }
    }
}

impl Point {
    /// A parameter by name.
    pub fn get(&self, name: &str) -> Option<u64> {
        PARAMETERS
            .iter()
            .find(|parameter| parameter.name == name)
            .map(|parameter| (parameter.get)(self))
    }

    /// One point for each combination of the values given; a parameter without values keeps its own.
    pub fn combinations(&self, values: &[(&str, Vec<u64>)]) -> Vec<Point> {
        let mut points = vec![self.clone()];
        for (name, values) in values {
            let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == *name) else {
                continue;
            };
            if values.is_empty() {
                continue;
            }
            points = points
                .iter()
                .flat_map(|point| {
                    values.iter().map(|value| {
                        let mut point = point.clone();
                        (parameter.set)(&mut point, *value);
                        point
                    })
                })
                .collect();
        }
        points
    }
}

/// How long a run is; what happens in its warm-up is not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// By the clock.
    Time {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
    /// By messages that the publishers send in all.
    Count {
        /// Not measured.
        warm_up: u64,
        /// Measured.
        measured: u64,
    },
}

impl Length {
    /// Messages that each of so many publishers sends; `None` when the clock decides.
    pub fn quota(self, publishers: u64, publisher: u64) -> Option<u64> {
        match self {
            Length::Time { .. } => None,
            Length::Count { warm_up, measured } => {
                let all = warm_up + measured;
                Some(all / publishers + u64::from(publisher < all % publishers))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_make_combinations() {
        let base = Point::default();
        let points = base.combinations(&[
            ("size", vec![16, 128]),
            ("rate", vec![]),
            ("channels", vec![1, 10, 100]),
        ]);
        let found: Vec<(usize, u64)> = points.iter().map(|point| (point.size, point.channels)).collect();
        assert_eq!(found, [(16, 1), (16, 10), (16, 100), (128, 1), (128, 10), (128, 100)]);
        assert_eq!(base.combinations(&[]), std::slice::from_ref(&base));
    }

    #[test]
    fn every_parameter_is_read_and_set_under_its_name() {
        let mut point = Point::default();
        for (number, parameter) in PARAMETERS.iter().enumerate() {
            (parameter.set)(&mut point, number as u64 + 10);
        }
        for (number, parameter) in PARAMETERS.iter().enumerate() {
            assert_eq!(
                point.get(parameter.name),
                Some(number as u64 + 10),
                "{}",
                parameter.name
            );
        }
        assert_eq!(point.get("colour"), None);
    }

    #[test]
    fn publishers_share_a_count_exactly() {
        let length = Length::Count {
            warm_up: 3,
            measured: 7,
        };
        let quotas: Vec<u64> = (0..3).filter_map(|publisher| length.quota(3, publisher)).collect();
        assert_eq!((quotas.iter().sum::<u64>(), quotas.len()), (10, 3));
        let time = Length::Time {
            warm_up: Duration::ZERO,
            measured: Duration::ZERO,
        };
        assert_eq!(time.quota(3, 0), None);
    }
}
