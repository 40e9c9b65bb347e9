//! The packages in a Debian system of their own, and the image's file system as a container would run it. Needs root, debootstrap and a
//! mirror of Debian: with `--long` only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::debian::{self, Options};
use crate::shell;

/// Run in the chroot, and in the booted system.
const SCRIPT: &str = include_str!("in-chroot.sh");
const BOOT_SCRIPT: &str = include_str!("in-boot.sh");

/// Starts the script of the booted system.
const BOOT_UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh /packages/in-boot.sh FIRST SECOND
[Install]
WantedBy=default.target
";

/// How long the booted system may take.
const BOOT_SECONDS: &str = "180";

/// Run in the image's place: a network, mounts and processes of its own, the root read-only, as the image's user.
const CONTAINER: &str = r#"
set -eu
ip link set lo up
echo "127.0.0.1 seaway-a" >"$1/etc/hosts"
mount --bind "$1" "$1"
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs "$1/data"
mount -o remount,ro,bind "$1"
cd "$1"
inside() { chroot --userspec=65532:65532 . "$@"; }
if touch ./written 2>/dev/null; then echo "the root is not read-only"; exit 1; fi
chroot --userspec=65532:65532 . /nats-streaming-server -m 8222 -store file -dir /data 2>/dev/null &
server=$!
tries=0
until inside /usr/bin/seaway server info >/dev/null 2>&1; do
    kill -0 $server
    tries=$((tries + 1)); [ $tries -lt 200 ]
    sleep 0.1
done
inside /usr/bin/seaway pub -s nats://seaway-a:4222 orders "a cup of tea"
inside /usr/local/bin/nats-streaming-server --version
[ "$(stat -c %u /proc/$server)" = 65532 ]
kill $server
code=0; wait $server || code=$?
[ $code = 143 ]
"#;

/// Does both with this server, and returns what was skipped.
pub(crate) fn run(server: &Path) -> anyhow::Result<Vec<String>> {
    let is_root = shell::run_quietly(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !is_root || !["debootstrap", "ip"].iter().all(|program| shell::is_installed(program)) {
        return Ok(vec![
            "the packages in a system of their own, which need root, debootstrap and ip".to_owned(),
        ]);
    }
    let scratch = tempfile::tempdir()?;
    run_image(server, scratch.path())?;
    install(server, scratch.path())
}

fn install(server: &Path, scratch: &Path) -> anyhow::Result<Vec<String>> {
    let root = scratch.join("debian");
    let system = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args([
        "--variant=minbase",
        "--include=adduser,init-system-helpers,systemd,systemd-sysv,dbus",
    ]);
    debootstrap.arg(release.context("this system has a code name")?);
    shell::run_quietly(debootstrap.arg(&root))?;
    let build = |version: &str| {
        debian::build(&Options {
            server: Some(server.to_owned()),
            version: Some(version.to_owned()),
            output: Some(root.join("packages")),
        })
    };
    let (first, second) = (
        build(env!("CARGO_PKG_VERSION"))?,
        build(concat!(env!("CARGO_PKG_VERSION"), "+1"))?,
    );
    let inside = |path: &PathBuf| -> anyhow::Result<PathBuf> { Ok(Path::new("/").join(path.strip_prefix(&root)?)) };
    let script = root.join("packages/in-chroot.sh");
    fs::write(&script, SCRIPT)?;
    let mut apart = Command::new("unshare");
    apart.args(["--net", "--mount", "--pid", "--fork", "sh", "-c"]);
    apart.arg("ip link set lo up && mount -t proc proc \"$0/proc\" && exec chroot \"$0\" /bin/sh \"$@\"");
    apart.arg(&root).arg(inside(&script)?);
    apart.arg(inside(&first.seaway)?).arg(inside(&second.seaway)?);
    apart.arg(inside(&second.nats_streaming_server)?);
    shell::run(apart.stdin(Stdio::null()))?;
    boot(&root, &inside(&first.seaway)?, &inside(&second.seaway)?)
}

/// The units under systemd, where it can be booted here.
fn boot(root: &Path, first: &Path, second: &Path) -> anyhow::Result<Vec<String>> {
    if !shell::is_installed("systemd-nspawn") {
        return Ok(vec!["the units under systemd, which need systemd-nspawn".to_owned()]);
    }
    fs::remove_dir_all(root.join("var/lib/seaway")).context("remove the store of before")?;
    fs::write(root.join("packages/in-boot.sh"), BOOT_SCRIPT)?;
    let unit = BOOT_UNIT.replace("FIRST", &first.to_string_lossy());
    let unit = unit.replace("SECOND", &second.to_string_lossy());
    let units = root.join("etc/systemd/system");
    fs::write(units.join("in-boot.service"), unit)?;
    fs::create_dir_all(units.join("default.target.wants"))?;
    std::os::unix::fs::symlink("../in-boot.service", units.join("default.target.wants/in-boot.service"))?;
    let mut container = Command::new("timeout");
    container.args([BOOT_SECONDS, "systemd-nspawn", "--quiet", "--boot", "--private-network"]);
    // There is no systemd of the machine's to ask.
    container
        .args(["--register=no", "--keep-unit", "--directory"])
        .arg(root);
    let ended = shell::run_quietly(container.stdin(Stdio::null()));
    match (fs::read_to_string(root.join("packages/boot.log")), ended) {
        (Ok(log), _) if log.lines().any(|line| line == "all of it") => {
            println!("packages: the units do what they should under systemd");
            Ok(Vec::new())
        }
        (Ok(log), _) => bail!("the units do not do what they should under systemd:\n{log}"),
        (Err(_), Err(error)) => Ok(vec![format!(
            "the units under systemd, which cannot be booted here: {error}"
        )]),
        (Err(error), Ok(_)) => Err(error).context("the system was booted, and the script did not run"),
    }
}

/// Lays out the file system of the image and starts the entry point in it.
fn run_image(server: &Path, scratch: &Path) -> anyhow::Result<()> {
    let image = scratch.join("image");
    shell::run_quietly(
        Command::new(shell::root().join("deploy/docker/lay-out"))
            .arg(server)
            .arg(&image),
    )?;
    let size = shell::run_quietly(Command::new("du").args(["-sk", "--apparent-size"]).arg(&image))?;
    println!(
        "packages: the image has {} KB",
        size.split_whitespace().next().unwrap_or_default()
    );
    let mut apart = Command::new("unshare");
    apart.args([
        "--net",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        CONTAINER,
        "sh",
    ]);
    shell::run(apart.arg(&image))?;
    fs::remove_dir_all(&image).with_context(|| format!("remove {}", image.display()))
}
