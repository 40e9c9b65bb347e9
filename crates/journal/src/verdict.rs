//! The decision table of recovery (docs/journal-format.md §9): from what the reader observes at one place of the tail to what it
//! does there. Pure and complete; the test below enumerates every combination.

/// What is where a batch header should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderSeen {
    /// Zeros, or too little room for one.
    Absent,
    /// Bytes that are no header of this segment.
    Invalid,
    /// A header whose checksum matches.
    Valid,
}

/// Whether the header's position and predecessor continue what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainSeen {
    Continues,
    Broken,
}

/// Whether everything the header announces is there undamaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodySeen {
    Whole,
    Damaged,
}

/// Whether a valid batch of the same epoch lies further on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaterSeen {
    None,
    /// None in the rest of this segment, and the first later one begins a segment and continues exactly here.
    NextSegment,
    Elsewhere,
}

/// What an epoch file says about where this segment's epoch was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutKnown {
    /// This is the newest epoch: nobody cut it yet.
    None,
    Here,
    FurtherOn,
}

/// All that is observed at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) header: HeaderSeen,
    /// Meaningful for a valid header.
    pub(crate) chain: ChainSeen,
    /// Meaningful for a valid header.
    pub(crate) body: BodySeen,
    pub(crate) later: LaterSeen,
    pub(crate) cut: CutKnown,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take the batch.
    Accept,
    /// The epoch ends here, as its successor recorded.
    EndAtCut,
    /// Go on at the start of the next segment.
    NextSegment,
    /// Everything was read.
    CleanEnd,
    /// An interrupted write: cut here and report.
    TornTail,
    /// Stop; the reason in words.
    Damage(&'static str),
}

pub(crate) fn decide(seen: Observation) -> Verdict {
    use {BodySeen as Body, ChainSeen as Chain, CutKnown as Cut, HeaderSeen as Header, LaterSeen as Later};
    match (seen.cut, seen.header, seen.chain, seen.body, seen.later) {
        (Cut::Here, _, _, _, _) => Verdict::EndAtCut,
        (_, Header::Valid, Chain::Broken, _, _) => {
            Verdict::Damage("a batch does not continue the one before it: something between them is missing")
        }
        (_, Header::Valid, Chain::Continues, Body::Whole, _) => Verdict::Accept,
        (_, Header::Absent | Header::Invalid, _, _, Later::NextSegment) => Verdict::NextSegment,
        (Cut::FurtherOn, _, _, _, _) => {
            Verdict::Damage("a batch is missing or damaged that was there when the journal was last opened")
        }
        (Cut::None, Header::Absent, _, _, Later::None) => Verdict::CleanEnd,
        (Cut::None, Header::Invalid, _, _, Later::None) => Verdict::TornTail,
        (Cut::None, Header::Valid, Chain::Continues, Body::Damaged, Later::None) => Verdict::TornTail,
        (Cut::None, _, _, _, Later::Elsewhere | Later::NextSegment) => {
            Verdict::Damage("a batch is missing or damaged, and valid ones follow it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Observation> {
        let mut all = Vec::new();
        for header in [HeaderSeen::Absent, HeaderSeen::Invalid, HeaderSeen::Valid] {
            for chain in [ChainSeen::Continues, ChainSeen::Broken] {
                for body in [BodySeen::Whole, BodySeen::Damaged] {
                    for later in [LaterSeen::None, LaterSeen::NextSegment, LaterSeen::Elsewhere] {
                        for cut in [CutKnown::None, CutKnown::Here, CutKnown::FurtherOn] {
                            all.push(Observation {
                                header,
                                chain,
                                body,
                                later,
                                cut,
                            });
                        }
                    }
                }
            }
        }
        all
    }

    /// The rows of the document, each as a predicate and a verdict: exactly one matches every observation.
    #[test]
    fn every_observation_matches_one_row_of_the_document() {
        type Row = (&'static str, fn(&Observation) -> bool, fn(&Verdict) -> bool);
        let rows: [Row; 10] = [
            ("at the cut", |o| o.cut == CutKnown::Here, |v| *v == Verdict::EndAtCut),
            (
                "absent, nothing later",
                |o| o.header == HeaderSeen::Absent && o.later == LaterSeen::None && o.cut == CutKnown::None,
                |v| *v == Verdict::CleanEnd,
            ),
            (
                "no batch, next segment continues",
                |o| o.header != HeaderSeen::Valid && o.later == LaterSeen::NextSegment && o.cut != CutKnown::Here,
                |v| *v == Verdict::NextSegment,
            ),
            (
                "no batch, later ones elsewhere",
                |o| o.header != HeaderSeen::Valid && o.later == LaterSeen::Elsewhere && o.cut == CutKnown::None,
                |v| matches!(v, Verdict::Damage(_)),
            ),
            (
                "invalid, nothing later",
                |o| o.header == HeaderSeen::Invalid && o.later == LaterSeen::None && o.cut == CutKnown::None,
                |v| *v == Verdict::TornTail,
            ),
            (
                "broken chain",
                |o| o.header == HeaderSeen::Valid && o.chain == ChainSeen::Broken && o.cut != CutKnown::Here,
                |v| matches!(v, Verdict::Damage(_)),
            ),
            (
                "whole batch",
                |o| {
                    o.header == HeaderSeen::Valid
                        && o.chain == ChainSeen::Continues
                        && o.body == BodySeen::Whole
                        && o.cut != CutKnown::Here
                },
                |v| *v == Verdict::Accept,
            ),
            (
                "damaged body, nothing later",
                |o| {
                    o.header == HeaderSeen::Valid
                        && o.chain == ChainSeen::Continues
                        && o.body == BodySeen::Damaged
                        && o.later == LaterSeen::None
                        && o.cut == CutKnown::None
                },
                |v| *v == Verdict::TornTail,
            ),
            (
                "damaged body, later ones",
                |o| {
                    o.header == HeaderSeen::Valid
                        && o.chain == ChainSeen::Continues
                        && o.body == BodySeen::Damaged
                        && o.later != LaterSeen::None
                        && o.cut == CutKnown::None
                },
                |v| matches!(v, Verdict::Damage(_)),
            ),
            (
                "before a known cut",
                |o| {
                    let damaged_body =
                        o.header == HeaderSeen::Valid && o.chain == ChainSeen::Continues && o.body == BodySeen::Damaged;
                    let no_batch = o.header != HeaderSeen::Valid && o.later != LaterSeen::NextSegment;
                    o.cut == CutKnown::FurtherOn && (damaged_body || no_batch)
                },
                |v| matches!(v, Verdict::Damage(_)),
            ),
        ];
        let mut hits = [0; 10];
        for observation in all() {
            let matching: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].1(&observation)).collect();
            assert_eq!(matching.len(), 1, "{observation:?} matches {matching:?}");
            let (name, _, expected) = rows[matching[0]];
            assert!(
                expected(&decide(observation)),
                "{name}: {observation:?} gave {:?}",
                decide(observation)
            );
            hits[matching[0]] += 1;
        }
        assert!(hits.iter().all(|count| *count > 0), "{hits:?}");
    }
}
