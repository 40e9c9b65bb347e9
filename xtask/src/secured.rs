//! The server of the suite `secured`: its certificates, made anew for each run, and its configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// Public half of the key in `compat/go/secured.go`.
const USER_KEY: &str = "UCNDP7OWWMVRIMXOA5FQSB2MF4L5W2MHKG2OGFKWVJX2CZFJ5T2QTYIE";

/// bcrypt of `pw-limited`.
const HASHED_PASSWORD: &str = "$2a$05$iGlqPcmH8vezE2.kN9RrduSoAC8maSQSTOdGjlgKO/bpNOHliSvaK";

/// Writes certificates and configuration into an empty folder; returns the configuration file.
pub(crate) fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    write("ca.pem", authority.pem())?;
    for (name, purpose) in [
        ("server", ExtendedKeyUsagePurpose::ServerAuth),
        ("client", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let mut parameters = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages.push(purpose);
        let key = KeyPair::generate()?;
        write(&format!("{name}.pem"), parameters.signed_by(&key, &authority)?.pem())?;
        write(&format!("{name}-key.pem"), key.serialize_pem())?;
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let configuration = format!(
        r#"
authorization {{
  users = [
    {{ user: all, password: "pw-all" }}
    {{ nkey: {USER_KEY} }}
    {{
      user: limited
      password: "{HASHED_PASSWORD}"
      permissions: {{
        publish: {{ deny: ["secured.denied", "_STAN.pub.test-cluster.closed-orders"] }}
        subscribe: {{ deny: ["private.>"] }}
      }}
    }}
  ]
}}
tls {{
  cert_file: "{}"
  key_file: "{}"
  ca_file: "{}"
  verify: true
}}
"#,
        path("server.pem"),
        path("server-key.pem"),
        path("ca.pem"),
    );
    write("server.conf", configuration)?;
    Ok(folder.join("server.conf"))
}
