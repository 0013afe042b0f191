//! A web server that publishes a domain's mail settings.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::{Lab, LabOptions, Smtp};

/// What it publishes.
pub const FILE: &str = r#"<?xml version="1.0"?>
<clientConfig version="1.1"><emailProvider id="cabinet.example">
<incomingServer type="imap"><hostname>imap.cabinet.example</hostname><port>993</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication></incomingServer>
<outgoingServer type="smtp"><hostname>smtp.cabinet.example</hostname><port>587</port><socketType>STARTTLS</socketType>
<username>%EMAILLOCALPART%</username><authentication>password-cleartext</authentication></outgoingServer>
</emailProvider></clientConfig>"#;

/// A web server over TLS with one answer a path; keeps what it was asked.
pub struct Web {
    pub port: u16,
    pub ca_file: Vec<u8>,
    pub asked: Arc<Mutex<Vec<String>>>,
    _lab: Lab,
}

impl Web {
    pub async fn start(answers: impl Fn(u16) -> BTreeMap<&'static str, String>) -> Result<Self> {
        let lab = Lab::with(LabOptions { tls: true, smtp: Smtp::None, ..LabOptions::default() })?;
        let pem = |name: &str| fs::read(lab.dir.join("tls").join(name));
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&pem("cert.pem")?).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&pem("key.pem")?)?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), answers(port));
        let kept = asked.clone();
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                let mut question = Vec::new();
                while !question.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => question.push(byte),
                        Err(_) => break,
                    }
                }
                let question = String::from_utf8_lossy(&question).into_owned();
                let path = question.split_whitespace().nth(1).unwrap_or_default().to_owned();
                if let Ok(mut kept) = kept.lock() {
                    kept.push(question);
                }
                let missing = "HTTP/1.0 404 Not Found\r\n\r\n".to_owned();
                let answer = answers.get(path.as_str()).cloned().unwrap_or(missing);
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Ok(Self { port, ca_file: fs::read(lab.ca_file())?, asked, _lab: lab })
    }
}

/// An answer with this text.
pub fn found(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n{text}")
}
