//! `net` against a real Dovecot, a real Postfix and servers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "net_servers/scripted.rs"]
mod scripted;

use std::time::{Duration, Instant};

use cadre::model::Address;
use cadre::net::{
    Append, Code, Credentials, Enhanced, IdleEnd, ImapSession, ImapSettings, MAX_LITERAL, NetError, Removed, Secret,
    SendResult, Service, SmtpConnection, SmtpSettings, SmtpSubmitter, Stage, Timeouts, Tls, TlsProblem, WhyMissing,
};
use cadre::secret::Password;
use common::lab::{PASSWORD, PATIENCE};
use common::{Lab, LabOptions, Namespace, Smtp};
use scripted::{Hear, HearMail, Hold, Say, play};

const USER: &str = "ecrire@cabinet.example";
const CA: &[u8] = include_bytes!("net_servers/tls/ca.pem");

/// Dovecot alone; `extra` goes to its configuration.
fn dovecot(extra: &str) -> Lab {
    Lab::with(LabOptions { smtp: Smtp::None, dovecot_extra: extra.to_owned(), ..LabOptions::default() }).unwrap()
}

/// Postfix beside it; `extra` goes to main.cf.
fn postfix(tls: bool, extra: &str) -> Lab {
    let (dovecot_extra, postfix_extra) = ("hostname = labo.example".to_owned(), extra.to_owned());
    Lab::with(LabOptions { tls, max_message: 200_000, dovecot_extra, postfix_extra, ..LabOptions::default() }).unwrap()
}

async fn session(lab: &Lab) -> ImapSession {
    ImapSession::connect(&imap_settings(lab.imap_port, Tls::None)).await.unwrap()
}

fn imap_settings(port: u16, tls: Tls) -> ImapSettings {
    ImapSettings {
        host: "localhost".to_owned(),
        port,
        tls,
        username: USER.to_owned(),
        secret: secret(PASSWORD),
        ca_file: Some(CA.to_vec()),
        timeouts: timeouts(),
        max_literal: MAX_LITERAL,
    }
}

fn smtp_settings(port: u16, tls: Tls) -> SmtpSettings {
    let host = "localhost".to_owned();
    SmtpSettings { host, port, tls, credentials: None, ca_file: Some(CA.to_vec()), timeouts: timeouts() }
}

fn secret(password: &str) -> Secret {
    Secret::Password(Password::new(password.to_owned()))
}

fn credentials(password: &str) -> Option<Credentials> {
    Some(Credentials { username: USER.to_owned(), secret: secret(password) })
}

fn timeouts() -> Timeouts {
    let long = PATIENCE;
    Timeouts { connect: long, command: long, after_dot: long }
}

