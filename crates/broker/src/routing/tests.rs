//! The table against a model that asks every subscription in turn, and its caches against the table.

use std::collections::BTreeMap;

use proptest::prelude::*;
use seaway_nats_protocol::subject;

use super::*;
use crate::account::Account;
use crate::owner::{AttachmentShared, Owner, Subscription, Target};
use crate::sink::{Batch, Destination, Sink};

#[derive(Default)]
struct Listener {
    interests: std::sync::Mutex<Vec<(String, Interest)>>,
}

impl Sink for Listener {
    fn deliver(&self, _batch: Batch) {}
    fn drained(&self, _destination: Destination) {}
    fn interest(&self, subject: &[u8], interest: Interest) {
        let text = String::from_utf8_lossy(subject).into_owned();
        self.interests.lock().unwrap().push((text, interest));
    }
}

fn attachment(sink: Arc<Listener>) -> Arc<AttachmentShared> {
    Arc::new(AttachmentShared::new(1, "test", Account::alone("A"), sink))
}

fn subscription(shared: &Arc<AttachmentShared>, pattern: &str, queue: Option<&str>, tag: u64) -> Arc<Subscription> {
    let owner = Owner::Attachment {
        shared: Arc::clone(shared),
        tag,
        holdable: false,
        announced: true,
    };
    Subscription::new(
        pattern.as_bytes(),
        queue.map(str::as_bytes),
        tag.to_string().as_bytes(),
        owner,
    )
}

/// Plain receivers in order of tag, and the members of each group in order of tag.
type Answer = (Vec<u64>, Vec<Vec<u64>>);

fn tag(subscription: &Subscription) -> u64 {
    match &subscription.owner {
        Owner::Attachment { tag, .. } => *tag,
        Owner::Connection { .. } | Owner::Service(_) | Owner::Answers(_) | Owner::Peer { .. } => {
            unreachable!("only attachments subscribe here")
        }
    }
}

fn answer(route: &Route<Owner>) -> Answer {
    let tags = |targets: &[Target]| {
        let mut tags: Vec<u64> = targets.iter().map(|target| tag(&target.subscription)).collect();
        tags.sort_unstable();
        tags
    };
    let mut groups: Vec<Vec<u64>> = route.groups.iter().map(|group| tags(&group.members)).collect();
    groups.sort();
    (tags(&route.plain), groups)
}

fn model(all: &BTreeMap<u64, Arc<Subscription>>, text: &[u8]) -> Answer {
    let mut plain = Vec::new();
    let mut groups: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for (tag, subscription) in all {
        if subject::matches(subscription.subject(), text) {
            match subscription.queue() {
                None => plain.push(*tag),
                Some(queue) => groups.entry(queue.to_vec()).or_default().push(*tag),
            }
        }
    }
    let mut groups: Vec<Vec<u64>> = groups.into_values().collect();
    groups.sort();
    (plain, groups)
}

/// Where the cache has an answer.
fn known(found: Found<Owner>) -> usize {
    match found {
        Found::Known(index) => index,
        Found::Many(search) => panic!("not found within {} steps", search.steps()),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(String, Option<String>),
    Remove(usize),
    Match(String),
}

fn step() -> impl Strategy<Value = Step> {
    let token = prop_oneof![3 => "[ab]", 1 => Just("*".to_owned()), 1 => Just("a*".to_owned())];
    let pattern = (prop::collection::vec(token.clone(), 1..7), any::<bool>()).prop_map(|(mut tokens, tail)| {
        if tail {
            tokens.push(">".into());
        }
        tokens.join(".")
    });
    let literal = prop_oneof![
        8 => prop::collection::vec(prop_oneof![4 => "[ab]", 1 => Just("*".to_owned())], 1..8).prop_map(|tokens| tokens.join(".")),
        1 => Just("a..b".to_owned()),
        1 => Just("a.".to_owned()),
    ];
    let queue = prop::option::weighted(0.4, "[qrstuv]");
    prop_oneof![
        3 => (prop_oneof![pattern, Just(">".to_owned())], queue).prop_map(|(pattern, queue)| Step::Insert(pattern, queue)),
        2 => any::<usize>().prop_map(Step::Remove),
        4 => literal.prop_map(Step::Match),
    ]
}

proptest! {
    /// §2.2: the table, asked directly and through a cache that lives through all changes, agrees with the model.
    #[test]
    fn table_and_cache_agree_with_the_naive_model(steps in prop::collection::vec(step(), 1..80)) {
        let shared = attachment(Arc::default());
        let table = RoutingTable::new();
        let mut cache = RouteCache::new();
        let mut expired = Vec::new();
        let mut all = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(pattern, queue) => {
                    let subscription = subscription(&shared, &pattern, queue.as_deref(), number as u64);
                    table.insert(&subscription);
                    all.insert(number as u64, subscription);
                }
                Step::Remove(index) => {
                    let key = all.keys().copied().nth(index % all.len().max(1));
                    if let Some(removed) = key.and_then(|key| all.remove(&key)) {
                        prop_assert!(table.remove(&removed));
                        prop_assert!(!table.remove(&removed));
                    }
                }
                Step::Match(text) => {
                    let expected = model(&all, text.as_bytes());
                    prop_assert_eq!(answer(&table.matches(text.as_bytes())), expected.clone());
                    let index = known(cache.find(&table, text.as_bytes(), None, &mut expired));
                    prop_assert_eq!(answer(&cache.entry(index).route), expected);
                }
            }
            prop_assert_eq!(table.counters().subscriptions, all.len());
            let nodes: usize = table.patterns.iter().map(|shard| read(shard).size().0).sum();
            prop_assert!(nodes <= 2 * all.len(), "{} nodes for {} subscriptions", nodes, all.len());
        }
        for subscription in all.into_values() {
            table.remove(&subscription);
        }
        prop_assert!(table.literals.iter().all(|shard| read(shard).is_empty()));
        prop_assert!(table.patterns.iter().all(|shard| read(shard).is_empty()));
    }
}

