//! The fault run: while orders flow, processes are killed with SIGKILL at moments that follow from the seed, and started again.
//!
//! A kill is due when a certain number of orders is accepted, and the load is held back around it: so kills fall among the
//! orders however fast the machine is.

use std::time::Duration;

use anyhow::Context as _;

use crate::load::Load;
use crate::system::System;

/// A kill comes at a random moment within this time after its number of orders is accepted.
const MOMENT: Duration = Duration::from_millis(150);

/// One kill in this many is followed by another of the same process while it starts, within the time below.
const KILL_DURING_START_EVERY: u32 = 4;
const START_MOMENT: Duration = Duration::from_millis(100);

/// One kill in this many takes another process with it.
const KILL_TOGETHER_EVERY: u32 = 4;

/// How far the load may run ahead of the next kill, in orders.
const AHEAD: u32 = 20;

/// A kill that will happen.
#[derive(Clone, Debug, PartialEq)]
struct Kill {
    /// Due when so many orders are accepted.
    after_orders: u32,
    moment: Duration,
    /// Positions in the list of processes.
    victims: Vec<usize>,
    /// When to kill the first again, after its start.
    during_start: Option<Duration>,
}

/// Every process is the first victim once in each round; the order is random.
fn schedule(random: &mut fastrand::Rng, processes: usize, rounds: u32, orders: u32) -> Vec<Kill> {
    let mut first_victims = Vec::new();
    for _ in 0..rounds {
        let mut round: Vec<usize> = (0..processes).collect();
        random.shuffle(&mut round);
        first_victims.extend(round);
    }
    let mut numbers: Vec<u32> = first_victims.iter().map(|_| random.u32(orders / 50..=orders)).collect();
    numbers.sort_unstable();
    let kills = first_victims.into_iter().zip(numbers);
    kills
        .map(|(first, after_orders)| {
            let mut victims = vec![first];
            let other = random.usize(..processes);
            if random.u32(..KILL_TOGETHER_EVERY) == 0 && other != first {
                victims.push(other);
            }
            let moment = MOMENT.mul_f64(random.f64());
            let during_start = START_MOMENT.mul_f64(random.f64());
            Kill {
                after_orders,
                moment,
                victims,
                during_start: (random.u32(..KILL_DURING_START_EVERY) == 0).then_some(during_start),
            }
        })
        .collect()
}

/// Kills that have happened, by process.
pub(crate) type Tally = Vec<(String, u32)>;

/// Kills every process `rounds` times or more while the load runs, and leaves all of them serving.
pub(crate) fn kill_while(
    system: &mut System,
    load: &Load,
    seed: u64,
    rounds: u32,
    orders: u32,
) -> anyhow::Result<Tally> {
    let mut random = fastrand::Rng::with_seed(seed);
    let kills = schedule(&mut random, system.processes.len(), rounds, orders);
    let names = system.processes.iter().map(|process| process.name().to_owned());
    let mut tally: Tally = names.map(|name| (name, 0)).collect();
    for kill in kills {
        load.allow(kill.after_orders + AHEAD);
        load.wait_for(kill.after_orders)?;
        let names: Vec<&str> = kill.victims.iter().map(|victim| tally[*victim].0.as_str()).collect();
        let what = format!("after order {}, {} killed", kill.after_orders, names.join(" and "));
        carry_out(system, &kill, &mut tally).context(what)?;
    }
    Ok(tally)
}

fn carry_out(system: &mut System, kill: &Kill, tally: &mut Tally) -> anyhow::Result<()> {
    // The moment of the kill is what is random here; nothing is waited for.
    std::thread::sleep(kill.moment);
    for victim in &kill.victims {
        system.processes[*victim].kill()?;
        tally[*victim].1 += 1;
    }
    if let (Some(moment), Some(first)) = (kill.during_start, kill.victims.first()) {
        system.processes[*first].start()?;
        std::thread::sleep(moment);
        system.processes[*first].kill()?;
        tally[*first].1 += 1;
    }
    for victim in &kill.victims {
        system.processes[*victim].start()?;
    }
    for victim in &kill.victims {
        system.processes[*victim].wait_ready()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_kills() {
        let of = |seed| schedule(&mut fastrand::Rng::with_seed(seed), 7, 3, 1000);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn every_process_is_killed_in_every_round_while_orders_flow() {
        let kills = schedule(&mut fastrand::Rng::with_seed(1), 7, 3, 1000);
        for process in 0..7 {
            let count = kills.iter().filter(|kill| kill.victims[0] == process).count();
            assert_eq!(count, 3);
        }
        assert!(kills.is_sorted_by_key(|kill| kill.after_orders));
        assert!(kills.iter().all(|kill| (20..=1000).contains(&kill.after_orders)));
        assert!(kills.iter().any(|kill| kill.during_start.is_some()));
        assert!(kills.iter().any(|kill| kill.victims.len() == 2));
    }
}
