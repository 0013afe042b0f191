//! The table of figures (`make bench`): measured side by side in one run on the same messages, on a real Dovecot on
//! loopback, the database durable (`synchronous = FULL`), Curve25519 keys, 2 kB letters signed inside and encrypted.
//! Figures are printed, not asserted.
//!
//! ```text
//! cargo bench --bench figures -- [--json] [only=filing,latency,replies,memory,clinic,peers]
//! CADRE_BENCH=quick          small numbers: a few minutes
//! CADRE_BENCH_LETTERS=4000   the backlog
//! CADRE_BENCH_ROUNDS=5       how often it is filed
//! CADRE_BENCH_REPLIES=10000  due at one slot
//! CADRE_BENCH_CLIENTS=100000 and CADRE_BENCH_MESSAGES=1000000: the history
//! CADRE_BENCH_CLINIC=FOLDER  keeps the history there, and takes it from there the next time
//! ```

mod clinic;
#[path = "../../tests/common/mod.rs"]
mod common;
mod own;
mod peers;
mod report;
mod world;

use std::path::{Path, PathBuf};

use anyhow::Result;
use cadre::pgp::PracticeKey;
use chrono::TimeDelta;

use clinic::Size;
use report::{Goal, Report, Row};
use world::World;

/// How much is done.
struct Sizes {
    letters: usize,
    /// How often the backlog is filed.
    rounds: usize,
    latencies: usize,
    replies: usize,
    clinic: Size,
}

fn is_quick() -> bool {
    std::env::var("CADRE_BENCH").is_ok_and(|word| word == "quick")
}

fn number(name: &str, usual: usize, quick: usize) -> usize {
    let given = std::env::var(format!("CADRE_BENCH_{name}")).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if is_quick() { quick } else { usual })
}

