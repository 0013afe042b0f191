//! Row 8: what wants all memory or all time gets neither, and other mail goes on meanwhile.
//!
//! The limit is RLIMIT_DATA, set on the running daemon: it counts what a program can write to. RLIMIT_AS would count
//! the address space that the allocator reserves for each thread (64 MiB each, never touched), and a control group needs
//! a machine that lets a test make one. The most that was resident is measured besides (VmHWM).

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::types::CompressionAlgorithm::{BZip2, Zip, Zlib};

use crate::common::lab::{PATIENCE, wait};
use crate::common::scene::{OFFICE, Scene, march};
use crate::common::{Daemon, Lab, LabOptions, Letter, PracticeOptions, Smtp};
use crate::fuzz::forge::{
    compressed, encrypted_to, file, head, literal, multipart, packet, pgp_mime, quine, secret, signed, text, zeros,
};
use crate::fuzz::seeds::document;
use crate::fuzz::world::MARIE;

/// What the process may write to, and may have resident.
const LIMIT: u64 = 256 << 20;

/// A PDF with a stream of objects that unpacks to 200 MiB.
fn pdf() -> Vec<u8> {
    use lopdf::{Document, Object, Stream, dictionary};
    let mut pdf = Document::with_version("1.5");
    let mut content = b"99 0 ".to_vec();
    content.resize(200 << 20, b' ');
    let mut stream = Stream::new(dictionary! { "Type" => "ObjStm", "N" => 1, "First" => 5 }, content);
    stream.compress().expect("memory");
    pdf.add_object(stream);
    let pages = pdf.add_object(dictionary! { "Type" => "Pages", "Kids" => Vec::<Object>::new(), "Count" => 0 });
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    pdf.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).expect("memory");
    bytes
}

/// A picture of two thousand million pixels each way, in some dozen octets.
fn png() -> Vec<u8> {
    use img_parts::png::PngChunk;
    let side = 0x7fff_ffff_u32.to_be_bytes();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [
        (*b"IHDR", [&side[..], &side, &[16, 6, 0, 0, 1]].concat()),
        (*b"IDAT", b"\x78\x9c\x03\x00\x00\x00\x00\x01".to_vec()),
        (*b"IEND", Vec::new()),
    ] {
        PngChunk::new(kind, content.into()).encoder().write_to(&mut bytes).expect("memory");
    }
    bytes
}

/// The largest picture that a JPEG can announce: sixteen gigabytes of pixels.
fn jpeg() -> Vec<u8> {
    let frame = [0xff, 0xc0, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0x12, 0x34, 0xff, 0xd9];
    [&[0xff, 0xd8][..], &frame, &scan].concat()
}

