//! Property test of the whole: random letters, replies, commands, silences, absences and clock jumps for five
//! simulated years over 50 clients and 3 therapists, against the real application layer in this process.
//!
//! `CADRE_SEED` chooses another story, `CADRE_YEARS`, `CADRE_CLIENTS` and `CADRE_SEASONS` (times in which people write,
//! one a year by default) a longer or fuller one; `CADRE_TRACE=1` shows how far it is.

#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

mod common;

#[macro_use]
#[path = "whole/story.rs"]
mod story;

#[path = "whole/care.rs"]
mod care;
#[path = "whole/chance.rs"]
mod chance;
#[path = "whole/clients.rs"]
mod clients;
#[path = "whole/model.rs"]
mod model;
#[path = "whole/office.rs"]
mod office;
#[path = "whole/people.rs"]
mod people;
#[path = "whole/play.rs"]
mod play;
#[path = "whole/therapists.rs"]
mod therapists;

use chrono::{TimeZone as _, Utc};

fn given(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn five_years_of_a_practice_keep_every_promise() {
    let seed = given("CADRE_SEED", 1);
    let years = given("CADRE_YEARS", 5);
    let clients = given("CADRE_CLIENTS", 50);
    let seasons = given("CADRE_SEASONS", years);
    let started = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let told = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let start = Utc.with_ymd_and_hms(2026, 1, 5, 5, 0, 0).unwrap();
            let years = i64::try_from(years).unwrap();
            let mut play =
                play::Play::new(seed, start, years, usize::try_from(clients).unwrap(), seasons.cast_signed()).await;
            play.run().await;
            println!("{} passes in {:?}", play.passes, started.elapsed());
            for (what, count) in &play.model.tally.0 {
                println!("{count:>7} {what}");
            }
        });
    });
    if told.is_err() {
        story::tell();
    }
    let broken = story::all_broken();
    if told.is_err() || !broken.is_empty() {
        for what in broken.iter().take(40) {
            println!("{what}");
        }
        panic!(
            "the story of CADRE_SEED={seed} CADRE_YEARS={years} CADRE_CLIENTS={clients} CADRE_SEASONS={seasons} breaks {} promises",
            broken.len()
        );
    }
}
