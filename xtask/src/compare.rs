//! `cargo xtask compare`: the targets, measured. Runs the server of this work tree and its peers in turn with the load generator,
//! and prints for each row the median of the pairs, their spread, and whether that is enough.

mod measure;
mod table;
mod trials;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::shell::{self, Profile};
use measure::{Run, Settings};
use table::Line;
use trials::{By, Side, TRIALS, Times, Trial};
use verdict::Pair;

pub(crate) const DEFAULT_PAIRS: usize = 5;

/// What is measured is what packages hold.
const MEASURED: Profile = Profile::Dist;

/// The peer that is there when the system's package is installed.
const USUAL_PEER: &str = "nats-server";

/// Where that peer comes from when a version is asked for.
const USUAL_PEER_MODULE: &str = "github.com/nats-io/nats-server/v2";

/// What to run.
pub(crate) struct Options {
    /// Names of rows; empty means all.
    pub(crate) only: Vec<String>,
    pub(crate) pairs: usize,
    /// Seconds of each run, instead of the load generator's default.
    pub(crate) seconds: Option<String>,
    pub(crate) warm_up: Option<String>,
    /// A version of the usual peer that is built, instead of taking the installed one.
    pub(crate) nats_server: Option<String>,
    /// `NAME=PATH` of more peers.
    pub(crate) peers: Vec<String>,
    pub(crate) server: Option<PathBuf>,
    /// Where servers keep their data.
    pub(crate) directory: Option<PathBuf>,
    /// Seconds to wait for a quiet machine before each run.
    pub(crate) wait_for_quiet: Option<String>,
    /// Fail when a run was disturbed.
    pub(crate) strict: bool,
    pub(crate) long: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
}

/// A server to compare with.
struct Peer {
    name: String,
    binary: PathBuf,
}

impl Peer {
    /// Whether it is a streaming server, which takes the same loads as ours.
    fn is_streaming(&self) -> bool {
        let file = self.binary.file_name().unwrap_or_default().to_string_lossy();
        !file.starts_with("nats-server")
    }
}

/// Runs the chosen rows; an error names those that could not be measured.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let trials = chosen(&options.only)?;
    let peers = peers(options.nats_server.as_deref(), &options.peers)?;
    let ours = shell::server_binary(options.server.as_deref(), MEASURED)?;
    let settings = Settings {
        generator: shell::build("seaway-bench", MEASURED)?.join("seaway-bench"),
        seconds: options.seconds.clone(),
        warm_up: options.warm_up.clone(),
        directory: options.directory.clone(),
        wait_for_quiet: options.wait_for_quiet.clone().unwrap_or_else(|| "30".to_owned()),
        strict: options.strict,
        long: options.long,
    };
    let comparison = Comparison {
        settings,
        ours,
        pairs: options.pairs.max(1),
    };
    let (mut lines, mut failures, mut machine) = (Vec::new(), Vec::new(), String::new());
    let built = built(options.server.as_deref());
    println!("{built}");
    for (trial, peer) in schedule(&trials, &peers) {
        let name = trial.rows[0].name;
        match comparison.trial(&trial, peer, &options.only, &mut machine) {
            Ok(found) => {
                print!("{}", table::text(&found));
                lines.extend(found);
            }
            Err(error) => {
                println!("{name} FAILED: {error:#}");
                failures.push(name);
            }
        }
    }
    let circumstances = format!("{machine}. {built}");
    println!("\n{circumstances}\n\n{}", table::text(&lines));
    let missed = lines
        .iter()
        .filter(|line| line.verdict() == verdict::Verdict::Missed)
        .count();
    println!("{} rows, {missed} missed, {} not measured", lines.len(), failures.len());
    if let Some(path) = &options.json {
        let json = format!("{:#}\n", table::json(&lines, &circumstances, comparison.pairs));
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &options.markdown {
        let text = table::markdown(&lines, &circumstances, comparison.pairs);
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    if !failures.is_empty() {
        bail!("not measured: {}", failures.join(", "));
    }
    Ok(())
}

/// How the programs were built that are measured here.
fn built(server: Option<&Path>) -> String {
    let profile = MEASURED.name();
    match server {
        Some(_) => format!("Load generator built with cargo's profile {profile}, Seaway as it was given"),
        None => format!("Seaway and load generator built with cargo's profile {profile}"),
    }
}

/// The trials that hold a row that was asked for.
fn chosen(only: &[String]) -> anyhow::Result<Vec<Trial>> {
    let names: Vec<&str> = TRIALS.iter().flat_map(|trial| trial.rows).map(|row| row.name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("no row is called {unknown:?}; there are {}", names.join(", "));
    }
    let wanted = |trial: &&Trial| only.is_empty() || trial.rows.iter().any(|row| only.iter().any(|n| n == row.name));
    Ok(TRIALS.iter().filter(wanted).copied().collect())
}

/// The usual peer, as it is installed or in the version asked for, and those that were given.
fn peers(version: Option<&str>, given: &[String]) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    let usual = match version {
        Some(version) => Some(built_peer(version)?),
        None => installed(USUAL_PEER),
    };
    match usual {
        Some(binary) => peers.push(Peer {
            name: USUAL_PEER.to_owned(),
            binary,
        }),
        None => {
            shell::loudly("SKIPPED: rows against nats-server, which is not installed (apt-get install nats-server)")
        }
    }
    for text in given {
        let (name, path) = text
            .split_once('=')
            .with_context(|| format!("--peer {text}: say NAME=PATH"))?;
        let binary = std::path::absolute(path).with_context(|| format!("--peer {text}"))?;
        if !binary.is_file() {
            bail!("--peer {text}: there is no such file");
        }
        peers.push(Peer {
            name: name.to_owned(),
            binary,
        });
    }
    Ok(peers)
}

