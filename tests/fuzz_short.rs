//! The fuzz targets of `fuzz/` on their seeds and some thousand deterministic mutations of them: what `make fuzz` does
//! for hours, in seconds and without its tools.

#[expect(dead_code, reason = "the forger's tools are used by `threats`")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{forge, seeds, targets};

/// Words that lead a parser somewhere.
const TOKENS: [&[u8]; 24] = [
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"--",
    b"From: marie@client.example\r\n",
    b"Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n",
    b"Content-Type: multipart/encrypted; boundary=b\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----END PGP SIGNATURE-----",
    b"=?utf-8?q?=40?=",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"<",
    b">",
    b"\"",
    b"(",
    b"/to C-7K2M\n",
    b"> ",
    b"<!--",
    b"\x80\x00\xff\xff",
    b"Auto-Submitted: auto-replied\r\n",
];

/// A small generator with a fixed seed: the same mutations on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (below.max(1) as u64)).unwrap_or_default()
    }

    fn mutate(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.roll(4) {
            let at = self.roll(data.len() + 1);
            let until = (at + self.roll(64)).min(data.len());
            match self.roll(7) {
                0 if at < data.len() => data[at] ^= 1 << self.roll(8),
                1 => drop(data.splice(at..at, TOKENS[self.roll(TOKENS.len())].iter().copied())),
                2 => drop(data.drain(at..until)),
                3 => {
                    let piece = data[at..until].to_vec();
                    let times = 1 + self.roll(8);
                    data.splice(at..at, piece.repeat(times));
                }
                4 => {
                    let from = self.roll(other.len() + 1);
                    let piece = &other[from..(from + self.roll(400)).min(other.len())];
                    data.splice(at..until, piece.iter().copied());
                }
                5 => data.truncate(at.max(1)),
                _ if at < data.len() => data[at] = u8::try_from(self.roll(256)).unwrap_or_default(),
                _ => {}
            }
        }
        data.truncate(200_000);
        data
    }
}

/// Runs a target over its seeds and `rounds` mutations; `CADRE_FUZZ_ROUNDS` multiplies them.
fn run(target: fn(&[u8]), seeds: &[Vec<u8>], rounds: usize) {
    let times = std::env::var("CADRE_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    seeds.iter().for_each(|seed| target(seed));
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    for _ in 0..rounds * times {
        let (seed, other) = (&seeds[dice.roll(seeds.len())], &seeds[dice.roll(seeds.len())]);
        let data = dice.mutate(seed, other);
        if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
            eprintln!("found by: {:?}", String::from_utf8_lossy(&data));
            std::panic::resume_unwind(panic);
        }
    }
}

fn bytes(texts: Vec<String>) -> Vec<Vec<u8>> {
    texts.into_iter().map(String::into_bytes).collect()
}

#[test]
fn whole_messages_are_decided_without_panic_or_forgery() {
    run(targets::intake, &seeds::mails(), 1_000);
}

#[test]
fn what_is_inside_the_encryption_is_decided_without_panic_or_forgery() {
    let marie = forge::secret("marie");
    let mut inside = Vec::new();
    for entity in seeds::signed_entities() {
        inside.push([&[1], entity.as_bytes()].concat());
        inside.push([vec![2], forge::signed(&[&marie], entity.as_bytes())].concat());
        inside.push([&[3], entity.as_bytes()].concat());
    }
    run(targets::intake, &inside, 1_000);
}

#[test]
fn commands_are_read_without_panic() {
    run(targets::commands, &bytes(seeds::orders()), 3_000);
}

#[test]
fn failure_notices_are_read_without_panic() {
    run(targets::dsn, &bytes(seeds::notices()), 1_000);
}

#[test]
fn addresses_are_read_without_panic() {
    run(targets::address, &bytes(seeds::froms()), 5_000);
}

#[test]
fn lexicons_are_read_and_letters_scanned_without_panic() {
    run(targets::lexicon, &seeds::lexicons(), 1_000);
}

#[test]
fn attachments_and_pages_are_cleaned_without_panic() {
    run(targets::attachments, &seeds::attachments(), 3_000);
}
