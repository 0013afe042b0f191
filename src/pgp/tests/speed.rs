//! `cargo test --release --lib pgp::tests::speed -- --ignored --nocapture`

use std::time::Instant;

use super::super::*;
use super::support::*;

#[test]
#[ignore = "a measurement, not a check"]
fn speed_of_sealing_and_opening() {
    let (practice, marie, certs) = (practice(), key("marie"), vec![cert("marie")]);
    let text = vec![b'x'; 4096];
    let rounds = 1000;
    let time = |what: &str, work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        println!("{what}: {:.3} ms", start.elapsed().as_secs_f64() * 1000.0 / f64::from(rounds));
    };
    let sealed = seal(&text, &[practice.certificate()], &marie, now()).unwrap();
    time("seal 4 KiB to one", &mut || {
        seal(&text, &[practice.certificate()], &marie, now()).unwrap();
    });
    time("seal 4 KiB to two", &mut || {
        seal(&text, &[practice.certificate(), &certs[0]], &marie, now()).unwrap();
    });
    time("open 4 KiB", &mut || {
        open(&sealed, &[&practice], &certs, now(), &Limits::default()).unwrap();
    });
}

/// The most memory that the process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[test]
#[ignore = "a measurement, not a check; run it alone"]
fn memory_of_a_bomb_and_of_the_largest_letter() {
    use std::io::Write;

    use sequoia_openpgp::serialize::stream::{Compressor, LiteralWriter, Message};
    let (practice, marie, certs) = (practice(), key("marie"), vec![cert("marie")]);
    let mut bomb = Vec::new();
    let compressor = Compressor::new(Message::new(&mut bomb)).build().unwrap();
    let mut literal = LiteralWriter::new(compressor).build().unwrap();
    let zeros = vec![0; 1 << 20];
    (0..500).for_each(|_| literal.write_all(&zeros).unwrap());
    literal.finalize().unwrap();
    let bomb = encrypt(practice.certificate(), &bomb);
    println!("before: {} MiB", peak());
    let start = Instant::now();
    assert_eq!(read(&bomb, &practice, &certs).unwrap_err(), OpenError::TooLarge);
    println!("bomb of 500 MiB in {} KiB: {} MiB, {:?}", bomb.len() / 1024, peak(), start.elapsed());
    let letter = vec![b'x'; 25 << 20];
    let start = Instant::now();
    let sealed = seal(&letter, &[practice.certificate()], &marie, now()).unwrap();
    println!("letter of 25 MiB sealed: {} MiB, {:?}", peak(), start.elapsed());
    let start = Instant::now();
    read(&sealed, &practice, &certs).unwrap();
    println!("opened: {} MiB, {:?}", peak(), start.elapsed());
}
