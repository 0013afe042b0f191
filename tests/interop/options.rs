//! The options that programs write with: algorithms, compression, several signatures; and keys that are refused.

use anyhow::{Result, ensure};
use cadre::model::Verdict;
use cadre::pgp::{Certificate, Purpose};

use super::compose::{encrypted, head, payload};
use super::looks::Eyes;
use super::ring::Ring;
use super::table::{Cell, Table};
use super::world::{Key, World};
use crate::common::scene::march;
use crate::common::{Lab, LabOptions, Smtp};

const WORDS: &str = "L'été, la mer monte jusqu'au phare.";
const SHA1: &str = "the policy refuses signatures with SHA-1 or RIPEMD-160: bad";
const OLD_CIPHER: &str = "the policy takes AES and Camellia only, and the practice's certificate asks for AES; which failure it \
                          was isn't told, lest that be an oracle: bad";
const NO_MDC: &str = "the policy refuses encryption without integrity protection: bad";
const OCB: &str = "packets of LibrePGP (tag 20) aren't read, and the practice's certificate never asks for them";

/// Name, options, and where it can't be verified: the verdict and why.
type Row = (&'static str, &'static [&'static str], Option<(Verdict, &'static str)>);

const SIGN: &[&str] = &["--encrypt", "--sign", "--armor"];

const GNUPG: [Row; 22] = [
    ("not compressed", &["--compress-algo", "none"], None),
    ("ZIP", &["--compress-algo", "zip"], None),
    ("ZLIB", &["--compress-algo", "zlib"], None),
    ("BZIP2", &["--compress-algo", "bzip2"], None),
    ("AES-128", &["--cipher-algo", "AES"], None),
    ("AES-192", &["--cipher-algo", "AES192"], None),
    ("AES-256", &["--cipher-algo", "AES256"], None),
    ("Camellia-256", &["--cipher-algo", "CAMELLIA256"], None),
    ("Twofish", &["--cipher-algo", "TWOFISH"], Some((Verdict::Bad, OLD_CIPHER))),
    ("CAST5", &["--cipher-algo", "CAST5"], Some((Verdict::Bad, OLD_CIPHER))),
    ("3DES", &["--cipher-algo", "3DES"], Some((Verdict::Bad, OLD_CIPHER))),
    ("SHA-224", &["--digest-algo", "SHA224"], None),
    ("SHA-256", &["--digest-algo", "SHA256"], None),
    ("SHA-384", &["--digest-algo", "SHA384"], None),
    ("SHA-1", &["--digest-algo", "SHA1"], Some((Verdict::Bad, SHA1))),
    ("RIPEMD-160", &["--digest-algo", "RIPEMD160"], Some((Verdict::Bad, SHA1))),
    ("text mode", &["--textmode"], None),
    ("a file name inside", &["--set-filename", "lettre.txt"], None),
    ("for your eyes only", &["--for-your-eyes-only"], None),
    ("comment and version", &["--comment", "à bientôt", "--emit-version"], None),
    ("a password as well", &["--symmetric", "--passphrase", "marée"], None),
    ("without integrity", &["--rfc2440", "--disable-mdc", "--cipher-algo", "AES"], Some((Verdict::Bad, NO_MDC))),
];

const RNP: [Row; 4] = [
    ("RNP: not compressed", &["-z", "0"], None),
    ("RNP: BZIP2", &["--bzip"], None),
    ("RNP: OCB packet", &["--aead=OCB"], Some((Verdict::Undecryptable, OCB))),
    ("RNP: EAX packet", &["--aead=EAX"], Some((Verdict::Undecryptable, OCB))),
];

#[test]
fn every_option_of_a_program_is_read_or_refused_for_a_reason() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::None, ..LabOptions::default() })?;
    let at = march(2, 5, 30);
    let world = World::new(&lab, at)?;
    let office = super::stage::office(&world, at)?;
    let client = Key::committed(&world, "rsa2048")?;
    let other = Key::committed(&world, "nistp256")?;
    let eyes = Eyes::new(&office, &client)?;
    let (gnupg, rnp) = (Ring::gnupg(), Ring::rnp());
    let mut table = Table::new("Options of the writing program, signed and encrypted", [], &["Cadre"]);
    let text = payload(WORDS, b"un fichier\r\n");
    let mut judge = |name: &str, armor: Result<Vec<u8>>, expected: Option<(Verdict, &'static str)>| -> Result<()> {
        let cell = match armor {
            Err(error) => Cell::Failed(format!("writing: {error:#}")),
            Ok(armor) => {
                let raw = head(&client.address, "La mer", at) + &encrypted(&armor);
                match (eyes.look(raw.as_bytes(), at)?.verdict, expected) {
                    (_, None) => match eyes.verified(raw.as_bytes(), at, &[WORDS], &[b"un fichier\r\n"]) {
                        Ok(_) => Cell::Good,
                        Err(error) => Cell::Failed(format!("{error:#}")),
                    },
                    (found, Some((right, why))) if found == right => Cell::Cannot(why),
                    (found, Some(_)) => Cell::Failed(format!("found {found}")),
                }
            }
        };
        table.note(name, "Cadre", cell);
        Ok(())
    };
    for (ring, rows) in [(&gnupg, &GNUPG[..]), (&rnp, &RNP[..])] {
        for (name, options, expected) in rows {
            let armor = ring.write(&world, &client, &office, &[SIGN, options].concat(), text.as_bytes());
            judge(name, armor, *expected)?;
        }
    }
    // Her own signature beside one by a key that nobody knows: hers counts. Another's alone: not hers.
    gnupg.knows(&world, &other, true)?;
    let second = ["--encrypt", "--sign", "--armor", "-u", other.fingerprint.as_str()];
    judge("a second, unknown signature", gnupg.write(&world, &client, &office, &second, text.as_bytes()), None)?;
    let stranger = gnupg.write(&world, &other, &office, SIGN, text.as_bytes());
    judge(
        "another's signature alone",
        stranger,
        Some((Verdict::UnknownSigner, "the key isn't the one that is pinned")),
    )?;
    table.publish("options")?;
    let failures = table.failures();
    ensure!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn keys_that_the_policy_refuses_say_why() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::None, ..LabOptions::default() })?;
    let at = march(2, 5, 30);
    let world = World::new(&lab, at)?;
    let mut table = Table::new("Keys that nothing is encrypted to", [], &["Cadre"]);
    for (id, name, words) in [
        ("signonly", "no encryption subkey", "the key can't encrypt; its owner has to add an encryption subkey"),
        ("dsa", "DSA and ElGamal 2048", "the key is too weak (ElGamal 2048 bits); its owner has to make a new one"),
    ] {
        let key = Key::committed(&world, id)?;
        let usable = Certificate::from_bytes(&key.certificate)?.usable_for(Purpose::Encrypt, at);
        let said = usable.err().map(|problem| problem.to_string()).unwrap_or_default();
        table.note(name, "Cadre", if said == words { Cell::Cannot(words) } else { Cell::Failed(said) });
    }
    table.publish("refused")?;
    ensure!(table.failures().is_empty(), "{:?}", table.failures());
    Ok(())
}
