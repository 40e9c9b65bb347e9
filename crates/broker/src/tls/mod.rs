//! TLS as an operator chose it: certificates and rules out of files, ready to accept connections (core specification
//! §3.7). Nothing here reads sockets; see `stream` for connections and `session` for the order of handshake and INFO.

mod certificate;
mod stream;
mod suites;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

pub(crate) use certificate::{names, public_key_digest};
pub use stream::TlsDetails;
pub(crate) use stream::{Incoming, Outgoing, plain, secured, shaken};

use crate::limits::{TLS_FILE_BYTES_MAX, TLS_TIMEOUT};

/// TLS of a listener, as an operator wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate chain of the server, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are accepted, PEM; needed for `verify`.
    pub ca_file: Option<PathBuf>,
    /// Whether clients must present a certificate that verifies.
    pub verify: bool,
    /// Whether the client's certificate says which user it is; implies `verify`.
    pub verify_and_map: bool,
    /// Whether clients may stay without TLS.
    pub allow_plain: bool,
    /// Time for the handshake; `None` is 2 s.
    pub timeout: Option<Duration>,
    /// Whether the handshake comes before INFO.
    pub handshake_first: HandshakeFirst,
    /// Whether only TLS 1.3 is spoken, and not 1.2.
    pub only_1_3: bool,
    /// Cipher suites of TLS 1.2 by the names of the original, in order of preference; empty means all there are.
    pub cipher_suites: Vec<String>,
    /// Curves by the names of the original, in order of preference; empty means all there are.
    pub curve_preferences: Vec<String>,
    /// SHA-256 of the public keys that clients may have, in hexadecimal digits; empty means any.
    pub pinned_certs: Vec<String>,
}

/// When the handshake begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeFirst {
    /// After INFO.
    #[default]
    No,
    /// Before INFO.
    Yes,
    /// Before INFO, unless the client is silent for this long.
    For(Duration),
}

/// Why TLS cannot be used as configured. Each text names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("TLS: cannot read the {what} {}", path.display())]
    Unreadable {
        /// What the file should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file without what it should hold.
    #[error("TLS: {} holds no usable {what}: {hint}", path.display())]
    Unusable {
        /// What the file should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, or what to do.
        hint: String,
    },
    /// Certificate and key are not a pair.
    #[error(
        "TLS: the key {} cannot be used with the certificate {}: {reason}; give the key that the certificate was made for",
        key.display(),
        certificate.display()
    )]
    NotAPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
    /// Clients shall be verified, by nobody.
    #[error("TLS: clients cannot be verified without a ca_file (-tlscacert): name the authorities that sign them")]
    NoAuthorities,
    /// A cipher suite, curve or digest that is not known.
    #[error("TLS: unknown {what} {name:?}; there are: {known}")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// The name given.
        name: String,
        /// The names to choose from.
        known: String,
    },
}

/// Loaded TLS; cloning is cheap.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    options: TlsOptions,
    clients: Arc<ServerConfig>,
    monitoring: Arc<ServerConfig>,
    /// For connections to others, where both sides show a certificate.
    dialling: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.options.fmt(formatter)
    }
}

