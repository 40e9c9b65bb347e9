//! One machine: a disk, and a member on it while its process runs.

use std::sync::Arc;

use seaway_journal::disk::Disk;
use seaway_journal::disk::simulated::SimulatedDisk;
use seaway_journal::{FoldJob, Folded, Options as JournalOptions};
use seaway_member::{Driving, Facts, Folder, Founding, JournalLog, Member, Options, SharedMember};
use seaway_replica::{Configuration, Identity, NodeId};
use seaway_store::Recovery;
use seaway_store::journaled::Replaying;
use seaway_streaming::ChannelId;

use crate::network::Shared;

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

pub(crate) fn identity() -> Identity {
    Identity::founding("test-cluster", &NAMES)
}

pub(crate) fn founders() -> Configuration {
    Configuration::founding("test-cluster", &NAMES)
}

/// Keeps all facts as they are: to these tests a state is the list of its facts.
pub(crate) struct AllFacts;

#[derive(Default)]
struct Listed(Facts);

impl Recovery for Listed {
    fn fact(&mut self, kind: u8, body: &[u8]) {
        self.0.push_back((kind, body.to_vec()));
    }

    fn channel_deleted(&mut self, _channel: ChannelId) {}

    fn channel(&mut self, _channel: ChannelId, _first: u64, _last: u64, _bytes: u64, _last_timestamp: i64) {}
}

impl Folder for AllFacts {
    fn fold(&self, job: FoldJob, disk: &dyn Disk) -> Result<(Folded, Facts), String> {
        let mut listed = Listed::default();
        let mut replaying = Replaying {
            recovery: &mut listed,
            progress: Arc::default(),
        };
        let folded = job.run(disk, &mut replaying).map_err(|error| error.to_string())?;
        Ok((folded, listed.0))
    }
}

pub(crate) fn journal_options(checkpoint_bytes: u64) -> JournalOptions {
    let mut options = JournalOptions::new([5; 16]);
    options.segment_bytes_max = 64 << 10;
    options.tail_cache_bytes = 32 << 10;
    options.checkpoint_bytes = checkpoint_bytes;
    options.holder = "test".to_owned();
    options
}

pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) disk: SimulatedDisk,
    pub(crate) member: Option<SharedMember>,
    checkpoint_bytes: u64,
}

impl Machine {
    pub(crate) fn new(id: NodeId, seed: u64, checkpoint_bytes: u64) -> Machine {
        Machine {
            id,
            disk: SimulatedDisk::new(seed),
            member: None,
            checkpoint_bytes,
        }
    }

    /// Starts its process; a disk that crashes meanwhile is no mistake.
    pub(crate) fn start(&mut self, network: &Shared, seed: u64) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let founding = Founding {
            configuration: founders(),
            ..Founding::default()
        };
        let options = Options {
            id: self.id,
            identity: identity(),
            seed,
        };
        let log = JournalLog::open(disk, journal_options(self.checkpoint_bytes), Some(&founding), seed);
        let started = log.and_then(|log| {
            Member::start(
                log,
                &options,
                Driving::Steps,
                network.end(self.id),
                Some(Arc::new(AllFacts)),
            )
        });
        match started {
            Ok(member) => self.member = Some(SharedMember::new(member)),
            Err(_) if self.disk.has_crashed() => self.disk.restart(),
            Err(error) => return Err(format!("{:x} does not start: {error}", self.id)),
        }
        Ok(())
    }
}