impl Sizes {
    fn read() -> Self {
        let clients = number("CLIENTS", 100_000, 1000);
        Self {
            letters: number("LETTERS", 4000, 500),
            rounds: number("ROUNDS", 5, 1).max(1),
            latencies: number("LATENCIES", 100, 30),
            replies: number("REPLIES", 10_000, 500),
            clinic: Size {
                clients,
                messages: number("MESSAGES", 1_000_000, 10_000),
                therapists: (clients / 500).max(2),
                work: number("WORK", 500, 200),
            },
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one, the least and the greatest.
fn spread(mut many: Vec<f64>) -> (f64, f64, f64) {
    many.sort_by(f64::total_cmp);
    (many[many.len() / 2], many[0], many[many.len() - 1])
}

fn filing(world: &World, sizes: &Sizes, letters: &[Vec<u8>], report: &mut Report) -> Result<()> {
    let therapist = PracticeKey::generate("dr@exemple.example", None, world.at - TimeDelta::days(9))?;
    let therapist = PracticeKey::load(&therapist.secret, None)?;
    let some = &letters[..letters.len().min(1000)];
    let bare = || own::bare(world, some, therapist.certificate());
    // In turns, since the machine's neighbours take a share of it that changes: each backlog is compared with the
    // cryptography right before and right after it, and the middle one of the rounds counts.
    let mut bares = vec![bare()?];
    let filings = ["delete", "folders"];
    let mut rates = filings.map(|_| Vec::new());
    let mut ratios = filings.map(|_| Vec::new());
    for _ in 0..sizes.rounds {
        for (n, filing) in filings.into_iter().enumerate() {
            let (lab, practice) = own::settled(world, filing, "daily")?;
            let rate = own::backlog(&lab, &practice, letters)?;
            let (before, after) = (bares[bares.len() - 1], bare()?);
            ratios[n].push(rate.a_second / f64::midpoint(before, after));
            rates[n].push(rate);
            bares.push(after);
        }
    }
    let all = own::bare_on_all(world, some, therapist.certificate())?;
    let (bare, ..) = spread(bares);
    report.add(Row::new("bare cryptography of filing, one thread", bare, "/s", None, String::new()));
    report.add(Row::new("the same on all cores at once", all, "/s", None, String::new()));
    for ((filing, rates), ratios) in filings.into_iter().zip(rates).zip(ratios) {
        let (cpu, ..) = spread(rates.iter().map(|rate| rate.cpu_ms).collect());
        let (rate, ..) = spread(rates.iter().map(|rate| rate.a_second).collect());
        let peak = rates.iter().map(|rate| rate.peak).max().unwrap_or(0);
        let note = format!("{cpu:.2} ms of all cores each");
        let what = format!("filing a backlog ({filing})");
        report.add(Row::new(&what, rate, "/s", Some(Goal::AtLeast(500.0)), note));
        let what = format!("the same, of the bare cryptography ({filing})");
        // The figure to reach is of originals that are removed; a folder's copies are work of Dovecot's besides.
        let goal = (filing == "delete").then_some(Goal::AtLeast(0.6));
        let (ratio, least, most) = spread(ratios);
        let note = format!("{least:.2} to {most:.2} in {} rounds", sizes.rounds);
        report.add(Row::new(&what, ratio, "", goal, note));
        let what = format!("memory while a backlog is filed ({filing})");
        report.add(Row::new(&what, megabytes(peak), "MB", Some(Goal::AtMost(256.0)), "peak".into()));
    }
    Ok(())
}

fn latency(world: &World, sizes: &Sizes, report: &mut Report) -> Result<()> {
    let (times, rest) = own::latency(world, sizes.latencies)?;
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    let note = format!("p99 {:.0} ms, of {}", at(0.99), times.len());
    report.add(Row::new("arrival to handed to SMTP, median", at(0.5), "ms", Some(Goal::AtMost(50.0)), note));
    report.add(Row::new("memory at rest", megabytes(rest), "MB", Some(Goal::AtMost(64.0)), String::new()));
    Ok(())
}

fn replies(world: &World, sizes: &Sizes, report: &mut Report) -> Result<()> {
    let rate = own::replies(world, sizes.replies)?;
    let what = format!("{} replies due at one slot", sizes.replies);
    let note = format!("{:.2} ms of all cores each", rate.cpu_ms);
    report.add(Row::new(&what, rate.a_second, "/s", Some(Goal::AtLeast(300.0)), note));
    Ok(())
}

fn memory(world: &World, report: &mut Report) -> Result<()> {
    let peak = megabytes(own::large(world)?);
    report.add(Row::new("memory with letters of 25 MB", peak, "MB", Some(Goal::AtMost(256.0)), "peak".into()));
    Ok(())
}

fn clinic(world: &World, size: Size, kept: Option<&Path>, report: &mut Report) -> Result<()> {
    for one in clinic::compare(world, size, kept)? {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        let note = format!("{:.0} ms empty, {:.0} ms full", ms(one.empty), ms(one.full));
        let what = format!("{} with {} messages, of empty", one.what, size.messages);
        report.add(Row::new(&what, one.ratio(), "", Some(Goal::AtLeast(0.9)), note));
    }
    Ok(())
}

fn others(world: &World, letters: &[Vec<u8>], report: &mut Report) {
    for peer in peers::all(world, letters) {
        let (figure, note) = match peer.a_second {
            Ok(rate) => (Some(rate), peer.does.to_owned()),
            Err(why) => (None, format!("left out: {why}")),
        };
        let what = "filing, as far as it does that".to_owned();
        let program = peer.name.to_owned();
        report.add(Row { what, program, figure, unit: "/s", goal: None, reached: None, note });
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let only: Option<Vec<&str>> =
        arguments.iter().find_map(|argument| argument.strip_prefix("only=")).map(|list| list.split(',').collect());
    let wanted = |part: &str| only.as_ref().is_none_or(|only| only.contains(&part));
    let sizes = Sizes::read();
    let kept = std::env::var_os("CADRE_BENCH_CLINIC").map(PathBuf::from);
    if let Some(folder) = &kept {
        std::fs::create_dir_all(folder)?;
    }
    let world = World::make(kept.as_deref())?;
    let mut report = Report {
        machine: report::machine(),
        conditions: format!(
            "{} letters of 2 kB, signed and encrypted, of {} clients; Dovecot on loopback, SQLite with synchronous = FULL",
            sizes.letters,
            world::WRITERS
        ),
        rows: Vec::new(),
    };
    report.begin();
    let letters = if wanted("filing") || wanted("peers") { world.letters(0..sizes.letters)? } else { Vec::new() };
    if wanted("filing") {
        filing(&world, &sizes, &letters, &mut report)?;
    }
    if wanted("peers") {
        others(&world, &letters, &mut report);
    }
    if wanted("latency") {
        latency(&world, &sizes, &mut report)?;
    }
    if wanted("replies") {
        replies(&world, &sizes, &mut report)?;
    }
    if wanted("memory") {
        memory(&world, &mut report)?;
    }
    if wanted("clinic") {
        clinic(&world, sizes.clinic, kept.as_deref(), &mut report)?;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    // Small numbers say how it is done, and not how quick it is.
    if only.is_none() && !is_quick() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figures.svg");
        report.chart(&chart)?;
        println!("\nThe chart is in benches/figures.svg.");
    }
    Ok(())
}
