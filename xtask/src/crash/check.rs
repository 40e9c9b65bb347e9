//! What must be true of a channel and of subscribers after the kills.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, bail, ensure};

/// A channel's limit, as the runner configures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Everything since sequence 1.
    Everything,
    /// At least and at most this many of the newest messages.
    Newest { at_least: usize, at_most: usize },
    /// Whatever is young enough, possibly nothing but the reader's own message.
    Young,
}

/// Sequences without a gap, from 1 if everything is kept; numbers rising; every acknowledged number there that is not older than the
/// first one kept; the reader's own message last.
pub(crate) fn channel(messages: &[(u64, String)], acknowledged: &HashSet<u64>, kept: Kept) -> anyhow::Result<()> {
    let Some(((end, last), before)) = messages.split_last() else {
        bail!("nothing was delivered")
    };
    ensure!(last == "end", "the last message is {last:?}");
    ensure!(
        *end > acknowledged.len() as u64,
        "sequence {end} after {} acknowledged messages",
        acknowledged.len()
    );
    let first = messages.first().map_or(1, |(sequence, _)| *sequence);
    match kept {
        Kept::Everything => ensure!(first == 1, "sequence {first} where 1 was due"),
        Kept::Newest { at_least, at_most } => ensure!(
            (at_least.min(*end as usize)..=at_most).contains(&messages.len()),
            "{} messages are kept where {at_least} to {at_most} were due",
            messages.len()
        ),
        Kept::Young => {}
    }
    for (due, (sequence, _)) in (first..).zip(messages) {
        ensure!(*sequence == due, "sequence {sequence} where {due} was due");
    }
    let found = rising(before)?;
    let oldest = if first == 1 {
        0
    } else {
        found.first().copied().unwrap_or(u64::MAX)
    };
    let mut lost: Vec<u64> = acknowledged
        .iter()
        .copied()
        .filter(|number| *number >= oldest && found.binary_search(number).is_err())
        .collect();
    lost.sort_unstable();
    ensure!(
        lost.is_empty(),
        "{} acknowledged messages are lost, the first are {:?}",
        lost.len(),
        &lost[..lost.len().min(10)]
    );
    Ok(())
}

/// The numbers of the messages, which must rise.
fn rising(messages: &[(u64, String)]) -> anyhow::Result<Vec<u64>> {
    let mut found: Vec<u64> = Vec::with_capacity(messages.len());
    for (sequence, payload) in messages.iter().filter(|(_, payload)| payload != "end") {
        let number: u64 = payload
            .parse()
            .with_context(|| format!("sequence {sequence} holds {payload:?}"))?;
        let highest = found.last().copied();
        ensure!(
            highest.is_none_or(|highest| highest < number),
            "sequence {sequence}: {number} after {highest:?}"
        );
        found.push(number);
    }
    Ok(found)
}

/// A subscriber saw every message of the channel under the sequence it is stored with.
pub(crate) fn subscriber(messages: &[(u64, String)], seen: &BTreeMap<u64, String>) -> anyhow::Result<()> {
    let before = messages.iter().filter(|(_, payload)| payload != "end");
    for (sequence, payload) in before {
        match seen.get(sequence) {
            None => bail!("sequence {sequence} never came"),
            Some(other) => ensure!(
                other == payload,
                "sequence {sequence} came as {other:?} and is stored as {payload:?}"
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(payloads: &[&str], acknowledged: &[u64]) -> Result<(), String> {
        let messages: Vec<_> = (1..).zip(payloads.iter().map(ToString::to_string)).collect();
        channel(&messages, &acknowledged.iter().copied().collect(), Kept::Everything).map_err(|error| error.to_string())
    }

    #[test]
    fn all_that_was_acknowledged_must_be_there_in_order() {
        assert_eq!(checked(&["0", "3", "9", "end"], &[0, 9]), Ok(()));
        assert!(
            checked(&["0", "3", "end"], &[0, 9])
                .unwrap_err()
                .contains("1 acknowledged messages are lost")
        );
        assert!(
            checked(&["3", "0", "end"], &[])
                .unwrap_err()
                .contains("sequence 2: 0 after Some(3)")
        );
        assert!(
            checked(&["3", "3", "end"], &[])
                .unwrap_err()
                .contains("3 after Some(3)")
        );
        assert!(checked(&["3", "4"], &[]).unwrap_err().contains("the last message"));
        assert!(checked(&["rubbish", "end"], &[]).unwrap_err().contains("rubbish"));
    }

    #[test]
    fn a_gap_in_the_sequences_is_found() {
        let messages = [(1, "0".to_owned()), (3, "end".to_owned())];
        let error = channel(&messages, &HashSet::new(), Kept::Everything).unwrap_err();
        assert_eq!(error.to_string(), "sequence 3 where 2 was due");
    }

    #[test]
    fn a_limited_channel_keeps_the_newest() {
        let messages: Vec<_> = [(5, "50"), (6, "60"), (7, "end")]
            .map(|(sequence, text)| (sequence, text.to_owned()))
            .into();
        let kept = |at_least, at_most, acknowledged: &[u64]| {
            let acknowledged = acknowledged.iter().copied().collect();
            channel(&messages, &acknowledged, Kept::Newest { at_least, at_most }).map_err(|error| error.to_string())
        };
        assert_eq!(kept(3, 3, &[10, 20, 30, 40, 50, 60]), Ok(()));
        assert!(kept(4, 4, &[60]).unwrap_err().contains("3 messages are kept"));
        assert!(kept(1, 2, &[60]).unwrap_err().contains("3 messages are kept"));
        assert!(kept(3, 3, &[55]).unwrap_err().contains("lost"));
        assert!(channel(&messages, &HashSet::new(), Kept::Everything).is_err());
        assert_eq!(
            channel(&messages[2..], &HashSet::from([10, 60]), Kept::Young).map_err(|error| error.to_string()),
            Ok(())
        );
        let many = (0..9).collect();
        assert!(
            channel(&messages[2..], &many, Kept::Young)
                .unwrap_err()
                .to_string()
                .contains("sequence 7 after 9")
        );
    }

    #[test]
    fn a_subscriber_sees_everything_unchanged() {
        let messages = [(1, "0".to_owned()), (2, "3".to_owned()), (3, "end".to_owned())];
        let seen = |list: &[(u64, &str)]| {
            let seen = list
                .iter()
                .map(|(sequence, text)| (*sequence, (*text).to_owned()))
                .collect();
            subscriber(&messages, &seen).map_err(|error| error.to_string())
        };
        assert_eq!(seen(&[(1, "0"), (2, "3")]), Ok(()));
        assert_eq!(seen(&[(1, "0")]), Err("sequence 2 never came".to_owned()));
        assert!(seen(&[(1, "0"), (2, "4")]).unwrap_err().contains("came as"));
    }
}
