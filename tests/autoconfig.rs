//! Settings that a domain publishes, asked of a real TLS server on loopback.

mod common;
#[path = "autoconfig/web.rs"]
mod web;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use cadre::net::Tls;
use cadre::net::autoconfig::{Place, look_up};
use web::{FILE, Web, found};

const ADDRESS: &str = "ecrire@cabinet.example";

fn at(web: &Web, path: &str) -> Place {
    Place { host: "localhost".to_owned(), port: web.port, path: path.to_owned() }
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
    let settings = look_up(&[at(&web, "/none"), at(&web, "/moved")], ADDRESS, ca).await.context("nothing was found")?;
    assert_eq!((settings.by.as_str(), settings.oauth_only), ("localhost", false));
    assert_eq!((settings.imap.host.as_str(), settings.imap.username.as_str()), ("imap.cabinet.example", ADDRESS));
    assert_eq!(
        (settings.smtp.port, settings.smtp.tls, settings.smtp.username.as_str()),
        (587, Tls::StartTls, "ecrire")
    );
    for path in ["/in-clear", "/round", "/flood", "/page"] {
        assert_eq!(look_up(&[at(&web, path)], ADDRESS, ca).await, None, "{path}");
    }
    assert_eq!(look_up(&[at(&web, "/there")], ADDRESS, None).await, None, "nobody vouches for that certificate");
    let asked = web.asked.lock().map(|asked| asked.join("\n")).unwrap_or_default();
    assert!(asked.contains("GET /there") && !asked.contains("ecrire"), "{asked}");
    Ok(())
}
