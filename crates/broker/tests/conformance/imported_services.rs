//! Services that accounts import from one another, compared with a model that knows only the rules (core specification §2.7).

use std::collections::BTreeMap;
use std::time::Duration;

use seaway_broker::{AccountOptions, ImportKind, ImportOptions};
use seaway_nats_protocol::{SubjectMapping, subject};

use crate::support::{Client, Server, access, user_of};

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// By their places in [`NAMES`]: who imports comes before who exports, so that nothing leads back.
#[derive(Debug)]
struct Import {
    importer: usize,
    exporter: usize,
    exported: String,
    imported: String,
    is_single: bool,
}

impl Import {
    fn random(random: &mut fastrand::Rng) -> Self {
        let importer = random.usize(..NAMES.len() - 1);
        let exported = pattern(random, false);
        let imported = match random.u8(..3) {
            0 => exported.clone(),
            1 => format!("y.{exported}"),
            _ => format!("x.{exported}"),
        };
        Self {
            importer,
            exporter: random.usize(importer + 1..NAMES.len()),
            exported,
            imported,
            is_single: random.bool(),
        }
    }

    fn mapping(&self) -> SubjectMapping {
        SubjectMapping::new(&self.exported, &self.imported).unwrap()
    }

    fn options(&self) -> ImportOptions {
        ImportOptions {
            account: NAMES[self.exporter].into(),
            mapping: self.mapping(),
            kind: ImportKind::Service {
                is_single: self.is_single,
                threshold: Duration::from_secs(120),
            },
        }
    }
}

/// A pattern that matches no inbox.
fn pattern(random: &mut fastrand::Rng, is_literal: bool) -> String {
    let names = ["x", "y", "z"];
    let mut tokens = vec![names[random.usize(..2)]];
    for _ in 0..random.usize(..3) {
        let is_wildcard = !is_literal && random.u8(..3) == 0;
        tokens.push(if is_wildcard { "*" } else { names[random.usize(..3)] });
    }
    if !is_literal && random.u8(..4) == 0 {
        tokens.push(">");
    }
    tokens.join(".")
}

/// A subject that a pattern matches.
fn subject_of(random: &mut fastrand::Rng, text: &str) -> String {
    let names = ["x", "y", "z"];
    let tokens = text.split('.').map(|token| match token {
        "*" | ">" => names[random.usize(..names.len())],
        token => token,
    });
    tokens.collect::<Vec<_>>().join(".")
}

/// What is to become of a request.
#[derive(Debug, Default)]
struct Expected {
    /// By account: subject and sid, as often as they come.
    deliveries: Vec<(usize, String, u64)>,
    /// Answers that come back when everybody answers once.
    answers: usize,
}

/// Follows a request through the accounts. A service with one answer lets the first through, whoever brings it.
fn follow(
    imports: &[Import],
    wanted: &[BTreeMap<u64, String>],
    account: usize,
    asked: &str,
    all: &mut Expected,
) -> usize {
    let mut answers = 0;
    for (sid, text) in &wanted[account] {
        if subject::matches(text.as_bytes(), asked.as_bytes()) {
            all.deliveries.push((account, asked.to_owned(), *sid));
            answers += 1;
        }
    }
    for import in imports.iter().filter(|import| import.importer == account) {
        if let Some(there) = import.mapping().export(asked.as_bytes()) {
            let there = String::from_utf8(there).unwrap();
            let brought = follow(imports, wanted, import.exporter, &there, all);
            answers += if import.is_single { brought.min(1) } else { brought };
        }
    }
    answers
}

/// A message as it came: subject, sid, where an answer goes.
type Came = (String, u64, Option<String>);

/// Everything that has come, and whether it said that nobody is there.
fn gather(client: &mut Client) -> (Vec<Came>, bool) {
    client.send("PING\r\n");
    let (mut came, mut is_nobody) = (Vec::new(), false);
    loop {
        let line = client.line();
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "PONG" => return (came, is_nobody),
            "PING" => continue,
            "MSG" => {
                let reply = (words.len() == 5).then(|| words[3].to_owned());
                came.push((words[1].to_owned(), words[2].parse().unwrap(), reply));
            }
            "HMSG" => is_nobody = true,
            _ => panic!("{line}"),
        }
        let size: usize = words[words.len() - 1].parse().unwrap();
        client.bytes(size + 2);
    }
}

struct Trial {
    imports: Vec<Import>,
    /// One of each account that answers, and one that asks.
    answering: Vec<Client>,
    asking: Vec<Client>,
    /// By account and sid.
    wanted: Vec<BTreeMap<u64, String>>,
}

