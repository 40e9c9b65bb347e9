//! A PostgreSQL of our own, from the system's package: a new cluster in a temporary directory, on a free port, run by a user
//! without privileges because it refuses to be run by root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use seaway_trial::process::Process;
use seaway_trial::waiting;

/// The user that the package makes, used when this program is run by root.
const SYSTEM_USER: &str = "postgres";

/// The owner of the databases.
const ROLE: &str = "orders";

/// Dropping it stops the server.
pub(crate) struct Postgres {
    programs: PathBuf,
    port: u16,
    process: Process,
}

impl Postgres {
    /// Where the programs of the newest version lie; `None` when the package is not installed.
    pub(crate) fn programs() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut found: Vec<(u32, PathBuf)> = versions
            .filter_map(|version| {
                let path = version.ok()?.path();
                let number = path.file_name()?.to_str()?.parse().ok()?;
                let programs = path.join("bin");
                programs.join("initdb").is_file().then_some((number, programs))
            })
            .collect();
        found.sort();
        found.pop().map(|(_, programs)| programs)
    }

    /// Makes a cluster below this directory and starts its server.
    pub(crate) fn start(programs: PathBuf, directory: &Path) -> anyhow::Result<Self> {
        let home = directory.join("postgres");
        std::fs::create_dir_all(&home).context("make PostgreSQL's directory")?;
        if is_root() {
            run(Command::new("chown").arg(SYSTEM_USER).arg(&home))?;
            // The user must be able to come in; what lies beside is nobody's secret.
            run(Command::new("chmod").arg("a+rx").arg(directory))?;
        }
        let data = home.join("data");
        let port = waiting::free_port()?;
        let (program, mut words) = as_system_user(&programs.join("initdb"));
        words.extend(["--pgdata".to_owned(), data.display().to_string()]);
        words.extend(["--username", ROLE, "--auth", "trust", "--encoding", "UTF8", "--no-sync"].map(str::to_owned));
        run(Command::new(program).args(words).env("LC_ALL", "C").current_dir("/"))?;

        let (program, mut words) = as_system_user(&programs.join("postgres"));
        words.extend([
            "-D".to_owned(),
            data.display().to_string(),
            "-p".to_owned(),
            port.to_string(),
        ]);
        // Not this server is on trial, so it need not survive a power loss.
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_connections=100",
        ] {
            words.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let ready = "database system is ready to accept connections";
        let mut process = Process::new("postgres", program, words, ready, directory);
        process.start()?;
        process.wait_ready()?;
        Ok(Self {
            programs,
            port,
            process,
        })
    }

    /// Makes a database and returns its address.
    pub(crate) fn create(&self, database: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.join("createdb"));
        command.args(["--host", "127.0.0.1", "--username", ROLE, "--port"]);
        run(command.arg(self.port.to_string()).arg(database)).with_context(|| self.process.tail())?;
        Ok(format!("postgres://{ROLE}@127.0.0.1:{}/{database}", self.port))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is its fast stop: sessions are cut and no process is left behind. A killed one would leave its children.
        let _ = self.process.stop(rustix::process::Signal::INT);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program, or what runs it as the package's user if we are root.
fn as_system_user(program: &Path) -> (PathBuf, Vec<String>) {
    if !is_root() {
        return (program.to_owned(), Vec::new());
    }
    let user = [
        "--reuid",
        SYSTEM_USER,
        "--regid",
        SYSTEM_USER,
        "--clear-groups",
        "--reset-env",
    ];
    let mut words: Vec<String> = user.map(str::to_owned).to_vec();
    words.push(program.display().to_string());
    ("setpriv".into(), words)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        bail!(
            "{} failed with {}:\n{}{}",
            command.get_program().to_string_lossy(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
