//! What was seen, and what it is held against.

use std::time::Duration;

use super::fault::Fault;

/// The longest gap that is wanted of a kind (`availability.md` §6): of a crash, of a planned end, of who hangs. A lease is 1.25 s.
const WANTED_MS: [Option<u64>; Fault::KINDS.len()] = [
    Some(1000),
    Some(200),
    None,
    None,
    Some(1950),
    Some(1000),
    Some(1950),
    None,
];

/// See the module.
#[derive(Default)]
pub(crate) struct Report {
    gaps: [Vec<Duration>; Fault::KINDS.len()],
    take_overs: [u32; Fault::KINDS.len()],
    ledgers: Vec<(String, usize, usize)>,
    deliveries: (u64, u64),
}

impl Report {
    /// A fault, whether another one serves since, and for how long nobody was acknowledged.
    pub(crate) fn note(&mut self, fault: Fault, is_take_over: bool, gap: Duration) {
        let kind = fault.kind();
        self.gaps[kind].push(gap);
        self.take_overs[kind] += u32::from(is_take_over);
        println!(
            "take-overs: {:>3}  {fault:?}: {} after {} ms",
            self.take_overs(),
            if is_take_over { "taken over" } else { "it goes on" },
            gap.as_millis()
        );
    }

    /// How many there were.
    pub(crate) fn take_overs(&self) -> u32 {
        self.take_overs.iter().sum()
    }

    /// What a publisher was told to be stored, and what is stored.
    pub(crate) fn ledger(&mut self, publisher: &str, acknowledged: usize, stored: usize) {
        self.ledgers.push((publisher.to_owned(), acknowledged, stored));
    }

    /// Deliveries to subscribers, and how many of them were repetitions.
    pub(crate) fn deliveries(&mut self, deliveries: (u64, u64)) {
        self.deliveries = deliveries;
    }

    /// Prints everything.
    pub(crate) fn show(&mut self) {
        println!(
            "take-overs: {} in all; time without an acknowledgement:",
            self.take_overs()
        );
        for (kind, gaps) in self.gaps.iter_mut().enumerate().filter(|(_, gaps)| !gaps.is_empty()) {
            gaps.sort_unstable();
            let at = |part: usize| gaps[(gaps.len() * part / 100).min(gaps.len() - 1)].as_millis();
            let wanted = WANTED_MS[kind].map_or(String::new(), |wanted| format!(", wanted at most {wanted}"));
            println!(
                "  {:<24} {:>3} times, {:>3} taken over: p50 {} ms, p90 {} ms, most {} ms{wanted}",
                Fault::KINDS[kind],
                gaps.len(),
                self.take_overs[kind],
                at(50),
                at(90),
                at(100)
            );
        }
        for (publisher, acknowledged, stored) in &self.ledgers {
            println!("  {publisher}: {acknowledged} acknowledged, none of them lost or twice; {stored} stored");
        }
        let (all, again) = self.deliveries;
        println!("  a durable and a queue group saw everything: {all} deliveries, {again} of them repeated");
    }
}