/// What a search found whose slices were `steps` long, between which `change` was called with the number of the slice.
fn in_slices(table: &RoutingTable<Owner>, text: &str, steps: u64, mut change: impl FnMut(u64)) -> (Route<Owner>, u64) {
    let mut search = Search::default();
    let mut slices = 0;
    let mut before = 0;
    while !table.search(&mut search, text.as_bytes(), steps) {
        assert!(search.steps() > before, "a slice gets on");
        before = search.steps();
        slices += 1;
        change(slices);
    }
    (search.finish(), slices)
}

proptest! {
    /// A search in slices finds what one in one go does; between slices subscriptions come and go: who was there all the time is
    /// found once.
    #[test]
    fn a_search_in_slices_finds_everybody_once(
        steps in prop::collection::vec(step(), 1..80),
        changes in prop::collection::vec(step(), 1..40),
        text in prop::collection::vec("[ab]", 1..7),
        slice in 1..20_u64,
    ) {
        let text = text.join(".");
        let shared = attachment(Arc::default());
        let table = RoutingTable::new();
        let mut all = BTreeMap::new();
        let apply = |number: u64, step: &Step, all: &mut BTreeMap<u64, Arc<Subscription>>| match step {
            Step::Insert(pattern, queue) => {
                let subscription = subscription(&shared, pattern, queue.as_deref(), number);
                table.insert(&subscription);
                all.insert(number, subscription);
            }
            Step::Remove(index) => {
                let key = all.keys().copied().nth(index % all.len().max(1));
                if let Some(removed) = key.and_then(|key| all.remove(&key)) {
                    table.remove(&removed);
                }
            }
            Step::Match(_) => {}
        };
        for (number, step) in (0..).zip(&steps) {
            apply(number, step, &mut all);
        }
        let (route, _) = in_slices(&table, &text, slice, |_| {});
        prop_assert_eq!(answer(&route), model(&all, text.as_bytes()));

        let before = model(&all, text.as_bytes());
        let mut changes = (1_000..).zip(&changes);
        let (route, _) = in_slices(&table, &text, slice, |_| {
            if let Some((number, step)) = changes.next() {
                apply(number, step, &mut all);
            }
        });
        let (plain, groups) = answer(&route);
        prop_assert!(plain.windows(2).all(|pair| pair[0] != pair[1]), "{plain:?} has one twice");
        for tag in before.0.iter().filter(|tag| all.contains_key(tag)) {
            prop_assert!(plain.contains(tag), "{tag} is not in {plain:?}");
        }
        for tag in before.1.iter().flatten().filter(|tag| all.contains_key(tag)) {
            prop_assert!(groups.iter().any(|group| group.contains(tag)), "{tag} is not in {groups:?}");
        }
    }
}

