//! `cadre absent`: the unplanned absence, entered by the operator.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::args::Absent;
use super::{Done, FAILED, USAGE, fail, open, print_json, utc};
use crate::app::absence::{self, Entered, Wanted};
use crate::app::context::Context;
use crate::domain::absence::Days;
use crate::model::{AbsenceOrigin, TherapistId};

/// Enters or ends an absence; its letters leave with the next pass.
pub async fn absent(config: &Path, json: bool, args: &Absent) -> Done {
    let ctx: Context = open(config).await?;
    let id = known(&ctx, "THERAPIST", &args.therapist)?;
    let locum = args.locum.as_deref().map(|locum| known(&ctx, "--locum", locum)).transpose()?;
    let now = ctx.clock.now();
    if args.back { back(&ctx, json, &id, now).await } else { enter(&ctx, json, &id, args, locum, now).await }
}

fn known(ctx: &Context, what: &str, typed: &str) -> Result<TherapistId, super::Failed> {
    let id = TherapistId(typed.to_owned());
    if ctx.therapist(&id).is_some() {
        return Ok(id);
    }
    let known: Vec<String> = ctx.therapists().iter().map(|therapist| therapist.id().0.clone()).collect();
    eprintln!("cadre: {what}: there is no such therapist; the configuration has {}", known.join(", "));
    Err(USAGE)
}

async fn enter(
    ctx: &Context,
    json: bool,
    id: &TherapistId,
    args: &Absent,
    locum: Option<TherapistId>,
    now: DateTime<Utc>,
) -> Done {
    let today = ctx.therapist(id).map_or_else(|| now.date_naive(), |therapist| therapist.schedule.local_day(now));
    let days = Days { first: args.from.unwrap_or(today), last: args.until };
    let wanted = Wanted { days, locum, origin: AbsenceOrigin::Operator };
    let work = async {
        let mut tx = ctx.store.begin().await?;
        let entered = absence::enter(ctx, &mut tx, id, wanted, now).await?;
        if entered.is_ok() {
            tx.commit().await?;
        }
        Ok::<_, crate::app::AppError>(entered)
    };
    match work.await.map_err(|error| fail(&error))? {
        Ok(entered) => say(json, id, &entered),
        Err(why) => {
            eprintln!("cadre: the absence isn't entered: {why}");
            Err(FAILED)
        }
    }
}

fn say(json: bool, id: &TherapistId, entered: &Entered) -> Done {
    let locum = entered.locum.as_ref().map(|locum| locum.id().0.clone());
    if json {
        return print_json(&json!({
            "therapist": id.0,
            "from": entered.days.first,
            "until": entered.days.last,
            "locum": locum,
            "clients": entered.clients,
            "announced": entered.announced.map(utc),
        }));
    }
    let until = entered.days.last.map_or_else(|| "an unknown day".to_owned(), |last| last.to_string());
    println!("{id} is absent from {} to {until}; no slots, and nothing is missed", entered.days.first);
    match locum {
        Some(locum) => println!("{locum} stands in for clients who agreed"),
        None => println!("nobody stands in"),
    }
    match entered.announced {
        Some(at) => println!("{} client(s) are told from {} on", entered.clients, utc(at)),
        None => println!("{} client(s) are told with the next pass, or on the first day", entered.clients),
    }
    Ok(())
}

async fn back(ctx: &Context, json: bool, id: &TherapistId, now: DateTime<Utc>) -> Done {
    let work = async {
        let mut tx = ctx.store.begin().await?;
        let ended = absence::back(ctx, &mut tx, id, now).await?;
        tx.commit().await?;
        Ok::<_, crate::app::AppError>(ended)
    };
    let Some(ended) = work.await.map_err(|error| fail(&error))? else {
        eprintln!(
            "cadre: {id} isn't absent: an absence that was over has ended by itself, one that is to come can be withdrawn three days later"
        );
        return Err(FAILED);
    };
    if json {
        return print_json(&json!({
            "therapist": id.0,
            "withdrawn": ended.withdrawn.map(|days| json!({ "from": days.first, "until": days.last })),
            "next": ended.next.map(utc),
            "clients": ended.clients,
        }));
    }
    match ended.withdrawn {
        Some(days) => println!("the absence from {} is withdrawn; {} client(s) are told", days.first, ended.clients),
        None => println!("{id} is back; {} client(s) are told", ended.clients),
    }
    if let Some(next) = ended.next {
        println!("letters leave again at {}", utc(next));
    }
    Ok(())
}
