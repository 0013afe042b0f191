//! Servers of a few lines that misbehave on purpose.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One step of a scripted dialogue.
pub enum Step {
    /// Say this.
    Say(&'static str),
    /// Read a line that contains this. `%tag` in later `Say`s is its first word.
    Hear(&'static str),
    /// Read up to and including the final dot of a mail.
    HearMail,
    /// Stay silent until the other side goes.
    Hold,
    /// Say `x` without end, until the other side goes.
    Flood,
}

pub use Step::{Flood, Hear, HearMail, Hold, Say};

/// Plays one script for each connection, in turn; the connection ends with its script. Joining the
/// handle tells whether the dialogue went as written; it yields what was heard.
pub fn play(scripts: Vec<Vec<Step>>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(crate::common::lab::PATIENCE)).unwrap();
            act(stream, script, &mut heard);
        }
        heard
    });
    (port, thread)
}

fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned()
}

fn act(mut stream: TcpStream, script: Vec<Step>, heard: &mut Vec<String>) {
    let mut tag = String::new();
    for step in script {
        match step {
            Say(text) => stream.write_all(text.replace("%tag", &tag).as_bytes()).unwrap(),
            Hear(part) => {
                let got = line(&mut stream);
                assert!(got.contains(part), "expected {part:?}, heard {got:?}");
                tag = got.split(' ').next().unwrap_or_default().to_owned();
                heard.push(got);
            }
            HearMail => loop {
                let got = line(&mut stream);
                assert!(!got.is_empty() || !heard.is_empty());
                heard.push(got.clone());
                if got == "." {
                    break;
                }
            },
            Flood => while stream.write_all(&[b'x'; 65536]).is_ok() {},
            Hold => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
}

/// A TLS server with the named certificate that greets and waits for the other side to go.
pub fn tls(certificate: &[u8]) -> (u16, JoinHandle<()>) {
    let chain = CertificateDer::pem_slice_iter(certificate).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
        if stream.write_all(b"* BYE full\r\n").is_ok() {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (port, thread)
}
