//! Files that tell others of this process: its id and its ports (`nats-core.md` §5.6). Both are complete whenever they are
//! seen.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes the decimal process id, without a newline. It stays when the process ends, as the original leaves it.
///
/// # Errors
/// With the path, when it cannot be written.
pub fn write_pid_file(path: &Path) -> Result<()> {
    let text = std::process::id().to_string();
    replace(path, text.as_bytes()).with_context(|| format!("could not write pid file {}", path.display()))
}

/// Puts a file in the place of another in one step. What is not a regular file (a pipe, a terminal) is written to instead.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.writing", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // Whatever there is of it is of no use.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

/// URLs of this process, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    groups: Vec<(&'static str, Vec<String>)>,
}

impl Ports {
    /// Adds a listener: its group, the scheme of its URLs and its address. A listener on all addresses is reached on each
    /// one of this machine.
    pub fn add(&mut self, group: &'static str, scheme: &str, address: SocketAddr) {
        let hosts = if address.ip().is_unspecified() {
            interface_addresses(address.ip())
        } else {
            vec![address.ip()]
        };
        let urls = hosts
            .into_iter()
            .map(|host| format!("{scheme}://{}", SocketAddr::new(host, address.port())));
        match self.groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, known)) => known.extend(urls),
            None => self.groups.push((group, urls.collect())),
        }
    }

    fn json(&self) -> String {
        // Schemes, addresses and ports need no escapes.
        let group = |(name, urls): &(&str, Vec<String>)| {
            let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}\"")).collect();
            format!("\"{name}\":[{}]", urls.join(","))
        };
        let groups: Vec<String> = self.groups.iter().map(group).collect();
        format!("{{{}}}", groups.join(","))
    }
}

/// Addresses of this machine; a listener on IPv6 takes IPv4 as well.
fn interface_addresses(listening: IpAddr) -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let mut hosts: Vec<IpAddr> = found
        .into_iter()
        // A link-local address is of no use without the name of a link.
        .filter(|interface| !interface.is_link_local())
        .map(|interface| interface.ip())
        .filter(|ip| ip.is_ipv4() || listening.is_ipv6())
        .collect();
    if hosts.is_empty() {
        hosts.push(IpAddr::from([127, 0, 0, 1]));
    }
    hosts.sort_by_key(|host| (host.is_ipv6(), *host));
    hosts.dedup();
    hosts
}

/// The file of a server's ports; it goes when this is dropped.
#[derive(Debug)]
pub struct PortsFile {
    path: PathBuf,
}

impl PortsFile {
    /// Writes `<directory>/<program>_<process id>.ports`, with the name under which the program was called: a link keeps
    /// its own.
    ///
    /// # Errors
    /// With the directory, when it cannot be written.
    pub fn write(directory: &Path, ports: &Ports) -> Result<PortsFile> {
        let program = program_name(std::env::args_os().next(), std::env::current_exe().ok());
        let path = directory.join(format!("{program}_{}.ports", std::process::id()));
        replace(&path, ports.json().as_bytes())
            .with_context(|| format!("could not write the ports file into {}", directory.display()))?;
        Ok(PortsFile { path })
    }
}

/// The last part of what a program was called as; of the file it is when it was called as nothing.
fn program_name(called: Option<OsString>, file: Option<PathBuf>) -> String {
    let called = called.map(PathBuf::from);
    let names = [&called, &file]
        .into_iter()
        .flatten()
        .filter_map(|path| path.file_name());
    { names }.next().unwrap_or_default().to_string_lossy().into_owned()
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        // Somebody else may have tidied up.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_by_kind_and_wildcards_by_address() {
        let mut ports = Ports::default();
        assert_eq!(ports.json(), "{}");
        ports.add("nats", "nats", "[::1]:4222".parse().unwrap());
        ports.add("monitoring", "http", "127.0.0.1:8222".parse().unwrap());
        ports.add("monitoring", "https", "127.0.0.1:8443".parse().unwrap());
        assert_eq!(
            ports.json(),
            r#"{"nats":["nats://[::1]:4222"],"monitoring":["http://127.0.0.1:8222","https://127.0.0.1:8443"]}"#
        );
        let mut everywhere = Ports::default();
        everywhere.add("nats", "nats", "0.0.0.0:4222".parse().unwrap());
        let json = everywhere.json();
        assert!(json.contains("\"nats://127.0.0.1:4222\""), "{json}");
        assert!(!json.contains("0.0.0.0") && !json.contains("//["), "{json}");
    }

    #[test]
    fn the_pid_file_is_replaced_whole_and_failures_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        std::fs::write(&path, "a longer text of an earlier process").unwrap();
        write_pid_file(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("nowhere").join("pid");
        let error = write_pid_file(&missing).unwrap_err();
        assert!(format!("{error:#}").contains(missing.to_str().unwrap()), "{error:#}");
    }

    /// `nats-core.md` §5.6: harnesses look for the name under which they started the program.
    #[test]
    fn a_program_is_called_what_it_was_started_as() {
        for (called, file, name) in [
            (
                "./bin/nats-streaming-server",
                "/usr/bin/seaway",
                "nats-streaming-server",
            ),
            ("seaway", "/usr/bin/other", "seaway"),
            ("", "/usr/bin/seaway", "seaway"),
            ("..", "/usr/bin/seaway", "seaway"),
        ] {
            assert_eq!(program_name(Some(called.into()), Some(file.into())), name, "{called}");
        }
        assert_eq!(program_name(None, None), "");
    }

    #[test]
    fn the_ports_file_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut ports = Ports::default();
        ports.add("nats", "nats", "127.0.0.1:4222".parse().unwrap());
        let file = PortsFile::write(folder.path(), &ports).unwrap();
        let name = file.path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.ends_with(&format!("_{}.ports", std::process::id())), "{name}");
        assert_eq!(
            std::fs::read_to_string(&file.path).unwrap(),
            r#"{"nats":["nats://127.0.0.1:4222"]}"#
        );
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
