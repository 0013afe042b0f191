//! `cadre verify`.

use std::path::Path;

use serde_json::json;

use super::progress::Bar;
use super::{Done, FAILED, fail, open, print_json, public_id};
use crate::app::verify::{self, Fault};

/// Looks at everything that is stored.
pub async fn verify(config: &Path, json: bool) -> Done {
    let ctx = open(config).await?;
    let bar = Bar::new(json, "rows");
    let report = verify::verify(&ctx, |done, of| bar.at(done, of)).await;
    drop(bar);
    ctx.store.close().await;
    let report = report.map_err(|error| fail(&error))?;
    let done = if report.ok() { Ok(()) } else { Err(FAILED) };
    if json {
        let faults: Vec<_> = report.faults.iter().map(described).collect();
        print_json(&json!({
            "ok": report.ok(), "rows": report.rows, "bodies": report.bodies, "old_keys": report.old_keys, "faults": faults,
            "journal": {
                "ok": report.journal.ok(), "head": report.journal.head.to_string(), "faults": report.journal.faults,
            },
        }))?;
        return done;
    }
    for fault in &report.faults {
        let whose = fault.client.as_ref().map_or_else(String::new, |code| format!(" of {code}"));
        let id = if fault.row == 0 { "–".to_owned() } else { public_id(fault.row) };
        println!("✗ {} {id}{whose} {}", fault.table, fault.what);
    }
    for fault in &report.journal.faults {
        println!("✗ journal: {fault}");
    }
    if report.old_keys > 0 {
        println!(
            "{} bodies are sealed to keys that are not in the configuration now: keep the therapists' and archive's old keys",
            report.old_keys
        );
    }
    let sign = if report.ok() { "✓" } else { "✗" };
    println!("{sign} {} rows, {} sealed bodies, journal {}", report.rows, report.bodies, report.journal.head);
    if !report.ok() {
        println!("Something else than Cadre wrote there, or a disk failed: compare what is named with a backup.");
    }
    done
}

fn described(fault: &Fault) -> serde_json::Value {
    let id = (fault.row != 0).then(|| public_id(fault.row));
    json!({ "table": fault.table, "id": id, "client": fault.client, "fault": fault.what })
}
