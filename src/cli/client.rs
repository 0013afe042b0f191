//! `cadre client …`.

mod erase;
mod export;
mod life;

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::args::{Client as Args, ClientAdd};
use super::{Done, FAILED, Failed, USAGE, fail, find_client, open, print_json, utc};
use crate::app::AppError;
use crate::app::context::{Context, Therapist};
use crate::app::enrol;
use crate::app::enrol::invite::{Invite, NotInvited};
use crate::app::life::change;
use crate::app::sealed_letters;
use crate::domain::lifecycle::{Actor, Event};
use crate::model::{Address, Channel, ClientState, Language, Mode, TherapistId};
use crate::pgp::{Certificate, Purpose};
use crate::store::{Care, Client, Consent, NewClient, StoreError};

/// Runs one of the client commands.
pub async fn client(config: &Path, json: bool, command: Args) -> Done {
    let ctx = Arc::new(open(config).await?);
    let done = match command {
        Args::Add(args) => add(&ctx, json, &args).await,
        Args::List => list(&ctx, json).await,
        Args::Show { code, reveal } => show(&ctx, json, &code, reveal).await,
        Args::Pause { code } => life::change(&ctx, json, &code, Event::Pause).await,
        Args::Resume { code } => life::change(&ctx, json, &code, Event::Resume).await,
        Args::Suspend { code, .. } => life::change(&ctx, json, &code, Event::Suspend).await,
        Args::Discharge { code, .. } => life::change(&ctx, json, &code, Event::Discharge).await,
        Args::Export { code, folder, notes } => export::write(&ctx, json, &code, &folder, notes).await,
        Args::Erase { code, yes, force, certificate } => {
            let wanted = erase::Wanted { code: &code, yes, force, certificate: certificate.as_deref() };
            erase::erase(&ctx, json, &wanted).await
        }
        Args::Hold { code, note, end } => erase::hold(&ctx, json, &code, note.as_deref(), end).await,
        Args::Key { code, pin, fingerprint } => key(&ctx, json, &code, pin.as_deref(), fingerprint.as_deref()).await,
    };
    ctx.store.close().await;
    done
}

