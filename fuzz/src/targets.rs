//! What each target does with its octets, and what must never happen. A panic is a finding.

use std::sync::LazyLock;

use cadre::app::crisis::scan::scan;
use cadre::app::examine::Examined;
use cadre::domain::crisis::Lexicon;
use cadre::domain::{commands as orders, keywords};
use cadre::mime::{self, Attachment, AttachmentClass, FromField, Limits, Mail};
use cadre::model::Address;

use super::forge::{encrypted, head, literal, pgp_mime, secret, signed};
use super::seeds::{signed_entities, signed_words};
use super::world::{MARIE, Trust, World};

static WORLD: LazyLock<World> = LazyLock::new(World::new);
static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::built_in().expect("the built-in lexicon"));
static GENUINE: LazyLock<Vec<String>> = LazyLock::new(signed_entities);

/// Panics that the product contains (parsers are called so that one can't end the daemon) are no crash: libFuzzer's own
/// hook would abort at them. One that gets out of the target still ends the run.
pub fn contained() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("contained or not: {}", info.location().map_or("", |at| at.file()))
    }));
}

/// A whole message to its decision. The first octet says how the rest comes: 0 as the mail itself, 1 as an entity
/// encrypted and not signed, 2 as OpenPGP packets that are encrypted to the practice, 3 as an entity that Marie
/// really signed and encrypted.
pub fn intake(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let mail = match mode % 4 {
        0 => rest.to_vec(),
        1 => (head(MARIE, "...") + &pgp_mime(&encrypted(&literal(rest)))).into_bytes(),
        2 => (head(MARIE, "...") + &pgp_mime(&encrypted(rest))).into_bytes(),
        _ => (head(MARIE, "...") + &pgp_mime(&encrypted(&signed(&[&secret("marie")], rest)))).into_bytes(),
    };
    let Ok(examined) = WORLD.examine(&mail) else { return };
    if mode % 4 != 3 {
        assert!(is_genuine(&examined), "a forgery was accepted: {:?}", examined.decision);
    }
    read_on(&examined);
}

/// Trusted words are words that a seed has signed, as a whole; everything else is trusted to nobody.
pub fn is_genuine(examined: &Examined) -> bool {
    if World::trust(examined) == Trust::Nobody {
        return true;
    }
    let Some(entity) = examined.entity.as_ref().map(|entity| entity.as_bytes()) else { return false };
    let known = |entity: &[u8]| GENUINE.iter().any(|genuine| genuine.as_bytes() == entity);
    // A cleartext-signed block is its text behind a header of Cadre's own.
    let inline = |entity: &[u8]| {
        let words = String::from_utf8_lossy(entity).into_owned();
        let words = words.split_once("\r\n\r\n").map_or("", |(_, words)| words).trim_end().replace("\r\n", "\n");
        signed_words().iter().any(|known| known.replace("\r\n", "\n") == words)
    };
    known(entity) || inline(entity)
}

/// What intake does with a message that it has decided about.
fn read_on(examined: &Examined) {
    let limits = Limits::default();
    let content = examined.entity.as_ref().and_then(|entity| mime::content(entity.as_bytes(), &limits).ok());
    let said = content.as_ref().map(|content| mime::said(&content.text));
    scan(&LEXICON, examined, content.as_ref().zip(said.as_ref()));
    let Some(content) = content else { return };
    read_words(&content.text);
    for attachment in &content.attachments {
        assert!(attachment.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "an unsafe name");
        mime::attached_text(attachment);
        let _ = mime::strip_metadata(attachment);
        if attachment.class == AttachmentClass::Key {
            cadre::pgp::certificates(&attachment.bytes);
        }
    }
}

fn read_words(text: &str) {
    let new = mime::new_text(text);
    keywords::read(&new);
    let reply = mime::reply_text(text);
    let _ = orders::parse(&reply.unquoted);
    let _ = orders::parse(&reply.text);
}

/// Words of a therapist's or a client's.
pub fn commands(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = orders::parse(&text);
    read_words(&text);
    let codes = mime::strip_codes(&text);
    assert_eq!(mime::strip_codes(&codes), codes, "a code is left");
}

/// A failure notice: as the whole mail, and as the status part of one.
pub fn dsn(data: &[u8]) {
    let limits = Limits::default();
    let status = [
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\
                    Content-Type: message/delivery-status\r\n\r\n"
            .as_slice(),
        data,
        b"\r\n--b--\r\n",
    ]
    .concat();
    for raw in [data, &status] {
        if let Ok(Some(notice)) = mime::notice(raw, &limits) {
            assert!(notice.ids.iter().chain(&notice.envid).all(|id| id.len() <= 998), "an endless id");
        }
        if let Ok(examined) = WORLD.examine(raw) {
            assert!(is_genuine(&examined), "a forgery was accepted: {:?}", examined.decision);
        }
    }
}

/// An address, and a whole From field.
pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(address) = Address::parse(&text) {
        let canonical = address.canonical();
        assert!(
            !canonical.chars().any(|c| c.is_control() || c.is_whitespace() || "<>,;\"".contains(c)),
            "{canonical:?}"
        );
        let again = Address::parse(canonical).expect("a canonical address is one");
        assert_eq!(again, address, "canonical twice");
    }
    let field = [b"From: ".as_slice(), data, b"\r\nTo: x@y.example\r\n\r\nx"].concat();
    if let Ok(mail) = Mail::parse_header(&field, &Limits::default())
        && let FromField::One { address, display } = &mail.from
    {
        assert!(address.canonical().contains('@'));
        // The next field may be the fuzzer's own; a name never is another person's address.
        if let Some(Ok(shown)) = display.as_deref().map(Address::parse) {
            assert_eq!(shown, *address, "a name that is another address");
        }
    }
}

/// A lexicon's file (0), or a letter that the built-in one reads (1).
pub fn lexicon(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    if mode % 2 == 0 {
        if let Ok(lexicon) = Lexicon::parse(&text, "") {
            lexicon.scan("Je veux en finir ce soir, 3 comprimés. I don't want to die.");
        }
    } else {
        LEXICON.scan(&text);
    }
}

/// What is attached, and pages: cleaned of names, made safe.
pub fn attachments(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let (class, kind) = match mode % 6 {
        0 => (AttachmentClass::Pdf, "application/pdf"),
        1 => (AttachmentClass::Picture, "image/png"),
        2 => (AttachmentClass::Picture, "image/jpeg"),
        3 => (AttachmentClass::Picture, "image/webp"),
        4 => (AttachmentClass::Document, "application/vnd.oasis.opendocument.text"),
        _ => {
            let html = String::from_utf8_lossy(rest);
            let safe = mime::html::safe_html(&html);
            assert!(!safe.to_ascii_lowercase().contains("<script"), "a script is left");
            mime::html::html_to_text(&html);
            return;
        }
    };
    let attachment = Attachment { name: "x".into(), media_type: kind.into(), bytes: rest.to_vec().into(), class };
    let _ = mime::strip_metadata(&attachment);
    mime::attached_text(&attachment);
}
