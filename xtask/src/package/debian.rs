//! Debian packages of the built server, from `deploy/debian` and `deploy/systemd`: what lies where, and `dpkg-deb` around it.
//!
//! Two packages: `seaway`, and `seaway-nats-streaming-server`, which makes the original's name an alternative that leads to it. The same
//! commit and toolchain give the same bytes: times are those of the commit.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::licences;
use crate::shell;

/// What to package, and how.
#[derive(Default)]
pub(crate) struct Options {
    /// A server that is built already.
    pub(crate) server: Option<PathBuf>,
    /// Instead of the workspace's version.
    pub(crate) version: Option<String>,
    /// Instead of `target/packages`.
    pub(crate) output: Option<PathBuf>,
}

/// The packages that were built.
pub(crate) struct Packages {
    pub(crate) seaway: PathBuf,
    pub(crate) nats_streaming_server: PathBuf,
}

/// What is copied into the package as it stands: from where in the work tree, to where.
const FILES: [(&str, &str); 8] = [
    ("deploy/systemd/seaway.service", "usr/lib/systemd/system/seaway.service"),
    (
        "deploy/systemd/seaway-member.service",
        "usr/lib/systemd/system/seaway-member.service",
    ),
    ("deploy/debian/seaway.conf", "etc/seaway/seaway.conf"),
    ("deploy/debian/member.conf", "etc/seaway/member.conf"),
    ("deploy/debian/seaway.default", "etc/default/seaway"),
    ("docs/example.conf", "usr/share/doc/seaway/example.conf"),
    (
        "deploy/prometheus/seaway.rules.yaml",
        "usr/share/doc/seaway/seaway.rules.yaml",
    ),
    ("LICENSE", "usr/share/doc/seaway/LICENSE"),
];

/// Documents that an operator looks up without a network.
const DOCUMENTS: [&str; 9] = [
    "administration",
    "clusters",
    "command-line",
    "configuration",
    "encryption",
    "high-availability",
    "migration",
    "monitoring",
    "operations",
];

/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Where a shell looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/seaway"),
    ("zsh", "usr/share/zsh/vendor-completions/_seaway"),
    ("fish", "usr/share/fish/vendor_completions.d/seaway.fish"),
];

/// Builds both packages.
pub(crate) fn build(options: &Options) -> anyhow::Result<Packages> {
    let server = shell::server_binary(options.server.as_deref(), shell::Profile::Dist)?;
    let output = match &options.output {
        Some(directory) => std::path::absolute(directory)?,
        None => shell::target_directory().join("packages"),
    };
    fs::create_dir_all(&output).with_context(|| format!("make {}", output.display()))?;
    let version = options.version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
    let scratch = tempfile::tempdir_in(&output)?;
    let packages = Packages {
        seaway: build_seaway(&server, version, scratch.path(), &output)?,
        nats_streaming_server: build_alternative(version, scratch.path(), &output)?,
    };
    for package in [&packages.seaway, &packages.nats_streaming_server] {
        println!("{} ({} KB)", package.display(), fs::metadata(package)?.len() / 1000);
    }
    Ok(packages)
}

fn build_seaway(server: &Path, version: &str, scratch: &Path, output: &Path) -> anyhow::Result<PathBuf> {
    let tree = Tree(scratch.join("seaway"));
    let program = tree.place("usr/bin/seaway")?;
    fs::copy(server, &program).with_context(|| format!("copy {}", server.display()))?;
    // Names of functions stay, for the lines of a panic; what else a debugger reads goes.
    shell::run_quietly(Command::new("strip").arg("--strip-debug").arg(&program))?;
    tree.set_mode("usr/bin/seaway", 0o755)?;
    for (from, to) in FILES {
        tree.copy(from, to)?;
    }
    for document in DOCUMENTS {
        tree.copy(
            &format!("docs/{document}.md"),
            &format!("usr/share/doc/seaway/{document}.md"),
        )?;
    }
    tree.write("usr/share/doc/seaway/changelog", &read("CHANGELOG.md")?)?;
    tree.compress("usr/share/doc/seaway/changelog")?;
    tree.write("usr/share/doc/seaway/copyright", COPYRIGHT)?;
    tree.write("usr/share/doc/seaway/third-party-licences", &licences::of_the_server()?)?;
    tree.compress("usr/share/doc/seaway/third-party-licences")?;
    for (kind, path) in COMPLETIONS {
        let script = shell::run_quietly(Command::new(&program).args(["completions", kind]))?;
        tree.write(path, &script)?;
    }
    let pages = tree.folder("usr/share/man/man1")?;
    shell::run_quietly(Command::new(&program).arg("man-pages").arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let name = page?.file_name();
        tree.compress(&format!("usr/share/man/man1/{}", name.to_string_lossy()))?;
    }
    let architecture = shell::run_quietly(Command::new("dpkg").arg("--print-architecture"))?;
    let glibc = oldest_glibc(&fs::read(&program)?).context("the server names no version of glibc")?;
    let glibc = format!("{}.{}", glibc.0, glibc.1);
    let values = [
        ("@VERSION@", version),
        ("@ARCHITECTURE@", architecture.trim()),
        ("@GLIBC@", &glibc),
    ];
    tree.pack("seaway", &values, output)
}