/// Mails of Marie's address, each of which wants more than it may have.
fn bombs(office: &Cert) -> Vec<(&'static str, Vec<u8>)> {
    let marie = secret("marie");
    let sealed = |entity: &str| {
        head(MARIE, "x") + &pgp_mime(&encrypted_to(std::slice::from_ref(office), &signed(&[&marie], entity.as_bytes())))
    };
    let inside = |packets: &[u8]| head(MARIE, "x") + &pgp_mime(&encrypted_to(std::slice::from_ref(office), packets));
    let with = |part: &str| sealed(&multipart("mixed", "", "o", &[&text("Voici."), part]));
    let gigabyte = zeros(Zip, 1 << 30);
    let layers = (0..300).fold(literal(b"x"), |inner, _| compressed(Zlib, &inner));
    let mut deep = head(MARIE, "x");
    for level in 0..1_000 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=\"b{level}\"\r\n\r\n--b{level}\r\n"));
    }
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(10_000)
    );
    let addresses = "a@b.example, ".repeat(1_000_000);
    let ids = " <a@b.example>\r\n".repeat(1_000_000);
    let page = format!("Content-Type: text/html\r\n\r\n{}", "<div title=\"</div>\">".repeat(6_000));
    let line = format!(
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\r\n",
        "=C3=A9".repeat(500_000)
    );
    let html = format!("Content-Type: text/html\r\n\r\n<p>{}</p>\r\n", "&eacute; ".repeat(210_000));
    let document = document(&vec![b' '; 300 << 20]);
    let odt = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    [
        ("300 MiB in some hundred octets", inside(&zeros(BZip2, 300 << 20))),
        ("300 MiB by deflate", inside(&zeros(Zip, 300 << 20))),
        ("a gigabyte in a megabyte", inside(&gigabyte)),
        ("a gigabyte in some hundred octets", inside(&compressed(BZip2, &compressed(Zip, &gigabyte)))),
        ("a message that contains itself", inside(&quine())),
        ("300 layers", inside(&layers)),
        ("100,000 packets", inside(&compressed(Zip, &[packet(10, b"PGP").repeat(100_000), literal(b"x")].concat()))),
        ("10,000 parts", head(MARIE, "x") + &parts),
        ("10,000 parts inside", sealed(&parts)),
        ("1,000 nested", deep.clone()),
        ("1,000 nested inside", sealed(&deep)),
        ("a million addresses", head(MARIE, "x").replace("To: ", &format!("To: {addresses}")) + &text("x")),
        ("a million References", format!("References:{ids}{}", head(MARIE, "x") + &text("x"))),
        ("a deep page", head(MARIE, "x") + &page),
        ("a long line", sealed(&line)),
        ("a page of references", sealed(&html)),
        ("a document", with(&file("a.docx", odt, &document))),
        ("a PDF", with(&file("a.pdf", "application/pdf", &pdf()))),
        ("a PNG of four million million million pixels", with(&file("a.png", "image/png", &png()))),
        ("a JPEG of four thousand million pixels", with(&file("a.jpg", "image/jpeg", &jpeg()))),
        ("a header of 100 MB", format!("X-Long: {}\r\n", "a".repeat(100 << 20)) + &head(MARIE, "x") + &text("x")),
    ]
    .into_iter()
    .map(|(what, mail)| (what, mail.into_bytes()))
    .collect()
}

/// Somebody else's reader follows it as deep as it is let.
#[test]
fn row_08_the_quine_has_no_end() -> Result<()> {
    use sequoia_openpgp::parse::{PacketParserBuilder, PacketParserResult};
    let quine = quine();
    ensure!(quine.len() < 256, "{} octets", quine.len());
    let mut read = PacketParserBuilder::from_bytes(&quine)?.max_recursion_depth(200).build()?;
    let mut deepest = 0;
    while let PacketParserResult::Some(packet) = read {
        deepest = deepest.max(packet.recursion_depth());
        if deepest >= 150 {
            return Ok(());
        }
        read = packet.recurse()?.1;
    }
    anyhow::bail!("it ends at level {deepest}")
}

fn peak(daemon: &Daemon) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

fn paul(scene: &Scene, n: usize) -> Result<()> {
    let letter = Letter::new(OFFICE, "Une lettre", &format!("Paul {n}.\n")).at(march(2, 9, 0));
    scene.paul.deliver(&scene.lab, &letter).map(drop)
}

fn filed(scene: &Scene, code: &str) -> Result<usize> {
    let thread = scene.thread(code)?;
    let messages = thread["messages"].as_array().cloned().unwrap_or_default();
    Ok(messages.iter().filter(|m| m["direction"] == "in" && m["state"] == "filed").count())
}

