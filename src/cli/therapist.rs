//! `cadre therapist …`: a therapist's key on the first day.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::args::Therapist as Args;
use super::{Done, FAILED, Failed, USAGE, fail, open, print_json, utc};
use crate::app::AppError;
use crate::app::context::{Context, Therapist};
use crate::app::enrol::therapist::{self as welcome, WelcomeError};
use crate::domain::code_words;
use crate::model::TherapistId;
use crate::pgp::Purpose;

/// Runs one of the therapist commands.
pub async fn therapist(config: &Path, json: bool, command: Args) -> Done {
    let ctx = open(config).await?;
    let (Args::Welcome { id } | Args::Confirm { id, .. } | Args::Key { id }) = &command;
    let therapist = find(&ctx, id)?;
    let done = match command {
        Args::Welcome { .. } => ask(&ctx, json, &therapist).await,
        Args::Confirm { words, .. } => confirm(&ctx, json, &therapist, words).await,
        Args::Key { .. } => key(&ctx, json, &therapist),
    };
    ctx.store.close().await;
    done
}

fn find(ctx: &Context, id: &str) -> Result<std::sync::Arc<Therapist>, Failed> {
    ctx.therapist(&TherapistId(id.to_owned())).ok_or_else(|| {
        let therapists = ctx.therapists();
        let known: Vec<&str> = therapists.iter().map(|therapist| therapist.id().0.as_str()).collect();
        eprintln!("cadre: there is no such therapist; the configuration has {}", known.join(", "));
        USAGE
    })
}

fn refuse(error: &WelcomeError) -> Failed {
    fail(error)
}

async fn ask(ctx: &Context, json: bool, therapist: &Therapist) -> Done {
    let asked = async {
        let mut tx = ctx.store.begin().await?;
        let asked = welcome::welcome(ctx, &mut tx, therapist, ctx.clock.now()).await?;
        if asked.is_ok() {
            tx.commit().await?;
        }
        Ok::<_, AppError>(asked)
    };
    asked.await.map_err(|error| fail(&error))?.map_err(|error| refuse(&error))?;
    if json {
        return print_json(&json!({ "therapist": therapist.id().0, "asked": true }));
    }
    println!("{} is asked for their key with the next `cadre run`", therapist.id());
    println!("When the signed answer has come: `cadre therapist confirm {}`", therapist.id());
    Ok(())
}

async fn confirm(ctx: &Context, json: bool, therapist: &Therapist, words: Option<String>) -> Done {
    let now = ctx.clock.now();
    let offered = async {
        let mut tx = ctx.store.begin().await?;
        welcome::offered(&mut tx, therapist, now).await
    };
    let offered = offered.await.map_err(|error: AppError| fail(&error))?.map_err(|error| refuse(&error))?;
    let (own, practice) = (offered.fingerprint(), ctx.key.certificate().fingerprint());
    let shown = code_words::words(&own, &practice, therapist.settings.language);
    let words = match words {
        Some(words) => words,
        None => {
            eprintln!("The therapist's key:  {}", super::client::grouped(&own));
            eprintln!("The practice's key:   {}", super::client::grouped(&practice));
            eprintln!("Telephone the therapist: both fingerprints must be those that their own program shows.");
            eprintln!("Words of the two keys: {}", shown.join(" "));
            ask_words()?
        }
    };
    let words: Vec<String> = words
        .split(|c: char| c.is_whitespace() || matches!(c, '-' | ','))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let confirmed = async {
        let mut tx = ctx.store.begin().await?;
        let confirmed = welcome::confirm(ctx, &mut tx, therapist, &offered, &words, now).await?;
        if confirmed.is_ok() {
            tx.commit().await?;
        }
        Ok::<_, AppError>(confirmed)
    };
    confirmed.await.map_err(|error| fail(&error))?.map_err(|error| refuse(&error))?;
    if json {
        return print_json(&json!({ "therapist": therapist.id().0, "fingerprint": own }));
    }
    println!("{} is pinned to {}", therapist.id(), super::client::grouped(&own));
    Ok(())
}

fn ask_words() -> Result<String, Failed> {
    if std::io::stdin().is_terminal() {
        eprint!("Type the words after comparing: ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| fail(&error))?;
    if line.trim().is_empty() {
        eprintln!("cadre: no words were given; nothing was written");
        return Err(FAILED);
    }
    Ok(line)
}

fn key(ctx: &Context, json: bool, therapist: &Therapist) -> Done {
    let now = ctx.clock.now();
    let certificate = therapist.certificate();
    let usable = certificate.map(|c| c.usable_for(Purpose::Encrypt, now).map_err(|e| e.to_string()));
    if json {
        return print_json(&json!({
            "therapist": therapist.id().0,
            "fingerprint": certificate.map(crate::pgp::Certificate::fingerprint),
            "expires": certificate.and_then(|c| c.expires_at(now)).map(utc),
            "usable": matches!(usable, Some(Ok(()))),
            "problem": match usable { Some(Err(problem)) => json!(problem), _ => json!(null) },
        }));
    }
    match certificate {
        Some(certificate) => println!("{}", super::client::grouped(&certificate.fingerprint())),
        None => println!("no key yet: `cadre therapist welcome {}` asks for it", therapist.id()),
    }
    Ok(())
}