fn build_alternative(version: &str, scratch: &Path, output: &Path) -> anyhow::Result<PathBuf> {
    let tree = Tree(scratch.join("nats-streaming-server"));
    let link = tree.place("usr/lib/seaway/nats-streaming-server")?;
    symlink("../../bin/seaway", link)?;
    let documents = "usr/share/doc/seaway-nats-streaming-server";
    tree.write(&format!("{documents}/copyright"), COPYRIGHT)?;
    tree.pack("nats-streaming-server", &[("@VERSION@", version)], output)
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Seaway

Files: *
Copyright: The Seaway developers
License: Apache-2.0
 On Debian systems the text of the license is in /usr/share/common-licenses/Apache-2.0.
Comment:
 What the program is built of beside, and under which licences: third-party-licences.gz in the package seaway.
";

/// The files of a package before they are packed.
struct Tree(PathBuf);

impl Tree {
    /// A folder, which is made.
    fn folder(&self, path: &str) -> anyhow::Result<PathBuf> {
        let folder = self.0.join(path);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// The place of a file, in a folder that is made.
    fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        let (folder, name) = path.rsplit_once('/').context("a file lies in a folder")?;
        Ok(self.folder(folder)?.join(name))
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.place(path)?, text).with_context(|| format!("write {path}"))?;
        self.set_mode(path, 0o644)
    }

    fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.write(to, &read(from)?)
    }

    fn set_mode(&self, path: &str, mode: u32) -> anyhow::Result<()> {
        fs::set_permissions(self.0.join(path), fs::Permissions::from_mode(mode)).with_context(|| path.to_owned())
    }

    fn compress(&self, path: &str) -> anyhow::Result<()> {
        shell::run_quietly(Command::new("gzip").args(["-9n"]).arg(self.0.join(path))).map(drop)
    }

    /// Adds what dpkg reads, from `deploy/debian/NAME`, and packs all of it.
    fn pack(&self, name: &str, values: &[(&str, &str)], output: &Path) -> anyhow::Result<PathBuf> {
        let mut control = read(&format!("deploy/debian/{name}/control"))?;
        let installed = shell::run_quietly(Command::new("du").args(["-sk", "--apparent-size"]).arg(&self.0))?;
        let installed = installed.split_whitespace().next().context("du says a size")?;
        for (blank, value) in values.iter().chain(&[("@INSTALLED_SIZE@", installed)]) {
            control = control.replace(blank, value);
        }
        ensure!(!control.contains('@'), "a blank of {name}/control is left:\n{control}");
        let mut sums = Command::new("sh");
        sums.current_dir(&self.0)
            .args(["-c", "find usr -type f | LC_ALL=C sort | xargs -r md5sum"]);
        let sums = shell::run_quietly(&mut sums)?;
        let mut configuration = Command::new("sh");
        configuration.current_dir(&self.0).args([
            "-c",
            "if [ -d etc ]; then find etc -type f -printf '/%p\\n' | LC_ALL=C sort; fi",
        ]);
        let configuration = shell::run_quietly(&mut configuration)?;
        self.write("DEBIAN/control", &control)?;
        self.write("DEBIAN/md5sums", &sums)?;
        if !configuration.is_empty() {
            self.write("DEBIAN/conffiles", &configuration)?;
        }
        for script in SCRIPTS {
            let source = format!("deploy/debian/{name}/{script}");
            if shell::root().join(&source).exists() {
                self.copy(&source, &format!("DEBIAN/{script}"))?;
                self.set_mode(&format!("DEBIAN/{script}"), 0o755)?;
            }
        }
        // Whoever builds it may let nobody else read new folders.
        shell::run_quietly(Command::new("chmod").args(["-R", "u+rwX,go+rX,go-w"]).arg(&self.0))?;
        let mut pack = Command::new("dpkg-deb");
        pack.args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&self.0)
            .arg(output);
        if let Some(time) = time_of_commit() {
            pack.env("SOURCE_DATE_EPOCH", time);
        }
        let said = shell::run_quietly(&mut pack)?;
        // `dpkg-deb: building package 'NAME' in 'PATH'.`
        let path = said.rsplit('\'').nth(1).context("dpkg-deb names the package")?;
        Ok(PathBuf::from(path))
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(shell::root().join(path)).with_context(|| format!("read {path}"))
}

/// Seconds since 1970, where there is a repository.
fn time_of_commit() -> Option<String> {
    let mut log = Command::new("git");
    log.current_dir(shell::root()).args(["log", "-1", "--format=%ct"]);
    shell::run_quietly(&mut log).ok().map(|time| time.trim().to_owned())
}

/// The newest version of glibc that a program needs symbols of: the oldest that it runs on.
pub(crate) fn oldest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    let starts = program.windows(PREFIX.len()).enumerate();
    let names = starts.filter(|(_, window)| *window == PREFIX);
    names
        .filter_map(|(at, _)| {
            let rest = &program[at + PREFIX.len()..];
            let end = rest.iter().take(16).position(|byte| *byte == 0)?;
            let (major, minor) = std::str::from_utf8(&rest[..end]).ok()?.split_once('.')?;
            let minor = minor.split('.').next()?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_is_named_is_the_oldest_that_will_do() {
        let names = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.9\0GLIBCXX_3.4\0";
        assert_eq!(oldest_glibc(names), Some((2, 34)));
        assert_eq!(oldest_glibc(b"GLIBC_2.34 and no end of it, so no name"), None);
    }
}
