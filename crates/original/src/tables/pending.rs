//! Rows of unacknowledged messages (§4.2, §4.4): one for each message where the server does not cache, and otherwise lists of what was
//! added and removed since the row before.

use crate::entities::Subscription;
use crate::protobuf::Malformed;

/// A row of `SubsPending`.
pub(super) struct PendingRow<'a> {
    /// Above 0 for a message on its own.
    pub(super) sequence: u64,
    pub(super) last_sent: u64,
    /// JSON arrays; empty for none.
    pub(super) pending: &'a [u8],
    pub(super) acks: &'a [u8],
}

/// Applies rows of a subscription in the order of their numbers, and what was sent in each before what was acknowledged: the original takes
/// them as the database gives them, and may lose an acknowledgement by that. `first` is that of the channel's messages.
pub(super) fn apply(subscription: &mut Subscription, row: &PendingRow<'_>, first: u64) -> Result<(), Malformed> {
    let last_sent = &mut subscription.state.last_sent;
    *last_sent = row.last_sent.max(*last_sent);
    let (sent, acks) = match row.sequence {
        0 => (numbers(row.pending)?, numbers(row.acks)?),
        sequence => (vec![sequence], Vec::new()),
    };
    for sequence in sent {
        *last_sent = sequence.max(*last_sent);
        // What is gone is not sent again.
        if sequence >= first {
            subscription.pending.insert(sequence);
        }
    }
    for sequence in acks {
        subscription.pending.remove(sequence);
    }
    Ok(())
}

fn numbers(json: &[u8]) -> Result<Vec<u64>, Malformed> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let list: Option<Vec<u64>> = serde_json::from_slice(json).map_err(|_| Malformed)?;
    Ok(list.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rows: &[(u64, u64, &str, &str)], first: u64) -> Result<(u64, Vec<(u64, u64)>), Malformed> {
        let mut subscription = Subscription::default();
        for (sequence, last_sent, pending, acks) in rows {
            let row = PendingRow {
                sequence: *sequence,
                last_sent: *last_sent,
                pending: pending.as_bytes(),
                acks: acks.as_bytes(),
            };
            apply(&mut subscription, &row, first)?;
        }
        Ok((subscription.state.last_sent, subscription.pending.ranges().collect()))
    }

    /// §4.4: pending before acks within a row, rows in order, both kinds of rows beside each other.
    #[test]
    fn rows_of_both_modes_add_up() {
        assert_eq!(
            after(&[(0, 5, "[5,3,4,1]", "[4]"), (0, 6, "[6]", "[3,6]")], 2),
            Ok((6, vec![(5, 5)]))
        );
        assert_eq!(
            after(&[(4, 0, "", ""), (7, 0, "", "")], 5),
            Ok((7, vec![(7, 7)])),
            "below the first"
        );
        let mixed = [
            (2, 0, "", ""),
            (3, 0, "", ""),
            (0, 9, "[8]", "[2]"),
            (0, 9, "null", "[8]"),
        ];
        assert_eq!(after(&mixed, 1), Ok((9, vec![(3, 3)])));
        for bad in ["[1,", "{}", "[-1]", "[1.5]", "x"] {
            assert_eq!(after(&[(0, 0, bad, "")], 1), Err(Malformed), "{bad}");
        }
    }
}
