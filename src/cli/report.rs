//! `cadre report breach`.

use std::path::Path;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Done, Failed, USAGE, fail, open, print_json};
use crate::app::breach;
use crate::model::Language;

/// Prints what was there to be taken in a period.
pub async fn breach(config: &Path, json: bool, from: &str, to: Option<&str>, language: Option<&str>) -> Done {
    let ctx = open(config).await?;
    let report = async {
        let language = match language.map(str::parse::<Language>) {
            None => ctx.config.practice.language,
            Some(Ok(language)) => language,
            Some(Err(error)) => {
                eprintln!("cadre: --language: {error}");
                return Err(USAGE);
            }
        };
        let zone = ctx.config.practice.timezone;
        let from = moment("--from", from, false, zone)?;
        let to = match to {
            Some(to) => moment("--to", to, true, zone)?,
            None => ctx.clock.now(),
        };
        if to < from {
            eprintln!("cadre: --to is before --from: exchange them");
            return Err(USAGE);
        }
        let report = breach::report(&ctx, from, to, language).await.map_err(|error| fail(&error))?;
        if json {
            return print_json(&report);
        }
        print!("{}", breach::text(&ctx, &report, language));
        Ok(())
    };
    let done = report.await;
    ctx.store.close().await;
    done
}

/// A day (its beginning, or with `end` its last instant) in the practice's zone, or a moment.
fn moment(flag: &str, typed: &str, end: bool, zone: Tz) -> Result<DateTime<Utc>, Failed> {
    if let Ok(at) = DateTime::parse_from_rfc3339(typed) {
        return Ok(at.to_utc());
    }
    let day = typed.parse::<NaiveDate>().ok();
    let day = day.and_then(|day| if end { day.succ_opt() } else { Some(day) });
    // Where midnight doesn't exist that day, the next hour does.
    let begins = |day: NaiveDate| {
        let midnight = day.and_time(NaiveTime::MIN);
        let place = |naive: chrono::NaiveDateTime| naive.and_local_timezone(zone).earliest();
        place(midnight).or_else(|| place(midnight + TimeDelta::hours(1)))
    };
    match day.and_then(begins) {
        Some(at) => Ok(at.to_utc() - TimeDelta::microseconds(i64::from(end))),
        None => {
            eprintln!("cadre: {flag}: write a day such as 2026-03-02, or a moment such as 2026-03-02T14:00:00Z");
            Err(USAGE)
        }
    }
}