/// However many there are of one subject, in how many groups: a slice looks at no more than it may, and a few.
#[test]
fn a_slice_of_a_search_is_bounded() {
    const MANY: u64 = 50_000;
    const SLICE: u64 = 2_000;
    let (table, shared) = (RoutingTable::new(), attachment(Arc::default()));
    let named = |number: u64| number.is_multiple_of(2).then(|| format!("group{number}"));
    let mut all: Vec<_> = (0..3 * MANY)
        .map(|number| match number % 3 {
            0 => subscription(&shared, "a.b", None, number),
            1 => subscription(&shared, "a.*", named(number).as_deref(), number),
            _ => subscription(&shared, "a.b", Some("one"), number),
        })
        .collect();
    all.iter().for_each(|subscription| table.insert(subscription));
    let (mut before, mut search) = (0, Search::default());
    let mut removed = all.split_off(2 * MANY as usize);
    while !table.search(&mut search, b"a.b", SLICE) {
        let looked_at = search.steps() - before;
        let piece = crate::limits::SUBSCRIPTIONS_PER_PIECE as u64;
        assert!(looked_at <= SLICE + piece, "a slice took {looked_at}");
        before = search.steps();
        for gone in removed.drain(removed.len().saturating_sub(500)..) {
            assert!(table.remove(&gone));
        }
    }
    let (plain, groups) = answer(&search.finish());
    let found: std::collections::HashSet<u64> = plain.iter().chain(groups.iter().flatten()).copied().collect();
    assert!(all.iter().all(|kept| found.contains(&tag(kept))), "who stayed is found");
    assert!(plain.windows(2).all(|pair| pair[0] != pair[1]), "nobody is found twice");
    all.iter().chain(&removed).for_each(|left| assert!(table.remove(left)));
    assert!(table.literals.iter().all(|shard| read(shard).is_empty()));
    assert!(table.patterns.iter().all(|shard| read(shard).is_empty()));
}

