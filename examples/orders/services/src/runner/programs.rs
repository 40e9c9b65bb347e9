//! Where the programs of the system are: beside this one, and built when this one was started by cargo.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::runner::children;

const SERVICES: [&str; 5] = [
    "event-store",
    "restaurant-service",
    "payment-service",
    "order-query-store",
    "order-service",
];
const SERVER: &str = "seaway";

pub(super) struct Programs {
    pub(super) server: PathBuf,
    folder: PathBuf,
}

impl Programs {
    /// Finds all programs, or says how to make them.
    pub(super) async fn find(server: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let folder = own.parent().context("this program is in a folder")?.to_owned();
        let programs = Self {
            server: server.map_or_else(|| folder.join(SERVER), Path::to_owned),
            folder,
        };
        // `cargo run` has built this program only.
        if server.is_none()
            && let Some(cargo) = std::env::var_os("CARGO")
        {
            programs.build(Path::new(&cargo)).await?;
        }
        for path in SERVICES
            .map(|name| programs.service(name))
            .iter()
            .chain([&programs.server])
        {
            if !path.is_file() {
                bail!(
                    "there is no {}: build everything with `cargo {}`",
                    path.display(),
                    programs.build_arguments().join(" ")
                );
            }
        }
        Ok(programs)
    }

    pub(super) fn service(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The same kind of build as this program.
    fn build_arguments(&self) -> Vec<&'static str> {
        let mut arguments = vec![
            "build",
            "--package",
            "seaway-server",
            "--package",
            "seaway-orders",
            "--bins",
        ];
        if self.folder.ends_with("release") {
            arguments.push("--release");
        }
        arguments
    }

    async fn build(&self, cargo: &Path) -> anyhow::Result<()> {
        children::say("building the server and the services");
        let mut command = tokio::process::Command::new(cargo);
        command
            .args(self.build_arguments())
            .arg("--quiet")
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .kill_on_drop(true);
        let status = command.status().await.context("start cargo")?;
        if !status.success() {
            bail!("the build has failed: {status}");
        }
        Ok(())
    }
}
