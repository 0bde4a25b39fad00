//! TLS as libpq's `sslmode` means it, on rustls with the ring provider named explicitly.
//!
//! rustls is stricter than libpq in three things: a self-signed authority used as the server's own certificate (accepted here
//! when it equals a configured root byte for byte, as PostgreSQL's documentation makes it), a name in CN without a
//! subjectAltName, and certificates of version 1. The last two are refused with a hint.

use std::path::Path;
use std::sync::Arc;

use pgrelay_core::error::{Error, Kind, Result};
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;

use super::endpoint::{Roots, SslMode, TlsFiles};

/// Where operating systems keep the authorities they trust, in one file; SSL_CERT_FILE goes first.
const SYSTEM_ROOTS: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// The configuration for one connection. Files are read now.
pub(super) fn config(files: &TlsFiles) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut versions = Vec::new();
    if files.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    if files.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    let broken = |e: rustls::Error| Error::new(Kind::Internal, "cannot set up TLS").caused_by(e);
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions).map_err(broken)?;
    if files.mode == SslMode::Disable {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let verifier = Verifier::new(files, provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match (&files.cert, &files.key) {
        (None, _) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(configuration("\"sslcert\" is given without \"sslkey\"")),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert, "sslcert")?, private_key(key)?)
            .map_err(|e| configuration(format!("client certificate \"{}\" and its key cannot be used", cert.display())).caused_by(e)),
    }
}

fn configuration(message: impl Into<String>) -> Error {
    Error::new(Kind::Configuration, message)
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |how: &str| configuration(format!("{what} file \"{}\" {how}", path.display()));
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    match found {
        Ok(list) if list.is_empty() => Err(wrong("holds no certificate in PEM form")),
        Ok(list) => Ok(list),
        Err(e) => Err(wrong("cannot be read").caused_by(e)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let wrong = |how: &str| configuration(format!("sslkey file \"{}\" {how}", path.display()));
    refuse_open_key(path)?;
    let content = std::fs::read(path).map_err(|e| wrong("cannot be read").caused_by(e))?;
    if content.windows(9).any(|w| w == b"ENCRYPTED") {
        return Err(Error::new(Kind::NotSupported, format!("sslkey file \"{}\" is encrypted", path.display()))
            .hint("Decrypt it with \"openssl pkcs8 -in KEY -out NEW_KEY\" into a file that only the applier's user may read."));
    }
    PrivateKeyDer::from_pem_slice(&content).map_err(|_| wrong("holds no private key in PEM form"))
}

/// The rule of libpq: nobody else may read the key, except that the group may when root owns it.
#[cfg(unix)]
fn refuse_open_key(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let about =
        std::fs::metadata(path).map_err(|e| configuration(format!("sslkey file \"{}\" cannot be read", path.display())).caused_by(e))?;
    let open = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & open == 0 {
        return Ok(());
    }
    Err(configuration(format!("sslkey file \"{}\" has group or world access", path.display()))
        .hint("Its permissions must be 0600 or less, or 0640 or less if root owns it."))
}

#[cfg(not(unix))]
fn refuse_open_key(_path: &Path) -> Result<()> {
    Ok(())
}

fn roots(source: &Roots) -> Result<Vec<CertificateDer<'static>>> {
    match source {
        Roots::Unknown => Ok(Vec::new()),
        Roots::File(path) => certificates(path, "sslrootcert"),
        Roots::System => {
            let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let known = SYSTEM_ROOTS.iter().map(std::path::PathBuf::from);
            match named.into_iter().chain(known).find(|path| path.is_file()) {
                Some(path) => certificates(&path, "sslrootcert"),
                None => Err(configuration("the operating system's root certificates were not found")
                    .hint("Set SSL_CERT_FILE, or name a file by \"sslrootcert\".")),
            }
        }
    }
}

/// Checks the server's certificate as far as `sslmode` asks.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None` takes any certificate.
    chain: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl Verifier {
    fn new(files: &TlsFiles, provider: Arc<CryptoProvider>) -> Result<Verifier> {
        let roots = roots(&files.roots)?;
        let mut chain = None;
        // As in libpq a root certificate that is there is used below verify-ca too.
        if !roots.is_empty() {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(roots.iter().cloned());
            let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
            if let Some(path) = &files.crl {
                let wrong = |e| configuration(format!("sslcrl file \"{}\" cannot be read", path.display())).caused_by(e);
                let lists = CertificateRevocationListDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                    .map_err(wrong)?;
                builder = builder.with_crls(lists).allow_unknown_revocation_status();
            }
            chain = Some(builder.build().map_err(|e| configuration("the root certificates cannot be used").caused_by(e))?);
        }
        Ok(Verifier { provider, chain, roots, check_name: files.mode == SslMode::VerifyFull })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use CertificateError as C;
        use rustls::Error::InvalidCertificate;
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked after the chain, so the chain is good.
            Err(InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. })) if !self.check_name => {}
            // A certificate authority that serves as its own server certificate; its dates have been checked before.
            Err(InvalidCertificate(C::Other(_))) if self.roots.iter().any(|root| root == end_entity) => {
                if self.check_name {
                    rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
            }
            other => return other,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The data of channel binding `tls-server-end-point` (RFC 5929, 4.1), when the certificate's algorithm has a hash.
pub(super) fn end_point(cert: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = x509_cert::Certificate::from_der(cert).ok()?;
    let algorithm = match parsed.signature_algorithm.oid.to_string().as_str() {
        // RSA with MD5, SHA-1 and SHA-256, ECDSA with SHA-1 and SHA-256: never weaker than SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" | "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => {
            &digest::SHA256
        }
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, cert).as_ref().to_vec())
}

/// The error of rustls inside of `error`, when TLS is why it failed.
pub(super) fn tls_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    std::iter::successors(Some(error), |e| e.source()).find_map(|e| {
        let inner = e.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()).map(|inner| inner as &(dyn std::error::Error + 'static));
        e.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()))
    })
}

/// What a failed handshake means to the one who has to repair it.
pub(super) fn tls_error(cause: &rustls::Error, doing: &str) -> Error {
    use CertificateError as C;
    let refused = |why: &str, hint: &str| {
        configuration(format!("{doing}: the certificate of the server is refused: {why}")).hint(hint).caused_by(cause.clone())
    };
    let rustls::Error::InvalidCertificate(why) = cause else {
        return Error::new(Kind::Connection, format!("{doing}: TLS failed: {cause}")).caused_by(cause.clone());
    };
    match why {
        C::UnknownIssuer => {
            refused("no known authority issued it", "Put the certificate of its authority into the file that \"sslrootcert\" names.")
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => refused(
            "it is not for this host",
            "Connect by a name that its subjectAltName holds (a name in CN alone does not count), or use sslmode=verify-ca.",
        ),
        C::Expired | C::ExpiredContext { .. } => refused("it has expired", "Renew it."),
        C::Revoked => refused("it is revoked", "Replace it."),
        other if format!("{other:?}").contains("UnsupportedCertVersion") => refused(
            "it is of X.509 version 1",
            "Issue it again as version 3: \"openssl x509 -req\" does so when -extfile names a file with a subjectAltName.",
        ),
        other => refused(&other.to_string(), "See the certificate with \"openssl x509 -text\"."),
    }
}
