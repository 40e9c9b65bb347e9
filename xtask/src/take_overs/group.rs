//! The servers: three members of a group on one directory, and one of no group that is in their cluster and keeps its clients' connections.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use seaway_trial::waiting::free_port;

use super::fault::{Failing, Fault};
use super::routes::Way;
use crate::server_process::ServerProcess;
use crate::shell;

const MEMBERS: usize = 3;

/// How long anything may take that is waited for, the longest stop included.
const DEADLINE: Duration = Duration::from_secs(90);

/// How long the servers stay apart before whoever serves is killed: more than a lease.
const CUT_BEFORE: Duration = Duration::from_millis(1500);

/// How long an answer about a server's state may take: one that is stopped gives none.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);

/// A client that is away is not given up during the trial.
const FLAGS: [&str; 4] = ["-hb_interval", "30s", "-hb_fail_count", "1000"];

/// See the module.
pub(crate) struct Group {
    home: Place,
    members: Vec<Place>,
}

/// A server, and how it is reached.
struct Place {
    server: ServerProcess,
    http_port: u16,
    way: Way,
}

/// What has to be undone after a fault.
pub(crate) enum Repair {
    /// It has ended, and is started again.
    StartAgain { is_cut: bool },
    /// It stands by by itself; the tracer has gone before.
    StandBy,
    /// The tracer goes, then it stands by.
    Release(Failing),
}

impl Repair {
    /// Whether the routes are to be mended.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Repair::StartAgain { is_cut: true })
    }
}

impl Group {
    /// Starts the servers; returns when one of the members serves and the others stand by.
    pub(crate) fn start(binary: &Path, data: &Path) -> anyhow::Result<Group> {
        let ports = (0..=MEMBERS)
            .map(|_| free_port())
            .collect::<anyhow::Result<Vec<u16>>>()?;
        let ways = ports
            .iter()
            .map(|port| Way::to(*port))
            .collect::<anyhow::Result<Vec<Way>>>()?;
        let routes: Vec<String> = ways.iter().map(|way| format!("nats://{}", way.address())).collect();
        let routes = routes.join(",");
        let mut places = Vec::new();
        for (index, (port, way)) in ports.into_iter().zip(ways).enumerate() {
            let listen = format!("nats://127.0.0.1:{port}");
            let advertise = way.address().to_string();
            let mut flags = vec!["-cluster", &listen, "-cluster_name", "mesh", "-routes", &routes];
            flags.extend(["-cluster_advertise", &advertise]);
            let name = format!("member-{index}");
            let directory = data.join(if index == 0 { "home" } else { "group" });
            match index {
                0 => flags.extend(["-cluster_id", "elsewhere"]),
                _ => flags.extend(["-ft_group", "trial", "-n", &name]),
            }
            flags.extend(FLAGS);
            let http_port = free_port()?;
            let server = ServerProcess::prepare(binary, &directory, http_port, &flags)?;
            let mut place = Place { server, http_port, way };
            place.server.spawn()?;
            if index > 0 {
                place.wait_for_state(&["FT_ACTIVE", "FT_STANDBY"])?;
            }
            places.push(place);
        }
        let home = places.remove(0);
        let group = Group { home, members: places };
        group.wait_for_the_active_one()?;
        group.wait_for_routes(MEMBERS)?;
        Ok(group)
    }

    /// Where clients connect whose connection is to last.
    pub(crate) fn home_url(&self) -> String {
        self.home.server.url()
    }

    /// Where the others connect.
    pub(crate) fn member_urls(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(|place| place.server.url()).collect();
        urls.join(",")
    }

    /// The member that serves, once it is one.
    pub(crate) fn wait_for_the_active_one(&self) -> anyhow::Result<usize> {
        let mut found = None;
        let is_one = shell::wait_until(DEADLINE, || {
            let active = |place: &&Place| matches!(place.get("/streaming/isFTActive"), Some((200, _)));
            let active: Vec<usize> = (0..MEMBERS).filter(|index| active(&&self.members[*index])).collect();
            found = active.first().copied().filter(|_| active.len() == 1);
            found.is_some()
        });
        ensure!(is_one, "no member serves within {DEADLINE:?}");
        found.context("a member serves")
    }

