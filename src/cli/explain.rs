//! `cadre explain`: the verdict and the decision, with reasons, and no content.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::{Done, FAILED, fail, open, print_json};
use crate::app::examine::{Tools, examine};
use crate::app::registry::{DbRegistry, View};
use crate::domain::intake::Action;
use crate::model::{ClientCode, Mark, Verdict};
use crate::store::StoreError;

/// What is said of one message.
struct Explained {
    verdict: Option<Verdict>,
    marks: Vec<Mark>,
    client: Option<ClientCode>,
    action: String,
    reasons: Vec<String>,
}

/// Explains one message in a file; nothing is filed.
pub async fn explain(config: &Path, json: bool, file: &Path) -> Done {
    let ctx = std::sync::Arc::new(open(config).await?);
    let raw = read(file)?;
    let handle = tokio::runtime::Handle::current();
    let task = {
        let ctx = std::sync::Arc::clone(&ctx);
        tokio::task::spawn_blocking(move || {
            let view = View::new(&ctx, &handle)?;
            let registry = DbRegistry::new(&ctx, &view);
            let tools = Tools {
                key: &ctx.key,
                registry: &registry,
                limits: &ctx.limits,
                policy: ctx.config.intake.unsigned,
                authserv: ctx.config.intake.authserv.as_deref(),
            };
            let examined = examine(&raw, ctx.clock.now(), &tools);
            registry.finish()?;
            let explained = match examined {
                Err(error) => Explained {
                    verdict: None,
                    marks: Vec::new(),
                    client: None,
                    action: "attention".to_owned(),
                    reasons: vec![error.to_string()],
                },
                Ok(examined) => {
                    let client = match &examined.decision.action {
                        Action::File { client, .. } | Action::Hold { client } => Some(*client),
                        Action::Notice { client, .. } => *client,
                        _ => None,
                    };
                    let code = match client {
                        Some(id) => handle
                            .block_on(async { ctx.store.read().await?.client(id).await })?
                            .map(|client| client.code),
                        None => None,
                    };
                    Explained {
                        verdict: Some(examined.decision.verdict),
                        marks: examined.decision.marks.clone(),
                        client: code,
                        action: examined.decision.action.word().to_owned(),
                        reasons: examined.decision.reasons.iter().map(|reason| (*reason).to_owned()).collect(),
                    }
                }
            };
            Ok::<_, StoreError>(explained)
        })
    };
    let explained = match task.await {
        Ok(result) => result.map_err(|error| fail(&error))?,
        Err(error) => return Err(fail(&error)),
    };
    ctx.store.close().await;
    if json {
        return print_json(&json!({
            "verdict": explained.verdict,
            "marks": explained.marks,
            "client": explained.client,
            "action": explained.action,
            "reasons": explained.reasons,
        }));
    }
    println!("verdict  {}", explained.verdict.map_or_else(|| "none".to_owned(), |verdict| verdict.to_string()));
    if !explained.marks.is_empty() {
        println!("marks    {}", explained.marks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    println!("client   {}", explained.client.map_or_else(|| "none".to_owned(), |code| code.to_string()));
    println!("action   {}", explained.action);
    for reason in explained.reasons {
        println!("because  {reason}");
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, super::Failed> {
    let mut raw = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut raw)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut raw))
    };
    read.map_err(|error| {
        eprintln!("cadre: {} can't be read ({})", file.display(), error.kind());
        FAILED
    })?;
    // A file saved on this machine has bare line ends; mail on the wire never has.
    if !raw.windows(2).any(|two| two == b"\r\n") {
        raw = raw.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    }
    Ok(raw)
}
