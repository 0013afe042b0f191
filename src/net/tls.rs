//! Dialling: name look-up, TCP, TLS with the system's roots and, if given, one more.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::error::{NetError, Service, TlsProblem};

/// A byte stream, protected or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for T {}

/// Opens a TCP connection, trying every address of `host` in turn. `clear` says that secrets would
/// travel unprotected: then only loopback addresses are dialled.
pub(super) async fn dial(
    service: Service,
    host: &str,
    port: u16,
    clear: bool,
    patience: Duration,
) -> Result<TcpStream, NetError> {
    let fail = |kind| NetError::Connect { service, kind };
    let found: Vec<SocketAddr> = timeout(patience, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| NetError::Unresolved { service })?
        .map_err(|_| NetError::Unresolved { service })?
        .collect();
    let usable: Vec<SocketAddr> = found.iter().copied().filter(|a| !clear || a.ip().is_loopback()).collect();
    if usable.is_empty() && !found.is_empty() {
        return Err(NetError::Unsupported { service, what: "`tls = \"none\"` is for servers on loopback only" });
    }
    let mut last = fail(io::ErrorKind::NotFound);
    for address in usable {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Commands are small and answered one by one: Nagle's wait would cost 40 ms each.
                stream.set_nodelay(true).map_err(|e| fail(e.kind()))?;
                return Ok(stream);
            }
            Ok(Err(e)) => last = fail(e.kind()),
            Err(_) => last = fail(io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

/// Puts TLS over `stream` and checks the certificate against `host`.
pub(super) async fn protect(
    service: Service,
    host: &str,
    ca_file: Option<&[u8]>,
    stream: Box<dyn Io>,
    patience: Duration,
) -> Result<Box<dyn Io>, NetError> {
    let fail = |problem| NetError::Tls { service, problem };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| fail(TlsProblem::BadHostName))?;
    let connector = TlsConnector::from(client_config(ca_file).map_err(fail)?);
    match timeout(patience, connector.connect(name, stream)).await {
        Ok(Ok(protected)) => Ok(Box::new(protected)),
        Ok(Err(e)) => Err(fail(problem_of(&e))),
        Err(_) => Err(NetError::Timeout { service, doing: "TLS handshake" }),
    }
}

/// The configuration with the system's roots is made once: reading them takes tens of milliseconds.
fn client_config(ca_file: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsProblem> {
    static PLAIN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let Some(pem) = ca_file else {
        if let Some(config) = PLAIN.get() {
            return Ok(config.clone());
        }
        let roots = system_roots();
        if roots.is_empty() {
            return Err(TlsProblem::NoRoots);
        }
        return Ok(PLAIN.get_or_init(|| config_with(roots)).clone());
    };
    let mut roots = system_roots();
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| TlsProblem::BadCaFile)?;
        roots.add(certificate).map_err(|_| TlsProblem::BadCaFile)?;
        added += 1;
    }
    if added == 0 {
        return Err(TlsProblem::BadCaFile);
    }
    Ok(config_with(roots))
}

fn system_roots() -> RootCertStore {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    SYSTEM
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        })
        .clone()
}

fn config_with(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Tells causes apart by type, never by text.
fn problem_of(error: &io::Error) -> TlsProblem {
    let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
        return TlsProblem::Handshake;
    };
    match inner {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongHost
            }
            CertificateError::UnknownIssuer => TlsProblem::UnknownIssuer,
            CertificateError::Revoked => TlsProblem::Revoked,
            _ => TlsProblem::BadCertificate,
        },
        rustls::Error::InvalidMessage(_) => TlsProblem::NotTls,
        _ => TlsProblem::Handshake,
    }
}