    /// Has the fault happen; returns when it has, and, where it ends by itself, when that is over.
    pub(crate) fn strike(&mut self, index: usize, fault: Fault) -> anyhow::Result<Repair> {
        let server = &mut self.members[index].server;
        match fault {
            Fault::Kill => server.kill()?,
            Fault::Terminate => {
                server.signal("TERM")?;
                server.wait_until_ended(DEADLINE)?;
            }
            Fault::Stop(time) => {
                server.signal("STOP")?;
                // How long it stands still is what is tried.
                std::thread::sleep(time);
                server.signal("CONT")?;
                return Ok(Repair::StandBy);
            }
            Fault::DiskIsFull => {
                let failing = Failing::begin(server.process()?, "pwrite64:error=ENOSPC")?;
                self.wait_for_another(index)?;
                return Ok(Repair::Release(failing));
            }
            Fault::DiskHangs => {
                let failing = Failing::begin(server.process()?, "fdatasync:delay_enter=30000000")?;
                self.wait_for_another(index)?;
                return Ok(Repair::Release(failing));
            }
            Fault::RoutesAreCut => {
                self.places().for_each(|place| place.way.cut());
                self.wait_for_routes(0)?;
                std::thread::sleep(CUT_BEFORE);
                ensure!(self.wait_for_the_active_one()? == index, "a cut deposed whoever served");
                self.members[index].server.kill()?;
            }
        }
        Ok(Repair::StartAgain {
            is_cut: fault == Fault::RoutesAreCut,
        })
    }

    /// A tracer slows the process it is at: it goes when another one serves.
    fn wait_for_another(&self, index: usize) -> anyhow::Result<()> {
        let others = || (0..MEMBERS).filter(|other| *other != index);
        let is_another = shell::wait_until(DEADLINE, || {
            others().any(|other| matches!(self.members[other].get("/streaming/isFTActive"), Some((200, _))))
        });
        ensure!(is_another, "nobody takes over within {DEADLINE:?}");
        Ok(())
    }

    /// Joins servers again that were cut off from each other.
    pub(crate) fn mend_routes(&self) {
        self.places().for_each(|place| place.way.mend());
    }

    /// Undoes what a fault did to a member; returns when it stands by.
    pub(crate) fn repair(&mut self, index: usize, repair: Repair) -> anyhow::Result<()> {
        match repair {
            Repair::StartAgain { .. } => self.members[index].server.spawn()?,
            Repair::StandBy => {}
            Repair::Release(failing) => drop(failing),
        }
        self.members[index].wait_for_state(&["FT_ACTIVE", "FT_STANDBY"])?;
        self.wait_for_routes(MEMBERS)
    }

    /// Waits until the server of no group is joined with so many others.
    fn wait_for_routes(&self, wanted: usize) -> anyhow::Result<()> {
        let joined = || {
            let (_, text) = self.home.get("/routez")?;
            let routez: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(routez["routes"].as_array().map_or(0, Vec::len))
        };
        let is_so = shell::wait_until(DEADLINE, || joined() == Some(wanted));
        ensure!(is_so, "{:?} routes where {wanted} were due", joined());
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.members.iter().chain([&self.home])
    }

    /// The last lines of all of them.
    pub(crate) fn logs(&self) -> String {
        self.members
            .iter()
            .enumerate()
            .fold(String::new(), |mut all, (index, place)| {
                let _ = writeln!(all, "  member {}:\n{}", index + 1, place.server.log_tail());
                all
            })
    }
}

impl Place {
    fn wait_for_state(&self, wanted: &[&str]) -> anyhow::Result<()> {
        let state = || {
            let (_, text) = self.get("/streaming/serverz")?;
            let serverz: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(serverz["state"].as_str()?.to_owned())
        };
        let is_so = || state().is_some_and(|state| wanted.contains(&state.as_str()));
        ensure!(
            shell::wait_until(DEADLINE, is_so),
            "a member is {:?}:\n{}",
            state(),
            self.server.log_tail()
        );
        Ok(())
    }

    /// Status and body of an answer of its monitoring, if it answers in time.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).ok()?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let body = text.split_once("\r\n\r\n")?.1.to_owned();
        Some((status, body))
    }
}
