//! Mail providers whose settings are known, from `config/providers.toml`.

use serde::Deserialize;

use super::Tls;
use super::autoconfig::Server;

/// The list that ships with the program.
const BUILT_IN: &str = include_str!("../../config/providers.toml");

/// What has to be known or done before a log-in there can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// A password made for this program; the ordinary one is refused.
    AppPassword,
    /// IMAP or authenticated sending has to be allowed in the account's settings.
    SwitchOn,
    /// No password at all, but XOAUTH2.
    Oauth,
    /// A program of the provider's that runs on this machine.
    Bridge,
    /// There is no IMAP: the mailbox can't be used.
    NoImap,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum User {
    Address,
    Local,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    port: u16,
    tls: Protection,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protection {
    Implicit,
    Starttls,
}

/// One provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// How it can be named where the address's domain doesn't tell.
    pub id: String,
    pub name: String,
    /// Of the addresses that it gives out.
    domains: Vec<String>,
    user: User,
    imap: Option<Entry>,
    smtp: Option<Entry>,
    #[serde(default)]
    pub needs: Vec<Needs>,
    /// What a person has to know, in a sentence or two.
    #[serde(default)]
    pub note: String,
    /// The day on which the entry was compared with a published source, `2026-11-23`; none where it never was.
    pub verified_on: Option<String>,
}

#[derive(Deserialize)]
struct File {
    provider: Vec<Provider>,
}

impl Provider {
    /// IMAP and SMTP for this address; none where there is no IMAP.
    pub fn servers(&self, address: &str) -> Option<(Server, Server)> {
        let username = match self.user {
            User::Address => address,
            User::Local => address.rsplit_once('@').map_or(address, |(local, _)| local),
        };
        let server = |entry: &Entry| Server {
            host: entry.host.clone(),
            port: entry.port,
            tls: match entry.tls {
                Protection::Implicit => Tls::Implicit,
                Protection::Starttls => Tls::StartTls,
            },
            username: username.to_owned(),
        };
        Some((server(self.imap.as_ref()?), server(self.smtp.as_ref()?)))
    }

    /// Whether a log-in there needs this.
    pub fn needs(&self, what: Needs) -> bool {
        self.needs.contains(&what)
    }
}

/// Every provider, in the file's order. Empty only if the built-in file is unsound, which a test excludes.
pub fn all() -> Vec<Provider> {
    toml::from_str::<File>(BUILT_IN).map(|file| file.provider).unwrap_or_default()
}

/// The provider that gives out addresses of this domain, or of one above it.
pub fn by_domain(domain: &str) -> Option<Provider> {
    let domain = domain.to_ascii_lowercase();
    let at = |known: &String| domain == *known || domain.ends_with(&format!(".{known}"));
    all().into_iter().find(|provider| provider.domains.iter().any(at))
}

/// The provider of this id or name.
pub fn by_name(name: &str) -> Option<Provider> {
    let name = name.trim();
    all().into_iter().find(|provider| [&provider.id, &provider.name].iter().any(|own| own.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_whole_and_no_domain_has_two() {
        let file: File = toml::from_str(BUILT_IN).unwrap();
        assert!(file.provider.len() >= 30);
        let mut seen = std::collections::BTreeSet::new();
        for provider in &file.provider {
            let id = &provider.id;
            assert!(seen.insert(id.clone()), "{id} twice");
            for domain in &provider.domains {
                assert!(seen.insert(format!("@{domain}")), "{domain} twice");
            }
            assert_eq!(provider.servers("a@b.example").is_none(), provider.needs(Needs::NoImap), "{id}");
            assert!(
                provider.needs.is_empty() || !provider.note.is_empty(),
                "{id} needs something and doesn't say what"
            );
            if let Some(day) = &provider.verified_on {
                assert!(day.parse::<chrono::NaiveDate>().is_ok(), "{id}");
            }
        }
    }

    #[test]
    fn an_address_finds_its_provider_and_its_user_name() {
        let (imap, smtp) = by_domain("Free.fr").unwrap().servers("cabinet@free.fr").unwrap();
        assert_eq!((imap.host.as_str(), imap.port, imap.tls), ("imap.free.fr", 993, Tls::Implicit));
        assert_eq!((imap.username.as_str(), smtp.username.as_str()), ("cabinet", "cabinet"));
        let (_, smtp) = by_domain("skynet.be").unwrap().servers("a@skynet.be").unwrap();
        assert_eq!((smtp.port, smtp.tls, smtp.username.as_str()), (587, Tls::StartTls, "a@skynet.be"));
        assert_eq!(by_domain("tenant.onmicrosoft.com").unwrap().id, "microsoft365");
        assert!(by_domain("notfree.fr").is_none() && by_domain("cabinet.example").is_none());
        assert_eq!(by_name("OVH").unwrap().name, "OVH MX Plan");
        assert_eq!(by_name("la poste").unwrap().id, "laposte");
        assert!(by_domain("tutanota.com").unwrap().servers("a@tutanota.com").is_none());
    }
}
