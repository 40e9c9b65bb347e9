//! What a row came to: the median of its pairs, their spread, and whether that is enough.

use super::measure::Run;
use super::trials::{Bound, Row, Value};

/// A pair of runs of a trial; the second is missing when there is one side only.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) first: Run,
    pub(super) other: Option<Run>,
}

/// Median and spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// How a row did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Aim,
    Must,
    Missed,
    /// There is nothing to reach.
    Informative,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Verdict::Aim => "aim reached",
            Verdict::Must => "pass",
            Verdict::Missed => "MISS",
            Verdict::Informative => "",
        }
    }
}

impl Bound {
    /// Whether a value is enough.
    pub(super) fn judge(self, value: f64) -> Verdict {
        let (enough, plenty) = match self {
            Bound::AtLeast { must, aim } => (value >= must, value >= aim),
            Bound::AtMost { must, aim } => (value <= must, value <= aim),
            Bound::Any => return Verdict::Informative,
        };
        match (enough, plenty) {
            (_, true) => Verdict::Aim,
            (true, false) => Verdict::Must,
            (false, false) => Verdict::Missed,
        }
    }
}

/// The row's value in one pair.
pub(super) fn value(row: &Row, pair: &Pair) -> anyhow::Result<f64> {
    let other = || {
        pair.other
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("{} has one side only", row.name))
    };
    Ok(match row.value {
        Value::Ratio(first, second) => pair.first.figure(first)? / other()?.figure(second)?,
        Value::Inverse(figure) => other()?.figure(figure)? / pair.first.figure(figure)?,
        Value::First(figure) => pair.first.figure(figure)?,
        Value::Other(figure) => other()?.figure(figure)?,
    })
}

/// What the row is made of on each side.
pub(super) fn sides(row: &Row, pair: &Pair) -> (Option<f64>, Option<f64>) {
    let (first, second) = match row.value {
        Value::Ratio(first, second) => (Some(first), Some(second)),
        Value::Inverse(figure) => (Some(figure), Some(figure)),
        Value::First(figure) => (Some(figure), None),
        Value::Other(figure) => (None, Some(figure)),
    };
    let other = pair.other.as_ref();
    (
        first.and_then(|figure| pair.first.figure(figure).ok()),
        second.and_then(|figure| other?.figure(figure).ok()),
    )
}

/// Median and spread of values; `None` when there are none.
pub(super) fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?)
    } else {
        sorted[middle]
    };
    Some(Spread {
        median,
        least: *sorted.first()?,
        most: *sorted.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::trials::Figure;
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let of = |values: &[f64]| spread(values).map(|spread| (spread.median, spread.least, spread.most));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn bounds_look_in_their_direction() {
        let more = Bound::AtLeast { must: 2.0, aim: 4.0 };
        let less = Bound::AtMost { must: 2.0, aim: 1.0 };
        let found = [1.9, 2.0, 4.0].map(|value| more.judge(value));
        assert_eq!(found, [Verdict::Missed, Verdict::Must, Verdict::Aim]);
        let found = [2.1, 2.0, 1.0].map(|value| less.judge(value));
        assert_eq!(found, [Verdict::Missed, Verdict::Must, Verdict::Aim]);
        assert_eq!(Bound::Any.judge(7.0), Verdict::Informative);
    }

    #[test]
    fn values_come_from_the_sides_that_the_row_names() {
        let run = |rate: f64| Run {
            report: serde_json::json!({ "outcomes": [{ "figures": { "r": rate } }] }),
        };
        let figure = Figure::Number("r");
        let both = Pair {
            first: run(6.0),
            other: Some(run(2.0)),
        };
        let row = |value| Row {
            name: "n",
            what: "w",
            value,
            bound: Bound::Any,
            unit: (1.0, ""),
        };
        let found = [
            Value::Ratio(figure, figure),
            Value::Inverse(figure),
            Value::First(figure),
            Value::Other(figure),
        ]
        .map(|kind| value(&row(kind), &both).expect("both sides are there"));
        assert_eq!(found, [3.0, 1.0 / 3.0, 6.0, 2.0]);
        assert_eq!(sides(&row(Value::First(figure)), &both), (Some(6.0), None));
        let single = Pair {
            first: run(6.0),
            other: None,
        };
        assert!(value(&row(Value::Inverse(figure)), &single).is_err());
    }
}