#[test]
fn interest_is_told_when_the_first_comes_and_the_last_goes() {
    let sink = Arc::new(Listener::default());
    let shared = attachment(Arc::clone(&sink));
    let table = RoutingTable::new();
    let existing = subscription(&shared, "orders.new", None, 1);
    table.insert(&existing);
    table.insert(&subscription(&shared, "other.new", None, 2));
    table.watch(b"orders.>", shared.id, Arc::clone(&shared.sink));
    let second = subscription(&shared, "orders.new", Some("q"), 3);
    let wild = subscription(&shared, "orders.*", None, 4);
    table.insert(&second);
    table.insert(&wild);
    table.remove(&existing);
    table.remove(&second);
    table.remove(&wild);
    table.unwatch(shared.id);
    table.insert(&subscription(&shared, "orders.late", None, 5));
    let expected = [
        ("orders.new", Interest::Appeared),
        ("orders.*", Interest::Appeared),
        ("orders.new", Interest::Disappeared),
        ("orders.*", Interest::Disappeared),
    ];
    let seen = sink.interests.lock().unwrap();
    assert_eq!(
        seen.iter()
            .map(|(text, interest)| (text.as_str(), *interest))
            .collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn inbox_churn_leaves_other_answers_cached() {
    let shared = attachment(Arc::default());
    let table = RoutingTable::new();
    let mut cache = RouteCache::new();
    let mut expired = Vec::new();
    table.insert(&subscription(&shared, "orders.>", None, 1));
    cache.find(&table, b"orders.new", None, &mut expired);
    let misses = cache.misses;
    for number in 0..1000 {
        let inbox = subscription(&shared, &format!("_INBOX.{number}"), None, 2);
        let wild = subscription(&shared, &format!("_INBOX.client{number}.*"), None, 3);
        table.insert(&inbox);
        table.insert(&wild);
        table.remove(&inbox);
        table.remove(&wild);
        cache.find(&table, b"orders.new", None, &mut expired);
    }
    // Counters are shared by hash, so a few collisions are possible and allowed.
    assert!(cache.misses - misses < 50, "{}", cache.misses - misses);
}

#[test]
fn a_hundred_thousand_subscriptions_do_not_slow_a_change() {
    let shared = attachment(Arc::default());
    let table = RoutingTable::new();
    let filled: Vec<_> = (0..100_000u64)
        .map(|number| {
            let pattern = if number % 2 == 0 {
                format!("literal.{number}")
            } else {
                format!("wild.{number}.*")
            };
            subscription(&shared, &pattern, None, number)
        })
        .collect();
    let first = std::time::Instant::now();
    filled.iter().for_each(|subscription| table.insert(subscription));
    let filling = first.elapsed();
    let second = std::time::Instant::now();
    for number in 0..10_000 {
        let inbox = subscription(&shared, &format!("_INBOX.{number}"), None, 0);
        table.insert(&inbox);
        table.remove(&inbox);
    }
    // A rebuild of the table per change would take minutes.
    assert!(
        second.elapsed() < std::time::Duration::from_secs(5),
        "{filling:?} {:?}",
        second.elapsed()
    );
}

#[test]
fn the_cache_is_bounded_by_receivers_too() {
    let shared = attachment(Arc::default());
    let table = RoutingTable::new();
    let mut cache = RouteCache::new();
    let mut expired = Vec::new();
    const RECEIVERS: usize = 20_000;
    for number in 0..RECEIVERS as u64 {
        table.insert(&subscription(&shared, "wide.*", None, number));
    }
    for number in 0..60 {
        let index = known(cache.find(&table, format!("wide.{number}").as_bytes(), None, &mut expired));
        cache.count(index);
        assert_eq!(cache.entry(index).route.plain.len(), RECEIVERS);
        assert!(cache.targets() <= crate::limits::ROUTE_CACHE_TARGETS);
    }
    cache.settle(None, &mut expired);
    // Forgetting loses no counts.
    let route = table.matches(b"wide.x");
    assert!(
        route
            .plain
            .iter()
            .all(|target| target.subscription.delivered.load(Ordering::Relaxed) == 60)
    );
}

#[test]
fn very_deep_patterns_do_not_exhaust_the_stack() {
    let shared = attachment(Arc::default());
    let table = RoutingTable::new();
    let deep = vec!["*"; 50_000].join(".");
    let text = vec!["a"; 50_000].join(".");
    let subscription = subscription(&shared, &deep, None, 7);
    table.insert(&subscription);
    assert_eq!(answer(&table.matches(text.as_bytes())), (vec![7], vec![]));
    table.remove(&subscription);
    assert_eq!(answer(&table.matches(text.as_bytes())), (vec![], vec![]));
}

/// Long patterns cost what they are long, however many tokens they have; patterns that go inside each other cost a node each.
#[test]
fn patterns_cost_their_bytes_and_not_their_tokens() {
    let (table, shared) = (RoutingTable::new(), attachment(Arc::default()));
    let text = |number: usize| format!("a.{number}.{}*", "b.".repeat(1_800));
    let all: Vec<_> = (0..200)
        .map(|number| subscription(&shared, &text(number), None, number as u64))
        .collect();
    all.iter().for_each(|subscription| table.insert(subscription));
    let size = || {
        let sizes = table.patterns.iter().map(|shard| read(shard).size());
        sizes.fold((0, 0), |(nodes, bytes), more| (nodes + more.0, bytes + more.1))
    };
    let (nodes, bytes) = size();
    let sent: usize = all.iter().map(|subscription| subscription.subject().len()).sum();
    assert!(
        nodes <= 2 * all.len() && bytes <= sent,
        "{nodes} nodes, {bytes} of {sent} bytes"
    );
    all.iter().for_each(|subscription| assert!(table.remove(subscription)));
    assert_eq!(size(), (0, 0));

    let nested: Vec<_> = (1..5_000)
        .map(|tokens| subscription(&shared, &format!("{}*", "n.".repeat(tokens)), None, tokens as u64))
        .collect();
    nested.iter().for_each(|subscription| table.insert(subscription));
    let deep = format!("{}x", "n.".repeat(4_000));
    assert_eq!(answer(&table.matches(deep.as_bytes())), (vec![4_000], vec![]));
    // Dropped without a recursion as deep as they are.
    drop(table);
}

/// The first subscription to a literal subject stands for it in the table: nothing of it may stay when it goes.
#[test]
fn a_subject_outlives_its_first_subscription() {
    let (table, shared) = (RoutingTable::new(), attachment(Arc::default()));
    let first = subscription(&shared, "a.b", None, 1);
    let second = subscription(&shared, "a.b", Some("q"), 2);
    let third = subscription(&shared, "a.b", None, 3);
    for subscription in [&first, &second, &third] {
        table.insert(subscription);
    }
    assert!(table.remove(&first));
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(answer(&table.matches(b"a.b")), (vec![3], vec![vec![2]]));
    assert!(table.remove(&third));
    assert_eq!(Arc::strong_count(&third), 1);
    assert_eq!(answer(&table.matches(b"a.b")), (vec![], vec![vec![2]]));
    assert!(table.remove(&second));
    assert_eq!(Arc::strong_count(&second), 1);
    assert_eq!(answer(&table.matches(b"a.b")), (vec![], vec![]));
}
