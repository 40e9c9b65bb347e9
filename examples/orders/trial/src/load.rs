//! The orders of a trial: what they say follows from the seed, and each is asked for again until it is accepted, always with
//! the same idempotency key, as a customer would whose connection broke.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use seaway_trial::{http, waiting};

/// The restaurant turns down what is more than this many dishes.
const DISHES_MAX: u32 = 20;

/// One order in this many is asked for once more after it was accepted: the answer must be the same order.
const ASK_AGAIN_EVERY: u32 = 10;

/// How long an order may be in getting through, whatever is killed meanwhile.
const ACCEPT_DEADLINE: Duration = Duration::from_secs(120);

/// Requests under way at once.
const WORKERS: u32 = 4;

/// Among others, what would be markup, a query or a path if anybody took it for one.
const CUSTOMERS: [&str; 6] = [
    "ann",
    "Çelik & Søn",
    "<img src=x onerror=alert(1)>",
    "Robert'); DROP TABLE orders;--",
    "../../etc/passwd",
    "寿司 🍣",
];

/// An order as a customer wants it.
pub(crate) struct Wanted {
    pub(crate) key: String,
    pub(crate) body: Value,
    /// The state it must end in.
    pub(crate) end: &'static str,
}

/// An order that the order service has taken.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) amount_cents: i64,
    /// The state it must end in.
    pub(crate) end: &'static str,
}

/// The order of this number in the trial of this seed. One in eight is too large for the restaurant.
pub(crate) fn wanted(seed: u64, number: u32) -> Wanted {
    let mut random = fastrand::Rng::with_seed(seed ^ (u64::from(number) << 32));
    let too_large = random.u32(0..8) == 0;
    let items: Vec<Value> = (0..random.u32(1..4))
        .map(|item| {
            let quantity = match too_large {
                true => DISHES_MAX + 1,
                false => random.u32(1..=DISHES_MAX / 3),
            };
            json!({"code": format!("M{item}"), "name": "Soup", "unit_price_cents": random.u32(100..2000), "quantity": quantity})
        })
        .collect();
    let customer = CUSTOMERS[random.usize(..CUSTOMERS.len())];
    Wanted {
        key: format!("trial-{seed}-{number}"),
        body: json!({"customer": customer, "restaurant": "Blue Door", "items": items}),
        end: if too_large { "rejected" } else { "paid" },
    }
}

/// Orders being placed; `allow` holds the load back so that kills fall between them and not after.
pub(crate) struct Load {
    port: u16,
    seed: u64,
    orders: u32,
    next: AtomicU32,
    allowed: AtomicU32,
    accepted: Mutex<Vec<Accepted>>,
    tries: AtomicU32,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Load {
    pub(crate) fn new(port: u16, seed: u64, orders: u32) -> Self {
        Self {
            port,
            seed,
            orders,
            next: AtomicU32::new(0),
            allowed: AtomicU32::new(0),
            accepted: Mutex::default(),
            tries: AtomicU32::new(0),
            failure: Mutex::default(),
        }
    }

    /// Lets the load place orders up to this number.
    pub(crate) fn allow(&self, number: u32) {
        self.allowed.fetch_max(number.min(self.orders), Ordering::Relaxed);
    }

    /// Places orders while `meanwhile` runs on this thread, and returns when all are placed.
    pub(crate) fn run(&self, meanwhile: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        std::thread::scope(|threads| {
            for _ in 0..WORKERS {
                threads.spawn(|| {
                    if let Err(error) = self.work() {
                        self.failure.lock().expect("no holder panics").get_or_insert(error);
                    }
                });
            }
            let outcome = meanwhile();
            if let Err(error) = outcome {
                self.failure.lock().expect("no holder panics").get_or_insert(error);
            }
            self.allow(self.orders);
        });
        match self.failure.lock().expect("no holder panics").take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until this many orders are accepted.
    pub(crate) fn wait_for(&self, number: u32) -> anyhow::Result<()> {
        let reached = waiting::until(ACCEPT_DEADLINE, || {
            self.accepted_count() >= number as usize || self.has_failed()
        });
        ensure!(!self.has_failed(), "the load has failed");
        ensure!(
            reached,
            "only {} of {number} orders were accepted in {ACCEPT_DEADLINE:?}",
            self.accepted_count()
        );
        Ok(())
    }

    /// The accepted orders, and how often one had to be asked for again.
    pub(crate) fn finish(self) -> (Vec<Accepted>, u32) {
        let accepted = self.accepted.into_inner().expect("no holder panics");
        let repeated = self.tries.into_inner().saturating_sub(self.orders);
        (accepted, repeated)
    }

    fn accepted_count(&self) -> usize {
        self.accepted.lock().expect("no holder panics").len()
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().expect("no holder panics").is_some()
    }

    fn work(&self) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.orders {
                return Ok(());
            }
            while number >= self.allowed.load(Ordering::Relaxed) {
                if self.has_failed() {
                    return Ok(());
                }
                waiting::pause();
            }
            let wanted = wanted(self.seed, number);
            let accepted = self.place(&wanted)?;
            if number.is_multiple_of(ASK_AGAIN_EVERY) {
                let again = self.place(&wanted)?;
                ensure!(
                    again.id == accepted.id,
                    "one key gave two orders: {} and {}",
                    accepted.id,
                    again.id
                );
            }
            self.accepted.lock().expect("no holder panics").push(accepted);
        }
    }