#[test]
fn row_08_bombs_stay_within_256_mib_and_other_mail_goes_on() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::Relay, max_message: 200 << 20, ..LabOptions::default() })?;
    let scene = Scene::with(lab, PracticeOptions::default())?;
    scene.practice.set_time(march(2, 9, 0))?;
    let office = Cert::from_bytes(&scene.office.certificate()?)?;
    let mut daemon = scene.practice.spawn_run()?;
    // The soft limit alone: the hard one could not be lifted again.
    let data = format!("--data={LIMIT}:");
    let limited = Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &data]).status()?;
    ensure!(limited.success(), "prlimit");
    // Behind each bomb an honest letter.
    for (n, (what, bomb)) in bombs(&office).into_iter().enumerate() {
        let start = Instant::now();
        scene.lab.append(OFFICE, "INBOX", &bomb, None).context(what)?;
        drop(bomb);
        paul(&scene, n)?;
        wait(what, PATIENCE, || {
            ensure!(daemon.lives(), "{what} ended the program:\n{}", daemon.text()?);
            Ok((scene.lab.mails(OFFICE, "INBOX")?.is_empty() && filed(&scene, &scene.c2)? == n + 1).then_some(()))
        })?;
        eprintln!("{what}: {:?}, at most {} MiB so far", start.elapsed(), peak(&daemon)? >> 20);
    }
    ensure!(peak(&daemon)? < LIMIT, "{} MiB were resident", peak(&daemon)? >> 20);
    daemon.end()?;
    // What passes a limit lies where a person looks, and nowhere else.
    let kept = scene.lab.mails(OFFICE, &scene.lab.folder(&["Cadre", "Attention"]))?.len();
    ensure!(kept >= 8, "{kept} kept: {:?}", scene.lab.census(OFFICE)?);
    Ok(())
}

/// A letter of Marie's nearly as large as is allowed, with a picture that is another for each `n`.
fn large(office: &Cert, n: u64) -> Result<String> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64 ^ (n << 7);
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let photo: Vec<u8> = (0..16_u32 << 17).flat_map(|_| noise()).collect();
    let body =
        multipart("mixed", "", "o", &[&text("Voici."), &file("a.bin", "audio/ogg", &[&b"OggS"[..], &photo].concat())]);
    let letter =
        encrypted_to(std::slice::from_ref(office), &compressed(Zip, &signed(&[&secret("marie")], body.as_bytes())));
    let letter = head(MARIE, "Photo") + &pgp_mime(&letter);
    ensure!((23_000_000..25_000_000).contains(&letter.len()), "{}", letter.len());
    Ok(letter)
}

#[test]
fn row_08_several_of_the_largest_letters_pass_within_256_mib_beside_small_ones() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: Smtp::Relay, max_message: 200 << 20, ..LabOptions::default() })?;
    let scene = Scene::with(lab, PracticeOptions::default())?;
    scene.practice.set_time(march(2, 9, 0))?;
    let office = Cert::from_bytes(&scene.office.certificate()?)?;
    for n in 0..3 {
        paul(&scene, n)?;
        scene.lab.append(OFFICE, "INBOX", large(&office, n as u64)?.as_bytes(), None)?;
        paul(&scene, 10 + n)?;
    }
    let mut daemon = scene.practice.spawn_run()?;
    let limited =
        Command::new("prlimit").args(["--pid", &daemon.pid().to_string(), &format!("--data={LIMIT}")]).status()?;
    ensure!(limited.success(), "prlimit");
    // One more comes while the others are under way.
    scene.lab.append(OFFICE, "INBOX", large(&office, 9)?.as_bytes(), None)?;
    paul(&scene, 20)?;
    wait("the large letters", PATIENCE, || {
        ensure!(daemon.lives(), "the large letters ended the program:\n{}", daemon.text()?);
        Ok(scene.lab.mails(OFFICE, "INBOX")?.is_empty().then_some(()))
    })?;
    eprintln!("large letters: at most {} MiB", peak(&daemon)? >> 20);
    ensure!(
        filed(&scene, &scene.c1)? == 4 && filed(&scene, &scene.c2)? == 7,
        "{:?}\n{}",
        scene.practice.json(&["journal", "show"])?,
        daemon.text()?
    );
    ensure!(peak(&daemon)? < LIMIT, "{} MiB were resident", peak(&daemon)? >> 20);
    daemon.end()?;
    Ok(())
}
