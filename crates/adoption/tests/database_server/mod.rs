//! A PostgreSQL or MariaDB of our own, from the system's packages: new in a temporary directory, on a free port, run by the package's
//! user because neither wants to be run by root.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seaway_original::{Driver, Source};

pub const PASSWORD: &str = "geheim";
const DATABASE: &str = "stan";
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    MariaDb,
}

impl Kind {
    /// As the generator calls it.
    pub fn dialect(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        }
    }

    fn driver(self) -> Driver {
        Driver::named(self.dialect()).unwrap()
    }
}

/// One test at a time: a process that one starts has the locked files of another's store for a moment, until it becomes its program.
static ALONE: Mutex<()> = Mutex::new(());

/// Dropping it stops the server.
pub struct DatabaseServer {
    pub kind: Kind,
    pub port: u16,
    process: Child,
    home: PathBuf,
    _folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl DatabaseServer {
    /// None where the package is not installed, which is said loudly.
    pub fn start(kind: Kind) -> Option<DatabaseServer> {
        let (Some(make), Some(serve)) = programs(kind) else {
            return skipped(&format!("{kind:?} is not installed"));
        };
        if let Err(error) = Command::new("python3").arg("--version").output() {
            return skipped(&format!("python3 cannot be run ({error})"));
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        if is_root() {
            run(Command::new("chmod").arg("a+rx").arg(folder.path()));
            run(Command::new("chown").arg(user(kind)).arg(&home));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (data, log) = (
            home.join("data"),
            std::fs::File::create(folder.path().join("log")).unwrap(),
        );
        let mut making = as_user(kind, &make);
        let mut serving = as_user(kind, &serve);
        match kind {
            Kind::Postgres => {
                let password = folder.path().join("password");
                std::fs::write(&password, PASSWORD).unwrap();
                making.args([
                    "--username",
                    DATABASE,
                    "--auth",
                    "scram-sha-256",
                    "--encoding",
                    "UTF8",
                    "--no-sync",
                ]);
                making.arg("--pwfile").arg(password).arg("--pgdata").arg(&data);
                serving.arg("-D").arg(&data).args(["-p", &port.to_string()]);
                serving.args([
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "unix_socket_directories=",
                    "-c",
                    "fsync=off",
                ]);
            }
            Kind::MariaDb => {
                let data = format!("--datadir={}", data.display());
                making.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    &data,
                ]);
                serving.args([
                    "--no-defaults",
                    "--bind-address=127.0.0.1",
                    "--innodb-flush-log-at-trx-commit=0",
                    &data,
                ]);
                serving.arg(format!("--port={port}"));
                serving.arg(format!("--socket={}", home.join("socket").display()));
                serving.arg(format!("--pid-file={}", home.join("pid").display()));
            }
        }
        run(making.env("LC_ALL", "C").current_dir("/"));
        let process = serving
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir("/")
            .spawn()
            .unwrap();
        let server = DatabaseServer {
            kind,
            port,
            process,
            home,
            _folder: folder,
            _alone: alone,
        };
        server.prepare();
        Some(server)
    }

    /// Waits until it serves, and makes user and database.
    fn prepare(&self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.makes_database() {
            assert!(Instant::now() < until, "{:?} does not serve", self.kind);
            std::thread::yield_now();
        }
    }

    fn makes_database(&self) -> bool {
        let mut command = self.client(if self.kind == Kind::Postgres { "postgres" } else { "" });
        let script = match self.kind {
            Kind::Postgres => format!("CREATE DATABASE {DATABASE}"),
            Kind::MariaDb => format!(
                "CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4; CREATE USER {DATABASE}@'%' IDENTIFIED BY '{PASSWORD}'; \
                 GRANT ALL ON {DATABASE}.* TO {DATABASE}@'%'"
            ),
        };
        match self.kind {
            Kind::Postgres => command.args(["-c", &script]),
            Kind::MariaDb => command.args(["-e", &script]),
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// The system's own client: what it writes and shows has nothing to do with ours.
    fn client(&self, database: &str) -> Command {
        match self.kind {
            Kind::Postgres => {
                let mut command = Command::new("psql");
                command.args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    DATABASE,
                    "-p",
                    &self.port.to_string(),
                    "-d",
                    database,
                ]);
                command.args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
                command.env("PGPASSWORD", PASSWORD);
                command
            }
            Kind::MariaDb => {
                let mut command = Command::new("mariadb");
                command
                    .arg("--no-defaults")
                    .arg(format!("--socket={}", self.home.join("socket").display()));
                command.args([
                    "--user=root",
                    "--default-character-set=utf8mb4",
                    "--binary-as-hex",
                    "--skip-column-names",
                ]);
                command.args((!database.is_empty()).then_some(database));
                command
            }
        }
    }

    /// As NATS Streaming is told.
    pub fn source_text(&self) -> String {
        let port = self.port;
        match self.kind {
            Kind::Postgres => {
                format!(
                    "host=127.0.0.1 port={port} user={DATABASE} password={PASSWORD} dbname={DATABASE} sslmode=disable"
                )
            }
            Kind::MariaDb => format!("{DATABASE}:{PASSWORD}@tcp(127.0.0.1:{port})/{DATABASE}?readTimeout=60s"),
        }
    }

    pub fn source(&self) -> Source {
        Source::parse(self.kind.driver(), &self.source_text()).unwrap()
    }

    /// Runs statements.
    pub fn script(&self, text: &str) {
        self.ask(text);
    }

    /// Runs statements; what they say.
    pub fn ask(&self, text: &str) -> String {
        let mut command = self.client(DATABASE);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let text = text.to_owned();
        let writing = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes the tables, empty.
    pub fn make_tables(&self) {
        self.drop_tables();
        self.script(&generator(&[self.kind.dialect(), "--schema"]));
    }

    pub fn drop_tables(&self) {
        let tables = [
            "ServerInfo",
            "Clients",
            "Channels",
            "Messages",
            "Subscriptions",
            "SubsPending",
            "StoreLock",
        ];
        let drops: String = { tables.iter() }
            .map(|table| format!("DROP TABLE IF EXISTS {table};\n"))
            .collect();
        self.script(&drops);
    }

    /// Whether the last of the tables has been made.
    pub fn has_table(&self) -> bool {
        let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE LOWER(table_name) = 'storelock';";
        self.ask(tables).trim() == "1"
    }

    /// Everything that the tables hold, as text.
    pub fn contents(&self) -> String {
        let row = if self.kind == Kind::Postgres { "row" } else { "`row`" };
        self.ask(&format!(
            "SELECT * FROM ServerInfo; SELECT * FROM Clients ORDER BY id; SELECT * FROM Channels ORDER BY id; \
             SELECT * FROM Messages ORDER BY id, seq; SELECT * FROM Subscriptions ORDER BY id, subid; \
             SELECT * FROM SubsPending ORDER BY subid, {row}; SELECT * FROM StoreLock;"
        ))
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        // Its fast stop: sessions are cut, and no process is left behind.
        let signal = match self.kind {
            Kind::Postgres => "-INT",
            Kind::MariaDb => "-TERM",
        };
        // `setpriv` becomes the server: the number is the same.
        let _ = Command::new("kill")
            .arg(signal)
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

/// Past the test harness, which keeps what passing tests print to itself.
fn skipped(reason: &str) -> Option<DatabaseServer> {
    let text = format!("\n*** SKIPPED: {reason}: nothing was taken over from a database and compared ***\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    None
}

/// What the independent generator (`compat/original/tables.py`) prints.
pub fn generator(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/original/tables.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What makes a data directory, and what serves it.
fn programs(kind: Kind) -> (Option<PathBuf>, Option<PathBuf>) {
    let find = |folders: &[PathBuf], name: &str| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    match kind {
        Kind::Postgres => {
            let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
            folders.sort();
            folders.reverse();
            (find(&folders, "initdb"), find(&folders, "postgres"))
        }
        Kind::MariaDb => {
            let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
            (find(&folders, "mariadb-install-db"), find(&folders, "mariadbd"))
        }
    }
}

fn user(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "postgres",
        Kind::MariaDb => "mysql",
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// The program, as the package's user if we are root.
fn as_user(kind: Kind, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let user = user(kind);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--reset-env"]);
    command.arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