/// Builds a version of the usual peer from its Go module, unless it was built before. It lies in the user's cache: it is no part
/// of this work tree.
fn built_peer(version: &str) -> anyhow::Result<PathBuf> {
    let folder = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => std::env::temp_dir(),
    };
    let folder = folder.join("seaway/peers").join(version);
    let binary = folder.join(USUAL_PEER);
    if !binary.is_file() {
        println!("=== building {USUAL_PEER} {version}");
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut install = Command::new("go");
        install
            .args(["install", &format!("{USUAL_PEER_MODULE}@{version}")])
            .current_dir(&folder)
            .env("GOBIN", &folder);
        shell::run_quietly(&mut install).with_context(|| format!("build {USUAL_PEER} {version} with Go"))?;
    }
    Ok(binary)
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Each trial once, or once for each peer that can take part in it.
fn schedule<'a>(trials: &[Trial], peers: &'a [Peer]) -> Vec<(Trial, Option<&'a Peer>)> {
    let mut all = Vec::new();
    for trial in trials {
        match trial.other {
            Some(Side { by: By::Peer, .. }) => {
                // A streaming server takes the words of our own side.
                let is_streaming = trial.first.words.starts_with('S');
                let fits = |peer: &&Peer| !peer.is_streaming() || is_streaming;
                all.extend(peers.iter().filter(fits).map(|peer| (*trial, Some(peer))));
            }
            _ => all.push((*trial, None)),
        }
    }
    all
}

struct Comparison {
    settings: Settings,
    ours: PathBuf,
    pairs: usize,
}

