//! The languages whose clients run the scenarios: whether they are here, how their libraries are installed into the build folder,
//! and how a suite is started. All versions are pinned by the files in `compat/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::shell;

/// A language with clients for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    Go,
    Python,
    Node,
    Java,
    C,
    Rust,
}

/// A family of scenarios: plain publish-subscribe, or streaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Core,
    Streaming,
    /// Both, through TLS and with credentials.
    Secured,
    /// What a scraper makes of `/metrics`.
    Metrics,
}

impl Suite {
    pub(crate) const ALL: [Self; 4] = [Self::Core, Self::Streaming, Self::Secured, Self::Metrics];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Streaming => "streaming",
            Self::Secured => "secured",
            Self::Metrics => "metrics",
        }
    }

    /// The scenarios that each language must tell. A language that leaves one out fails.
    pub(crate) fn scenarios(self) -> &'static [&'static str] {
        match self {
            Self::Core => &[
                "publish-subscribe",
                "wildcards",
                "queue-groups",
                "request-reply",
                "no-responders",
                "headers",
                "auto-unsubscribe",
                "drain",
                "max-payload",
                "fan-10000",
            ],
            Self::Streaming => &[
                "connect",
                "publish",
                "publish-async-10000",
                "start-new-only",
                "start-last-received",
                "start-all-available",
                "start-sequence",
                "start-time",
                "start-time-delta",
                "durable-resume-client-restart",
                "durable-resume-server-kill",
                "queue-group-member-dies",
                "manual-ack-redelivery",
                "max-inflight-one",
                "duplicate-client-refused",
                "durable-unsubscribe-vs-close",
            ],
            Self::Secured => &[
                "password",
                "hashed-password",
                "wrong-password",
                "nkey",
                "no-certificate",
                "permissions",
                "streaming",
                "streaming-permissions",
                "reconnect",
            ],
            Self::Metrics => &["parsed", "figures", "names-with-quotes"],
        }
    }
}

impl Language {
    pub(crate) const ALL: [Self; 6] = [Self::Go, Self::Python, Self::Node, Self::Java, Self::C, Self::Rust];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::C => "c",
            Self::Rust => "rust",
        }
    }

    /// The suites this language has a client for.
    pub(crate) fn suites(self) -> &'static [Suite] {
        match self {
            Self::Go => &[Suite::Core, Suite::Streaming, Suite::Secured],
            Self::Python => &[Suite::Core, Suite::Streaming, Suite::Metrics],
            Self::Node => &[Suite::Core, Suite::Streaming],
            Self::Java | Self::C => &[Suite::Streaming],
            Self::Rust => &[Suite::Core],
        }
    }

    /// The scenarios of a suite that this language has to tell: those of all, and its own.
    pub(crate) fn scenarios(self, suite: Suite) -> impl Iterator<Item = &'static str> {
        let own: &[&str] = match (self, suite) {
            (Self::Go, Suite::Streaming) => &["queue-slow-member-idle-member", "due-at-restart"],
            (Self::Python | Self::Node, Suite::Streaming) => &["due-at-restart"],
            _ => &[],
        };
        suite.scenarios().iter().chain(own).copied()
    }

    /// The programs without which this language is absent.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["go"],
            Self::Python => &["python3"],
            Self::Node => &["node", "npm"],
            Self::Java => &["java", "javac", "mvn"],
            Self::C => &["cc"],
            Self::Rust => &[],
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        let programs = self.programs().iter().all(|program| shell::is_installed(program));
        programs && (self != Self::C || has_c_library())
    }

    /// Installs the client libraries and builds the scenarios.
    pub(crate) fn prepare(self) -> anyhow::Result<()> {
        let prepared = match self {
            Self::Go => prepare_go(),
            Self::Python => prepare_python(),
            Self::Node => prepare_node(),
            Self::Java => prepare_java(),
            Self::C => prepare_c(),
            Self::Rust => prepare_rust(),
        };
        prepared.with_context(|| format!("install the {} clients", self.name()))
    }

    /// The command that runs a suite, still without the server's addresses.
    pub(crate) fn command(self, suite: Suite) -> Command {
        match self {
            Self::Go => {
                let mut command = Command::new(go_binary());
                command.arg(suite.name());
                command
            }
            Self::Python => python(suite, &format!("{}.py", suite.name())),
            Self::Node => node(&format!("{}.js", suite.name())),
            Self::Java => java("Streaming"),
            Self::C => Command::new(c_binary("scenarios")),
            Self::Rust => Command::new(shell::target_directory().join("debug").join("seaway-compat-rust")),
        }
    }
}

/// The program that publishes while servers are killed (`publish`), or another part of that test, which Go and Python have.
pub(crate) fn crash(language: Language, part: &str) -> Command {
    let mut command = match language {
        Language::Go => go(&format!("crash-{part}")),
        Language::Python => python(Suite::Streaming, "crash.py"),
        Language::Node => node("crash.js"),
        Language::Java => java("Crash"),
        Language::C | Language::Rust => Command::new(c_binary("crash")),
    };
    if language == Language::Python {
        command.arg(part);
    }
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(source(Language::Node).join(script));
    command.env("NODE_PATH", build_folder("node").join("node_modules"));
    command
}

fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    command.arg("-cp").arg(java_class_path()).arg(class);
    command
}

/// A script of `compat/python`, run with the libraries of the suite.
fn python(suite: Suite, script: &str) -> Command {
    let mut command = Command::new(build_folder("python").join("bin").join("python"));
    command.arg(source(Language::Python).join(script));
    command.env("PYTHONPATH", build_folder(&format!("python-{}", suite.name())));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The Go scenarios' program with another subcommand than a suite.
fn go(subcommand: &str) -> Command {
    let mut command = Command::new(go_binary());
    command.arg(subcommand);
    command
}

fn source(language: Language) -> PathBuf {
    shell::root().join("compat").join(language.name())
}

fn build_folder(name: &str) -> PathBuf {
    shell::root().join("compat").join(".build").join(name)
}

fn go_binary() -> PathBuf {
    build_folder("go").join("scenarios")
}

fn prepare_go() -> anyhow::Result<()> {
    let mut command = Command::new("go");
    command
        .current_dir(source(Language::Go))
        .args(["build", "-mod=readonly", "-o"])
        .arg(go_binary())
        .arg(".");
    shell::run_quietly(&mut command).map(drop)
}

fn prepare_python() -> anyhow::Result<()> {
    let environment = build_folder("python");
    if !environment.join("bin").join("pip").exists() {
        shell::run_quietly(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
        )?;
    }
    for suite in Language::Python.suites() {
        let requirements = source(Language::Python).join(format!("requirements-{}.txt", suite.name()));
        let folder = build_folder(&format!("python-{}", suite.name()));
        once_per_content(&requirements, &folder, || {
            let mut pip = Command::new(environment.join("bin").join("pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--target"])
                .arg(&folder);
            pip.arg("--requirement").arg(&requirements);
            shell::run_quietly(&mut pip).map(drop)
        })?;
    }
    Ok(())
}

fn prepare_node() -> anyhow::Result<()> {
    let (from, folder) = (source(Language::Node), build_folder("node"));
    once_per_content(&from.join("package-lock.json"), &folder, || {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(from.join(file), folder.join(file)).with_context(|| format!("copy {file}"))?;
        }
        shell::run_quietly(
            Command::new("npm")
                .current_dir(&folder)
                .args(["ci", "--no-audit", "--no-fund"]),
        )
        .map(drop)
    })
}

fn prepare_java() -> anyhow::Result<()> {
    let (from, folder) = (source(Language::Java), build_folder("java"));
    once_per_content(&from.join("pom.xml"), &folder, || {
        let mut maven = Command::new("mvn");
        maven.current_dir(&folder).args(["--quiet", "--batch-mode", "--file"]);
        maven.arg(from.join("pom.xml")).arg("dependency:copy-dependencies");
        maven.arg(format!("-DoutputDirectory={}", folder.join("libraries").display()));
        shell::run_quietly(&mut maven).map(drop)
    })?;
    let mut compile = Command::new("javac");
    compile.current_dir(&from).arg("-cp").arg(java_class_path());
    compile.arg("-d").arg(folder.join("classes"));
    compile.args(["Scenario.java", "Streaming.java", "Crash.java"]);
    shell::run_quietly(&mut compile).map(drop)
}

/// The compiled scenarios, and the libraries they use.
fn java_class_path() -> std::ffi::OsString {
    let folder = build_folder("java");
    let mut path = folder.join("classes").into_os_string();
    path.push(":");
    path.push(folder.join("libraries").join("*"));
    path
}

fn prepare_c() -> anyhow::Result<()> {
    fs::create_dir_all(build_folder("c"))?;
    for (program, of) in [("scenarios", "streaming.c"), ("crash", "crash.c")] {
        let mut compile = Command::new("cc");
        // The library's header hides its streaming half otherwise.
        compile
            .current_dir(source(Language::C))
            .args(["-std=c11", "-D_GNU_SOURCE", "-DNATS_HAS_STREAMING"]);
        compile
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(c_binary(program));
        compile.args(["scenario.c", "client.c", of, "-lnats", "-lpthread"]);
        shell::run_quietly(&mut compile)?;
    }
    Ok(())
}

fn c_binary(program: &str) -> PathBuf {
    build_folder("c").join(program)
}

/// Whether the compiler finds the C client, which comes with the system's packages (Debian: libnats-dev).
fn has_c_library() -> bool {
    let mut probe = Command::new("cc");
    probe.args(["-x", "c", "-include", "nats/nats.h", "-fsyntax-only", "/dev/null"]);
    shell::run_quietly(&mut probe).is_ok()
}

fn prepare_rust() -> anyhow::Result<()> {
    let mut build = shell::cargo();
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(source(Language::Rust).join("Cargo.toml"));
    build.arg("--target-dir").arg(shell::target_directory());
    shell::run_quietly(&mut build).map(drop)
}

/// Fills a folder anew unless it was filled from a list with this very content before.
fn once_per_content(list: &Path, folder: &Path, install: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let wanted = fs::read(list).with_context(|| format!("read {}", list.display()))?;
    let stamp = folder.join("installed-from");
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    install()?;
    fs::write(stamp, wanted)?;
    Ok(())
}