    /// Asks until the order is accepted. No answer, half an answer and "not now" are asked again, anything else is an error.
    fn place(&self, wanted: &Wanted) -> anyhow::Result<Accepted> {
        let end = Instant::now() + ACCEPT_DEADLINE;
        loop {
            self.tries.fetch_add(1, Ordering::Relaxed);
            let key = [("Idempotency-Key", wanted.key.as_str())];
            let answer = http::request(self.port, "POST", "/api/orders", &key, Some(&wanted.body));
            match answer {
                Ok(answer) if answer.status == 201 => return accepted(wanted, &answer.json),
                Ok(answer) if answer.status == 503 => {
                    ensure!(answer.header("retry-after").is_some(), "503 without Retry-After");
                }
                Ok(answer) => bail!("{} was answered with {} {}", wanted.key, answer.status, answer.text),
                Err(_) => {}
            }
            ensure!(
                Instant::now() < end && !self.has_failed(),
                "{} was not accepted in {ACCEPT_DEADLINE:?}",
                wanted.key
            );
            waiting::pause();
        }
    }
}

fn accepted(wanted: &Wanted, answer: &Value) -> anyhow::Result<Accepted> {
    let amount = wanted.body["items"].as_array().map_or(0, |items| {
        let costs = items
            .iter()
            .filter_map(|item| Some(item["unit_price_cents"].as_i64()? * item["quantity"].as_i64()?));
        costs.sum()
    });
    ensure!(
        answer["amount_cents"] == amount,
        "{} costs {amount}, not {}",
        wanted.key,
        answer["amount_cents"]
    );
    let Some(id) = answer["id"].as_str() else {
        bail!("{} was accepted without an id: {answer}", wanted.key);
    };
    Ok(Accepted {
        id: id.to_owned(),
        customer: wanted.body["customer"].as_str().unwrap_or_default().to_owned(),
        amount_cents: amount,
        end: wanted.end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_orders() {
        for number in 0..50 {
            assert_eq!(wanted(7, number).body, wanted(7, number).body);
        }
        assert_ne!(wanted(7, 1).body, wanted(8, 1).body);
    }

    #[test]
    fn only_large_orders_are_to_be_rejected() {
        let mut ends = [0, 0];
        for number in 0..200 {
            let wanted = wanted(1, number);
            let items = wanted.body["items"].as_array().unwrap();
            let dishes: u64 = items.iter().map(|item| item["quantity"].as_u64().unwrap()).sum();
            assert_eq!(wanted.end == "rejected", dishes > u64::from(DISHES_MAX));
            ends[usize::from(wanted.end == "paid")] += 1;
        }
        assert!(ends[0] > 5 && ends[1] > 5, "both ends occur: {ends:?}");
    }
}
