//! How members know each other: mutual TLS, a shared secret, both, or neither.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::proof::SharedSecret;

/// What a server logs when its members have no way to know each other.
pub const OPEN_WARNING: &str = "ANYBODY WHO REACHES THE MEMBERS' PORT CAN JOIN, READ AND CHANGE THIS CLUSTER: neither a secret \
     (-cluster_secret) nor TLS certificates (-cluster_tls_cert, -cluster_tls_key, -cluster_tls_ca) are configured";

/// How members know each other.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Certificates of one authority on both sides, and encryption.
    pub tls: Option<Tls>,
    /// A secret that all members share, shown in the handshake and never sent. It does not protect what follows from whoever can change it
    /// on its way; TLS does.
    pub secret: Option<SharedSecret>,
}

impl Security {
    /// What to warn of at the start, if of anything.
    pub fn warning(&self) -> Option<&'static str> {
        (self.tls.is_none() && self.secret.is_none()).then_some(OPEN_WARNING)
    }
}

/// TLS between members: both sides show a certificate of the authority.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) name: Option<ServerName<'static>>,
}

/// Why TLS between members cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds nothing that can be used.
    #[error("TLS between members: {what} {path} holds {why}")]
    File {
        /// Which option names it.
        what: &'static str,
        /// The file.
        path: String,
        /// What it should hold, or what is wrong.
        why: String,
    },
    /// What the files hold does not go together.
    #[error("TLS between members: {0}")]
    Together(String),
}

impl Tls {
    /// Of files in PEM format: this member's certificates and key, and the authority that both sides' certificates are of. With `name` the
    /// certificates of all members must have that name, otherwise each the host that it is dialled by.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub fn from_files(cert: &Path, key: &Path, authority: &Path, name: Option<&str>) -> Result<Self, TlsError> {
        let chain = certificates("cluster_tls_cert", cert)?;
        let authorities = certificates("cluster_tls_ca", authority)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
            what: "cluster_tls_key",
            path: key.display().to_string(),
            why: format!("no usable key: {error}"),
        })?;
        Self::new(chain, key, authorities, name)
    }

    /// The same of what such files hold.
    ///
    /// # Errors
    ///
    /// Certificates and key do not go together, or `name` is none that a certificate could have.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
        name: Option<&str>,
    ) -> Result<Self, TlsError> {
        let together = |error: &dyn std::fmt::Display| TlsError::Together(error.to_string());
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|error| together(&error))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| together(&error))?;
        let versions = [&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| together(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| together(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| together(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| together(&error))?;
        let name = name.map(|name| {
            ServerName::try_from(name.to_owned())
                .map_err(|_| TlsError::Together(format!("{name:?} is no name that a certificate could have")))
        });
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            name: name.transpose()?,
        })
    }

    /// The name that the certificate of whoever is dialled at an address must have.
    pub(crate) fn name_at(&self, address: &str) -> Result<ServerName<'static>, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name that a certificate could have"))
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |why: String| TlsError::File {
        what,
        path: path.display().to_string(),
        why,
    };
    let all = CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    let all = all.map_err(|error| unusable(format!("no usable certificate: {error}")))?;
    if all.is_empty() {
        return Err(unusable(
            "no certificate: it should have a line -----BEGIN CERTIFICATE-----".to_owned(),
        ));
    }
    Ok(all)
}