/// Asks on a terminal; `-` and a missing terminal read one line of standard input.
fn ask(question: &str, given: Option<&str>, required: bool, flag: &str) -> Result<Option<String>, Failed> {
    let from_input = given == Some("-");
    if let (Some(text), false) = (given, from_input) {
        return Ok(Some(text.to_owned()));
    }
    let terminal = std::io::stdin().is_terminal();
    if !from_input && !terminal {
        if required {
            eprintln!("cadre: {flag} is missing: give it, or `{flag} -` to read it from standard input");
            return Err(USAGE);
        }
        return Ok(None);
    }
    if terminal {
        eprint!("{question}: ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| fail(&error))?;
    let line = line.trim().to_owned();
    if line.is_empty() && required {
        eprintln!("cadre: nothing was given for {flag}");
        return Err(USAGE);
    }
    Ok((!line.is_empty()).then_some(line))
}

fn bad(what: &str, error: &dyn std::error::Error) -> Failed {
    eprintln!("cadre: {what}: {error}");
    USAGE
}

async fn add(ctx: &Context, json: bool, args: &ClientAdd) -> Done {
    let typed = ask("The client's address", args.address.as_deref(), true, "--address")?.unwrap_or_default();
    let address = Address::parse(&typed).map_err(|error| bad("--address", &error))?;
    free_address(ctx, &address)?;
    let only = (ctx.therapists().len() == 1).then(|| ctx.therapists()[0].id().0.clone());
    let therapist = match args.therapist.clone().or(only) {
        Some(id) => id,
        None => ask("The therapist's id", None, true, "--therapist")?.unwrap_or_default(),
    };
    let Some(therapist) = ctx.therapist(&TherapistId(therapist)) else {
        let known: Vec<String> = ctx.therapists().iter().map(|therapist| therapist.id().0.clone()).collect();
        eprintln!("cadre: --therapist: there is no such therapist; the configuration has {}", known.join(", "));
        return Err(USAGE);
    };
    let language = match &args.language {
        Some(word) => word.parse::<Language>().map_err(|error| bad("--language", &error))?,
        None => ctx.config.practice.language,
    };
    let channel = match args.channel.as_deref().map(str::parse::<Channel>) {
        None => Channel::OpenPgp,
        Some(Ok(channel)) => channel,
        Some(Err(error)) => return Err(bad("--channel", &error)),
    };
    if channel == Channel::Pdf && args.certificate.is_some() {
        eprintln!(
            "cadre: --channel pdf: letters sealed with a passphrase need no certificate; leave one of the two out"
        );
        return Err(USAGE);
    }
    let mode = match args.mode.as_deref() {
        Some(word) => Some(word.parse::<Mode>().map_err(|error| bad("--mode", &error))?),
        None => None,
    };
    let gaps = ctx.config.frame_gaps(&therapist.settings);
    if !gaps.is_empty() {
        for gap in gaps {
            eprintln!("cadre: the frame lacks {}: complete the configuration first", gap.describe());
        }
        return Err(FAILED);
    }
    let certificate = read_certificate(ctx, args.certificate.as_deref())?;
    let pinned = certificate.is_some();
    let invite = Invite {
        address,
        language,
        known: args.known || args.active,
        mode,
        name: args.name.clone(),
        certificate: certificate.as_ref().map(enrol::stored),
    };
    let client = match &args.consent_note {
        Some(note) if args.active => admit(ctx, &therapist, invite, channel, note).await?,
        _ => self::invite(ctx, &therapist, invite, channel).await?,
    };
    if json {
        return print_json(&describe(&client));
    }
    println!("{}", client.code);
    if channel == Channel::Pdf {
        eprintln!("cadre: the passphrase to tell by voice goes to the therapist, encrypted, with the next `cadre run`");
        if !args.active {
            eprintln!("cadre: the letter about the frame leaves once the therapist has written /told");
        }
    } else if args.active && !pinned {
        eprintln!("cadre: no certificate is pinned: replies wait until `cadre client key {} --pin FILE`", client.code);
    } else if !args.active {
        let what = if pinned { "the letter about the frame" } else { "the invitation" };
        eprintln!("cadre: {what} leaves with the next `cadre run`");
    }
    Ok(())
}

/// Consent was given on paper.
async fn admit(
    ctx: &Context,
    therapist: &Therapist,
    invite: Invite,
    channel: Channel,
    note: &str,
) -> Result<Client, Failed> {
    let now = ctx.clock.now();
    let pinned = invite.certificate.is_some();
    let new = NewClient {
        therapist: therapist.id().clone(),
        state: ClientState::Request,
        channel,
        language: invite.language,
        address: invite.address,
        label: invite.name.clone(),
        name: invite.name,
        certificate: invite.certificate,
        consent_note: Some(note.to_owned()),
        consented_at: Some(now),
        created_at: now,
        care: Care { mode: invite.mode, ..Care::default() },
    };
    let added = async {
        let mut tx = ctx.store.begin().await?;
        let client = tx.add_client(new).await?;
        if let Err(forbidden) = change(ctx, &mut tx, &client, Event::Admit, Actor::Operator, now).await? {
            return Ok(Err(forbidden));
        }
        let client = tx.client(client.id).await?.unwrap_or(client);
        // The paper is about the frame as it stands today.
        let wording = enrol::frame::wording(ctx, &mut tx, therapist, (client.language, client.channel), now).await?;
        tx.add_consent(client.id, &Consent { wording, at: now, verdict: None }).await?;
        if channel == Channel::Pdf {
            sealed_letters::want(ctx, &mut tx, &client, now).await?;
        }
        tx.journal(now, "client-added", Some(&client.code), json!({ "state": client.state, "key": pinned })).await?;
        tx.commit().await?;
        Ok::<_, AppError>(Ok(client))
    };
    added.await.map_err(|error| fail(&error))?.map_err(|forbidden| fail(&forbidden))
}

/// As `/invite` does.
async fn invite(ctx: &Context, therapist: &Therapist, invite: Invite, channel: Channel) -> Result<Client, Failed> {
    let now = ctx.clock.now();
    let invited = async {
        let mut tx = ctx.store.begin().await?;
        let invited = enrol::invite::invite(ctx, &mut tx, therapist, invite, Actor::Operator, now).await?;
        if let Ok(client) = &invited {
            if channel == Channel::Pdf {
                sealed_letters::want(ctx, &mut tx, client, now).await?;
            }
            tx.commit().await?;
        }
        Ok::<_, AppError>(invited)
    };
    match invited.await.map_err(|error| fail(&error))? {
        Ok(client) => Ok(client),
        Err(NotInvited::Taken(code)) => {
            let whose = code.map_or_else(|| "somebody here".to_owned(), |code| format!("client {code}"));
            eprintln!("cadre: --address: it belongs to {whose} already");
            Err(FAILED)
        }
        Err(NotInvited::Gaps(missing)) => {
            eprintln!("cadre: the frame lacks {}: complete the configuration first", missing.join(", "));
            Err(FAILED)
        }
    }
}

/// An address belongs to one role.
fn free_address(ctx: &Context, address: &Address) -> Done {
    let operator = ctx.config.operator.address.as_ref() == Some(address);
    if *address == ctx.config.practice.address || ctx.therapist_by_address(address).is_some() || operator {
        eprintln!("cadre: --address: it belongs to the practice, a therapist or the operator already");
        return Err(FAILED);
    }
    Ok(())
}

fn read_certificate(ctx: &Context, path: Option<&Path>) -> Result<Option<Certificate>, Failed> {
    let Some(path) = path else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|error| {
        eprintln!("cadre: {} can't be read ({})", path.display(), error.kind());
        FAILED
    })?;
    let certificate = Certificate::from_bytes(&bytes).map_err(|error| {
        eprintln!("cadre: {}: {error}", path.display());
        FAILED
    })?;
    for purpose in [Purpose::Encrypt, Purpose::Sign] {
        certificate.usable_for(purpose, ctx.clock.now()).map_err(|error| {
            eprintln!("cadre: {}: the certificate can't be used: {error}", path.display());
            eprintln!("  ask its owner for one that is valid, can sign and can be encrypted to");
            FAILED
        })?;
    }
    let therapists = ctx.therapists();
    let mut pinned = therapists.iter().filter_map(|therapist| therapist.certificate());
    let taken = pinned.any(|own| own.fingerprint() == certificate.fingerprint())
        || ctx.own_fingerprints().contains(&certificate.fingerprint());
    if taken {
        eprintln!("cadre: {}: the certificate belongs to a therapist or the practice", path.display());
        return Err(FAILED);
    }
    Ok(Some(certificate))
}

fn describe(client: &Client) -> serde_json::Value {
    json!({
        "code": client.code,
        "state": client.state,
        "therapist": client.therapist.0,
        "channel": client.channel,
        "language": client.language,
        "fingerprint": client.fingerprint,
        "created": utc(client.created_at),
        "consented": client.consented_at.map(utc),
        "weekdays": client.weekdays.as_ref().map(|days| days.iter().map(ToString::to_string).collect::<Vec<_>>()),
    })
}

async fn all(ctx: &Context) -> Result<Vec<Client>, Failed> {
    let read = async {
        let mut tx = ctx.store.read().await?;
        let mut clients = Vec::new();
        for id in tx.client_ids().await? {
            match tx.client(id).await {
                Ok(client) => clients.extend(client),
                Err(error @ StoreError::Tampered { .. }) => super::complain(&error),
                Err(error) => return Err(error),
            }
        }
        Ok::<_, StoreError>(clients)
    };
    let mut clients = read.await.map_err(|error| fail(&error))?;
    clients.sort_by_key(|client| client.created_at);
    Ok(clients)
}

async fn list(ctx: &Context, json: bool) -> Done {
    let clients = all(ctx).await?;
    if json {
        return print_json(&clients.iter().map(describe).collect::<Vec<_>>());
    }
    if clients.is_empty() {
        println!("No clients yet: `cadre client add`.");
        return Ok(());
    }
    println!("{:<8} {:<12} {:<12} {:<8} key", "code", "state", "therapist", "channel");
    for client in clients {
        let key = match (client.channel, client.fingerprint.as_deref()) {
            (Channel::Pdf, _) => "sealed letters",
            (_, Some(f)) => &f[f.len().saturating_sub(16)..],
            (_, None) => "none: replies wait",
        };
        println!("{:<8} {:<12} {:<12} {:<8} {key}", client.code, client.state, client.therapist, client.channel);
    }
    Ok(())
}

async fn show(ctx: &Context, json: bool, code: &str, reveal: bool) -> Done {
    let client = find_client(ctx, code).await?;
    let mut facts = describe(&client);
    let read = async { ctx.store.read().await?.pdf_channel(client.id).await };
    if let Some(channel) = read.await.map_err(|error: StoreError| fail(&error))? {
        facts["passphrase"] = json!(if channel.told_at.is_some() { "told" } else { "made, not told yet" });
    }
    if let Some(since) = client.care.legal_hold {
        facts["legal_hold"] = json!(utc(since));
    }
    if reveal {
        if !std::io::stdout().is_terminal() {
            eprintln!("cadre: --reveal shows a name and an address: it works on a terminal only");
            return Err(USAGE);
        }
        let journalled = async {
            let mut tx = ctx.store.begin().await?;
            tx.journal(ctx.clock.now(), "revealed", Some(&client.code), json!({})).await?;
            tx.commit().await
        };
        journalled.await.map_err(|error: StoreError| fail(&error))?;
        facts["address"] = json!(client.address.as_typed());
        facts["name"] = json!(client.name);
        facts["label"] = json!(client.label);
        let note = async { ctx.store.read().await?.legal_hold(client.id).await };
        facts["legal_hold_note"] = json!(note.await.map_err(|error: StoreError| fail(&error))?);
    }
    if json {
        return print_json(&facts);
    }
    if let Some(facts) = facts.as_object() {
        for (key, value) in facts.iter().filter(|(_, value)| !value.is_null()) {
            println!("{key:<12} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
    }
    Ok(())
}

async fn key(ctx: &Context, json: bool, code: &str, pin: Option<&Path>, compared: Option<&str>) -> Done {
    let client = find_client(ctx, code).await?;
    let Some(path) = pin else {
        let certificate = ctx.client_certificate(&client);
        let now = ctx.clock.now();
        let usable = certificate.as_ref().map(|c| c.usable_for(Purpose::Encrypt, now).map_err(|e| e.to_string()));
        let facts = json!({
            "code": client.code,
            "fingerprint": client.fingerprint,
            "expires": certificate.as_ref().and_then(|c| c.expires_at(now)).map(utc),
            "usable": matches!(usable, Some(Ok(()))),
            "problem": match usable { Some(Err(problem)) => json!(problem), _ => json!(null) },
        });
        if json {
            return print_json(&facts);
        }
        match &client.fingerprint {
            Some(fingerprint) => println!("{}", grouped(fingerprint)),
            None if client.channel == Channel::Pdf => {
                println!("no certificate is pinned: letters are sealed with a passphrase");
            }
            None => println!("no certificate is pinned: replies wait"),
        }
        return Ok(());
    };
    let Some(certificate) = read_certificate(ctx, Some(path))? else { return Err(USAGE) };
    let fingerprint = certificate.fingerprint();
    let typed = match compared {
        Some(typed) => Some(typed.to_owned()),
        None => {
            eprintln!("The certificate's fingerprint is\n  {}", grouped(&fingerprint));
            ask("Type it (or its last 16 digits) after comparing it by voice", None, true, "--fingerprint")?
        }
    };
    let digits: String = typed.unwrap_or_default().chars().filter(char::is_ascii_hexdigit).collect();
    let digits = digits.to_ascii_uppercase();
    if digits.len() < 16 || !fingerprint.ends_with(&digits) {
        eprintln!("cadre: that is not this certificate's fingerprint; nothing was pinned");
        return Err(FAILED);
    }
    let pinned = async {
        let mut tx = ctx.store.begin().await?;
        let stored = enrol::stored(&certificate);
        let now = ctx.clock.now();
        let asked = enrol::accept::pin(ctx, &mut tx, &client, &stored, None, Actor::Operator, now).await?;
        if asked.is_some() {
            tx.commit().await?;
        }
        Ok::<_, AppError>(asked)
    };
    let Some(asked) = pinned.await.map_err(|error| fail(&error))? else {
        eprintln!("cadre: {}", StoreError::CertificateTaken);
        return Err(FAILED);
    };
    if json {
        return print_json(&json!({ "code": client.code, "fingerprint": fingerprint, "asked": asked }));
    }
    println!("{} is pinned to {}", client.code, grouped(&fingerprint));
    if asked {
        eprintln!("cadre: the letter about the frame leaves with the next `cadre run`");
    }
    Ok(())
}

/// A fingerprint in groups of four, for reading aloud.
pub(super) fn grouped(fingerprint: &str) -> String {
    fingerprint
        .as_bytes()
        .chunks(4)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