/// A mail of about `size` bytes.
fn mail(number: usize, size: usize) -> Vec<u8> {
    let head = format!("From: a@b.example\r\nSubject: {number}\r\nMessage-ID: <{number}@net.example>\r\n\r\n");
    let line = "Un mot apres l'autre, et encore un mot pour finir la ligne.\r\n";
    let lines = size.saturating_sub(head.len()) / line.len() + 1;
    (head + &line.repeat(lines)).into_bytes()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn is_send<T: Send>(value: T) -> T {
    value
}

// ---- Dovecot ----

#[tokio::test]
async fn a_letter_is_listed_fetched_moved_and_removed_without_being_seen() {
    let lab = dovecot("");
    let mut imap = is_send(ImapSession::connect(&imap_settings(lab.imap_port, Tls::None))).await.unwrap();
    let caps = imap.capabilities();
    assert!(caps.idle && caps.r#move && caps.uidplus && caps.namespace && caps.literal_plus && caps.special_use);
    let at = chrono::DateTime::from_timestamp(1_772_489_400, 0).unwrap();
    for n in 1..=3 {
        let done = imap.append("INBOX", &mail(n, 2000), &["\\Flagged"], Some(at)).await.unwrap();
        assert_eq!(done.place.unwrap().1, u32::try_from(n).unwrap());
    }
    let selected = imap.select("INBOX").await.unwrap();
    assert_eq!((selected.exists, selected.uidnext, selected.read_only), (3, Some(4), false));
    let entries = imap.list_new(1).await.unwrap();
    assert_eq!(entries.iter().map(|e| e.uid).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(entries[0].size, mail(2, 2000).len() as u64);
    assert_eq!(entries[0].internaldate, Some(at));
    assert!(entries[0].flags.contains(&"\\Flagged".to_owned()));
    assert!(imap.list_new(3).await.unwrap().is_empty(), "n:* must not bring the last one back");

    let fetched = is_send(imap.fetch(&[1, 2, 77])).await;
    assert_eq!(fetched.mails, [(1, mail(1, 2000)), (2, mail(2, 2000))]);
    assert_eq!(fetched.missing, [(77, WhyMissing::Absent)]);
    assert_eq!(fetched.ended, None);
    let header = imap.fetch_header(3).await.unwrap().unwrap();
    assert!(header.starts_with(b"From: ") && header.ends_with(b"\r\n\r\n") && header.len() < 100);
    assert_eq!(imap.fetch_header(99).await.unwrap(), None);

    let done = imap.folder_name(&["Cadre", "Done"]);
    let moved = imap.move_to(&[1, 99], &done).await.unwrap();
    assert_eq!(moved.not_moved, [99]);
    assert_eq!(imap.remove(&[2]).await.unwrap(), Removed::default());
    assert_eq!(imap.uids("ALL").await.unwrap(), [3]);
    assert!(imap.uids("SEEN").await.unwrap().is_empty(), "nothing may set \\Seen");
    assert_eq!(imap.contains_message_ids(&done, &["<1@net.example>", "<2@net.example>"]).await.unwrap(), [true, false]);
    assert_eq!(imap.selected().unwrap().0, "INBOX", "the look elsewhere must not change what uids mean");
    assert!(!imap.contains_message_id("Nowhere", "<1@net.example>").await.unwrap());
    imap.logout().await;
}

#[tokio::test]
async fn folders_follow_the_namespace_and_junk_is_found_under_its_foreign_name() {
    // A provider's junk folder has a French name here; the laboratory's own is none.
    let french = "namespace inbox {\n mailbox Junk {\n  special_use = \\Archive\n }\n \
                  mailbox \"Courrier indésirable\" {\n  special_use = \\Junk\n  auto = create\n }\n}\n";
    for (namespace, expected) in [(Namespace::Slash, "Cadre/C-7K2M"), (Namespace::InboxDot, "INBOX.Cadre.C-7K2M")] {
        let dovecot_extra = french.to_owned();
        let options = LabOptions { smtp: Smtp::None, namespace, dovecot_extra, ..LabOptions::default() };
        let lab = Lab::with(options).unwrap();
        let mut imap = session(&lab).await;
        let folder = imap.folder_name(&["Cadre", "C-7K2M"]);
        assert_eq!(folder, expected);
        imap.ensure_folder(&folder).await.unwrap();
        assert!(imap.folder_exists(&folder).await.unwrap());
        // A second session knows nothing and meets ALREADYEXISTS.
        session(&lab).await.ensure_folder(&folder).await.unwrap();
        assert_eq!(imap.select(&folder).await.unwrap().exists, 0);
        let junk = imap.junk_folder().await.unwrap().unwrap();
        assert!(junk.ends_with("Courrier ind&AOk-sirable"), "{junk}");
        assert_eq!(junk, imap.folder_name(&["Courrier indésirable"]));
        imap.select(&junk).await.unwrap();
        let outcome = imap.append(&imap.folder_name(&["Neu", "Ünter"]), b"a: b\r\n\r\nc\r\n", &[], None).await;
        outcome.expect("the folder is made when the server asks for it");
    }
}

#[tokio::test]
async fn standard_rfc2177_idle_wakes_on_mail_ends_on_time_and_stops_when_told() {
    let lab = dovecot("");
    let mut watcher = session(&lab).await;
    let mut other = session(&lab).await;
    watcher.select("INBOX").await.unwrap();
    let end = watcher.idle(Duration::from_millis(20), std::future::pending()).await.unwrap();
    assert_eq!(end, IdleEnd::Timeout);
    let end = watcher.idle(PATIENCE, std::future::ready(())).await.unwrap();
    assert_eq!(end, IdleEnd::Stopped);
    let first = mail(1, 500);
    let (end, _) =
        tokio::join!(is_send(watcher.idle(PATIENCE, std::future::pending())), other.append("INBOX", &first, &[], None));
    assert_eq!(end.unwrap(), IdleEnd::NewData);
    assert_eq!(watcher.list_new(0).await.unwrap().len(), 1, "the session goes on after DONE");
    // Mail that arrives between a look and the next IDLE is told at once.
    other.append("INBOX", &mail(2, 500), &[], None).await.unwrap();
    watcher.noop().await.unwrap();
    assert!(watcher.has_news());
    assert_eq!(watcher.idle(PATIENCE, std::future::pending()).await.unwrap(), IdleEnd::NewData);
}

#[tokio::test]
async fn standard_rfc6851_a_server_without_move_uidplus_and_literal_plus_is_served_and_spares_other_peoples_marks() {
    let lab = dovecot("imap_capability = IMAP4rev1");
    let mut imap = session(&lab).await;
    let caps = imap.capabilities();
    assert!(!caps.idle && !caps.r#move && !caps.uidplus && !caps.namespace && !caps.literal_plus);
    assert_eq!(imap.folder_name(&["Cadre", "Done"]), "Cadre/Done", "the delimiter comes from LIST");
    for n in 1..=4 {
        imap.append("INBOX", &mail(n, 500), if n == 4 { &["\\Deleted"] } else { &[] }, None).await.unwrap();
    }
    imap.select("INBOX").await.unwrap();
    assert_eq!(imap.remove(&[1]).await.unwrap().left_marked, [1], "4 is somebody else's");
    assert_eq!(imap.uids("ALL").await.unwrap(), [1, 2, 3, 4]);
    let moved = imap.move_to(&[2], "Cadre/Done").await.unwrap();
    assert_eq!(moved.left_marked, [1, 2]);
    assert!(imap.contains_message_id("Cadre/Done", "<2@net.example>").await.unwrap());
    assert_eq!(imap.remove(&[4]).await.unwrap(), Removed::default(), "1 and 2 are known as ours");
    assert_eq!(imap.uids("ALL").await.unwrap(), [3]);
    assert_eq!(imap.idle(Duration::from_millis(5), std::future::pending()).await.unwrap(), IdleEnd::Timeout);
}

#[tokio::test]
async fn a_refused_log_in_is_told_from_trouble_and_names_nobody() {
    let lab = dovecot("");
    let mut settings = imap_settings(lab.imap_port, Tls::None);
    settings.secret = secret("wrong");
    let error = ImapSession::connect(&settings).await.unwrap_err();
    assert_eq!(error, NetError::Refused { service: Service::Imap, code: Code::Imap(Some("AUTHENTICATIONFAILED")) });
    assert!(!error.is_retryable());
    assert!(!format!("{error} {error:?} {settings:?}").contains("wrong"));
}

#[tokio::test]
async fn appends_to_many_folders_are_confirmed_one_by_one() {
    let lab = dovecot("");
    let mut imap = session(&lab).await;
    let mails: Vec<Vec<u8>> = (0..40).map(|n| mail(n, 700)).collect();
    let folders: Vec<String> = (0..40).map(|n| imap.folder_name(&["Cadre", &format!("C-{}", n % 5)])).collect();
    let mut items: Vec<Append<'_>> = mails
        .iter()
        .zip(&folders)
        .map(|(message, folder)| Append { folder, message, flags: &["\\Seen"], internaldate: None })
        .collect();
    items[7].message = b"a: b\r\n\r\n\0";
    items[9].folder = "bad//name";
    let outcomes = is_send(imap.append_all(&items)).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), n == 7 || n == 9, "{n}: {outcome:?}");
    }
    imap.select(&folders[0]).await.unwrap();
    assert_eq!(imap.uids("ALL").await.unwrap().len(), 8);
    assert_eq!(outcomes[5].as_ref().unwrap().place.unwrap().1, 2, "the second into its folder");
}

#[tokio::test]
async fn tls_is_implicit_or_by_starttls_with_our_own_root() {
    let lab = Lab::with(LabOptions { smtp: Smtp::None, tls: true, ..LabOptions::default() }).unwrap();
    let settings = |port, tls| {
        let mut settings = imap_settings(port, tls);
        settings.ca_file = Some(std::fs::read(lab.ca_file()).unwrap());
        settings
    };
    for (port, tls) in [(lab.imaps_port, Tls::Implicit), (lab.imap_port, Tls::StartTls)] {
        let mut imap = ImapSession::connect(&settings(port, tls)).await.unwrap();
        imap.append("INBOX", &mail(1, 300_000), &[], None).await.unwrap();
        imap.select("INBOX").await.unwrap();
        let entries = imap.list_new(0).await.unwrap();
        let last = entries.last().unwrap().uid;
        assert_eq!(imap.fetch(&[last]).await.mails, [(last, mail(1, 300_000))]);
    }
    let error = ImapSession::connect(&settings(lab.imap_port, Tls::Implicit)).await.unwrap_err();
    assert_eq!(error, NetError::Tls { service: Service::Imap, problem: TlsProblem::NotTls });
}

// ---- certificates ----

#[tokio::test]
async fn standard_rfc8314_certificate_errors_are_told_apart() {
    let good: &[u8] = include_bytes!("net_servers/tls/good.pem");
    let expired: &[u8] = include_bytes!("net_servers/tls/expired.pem");
    let other: &[u8] = include_bytes!("net_servers/tls/otherhost.pem");
    for (certificate, ca, problem) in [
        (expired, true, TlsProblem::Expired),
        (other, true, TlsProblem::WrongHost),
        (good, false, TlsProblem::UnknownIssuer),
    ] {
        let (port, server) = scripted::tls(certificate);
        let mut settings = imap_settings(port, Tls::Implicit);
        if !ca {
            settings.ca_file = None;
        }
        let error = ImapSession::connect(&settings).await.unwrap_err();
        server.join().unwrap();
        // A machine without any root says so instead.
        let bare = NetError::Tls { service: Service::Imap, problem: TlsProblem::NoRoots };
        assert!(error == NetError::Tls { service: Service::Imap, problem } || (!ca && error == bare), "{error}");
    }
    let mut settings = imap_settings(1, Tls::Implicit);
    settings.ca_file = Some(b"no pem".to_vec());
    settings.port = scripted::tls(good).0;
    let error = ImapSession::connect(&settings).await.unwrap_err();
    assert_eq!(error, NetError::Tls { service: Service::Imap, problem: TlsProblem::BadCaFile });
}

// ---- IMAP servers that misbehave ----

/// After so long a server counts as silent: longer than a busy machine takes for a line.
const SILENCE: Duration = Duration::from_millis(1500);

const HELLO: &str = "* OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN] hi\r\n";
const CAPS: &str = "* CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS IDLE\r\n%tag OK in\r\n";
const LIST: &str = "* LIST () \"/\" \"\"\r\n%tag OK done\r\n";
const INBOX: &str = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n%tag OK [READ-WRITE] done\r\n";

fn after_select(rest: Vec<scripted::Step>) -> Vec<scripted::Step> {
    let mut script = vec![Say(HELLO), Hear("AUTHENTICATE PLAIN"), Say("+ \r\n"), Hear("AGVj"), Say("A0001 OK in\r\n")];
    script.extend([Hear("CAPABILITY"), Say(CAPS), Hear("LIST"), Say(LIST), Hear("SELECT"), Say(INBOX)]);
    script.extend(rest);
    script
}

async fn selected(port: u16) -> ImapSession {
    let mut settings = imap_settings(port, Tls::None);
    settings.timeouts.command = SILENCE;
    settings.max_literal = 50;
    let mut imap = ImapSession::connect(&settings).await.unwrap();
    imap.select("INBOX").await.unwrap();
    imap
}

#[tokio::test]
async fn row_23_a_fetch_with_nonsense_a_giant_and_a_gap_loses_only_those() {
    const NONSENSE: &str = "* 2 FETCH (UID 2 BODY[] \"open)\r\n";
    let (port, server) = play(vec![
        after_select(vec![
            Hear("UID FETCH 1:5 (UID RFC822.SIZE)"),
            Say("* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n* 2 FETCH (UID 2 RFC822.SIZE 4)\r\n"),
            Say("* 3 FETCH (UID 3 RFC822.SIZE 60)\r\n* 4 FETCH (RFC822.SIZE 4 UID 5)\r\n%tag OK\r\n"),
            Hear("UID FETCH 1:2,5 (UID BODY.PEEK[])"),
            Say("* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n"),
            Say(NONSENSE),
            Hold,
        ]),
        after_select(vec![
            Hear("UID FETCH 2 (UID RFC822.SIZE)"),
            Say("* 2 FETCH (UID 2 RFC822.SIZE 4)\r\n%tag OK\r\n"),
            Hear("UID FETCH 2 (UID BODY.PEEK[])"),
            Say(NONSENSE),
            Hold,
        ]),
        after_select(vec![
            Hear("UID FETCH 4 (UID RFC822.SIZE)"),
            Say("%tag OK\r\n"),
            Hear("UID FETCH 5 (UID RFC822.SIZE)"),
            Say("* 9 EXISTS\r\n* 4 FETCH (RFC822.SIZE 4 UID 5)\r\n%tag OK\r\n"),
            Hear("UID FETCH 5 (UID BODY.PEEK[])"),
            Say("* 5 FETCH (BODY[] \"five\" UID 5)\r\n%tag NO [SERVERBUG] marie@example.org is broken\r\n"),
        ]),
    ]);
    let mut imap = selected(port).await;
    let fetched = imap.fetch(&[1, 2, 3, 4, 5]).await;
    assert_eq!(fetched.mails, [(1, b"one".to_vec()), (5, b"five".to_vec())]);
    let missing = [(2, WhyMissing::Unreadable), (3, WhyMissing::TooLarge), (4, WhyMissing::Absent)];
    assert_eq!((&fetched.missing[..], &fetched.ended), (&missing[..], &None));
    assert!(imap.has_news() && !imap.is_broken());
    assert_eq!(imap.selected().unwrap().0, "INBOX");
    server.join().unwrap();
}

#[tokio::test]
async fn a_listing_with_nonsense_loses_only_what_is_known_of_that_message() {
    // NIL for a date makes the crate's parser panic; that is caught like any other nonsense.
    const NONSENSE: &str = "* 2 FETCH (UID 2 INTERNALDATE NIL)\r\n";
    let (port, server) = play(vec![
        after_select(vec![Hear("UID FETCH 1:* "), Say("* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n"), Say(NONSENSE), Hold]),
        after_select(vec![
            Hear("UID SEARCH UID 1:*"),
            Say("* SEARCH 1 2 3\r\n%tag OK\r\n"),
            Hear("UID FETCH 2 (UID RFC822.SIZE"),
            Say(NONSENSE),
            Hold,
        ]),
        after_select(vec![Hear("UID FETCH 3 (UID RFC822.SIZE"), Say("* 3 FETCH (UID 3 RFC822.SIZE 5)\r\n%tag OK\r\n")]),
    ]);
    let listed = selected(port).await.list_new(0).await.unwrap();
    assert_eq!(listed.iter().map(|e| (e.uid, e.size)).collect::<Vec<_>>(), [(1, 3), (2, 0), (3, 5)]);
    server.join().unwrap();
}

#[tokio::test]
async fn a_server_that_never_ends_an_answer_is_cut_off() {
    let (port, server) = play(vec![after_select(vec![
        Hear("UID FETCH 1 (UID RFC822.SIZE)"),
        Say("* 1 FETCH (UID 1 RFC822.SIZE 4)\r\n%tag OK\r\n"),
        Hear("UID FETCH 1 (UID BODY.PEEK[])"),
        Say("* 1 FETCH (UID 1 BODY[] {40000000}\r\n"),
        scripted::Flood,
    ])]);
    let fetched = selected(port).await.fetch(&[1]).await;
    assert!(fetched.mails.is_empty() && fetched.ended.is_some(), "{fetched:?}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_connection_cut_inside_a_fetch_keeps_what_had_come() {
    let (port, server) = play(vec![after_select(vec![
        Hear("UID FETCH"),
        Say("* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n* 2 FETCH (UID 2 RFC822.SIZE 30)\r\n%tag OK\r\n"),
        Hear("UID FETCH"),
        Say("* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n* 2 FETCH (UID 2 BODY[] {30}\r\nhalf"),
    ])]);
    let mut imap = selected(port).await;
    let fetched = imap.fetch(&[1, 2]).await;
    assert_eq!(fetched.mails, [(1, b"one".to_vec())]);
    assert_eq!(fetched.missing, [(2, WhyMissing::NotReached)]);
    assert_eq!(fetched.ended, Some(NetError::Closed { service: Service::Imap, doing: "UID FETCH" }));
    assert!(imap.is_broken() && imap.noop().await.is_err());
    server.join().unwrap();
}

#[tokio::test]
async fn good_byes_silence_and_half_open_connections_are_noticed() {
    let (port, server) = play(vec![
        vec![Say("* BYE [UNAVAILABLE] overloaded\r\n")],
        vec![Say("SSH-2.0-OpenSSH\r\n")],
        after_select(vec![Hear("NOOP"), Say("* BYE marie@example.org go\r\n")]),
        after_select(vec![Hear("NOOP"), Hold]),
        after_select(vec![Hear("IDLE"), Say("+ idling\r\n"), Hear("DONE"), Hold]),
        after_select(vec![Hear("IDLE"), Say("+ idling\r\n* BYE shutdown\r\n")]),
        after_select(vec![Hear("NOOP"), Say("c99 OK somebody else's\r\n")]),
    ]);
    let settings = imap_settings(port, Tls::None);
    let error = ImapSession::connect(&settings).await.unwrap_err();
    assert!(matches!(error, NetError::ServerSaidBye { code: Code::Imap(Some("UNAVAILABLE")), .. }), "{error}");
    let error = ImapSession::connect(&settings).await.unwrap_err();
    assert!(matches!(error, NetError::Protocol { .. }) && !error.to_string().contains("SSH"), "{error}");
    let error = selected(port).await.noop().await.unwrap_err();
    assert!(matches!(error, NetError::ServerSaidBye { .. }) && !error.to_string().contains("marie"), "{error}");
    let error = selected(port).await.noop().await.unwrap_err();
    assert_eq!(error, NetError::Timeout { service: Service::Imap, doing: "NOOP" });
    let error = selected(port).await.idle(Duration::from_millis(10), std::future::pending()).await.unwrap_err();
    assert_eq!(error, NetError::Timeout { service: Service::Imap, doing: "IDLE" });
    let error = selected(port).await.idle(PATIENCE, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, NetError::ServerSaidBye { .. }), "{error}");
    let error = selected(port).await.noop().await.unwrap_err();
    assert!(matches!(error, NetError::Protocol { .. }), "an answer with another tag must not pass for ours: {error}");
    server.join().unwrap();
}

#[tokio::test]
async fn xoauth2_errors_are_acknowledged_and_clear_passwords_refused_where_disabled() {
    let (port, server) = play(vec![
        vec![
            Say("* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi\r\n"),
            Hear("AUTHENTICATE XOAUTH2"),
            Say("+ \r\n"),
            Hear("dXNlcj1"),
            Say("+ eyJzdGF0dXMiOiI0MDAifQ==\r\n"),
            Hear(""),
            Say("A0001 NO [AUTHENTICATIONFAILED] no\r\n"),
        ],
        vec![Say("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n"), Hold],
        vec![
            Say("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n"),
            Hear("STARTTLS"),
            Say("%tag OK go\r\n* PREAUTH ha\r\n"),
            Hold,
        ],
        vec![Say("* OK [CAPABILITY IMAP4rev1] hi\r\n"), Hold],
    ]);
    let mut settings = imap_settings(port, Tls::None);
    settings.secret = Secret::XOauth2(Password::new("token".to_owned()));
    assert!(matches!(ImapSession::connect(&settings).await.unwrap_err(), NetError::Refused { .. }));
    let error = ImapSession::connect(&imap_settings(port, Tls::None)).await.unwrap_err();
    assert!(matches!(error, NetError::Unsupported { .. }), "{error}");
    let error = ImapSession::connect(&imap_settings(port, Tls::StartTls)).await.unwrap_err();
    // The early bytes may come with the answer or after it: either way no TLS comes about.
    assert!(matches!(error, NetError::Tls { problem: TlsProblem::Injected | TlsProblem::NotTls, .. }), "{error}");
    let error = ImapSession::connect(&imap_settings(port, Tls::StartTls)).await.unwrap_err();
    assert_eq!(error, NetError::Tls { service: Service::Imap, problem: TlsProblem::NoStartTls });
    server.join().unwrap();
}

// ---- Postfix ----

#[tokio::test]
async fn mails_leave_over_one_connection_and_arrive_byte_for_byte() {
    let lab = postfix(true, "");
    let mut settings = smtp_settings(lab.smtp_port, Tls::StartTls);
    settings.ca_file = Some(std::fs::read(lab.ca_file()).unwrap());
    settings.credentials = credentials(PASSWORD);
    let mut smtp = is_send(SmtpConnection::connect(&settings)).await.unwrap();
    assert_eq!(smtp.size_limit(), Some(200_000));
    let to = [address(USER)];
    let dots = b"From: a@b.example\r\n\r\n.\r\n..\r\n.x\r\nend\r\n".to_vec();
    let outcome = is_send(smtp.send(None, &to, &dots)).await;
    assert!(outcome.is_accepted() && outcome.reached_dot && outcome.null_path, "{outcome:?}");
    let outcome = smtp.send(Some(&to[0]), &[address("x@elsewhere.example")], &dots).await;
    let nowhere = SendResult::Permanent { code: 550, enhanced: Some(Enhanced(5, 4, 4)) };
    assert_eq!((outcome.result, outcome.stage), (nowhere, Stage::RcptTo));
    let big = smtp.send(Some(&to[0]), &to, &mail(1, 250_000)).await;
    assert!(big.refused_size() && !big.reached_dot, "{big:?}");
    assert!(smtp.send(Some(&to[0]), &to, &mail(2, 2000)).await.is_accepted(), "it goes on after a refusal");
    smtp.test().await.unwrap();
    smtp.quit().await;

    let mut imap = session(&lab).await;
    imap.select("INBOX").await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let arrived = loop {
        let uids: Vec<u32> = imap.list_new(0).await.unwrap().iter().map(|e| e.uid).collect();
        let fetched = imap.fetch(&uids).await.mails;
        if fetched.iter().any(|(_, m)| m.ends_with(b"\r\n.\r\n..\r\n.x\r\nend\r\n")) {
            break fetched;
        }
        assert!(Instant::now() < deadline, "it never arrived");
        imap.idle(Duration::from_secs(2), std::future::pending()).await.unwrap();
    };
    let text: Vec<u8> = arrived.into_iter().flat_map(|(_, m)| m).collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(!String::from_utf8_lossy(&text).contains(host.trim()), "the machine's name has no business in a mail");
}

#[tokio::test]
async fn refusals_name_their_stage() {
    let lab = postfix(
        false,
        "smtpd_sender_restrictions = check_sender_access inline:{{<>=554 5.7.1 no null}}\nsmtpd_null_access_lookup_key = <>\n\
         smtpd_recipient_restrictions = check_recipient_access inline:{{later@cabinet.example=451 4.7.1 later}}, reject_unlisted_recipient\n\
         virtual_mailbox_maps = inline:{{ecrire@cabinet.example=x}, {later@cabinet.example=x}}",
    );
    let mut smtp = SmtpSubmitter::new(smtp_settings(lab.smtp_port, Tls::None));
    let me = address(USER);
    let outcome = smtp.send(Some(&me), &[address("nobody@cabinet.example")], &mail(1, 500)).await;
    assert_eq!(outcome.result, SendResult::Permanent { code: 550, enhanced: Some(Enhanced(5, 1, 1)) });
    assert_eq!((outcome.stage, outcome.reached_dot), (Stage::RcptTo, false));
    let outcome = smtp.send(Some(&me), &[me.clone(), address("later@cabinet.example")], &mail(1, 500)).await;
    assert_eq!(outcome.result, SendResult::Temporary { code: 451, enhanced: Some(Enhanced(4, 7, 1)) });
    assert_eq!(outcome.stage, Stage::RcptTo, "refused for one, sent to none");
    assert!(smtp.send(Some(&me), std::slice::from_ref(&me), &mail(1, 500)).await.is_accepted());
    let mut wrong = smtp_settings(lab.smtp_port, Tls::None);
    wrong.credentials = credentials("wrong");
    let error = SmtpConnection::connect(&wrong).await.unwrap_err();
    assert!(matches!(error, NetError::Refused { service: Service::Smtp, .. }), "{error}");
}

// ---- SMTP servers that misbehave ----

const EHLO: &str = "250-x\r\n250-PIPELINING\r\n250 SIZE\r\n";

fn after_ehlo(rest: Vec<scripted::Step>) -> Vec<scripted::Step> {
    let mut script = vec![Say("220-gr\u{fc}ezi\r\n220 x\r\n"), Hear("EHLO [127.0.0.1]"), Say(EHLO)];
    script.extend([Hear("EHLO [127.0.0.1]"), Say(EHLO)]);
    script.extend(rest);
    script
}

fn envelope() -> Vec<scripted::Step> {
    vec![Hear("MAIL FROM:<"), Hear("RCPT TO:<"), Hear("DATA")]
}

async fn send_to(port: u16, null: bool) -> cadre::net::SendOutcome {
    let mut settings = smtp_settings(port, Tls::None);
    settings.timeouts.after_dot = SILENCE;
    let me = address(USER);
    let from = if null { None } else { Some(&me) };
    SmtpSubmitter::new(settings).send(from, &[address(USER)], b"a: b\r\n\r\nc\r\n").await
}

#[tokio::test]
async fn every_stage_of_failure_is_told_exactly() {
    let with = |rest: Vec<scripted::Step>| after_ehlo(envelope().into_iter().chain(rest).collect());
    let (port, server) = play(vec![
        vec![Say("554 5.3.2 no service\r\n")],
        with(vec![Say("550 no null path\r\n503 x\r\n503 x\r\n"), Hear("RSET")]),
        with(vec![Say("250 ok\r\n451 4.3.0 busy\r\n554 none\r\n"), Hold]),
        with(vec![Say("250 ok\r\n550 5.1.1 no\r\n354 go\r\n"), Hold]),
        with(vec![Say("250 ok\r\n250 ok\r\n552-5.3.4 marie@example.org\r\n552 5.3.4 big\r\n"), Hold]),
        with(vec![Say("250 ok\r\n250 ok\r\n354 go\r\n"), HearMail, Say("452 4.3.1 full\r\n"), Hold]),
        with(vec![Say("250 ok\r\n250 ok\r\n354 go\r\n"), HearMail]),
        with(vec![Say("250 ok\r\n250 ok\r\n354 go\r\n"), HearMail, Hold]),
        with(vec![Say("250 ok\r\n")]),
        with(vec![Say("250 ok\r\n250 ok\r\n354 go\r\n"), HearMail, Say("250 2.0.0 ok\r\n"), Hold]),
    ]);
    let outcome = send_to(port, false).await;
    assert_eq!(outcome.stage, Stage::Connect);
    assert!(matches!(&outcome.result, SendResult::NotSent(e) if !e.is_retryable()), "{outcome:?}");

    let mut settings = smtp_settings(port, Tls::None);
    settings.timeouts.command = PATIENCE;
    let mut smtp = SmtpConnection::connect(&settings).await.unwrap();
    let outcome = smtp.send(None, &[address(USER)], b"a: b\r\n\r\nc\r\n").await;
    assert!(outcome.refused_null_path(), "{outcome:?}");
    let outcome = smtp.send(None, &[address(USER)], b"a: b\r\n\r\nc\r\n").await;
    assert!(matches!(outcome.result, SendResult::NotSent(NetError::Closed { .. })), "RSET, then cut: {outcome:?}");

    let outcome = send_to(port, false).await;
    assert_eq!(outcome.result, SendResult::Temporary { code: 451, enhanced: Some(Enhanced(4, 3, 0)) });
    assert_eq!((outcome.stage, outcome.reached_dot), (Stage::RcptTo, false));
    let outcome = send_to(port, false).await;
    assert_eq!(outcome.result, SendResult::Permanent { code: 550, enhanced: Some(Enhanced(5, 1, 1)) });
    let outcome = send_to(port, false).await;
    assert!(outcome.refused_size() && outcome.stage == Stage::Data && !outcome.reached_dot, "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("marie"));
    let outcome = send_to(port, false).await;
    assert_eq!(outcome.result, SendResult::Temporary { code: 452, enhanced: Some(Enhanced(4, 3, 1)) });
    assert_eq!((outcome.stage, outcome.reached_dot), (Stage::AfterDot, true));
    for _ in 0..2 {
        let outcome = send_to(port, false).await;
        assert!(matches!(outcome.result, SendResult::MaybeDelivered(_)) && outcome.reached_dot, "{outcome:?}");
    }
    let outcome = send_to(port, false).await;
    assert!(matches!(outcome.result, SendResult::NotSent(NetError::Closed { .. })), "{outcome:?}");
    assert_eq!(outcome.stage, Stage::RcptTo);
    assert_eq!(send_to(port, true).await.result, SendResult::Accepted { code: 250 });
    let heard = server.join().unwrap();
    assert!(heard.iter().any(|l| l.starts_with("MAIL FROM:<> SIZE=")), "{heard:?}");
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_before_anything_was_said() {
    let accept = || {
        let mut steps = envelope();
        steps.extend([Say("250 ok\r\n250 ok\r\n354 go\r\n"), HearMail, Say("250 ok\r\n")]);
        after_ehlo(steps)
    };
    let (port, server) = play(vec![accept(), accept()]);
    let mut smtp = SmtpSubmitter::new(smtp_settings(port, Tls::None));
    for _ in 0..2 {
        assert!(smtp.send(None, &[address(USER)], b"a: b\r\n\r\nc\r\n").await.is_accepted());
    }
    server.join().unwrap();
}

#[tokio::test]
async fn nonsense_at_the_start_of_smtp_is_an_error_like_any_other() {
    let (port, server) = play(vec![
        vec![Say("220 x\r\n"), Hear("EHLO"), Say("250-x\r\n250- \r\n250 SIZE\r\n")],
        vec![Say("HTTP/1.1 400 Bad\r\n"), Hold],
        vec![Say("220 x\r\n"), Hear("EHLO"), Say("250 x\r\n"), Hold],
        vec![
            Say("220 x\r\n"),
            Hear("EHLO"),
            Say("250-x\r\n250 STARTTLS\r\n"),
            Hear("STARTTLS"),
            Say("220 go\r\n250 injected\r\n"),
            Hold,
        ],
        vec![Say("220 x\r\n"), Hear("EHLO"), Say("250 x\r\n"), Hear("EHLO"), scripted::Flood],
    ]);
    // The first makes lettre panic.
    for _ in 0..2 {
        let error = SmtpConnection::connect(&smtp_settings(port, Tls::None)).await.unwrap_err();
        assert!(matches!(error, NetError::Protocol { service: Service::Smtp, .. }), "{error}");
    }
    let error = SmtpConnection::connect(&smtp_settings(port, Tls::StartTls)).await.unwrap_err();
    assert_eq!(error, NetError::Tls { service: Service::Smtp, problem: TlsProblem::NoStartTls });
    let error = SmtpConnection::connect(&smtp_settings(port, Tls::StartTls)).await.unwrap_err();
    assert!(matches!(error, NetError::Tls { problem: TlsProblem::Injected | TlsProblem::NotTls, .. }), "{error}");
    let error = SmtpConnection::connect(&smtp_settings(port, Tls::None)).await.unwrap_err();
    assert!(matches!(error, NetError::Protocol { .. }), "a line without end: {error}");
    server.join().unwrap();
}

// ---- figures ----

/// `cargo test --release --test net_servers figures -- --ignored --nocapture` prints them.
#[tokio::test]
#[ignore = "measures"]
async fn figures() {
    let lab = postfix(false, "defer_transports = lmtp");
    let mails: Vec<Vec<u8>> = (0..1000).map(|n| mail(n, 2000)).collect();
    let mut imap = session(&lab).await;
    let rate = |what: &str, from: Instant| println!("{what}: {:.0} a second", 1000.0 / from.elapsed().as_secs_f64());
    let folders: Vec<String> = (0..100).map(|n| format!("Cadre/C-{n:04}")).collect();
    for folder in &folders {
        imap.ensure_folder(folder).await.unwrap();
    }
    let item = |message, folder| Append { folder, message, flags: &[], internaldate: None };
    let one: Vec<Append<'_>> = mails.iter().map(|m| item(m, "INBOX")).collect();
    let many: Vec<Append<'_>> =
        mails.iter().enumerate().map(|(n, m)| item(m, folders[n * 37 % 100].as_str())).collect();
    let from = Instant::now();
    for m in &mails[..100] {
        imap.append("INBOX", m, &[], None).await.unwrap();
    }
    println!("append, one after the other: {:.0} a second", 100.0 / from.elapsed().as_secs_f64());
    let from = Instant::now();
    assert!(imap.append_all(&one).await.iter().all(Result::is_ok));
    rate("append_all, one folder", from);
    let from = Instant::now();
    assert!(imap.append_all(&many).await.iter().all(Result::is_ok));
    rate("append_all, 100 folders", from);
    imap.select("INBOX").await.unwrap();
    let from = Instant::now();
    let uids: Vec<u32> = imap.list_new(0).await.unwrap().iter().map(|e| e.uid).collect();
    println!("list_new of {}: {:?}", uids.len(), from.elapsed());
    let from = Instant::now();
    for some in uids[..1000].chunks(100) {
        assert_eq!(imap.fetch(some).await.mails.len(), some.len());
    }
    rate("fetch by 100", from);
    let from = Instant::now();
    for some in uids[..100].chunks(100) {
        imap.remove(some).await.unwrap();
    }
    println!("remove 100: {:?}", from.elapsed());
    let ids: Vec<String> = (0..1000).map(|n| format!("<{n}@net.example>")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let from = Instant::now();
    let found = imap.contains_message_ids("INBOX", &ids).await.unwrap();
    assert_eq!(found.iter().position(|&found| !found), None);
    rate("contains_message_ids, among 1000", from);
    let to = [address(USER)];
    let mut smtp = SmtpConnection::connect(&smtp_settings(lab.smtp_port, Tls::None)).await.unwrap();
    let from = Instant::now();
    for m in &mails {
        assert!(smtp.send(None, &to, m).await.is_accepted());
    }
    rate("send, one connection", from);
}
