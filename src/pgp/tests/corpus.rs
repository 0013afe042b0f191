//! Mails of public test suites, read from `$CADRE_CORPUS` where that exists.

use std::path::{Path, PathBuf};

use super::super::*;

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CADRE_CORPUS").map(PathBuf::from);
    let beside = [PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus")];
    let found = named.into_iter().chain(beside).map(|base| base.join("openpgp-mails")).find(|base| base.is_dir());
    if found.is_none() {
        eprintln!("skipped: no corpus; set CADRE_CORPUS");
    }
    found
}

/// The armored block of a kind, which these mails hold unencoded.
fn block(mail: &str, kind: &str) -> Option<String> {
    let (begin, end) = (format!("-----BEGIN PGP {kind}-----"), format!("-----END PGP {kind}-----"));
    let start = mail.find(&begin)?;
    let stop = start + mail[start..].find(&end)? + end.len();
    Some(mail[start..stop].to_owned() + "\n")
}

/// Long after the mails were made, but their keys are still alive: the words of the corpus.
fn moment() -> chrono::DateTime<chrono::Utc> {
    chrono::TimeZone::with_ymd_and_hms(&chrono::Utc, 2024, 6, 1, 0, 0, 0).unwrap()
}

fn read_cert(base: &Path, name: &str) -> Option<Certificate> {
    Certificate::from_bytes(&std::fs::read(base.join(name)).ok()?).ok()
}

#[test]
fn encrypted_mails_of_the_corpus_get_their_verdicts() {
    let Some(base) = folder() else { return };
    let table = std::fs::read_to_string(base.join("CASES.tsv")).unwrap();
    let mut seen = 0;
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (file, key, sender, verdict) = (cells[0], cells[1], cells[4], cells[5]);
        let plain = cells[6].starts_with("multipart/encrypted");
        if !plain || key == "-" || !["valid-encrypted-signed", "encrypted-unsigned"].contains(&verdict) {
            continue;
        }
        let mail = String::from_utf8_lossy(&std::fs::read(base.join(file)).unwrap()).into_owned();
        let Some(message) = block(&mail, "MESSAGE") else { continue };
        let key = PracticeKey::load(&std::fs::read(base.join(key)).unwrap(), None).unwrap();
        let certs: Vec<Certificate> = read_cert(&base, sender).into_iter().collect();
        let opened = open(message.as_bytes(), &[&key], &certs, moment(), &Limits::default()).unwrap();
        assert!(opened.encrypted && !opened.plaintext.is_empty(), "{file}");
        if verdict == "valid-encrypted-signed" {
            match &opened.signature {
                SignatureCheck::Good(good) => assert_eq!(good.fingerprint, certs[0].fingerprint(), "{file}"),
                // Signed as MIME inside the encryption (RFC 3156 section 6.1): for the caller.
                SignatureCheck::None => {
                    let words = String::from_utf8_lossy(opened.plaintext.as_bytes());
                    assert!(words.contains("multipart/signed"), "{file}");
                }
                other => panic!("{file}: {other:?}"),
            }
        } else {
            assert_eq!(opened.signature, SignatureCheck::None, "{file}");
        }
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn keys_of_the_corpus_are_read_or_refused_with_a_reason() {
    let Some(base) = folder() else { return };
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(base.join("keys")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let verdict = Certificate::from_bytes(&bytes).map(|cert| cert.usable_for(Purpose::Encrypt, moment()));
        let expected = match name.as_str() {
            n if n.starts_with("carol@pgp.icu") => matches!(verdict, Ok(Err(CertProblem::Revoked))),
            n if n.starts_with("expired-enc-subkey") => matches!(verdict, Ok(Err(CertProblem::Expired { .. }))),
            n if n.starts_with("sign-subkey-only") || n.starts_with("invalid-pubkey") || n.contains("-rev.asc") => {
                !matches!(verdict, Ok(Ok(())))
            }
            n if n.starts_with("alice@openpgp") || n.starts_with("bob@openpgp") => matches!(verdict, Ok(Ok(()))),
            n if n.starts_with("pgp-v6") => matches!(verdict, Ok(Ok(()))),
            _ => true,
        };
        println!("{name}: {verdict:?}");
        if !expected {
            wrong.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