impl Trial {
    /// Asks, has everybody answer, and compares. Returns how many messages went to other accounts.
    fn ask(&mut self, account: usize, asked: &str, step: usize, replay: &str) -> usize {
        let mut expected = Expected::default();
        expected.answers = follow(&self.imports, &self.wanted, account, asked, &mut expected);
        expected.deliveries.sort();
        let inbox = format!("in.{step}");
        // The PONG says that everybody else's messages are on their way.
        self.asking[account].send(format!("PUB {asked} {inbox} 1\r\n?\r\n"));
        let (early, is_nobody) = gather(&mut self.asking[account]);
        assert_eq!(early, [], "{replay}");
        assert_eq!(
            is_nobody,
            expected.deliveries.is_empty(),
            "503 to {asked} in {account}: {replay}"
        );
        let mut got = Vec::new();
        let mut crossed = 0;
        for (place, client) in self.answering.iter_mut().enumerate() {
            let (came, _) = gather(client);
            let mut answers = String::new();
            for (shown, sid, reply) in came {
                let reply = reply.unwrap();
                let is_own = place == account;
                assert_eq!(is_own, reply == inbox, "{shown} {reply}: {replay}");
                assert!(is_own || reply.starts_with("_R_."), "{replay}");
                crossed += usize::from(!is_own);
                answers += &format!("PUB {reply} 1\r\n!\r\n");
                got.push((place, shown, sid));
            }
            client.flush(answers);
        }
        got.sort();
        assert_eq!(
            got, expected.deliveries,
            "{asked} in {account}, {:?}: {replay}",
            self.imports
        );
        let (answers, _) = gather(&mut self.asking[account]);
        assert!(
            answers.iter().all(|(shown, ..)| *shown == inbox),
            "{answers:?}: {replay}"
        );
        assert_eq!(
            answers.len(),
            expected.answers,
            "{asked} in {account}, {:?}: {replay}",
            self.imports
        );
        crossed
    }
}

fn trial(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let imports: Vec<Import> = (0..random.usize(1..7)).map(|_| Import::random(&mut random)).collect();
    let server = Server::with(|options| {
        options.accounts = { NAMES.iter().enumerate() }
            .map(|(index, name)| AccountOptions {
                name: (*name).into(),
                imports: { imports.iter() }
                    .filter(|import| import.importer == index)
                    .map(Import::options)
                    .collect(),
                ..AccountOptions::default()
            })
            .collect();
        options.access = access(|it| it.users = NAMES.iter().map(|name| user_of(name, name)).collect());
    });
    let mut trial = Trial {
        imports,
        answering: NAMES.iter().map(|name| server.user(name)).collect(),
        asking: NAMES.iter().map(|name| server.user(name)).collect(),
        wanted: vec![BTreeMap::new(); NAMES.len()],
    };
    for client in &mut trial.asking {
        client.flush("SUB in.* 1\r\n");
    }
    let mut crossed = 0;
    for step in 0..60 {
        let account = random.usize(..NAMES.len());
        let known: Vec<u64> = trial.wanted[account].keys().copied().collect();
        match (random.u8(..8), random.choice(known)) {
            (0..=2, _) => {
                // Of what somebody imports as often as not.
                let import = &trial.imports[random.usize(..trial.imports.len())];
                let text = match random.bool() {
                    true if import.exporter == account => import.exported.clone(),
                    _ => pattern(&mut random, false),
                };
                trial.answering[account].flush(format!("SUB {text} {step}\r\n"));
                trial.wanted[account].insert(step, text);
            }
            (3, Some(sid)) => {
                trial.answering[account].flush(format!("UNSUB {sid}\r\n"));
                trial.wanted[account].remove(&sid);
            }
            _ => {
                let import = &trial.imports[random.usize(..trial.imports.len())];
                let (account, asked) = match random.u8(..4) {
                    0 => (account, pattern(&mut random, true)),
                    _ => (import.importer, subject_of(&mut random, &import.imported)),
                };
                let replay = format!("step {step}: replay with SEAWAY_SERVICES_SEED={seed}");
                let step = usize::try_from(step).unwrap();
                crossed += trial.ask(account, &asked, step, &replay);
            }
        }
    }
    crossed
}

#[test]
fn random_services_agree_with_a_model() {
    let seeds: Vec<u64> = match std::env::var("SEAWAY_SERVICES_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..60).chain([fastrand::u64(..)]).collect(),
    };
    let crossed: usize = seeds.iter().map(|seed| trial(*seed)).sum();
    assert!(seeds.len() == 1 || crossed > 500, "too little was compared: {crossed}");
}
