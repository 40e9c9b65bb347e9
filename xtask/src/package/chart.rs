//! The Helm chart over combinations of its values: what it makes is what the values say, and a configuration that the server takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::{secured, shell};

/// Values that are switched independently of each other, beside the mode: off, and on.
const SWITCHES: [&[&str]; 6] = [
    &["auth.tokenSecret=clients"],
    &["tls.secret=certificate", "tls.verify=true"],
    &["encryption.keySecret=key"],
    &[
        "auth.routeSecret=route",
        "serviceMonitor.enabled=true",
        "podDisruptionBudget.enabled=false",
    ],
    &["persistence.existingClaim=claim", "persistence.storageClass=fast"],
    &["streaming.limits=max_bytes: 10GB", "extraConfig=max_payload: 2MB"],
];

/// Values that contradict each other, and a word of the refusal.
const REFUSED: [(&[&str], &str); 6] = [
    (&["mode=cluster"], "mode"),
    (&["mode=group", "streaming.store=memory"], "needs streaming.store: file"),
    (&["mode=group", "streaming.adopt=true"], "cannot adopt"),
    (&["auth.tokenSecret=a", "auth.configSecret=b"], "exclude each other"),
    (&["tls.verify=true"], "needs tls.secret"),
    (&["streaming.storage=file"], "storage"),
];

/// The environment that the pod would have.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("POD_NAME", "seaway-0"),
    ("CLIENT_TOKEN", "t0ken"),
    ("ROUTE_PASSWORD", "s3cret"),
    ("ROUTE_0", "nats://route:s3cret@seaway-0.seaway-members:6222"),
    ("NATS_STREAMING_ENCRYPTION_KEY", "key"),
];

/// What a helm that was built by `go install` takes for older than it is.
const KUBERNETES: &str = "--kube-version=1.31.0";

/// Lints the chart and renders every combination; the server checks each configuration that comes out, in this directory.
pub(super) fn render_all(helm: &Path, server: &Path, scratch: &Path) -> anyhow::Result<()> {
    shell::run_quietly(Command::new(helm).args(["lint", "--strict", KUBERNETES]).arg(chart()))?;
    lay_certificates(scratch)?;
    let mut rendered = 0;
    for mode in ["mode=single", "mode=single,streaming.store=memory", "mode=group"] {
        for chosen in 0..1_u32 << SWITCHES.len() {
            let is_on = |index: &usize| chosen & (1 << index) != 0;
            let mut values: Vec<&str> = mode.split(',').collect();
            values.extend((0..SWITCHES.len()).filter(is_on).flat_map(|index| SWITCHES[index]));
            let is_memory = mode.contains("memory");
            if is_memory && is_on(&2) {
                continue; // Refused: nothing is written.
            }
            let text = render(helm, &values)?.map_err(anyhow::Error::msg)?;
            check_rendered(&text, &values).with_context(|| values.join(" "))?;
            check_configuration(&text, server, scratch).with_context(|| values.join(" "))?;
            rendered += 1;
        }
    }
    for (values, word) in REFUSED {
        match render(helm, values)? {
            Ok(_) => bail!("{values:?} is not refused"),
            Err(said) => ensure!(said.contains(word), "{values:?} is refused without {word:?}: {said}"),
        }
    }
    println!(
        "packages: {rendered} combinations of the chart's values rendered, {} refused",
        REFUSED.len()
    );
    Ok(())
}

/// Certificates where the checked configurations look for them, named as in a secret.
fn lay_certificates(scratch: &Path) -> anyhow::Result<()> {
    let folder = scratch.join("tls");
    fs::create_dir_all(&folder)?;
    secured::prepare(&folder)?;
    for (made, name) in [
        ("server.pem", "tls.crt"),
        ("server-key.pem", "tls.key"),
        ("ca.pem", "ca.crt"),
    ] {
        fs::rename(folder.join(made), folder.join(name))?;
    }
    Ok(())
}

fn chart() -> std::path::PathBuf {
    shell::root().join("deploy/helm/seaway")
}

/// What comes out, or why not.
fn render(helm: &Path, values: &[&str]) -> anyhow::Result<Result<String, String>> {
    let mut template = Command::new(helm);
    template.args(["template", "seaway", KUBERNETES]).arg(chart());
    for value in values {
        template.args(["--set", value]);
    }
    let output = template.output().context("start helm")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    })
}

/// What each value brings, and nothing that it does not.
fn check_rendered(text: &str, values: &[&str]) -> anyhow::Result<()> {
    let has = |value: &str| values.contains(&value);
    let (group, memory) = (has("mode=group"), has("streaming.store=memory"));
    let claim = has("persistence.existingClaim=claim");
    for (words, expected) in [
        ("replicas: 3", group),
        ("replicas: 1", !group),
        ("ft_group: \"seaway\"", group),
        ("containerPort: 6222", group),
        ("ReadWriteMany", group && !claim),
        ("volumeClaimTemplates", !group && !memory && !claim),
        ("claimName: \"claim\"", claim && !memory),
        ("path: /healthz/ready", !group),
        ("kind: PodDisruptionBudget", !has("podDisruptionBudget.enabled=false")),
        ("kind: ServiceMonitor", has("serviceMonitor.enabled=true")),
        ("token: $CLIENT_TOKEN", has("auth.tokenSecret=clients")),
        ("name: \"clients\", key: token", has("auth.tokenSecret=clients")),
        ("verify: true", has("tls.verify=true")),
        ("encrypt: true", has("encryption.keySecret=key")),
        ("$ROUTE_2", group && has("auth.routeSecret=route")),
        ("max_bytes: 10GB", has("streaming.limits=max_bytes: 10GB")),
        ("max_payload: 2MB", has("extraConfig=max_payload: 2MB")),
        ("path: /healthz/live", true),
        ("readOnlyRootFilesystem: true", true),
        ("runAsNonRoot: true", true),
    ] {
        let is_there = text.contains(words);
        ensure!(
            is_there == expected,
            "{words:?} is {}there",
            if is_there { "" } else { "not " }
        );
    }
    Ok(())
}

/// The configuration in the ConfigMap, as the server of this build sees it.
fn check_configuration(text: &str, server: &Path, scratch: &Path) -> anyhow::Result<()> {
    let (_, rest) = text
        .split_once("seaway.conf: |\n")
        .context("the configuration is there")?;
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let configuration: Vec<&str> = lines.map(|line| line.trim_start_matches("    ")).collect();
    let configuration = configuration
        .join("\n")
        .replace("/etc/seaway/tls", &scratch.join("tls").to_string_lossy());
    let file = scratch.join("seaway.conf");
    fs::write(&file, configuration)?;
    let mut check = Command::new(server);
    check.arg("check-config").arg(&file).envs(ENVIRONMENT);
    check.env("ROUTE_1", ENVIRONMENT[3].1).env("ROUTE_2", ENVIRONMENT[3].1);
    shell::run_quietly(&mut check).map(drop)
}
