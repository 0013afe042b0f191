//! `cadre journal …`.

use std::path::Path;

use serde_json::json;

use super::args::Journal;
use super::{Done, FAILED, USAGE, fail, open, print_json, utc};
use crate::store::{JournalHead, StoreError};

/// Shows the journal or verifies it.
pub async fn journal(config: &Path, json: bool, command: &Journal) -> Done {
    let ctx = open(config).await?;
    match command {
        Journal::Show { lines } => {
            let read = async {
                let mut tx = ctx.store.read().await?;
                let head = tx.journal_head().await?;
                let from = head.count.saturating_sub(u64::from(*lines)) + 1;
                tx.journal_entries(from, *lines).await
            };
            let entries = read.await.map_err(|error: StoreError| fail(&error))?;
            if json {
                return print_json(&entries);
            }
            for entry in entries {
                let code = entry.client.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string);
                println!("{:>7}  {}  {:<20} {:<7} {}", entry.seq, utc(entry.at), entry.kind, code, entry.detail);
            }
            Ok(())
        }
        Journal::Verify { expect } => {
            let expect = match expect.as_deref().map(|text| JournalHead::parse_expectation(text).ok_or(())) {
                None => None,
                Some(Ok(expect)) => Some(expect),
                Some(Err(())) => {
                    eprintln!("cadre: --expect takes a count and a head such as 120:9F3C2A…, as the digest shows them");
                    return Err(USAGE);
                }
            };
            let report = ctx.store.verify_journal(expect).await.map_err(|error| fail(&error))?;
            if json {
                print_json(&json!({ "ok": report.ok(), "head": report.head.to_string(), "faults": report.faults }))?;
            } else {
                for fault in &report.faults {
                    println!("✗ {fault}");
                }
                println!("{} {}", if report.ok() { "✓" } else { "✗" }, report.head);
            }
            if report.ok() { Ok(()) } else { Err(FAILED) }
        }
    }
}
