//! What a person gets who asked to be forgotten: what was erased and what remains, without a name, signed.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::app::AppError;
use crate::app::compose::MailError;
use crate::app::context::Context;
use crate::model::{Filing, Language};
use crate::pgp::sign_clear;
use crate::store::Erasure;

/// The certificate in the practice's language, with the same facts as JSON at its end, signed in the clear by the
/// practice's key. `lines`: of the journal that bear the code.
///
/// # Errors
/// [`AppError::Mail`] where the practice's key can't sign.
pub fn write(ctx: &Context, erasure: &Erasure, lines: u64, now: DateTime<Utc>) -> Result<String, AppError> {
    let language = ctx.config.practice.language;
    let counts = erasure.counts.clone().unwrap_or_default();
    let utc = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    let facts = json!({
        "code": erasure.code,
        "asked": utc(Some(erasure.asked_at)),
        "rows": utc(erasure.rows_at),
        "folder": utc(erasure.folder_at),
        "last_letter": erasure.letter,
        "erased": counts,
        "journal_lines": lines,
        "signed_by": ctx.key.certificate().fingerprint(),
    });
    let (text, day) = match language {
        Language::Fr => (include_str!("../../../config/export/erasure-fr.txt"), "%d/%m/%Y %H:%M"),
        Language::En => (include_str!("../../../config/export/erasure-en.txt"), "%Y-%m-%d %H:%M"),
    };
    let zone = ctx.config.practice.timezone;
    let when = |at: Option<DateTime<Utc>>| {
        at.map_or_else(String::new, |at| format!("{} ({zone})", at.with_timezone(&zone).format(day)))
    };
    let kept = match (ctx.config.imap.filing, language) {
        (Filing::Keep, Language::Fr) => {
            "\n* Les originaux que le dossier Cadre/Done de la boîte garde (filing = \"keep\") : à effacer à la main."
        }
        (Filing::Keep, Language::En) => {
            "\n* The originals that the mailbox's folder Cadre/Done keeps (filing = \"keep\"): to be deleted by hand."
        }
        _ => "",
    };
    let pages = match (ctx.store.is_shared(), language) {
        (false, Language::Fr) => {
            "Les pages de la base qui portaient tout cela ont été réécrites, et son journal d'écriture vidé."
        }
        (false, Language::En) => {
            "The pages of the database that bore all this were overwritten, and its write-ahead log was cut."
        }
        (true, Language::Fr) => {
            "La table des clés a été réécrite. Le serveur de la base (PostgreSQL) réemploie avec le temps la place des \
             autres lignes, chiffrées, et celle de son journal d'écriture ; ses réplicas et archives en gardent autant."
        }
        (true, Language::En) => {
            "The table of keys was written anew. The database's server (PostgreSQL) reuses the space of the other rows, \
             which are encrypted, and of its write-ahead log in the course of time; its replicas and archives keep as much."
        }
    };
    let yes = |there: bool| match (there, language) {
        (true, Language::Fr) => "oui",
        (true, Language::En) => "yes",
        (false, Language::Fr) => "il n'y en avait pas",
        (false, Language::En) => "there was none",
    };
    let text = text
        .replace("{practice}", &ctx.config.practice.name)
        .replace("{code}", erasure.code.as_str())
        .replace("{asked}", &when(Some(erasure.asked_at)))
        .replace("{rows}", &when(erasure.rows_at))
        .replace("{folder_at}", &when(erasure.folder_at))
        .replace("{letter}", letter(&erasure.letter, language))
        .replace("{in}", &counts.letters_in.to_string())
        .replace("{out}", &counts.letters_out.to_string())
        .replace("{others}", &counts.others.to_string())
        .replace("{bodies}", &counts.bodies.to_string())
        .replace("{mails}", &counts.mails.to_string())
        .replace("{consents}", &counts.consents.to_string())
        .replace("{alerts}", &counts.alerts.to_string())
        .replace("{card}", yes(counts.card))
        .replace("{key}", yes(counts.key))
        .replace("{folder}", &counts.folder.to_string())
        .replace("{lines}", &lines.to_string())
        .replace("{pages}", pages)
        .replace("{kept}", kept)
        .replace("{json}", &format!("{facts:#}"));
    Ok(sign_clear(text.trim(), &ctx.key, now).map_err(MailError::from)?)
}

fn letter(word: &str, language: Language) -> &'static str {
    match (word, language) {
        ("sent", Language::Fr) => "envoyée, chiffrée",
        ("sent", Language::En) => "sent, encrypted",
        ("none", Language::Fr) => "aucune (personne à qui écrire sous chiffre, ou envois arrêtés)",
        ("none", Language::En) => "none (nobody to write to under encryption, or nothing was to be sent)",
        (_, Language::Fr) => "elle n'a pas pu partir",
        (_, Language::En) => "it could not be sent",
    }
}
