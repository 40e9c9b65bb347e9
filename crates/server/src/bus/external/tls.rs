//! TLS toward servers of somebody else.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use seaway_config::ExternalTls;

/// What a client says and asks for. The system's authorities are read when nothing else is named.
///
/// # Errors
/// A file cannot be used; which, and why.
pub(super) fn config(options: &ExternalTls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS toward the NATS server")?;
    let builder = if options.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(authorities(options.ca_file.as_deref())?)
    };
    let config = match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => {
            let chain = certificates("client_cert", cert)?;
            let shown = key.display();
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                anyhow!("TLS toward the NATS server: client_key {shown} holds no usable key: {error}")
            })?;
            builder.with_client_auth_cert(chain, key).with_context(|| {
                format!(
                    "TLS toward the NATS server: client_cert {} and client_key {shown}",
                    cert.display()
                )
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = |error: &dyn std::fmt::Display| {
        anyhow!(
            "TLS toward the NATS server: {what} {} holds no usable certificate: {error}",
            path.display()
        )
    };
    let all = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if all.is_empty() {
        return Err(unusable(&"it should have a line -----BEGIN CERTIFICATE-----"));
    }
    Ok(all)
}

fn authorities(path: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        // Some of a system's authorities may be none that rustls knows; without any, every server is refused in words.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates("client_ca", path)? {
        roots
            .add(certificate)
            .with_context(|| format!("TLS toward the NATS server: client_ca {}", path.display()))?;
    }
    Ok(roots)
}

/// The name that a certificate must have.
pub(super) fn name(host: &str) -> Result<ServerName<'static>> {
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) => bail!("{host:?} is no name that a certificate could have"),
    }
}

/// Verifies nobody, as the operator asked; signatures must be right all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
