//! Settings that a domain publishes, asked of a real TLS server on loopback.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use cadre::net::Tls;
use cadre::net::autoconfig::{Place, look_up};
use common::{Lab, LabOptions, Smtp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const ADDRESS: &str = "ecrire@cabinet.example";
const FILE: &str = r#"<?xml version="1.0"?>
<clientConfig version="1.1"><emailProvider id="cabinet.example">
<incomingServer type="imap"><hostname>imap.cabinet.example</hostname><port>993</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username><authentication>password-cleartext</authentication></incomingServer>
<outgoingServer type="smtp"><hostname>smtp.cabinet.example</hostname><port>587</port><socketType>STARTTLS</socketType>
<username>%EMAILLOCALPART%</username><authentication>password-cleartext</authentication></outgoingServer>
</emailProvider></clientConfig>"#;

/// A web server over TLS with one answer a path; keeps what it was asked.
struct Web {
    port: u16,
    ca_file: Vec<u8>,
    asked: Arc<Mutex<Vec<String>>>,
    _lab: Lab,
}

impl Web {
    async fn start(answers: impl Fn(u16) -> BTreeMap<&'static str, String>) -> Result<Self> {
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

    fn place(&self, path: &str) -> Place {
        Place { host: "localhost".to_owned(), port: self.port, path: path.to_owned() }
    }
}

fn found(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n{text}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domains_settings_are_found_and_its_owner_learns_the_domain_only() -> Result<()> {
    let web = Web::start(|port| {
        BTreeMap::from([
            ("/moved", format!("HTTP/1.1 301 Moved\r\nLocation: https://localhost:{port}/there\r\n\r\n")),
            ("/there", found(FILE)),
            ("/in-clear", "HTTP/1.1 302 Found\r\nLocation: http://localhost/there\r\n\r\n".to_owned()),
            ("/round", "HTTP/1.1 302 Found\r\nlocation: /round\r\n\r\n".to_owned()),
            ("/flood", found(&format!("{FILE}{}", " ".repeat(100_000)))),
            ("/page", found("<html><body>Welcome</body></html>")),
        ])
    })
    .await?;
    let ca = Some(web.ca_file.as_slice());
    // The first place has none, the second says that it moved.
    let settings =
        look_up(&[web.place("/none"), web.place("/moved")], ADDRESS, ca).await.context("nothing was found")?;
    assert_eq!((settings.by.as_str(), settings.oauth_only), ("localhost", false));
    assert_eq!((settings.imap.host.as_str(), settings.imap.username.as_str()), ("imap.cabinet.example", ADDRESS));
    assert_eq!(
        (settings.smtp.port, settings.smtp.tls, settings.smtp.username.as_str()),
        (587, Tls::StartTls, "ecrire")
    );
    for path in ["/in-clear", "/round", "/flood", "/page"] {
        assert_eq!(look_up(&[web.place(path)], ADDRESS, ca).await, None, "{path}");
    }
    assert_eq!(look_up(&[web.place("/there")], ADDRESS, None).await, None, "nobody vouches for that certificate");
    let asked = web.asked.lock().map(|asked| asked.join("\n")).unwrap_or_default();
    assert!(asked.contains("GET /there") && !asked.contains("ecrire"), "{asked}");
    Ok(())
}