impl Tls {
    /// Reads the files and checks that they go together.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut options = options.clone();
        options.verify |= options.verify_and_map;
        suites::normalise_pins(&mut options.pinned_certs)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites::cipher_suites(&options.cipher_suites)?,
            kx_groups: suites::curves(&options.curve_preferences)?,
            ..aws_lc_rs::default_provider()
        });
        // Authorities that are named must be there, also while nobody is verified by them yet.
        let named = options.ca_file.as_deref();
        let named = named
            .map(|path| authorities(path).map(|roots| (path, roots)))
            .transpose()?;
        let authorities = named.as_ref().map(|(_, roots)| Arc::clone(roots));
        let verifier = if options.verify {
            let (path, roots) = named.ok_or(TlsError::NoAuthorities)?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            let verifier = builder.build();
            Some(verifier.map_err(|error| unusable("certificate of an authority", path, &error.to_string()))?)
        } else {
            None
        };
        let versions: &[&SupportedProtocolVersion] = if options.only_1_3 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = || {
            ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions)
                .map_err(|error| TlsError::Unknown {
                    what: "combination of cipher suites",
                    name: options.cipher_suites.join(", "),
                    known: error.to_string(),
                })
        };
        let chain = certificates("certificate", &options.cert_file)?;
        let key = key(&options.key_file)?;
        let pair = |error: rustls::Error| TlsError::NotAPair {
            certificate: options.cert_file.clone(),
            key: options.key_file.clone(),
            reason: error.to_string(),
        };
        let monitoring = builder()?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(pair)?;
        let dialling = authorities.filter(|_| options.verify).map(|roots| {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
            let builder = builder.map_err(|error| TlsError::Unknown {
                what: "combination of cipher suites",
                name: options.cipher_suites.join(", "),
                known: error.to_string(),
            })?;
            let shown = builder.with_root_certificates(roots);
            shown
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(pair)
        });
        let dialling = dialling.transpose()?.map(Arc::new);
        let clients = match verifier {
            None => monitoring.clone(),
            Some(verifier) => builder()?
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain, key)
                .map_err(pair)?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                clients: Arc::new(clients),
                monitoring: Arc::new(monitoring),
                dialling,
            }),
        })
    }

    /// For HTTPS monitoring: the same certificate, and no question for the client's.
    #[must_use]
    pub fn monitoring(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.monitoring)
    }

    pub(crate) fn clients(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.clients)
    }

    /// For connections to other servers; `None` unless they are verified.
    pub(crate) fn dialling(&self) -> Option<Arc<ClientConfig>> {
        self.inner.dialling.clone()
    }

    pub(crate) fn options(&self) -> &TlsOptions {
        &self.inner.options
    }

    /// Time for a handshake.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.inner.options.timeout.unwrap_or(TLS_TIMEOUT)
    }
}

fn unusable(what: &'static str, path: &Path, hint: &str) -> TlsError {
    TlsError::Unusable {
        what,
        path: path.to_owned(),
        hint: hint.to_owned(),
    }
}

/// What reading a PEM file ended with.
fn pem_error(what: &'static str, path: &Path, error: pem::Error, marker: &str) -> TlsError {
    match error {
        pem::Error::Io(source) => TlsError::Unreadable {
            what,
            path: path.to_owned(),
            source,
        },
        pem::Error::NoItemsFound => {
            let hint = format!("it should have a line -----BEGIN {marker}-----");
            unusable(what, path, &hint)
        }
        other => unusable(what, path, &format!("{other}; it should be a file in PEM form")),
    }
}

/// The content of a file, which may be a device that never ends.
fn content(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut content = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        let one_more = TLS_FILE_BYTES_MAX as u64 + 1;
        file.take(one_more).read_to_end(&mut content)
    });
    read.map_err(|source| TlsError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })?;
    if content.len() > TLS_FILE_BYTES_MAX {
        let hint = format!("it has more than {TLS_FILE_BYTES_MAX} bytes");
        return Err(unusable(what, path, &hint));
    }
    Ok(content)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| pem_error(what, path, error, "CERTIFICATE");
    let content = content(what, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let all = all.map_err(failed)?;
    if all.is_empty() {
        return Err(failed(pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let what = "certificate of an authority";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(what, path, &error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let content = content("key", path)?;
    PrivateKeyDer::from_pem_slice(&content).map_err(|error| {
        let marker = b"ENCRYPTED";
        if content.windows(marker.len()).any(|window| window == marker) {
            let hint = "it is encrypted; write it without a passphrase, for instance with openssl pkey";
            return unusable("key", path, hint);
        }
        pem_error("key", path, error, "PRIVATE KEY")
    })
}

#[cfg(test)]
mod tests;