impl Comparison {
    /// Runs a trial's pairs and judges its rows.
    fn trial(
        &self,
        trial: &Trial,
        peer: Option<&Peer>,
        only: &[String],
        machine: &mut String,
    ) -> anyhow::Result<Vec<Line>> {
        let half = self.half(trial)?;
        let first = self.words(&trial.first, peer, half);
        let streaming = peer.is_some_and(Peer::is_streaming);
        let other = trial.other.map(|other| match other.by {
            By::Peer if streaming => self.words(
                &Side {
                    by: By::Peer,
                    words: trial.first.words,
                },
                peer,
                half,
            ),
            _ => self.words(&other, peer, half),
        });
        let count = if trial.times == Times::Once { 1 } else { self.pairs };
        let mut pairs = Vec::new();
        for number in 1..=count {
            let names: Vec<&str> = trial.rows.iter().map(|row| row.name).collect();
            let against = peer.map_or_else(String::new, |peer| format!(" against {}", peer.name));
            println!("=== {}{against}, {number} of {count}", names.join(", "));
            let pair = Pair {
                first: self.one(&first)?,
                other: other.as_ref().map(|words| self.one(words)).transpose()?,
            };
            *machine = pair.first.machine();
            pairs.push(pair);
        }
        let commands: Vec<String> = std::iter::once(&first)
            .chain(&other)
            .map(|words| shown(words))
            .collect();
        let mut lines = Vec::new();
        for row in trial
            .rows
            .iter()
            .filter(|row| only.is_empty() || only.iter().any(|name| name == row.name))
        {
            let mut row = *row;
            let mut name = row.name.to_owned();
            if let Some(peer) = peer.filter(|peer| peer.name != USUAL_PEER) {
                // The bounds are about the usual peer.
                row.bound = trials::Bound::Any;
                name = format!("{name}@{}", peer.name);
            }
            lines.push(Line::new(row, name, &pairs, &commands)?);
        }
        Ok(lines)
    }

    fn one(&self, words: &[String]) -> anyhow::Result<Run> {
        let run = self.settings.run(words)?;
        if let Some(warning) = run.warning() {
            println!("WARNING: {}: {warning}", words.join(" "));
        }
        Ok(run)
    }

    fn words(&self, side: &Side, peer: Option<&Peer>, half: Option<u64>) -> Vec<String> {
        let binary: Option<&Path> = match side.by {
            By::Ours => Some(&self.ours),
            By::Peer => peer.map(|peer| peer.binary.as_path()),
            By::Disk => None,
        };
        self.settings.words(side.words, binary, half)
    }

    /// Half of what our server manages, for trials that ask for it.
    fn half(&self, trial: &Trial) -> anyhow::Result<Option<u64>> {
        let Some((ceiling, rest)) = trial.first.words.split_once("--rate HALF") else {
            return Ok(None);
        };
        println!("=== the ceiling, of which half is wanted");
        let words = format!("{ceiling} {rest}");
        let run = self.one(&self.settings.words(&words, Some(&self.ours), None))?;
        let rate = run.figure(trials::Figure::Number("rate_per_second"))?;
        println!("{rate:.0} per second");
        Ok(Some((rate / 2.0) as u64))
    }
}

/// A command line as a reader would type it, without the places of this machine.
fn shown(words: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut is_path = false;
    for word in words {
        let name = Path::new(word)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        shown.push(if is_path {
            name.unwrap_or_default()
        } else {
            word.clone()
        });
        is_path = word == "--server-binary" || word == "--directory";
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name() {
        let chosen = |name: &str| chosen(&[name.to_owned()]);
        let trials = chosen("cpu-publish").expect("there is one");
        assert_eq!(trials.len(), 1);
        assert_eq!(trials[0].rows[0].name, "publish-128");
        let error = chosen("publish-129").expect_err("there is none");
        assert!(error.to_string().contains("publish-128"), "{error}");
    }

    #[test]
    fn each_peer_takes_part_where_it_can() {
        let peer = |name: &str| Peer {
            name: name.to_owned(),
            binary: name.into(),
        };
        let peers = [peer("nats-server"), peer("nats-streaming-server")];
        let names = |row: &str| -> Vec<String> {
            let trials = chosen(&[row.to_owned()]).expect("there is one");
            let all = schedule(&trials, &peers);
            all.into_iter()
                .map(|(_, peer)| peer.map_or("nobody", |peer| &peer.name).to_owned())
                .collect()
        };
        assert_eq!(names("core-16"), ["nats-server"]);
        assert_eq!(names("publish-128"), ["nats-server", "nats-streaming-server"]);
        assert_eq!(names("channels-100"), ["nobody"]);
    }

    #[test]
    fn commands_are_shown_without_the_places_of_a_machine() {
        let words = ["S1", "--server-binary", "some/where/seaway", "--seconds", "5"].map(str::to_owned);
        assert_eq!(shown(&words), "S1 --server-binary seaway --seconds 5");
    }
}
