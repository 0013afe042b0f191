//! A mailbox that was used for years before Cadre came: thousands of mails at the first start. `CADRE_MAILBOX` says how
//! many (3,000 without it; `make torture` takes 50,000).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::common::lab::{PATIENCE, is_root, run, wait};
use super::common::ledger::{lying, sound, sql};
use super::common::scene::{OFFICE, march};
use super::common::{Lab, Letter};
use super::servers::maildir;
use super::{filed, scene_in, to};

/// What may wait in memory while the mailbox is worked through, beyond what the program takes at rest.
const MEMORY: u64 = 256 << 20;

#[test]
fn a_mailbox_of_years_is_worked_through_in_bounded_memory_while_new_mail_goes_on() -> Result<()> {
    let count: usize = std::env::var("CADRE_MAILBOX").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000);
    let scene = scene_in(Lab::light()?, "folders")?;
    // Dovecot reads what it finds in its own form; delivering so many would take longer than the test.
    let new = maildir(&scene).join("new");
    std::fs::create_dir_all(&new)?;
    for name in ["cur", "tmp"] {
        std::fs::create_dir_all(maildir(&scene).join(name))?;
    }
    let letters: Vec<Vec<u8>> = (0..30)
        .map(|n| {
            scene.marie.write(&Letter::new(OFFICE, &format!("Sujet {n}"), &format!("Lettre {n}.\n")).at(march(1, 3, 0)))
        })
        .collect::<Result<_>>()?;
    for n in 0..count {
        let (name, every) = (format!("{}.M{n}.labo", 1_772_000_000 + n), count / letters.len());
        let mail = match n.checked_rem(every) {
            Some(0) if n / every < letters.len() => letters[n / every].clone(),
            // Years of lists, of notices, of strangers.
            _ => old_mail(n),
        };
        std::fs::write(new.join(name), mail)?;
    }
    if is_root() {
        run(std::process::Command::new("chown").args(["-R", "nobody:nogroup"]).arg(scene.lab.mail_root()))?;
    }
    let began = Instant::now();
    scene.practice.set_time(march(2, 9, 0))?;
    let mut daemon = scene.practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    wait("the work to begin", PATIENCE, || Ok((filed(&scene)? > 0).then_some(())))?;
    // Mail that comes while it is at it.
    let fresh = Letter::new(OFFICE, "Neuf", "Une lettre qui vient maintenant.\n").at(march(2, 9, 0));
    scene.paul.deliver(&scene.lab, &fresh)?;
    let posted = Instant::now();
    let (mut most, mut new_after) = (0, None);
    let patience = PATIENCE + Duration::from_secs(count as u64 / 4);
    wait("an empty INBOX", patience, || {
        most = most.max(daemon.memory().unwrap_or(0));
        let paul = "SELECT COUNT(*) FROM message WHERE kind = 'letter' AND client_id = (SELECT MAX(id) FROM client)";
        if new_after.is_none() && sql(&scene.practice, paul)? == "1" {
            new_after = Some(posted.elapsed());
        }
        Ok((new_after.is_some() && lying_in_inbox(&scene)? == 0).then_some(()))
    })?;
    let took = began.elapsed();
    ensure!(filed(&scene)? == letters.len() + 1, "{} letters", filed(&scene)?);
    let others = lying(&scene, &["Cadre", "Others"])?;
    ensure!(others + letters.len() == count, "{others} of {count} are among the others");
    ensure!(lying(&scene, &["Cadre", &scene.c1])? == letters.len(), "{:?}", scene.lab.census(OFFICE)?);
    // Mail leaves beside the filing.
    wait("the acknowledgement", PATIENCE, || Ok((!to(&scene, "paul@client.example")?.is_empty()).then_some(())))?;
    daemon.end()?;
    println!(
        "{count} mails in {} s, {} MiB at most; the new letter was filed after {} s",
        took.as_secs(),
        most >> 20,
        new_after.context("a time")?.as_secs()
    );
    ensure!(most < MEMORY, "{} MiB", most >> 20);
    ensure!(to(&scene, "paul@client.example")?.len() == 1, "no acknowledgement for the new letter");
    sound(&scene)
}

fn lying_in_inbox(scene: &super::common::scene::Scene) -> Result<usize> {
    scene.lab.imap(OFFICE)?.select("INBOX")
}

/// A mail as it lies in an old mailbox: no client's.
fn old_mail(n: usize) -> Vec<u8> {
    let kind = match n % 4 {
        0 => "List-Id: <nouvelles.autre.example>\r\n",
        1 => "Auto-Submitted: auto-generated\r\n",
        2 => "Precedence: bulk\r\n",
        _ => "List-Unsubscribe: <mailto:non@autre.example>\r\n",
    };
    let lines = "Une ligne d'une vieille lettre, comme il y en a tant.\r\n".repeat(10 + n % 60);
    format!(
        "From: Quelqu'un <q{}@autre.example>\r\nTo: {OFFICE}\r\nSubject: Vieux {n}\r\n{kind}\
         Date: Tue, 10 Feb 2026 10:00:00 +0000\r\nMessage-ID: <{n}@vieux.example>\r\n\r\n{lines}",
        n % 500
    )
    .into_bytes()
}
