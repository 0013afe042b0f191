//! The end: everything gone, or everything left running with the means to look around.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use chrono::{Datelike as _, NaiveDate, Weekday};
use chrono_tz::Europe::Paris;

use crate::cast::{OFFICE, Play, paris};
use crate::common::Person;
use crate::common::lab::{PASSWORD, process_lives};

/// Whether `KEEP=1` was given.
pub fn wanted() -> bool {
    std::env::var("KEEP").is_ok_and(|value| value == "1")
}

/// Ends servers and agents, removes the folder, and looks that nothing is left.
pub fn clean(play: Play) -> Result<()> {
    let dir = play.lab.dir.clone();
    let (dovecot, postfix) = play.lab.pids();
    drop(play);
    let alive: Vec<i32> = [dovecot, postfix].into_iter().flatten().filter(|pid| process_lives(*pid)).collect();
    if dir.exists() || !alive.is_empty() {
        bail!("something was left behind: {} {alive:?}", dir.display());
    }
    println!("Servers and folder are gone. To look around yourself: make demo KEEP=1");
    Ok(())
}

/// Leaves servers and daemon running; prints how to look around and how to end it.
pub fn leave(mut play: Play) -> Result<()> {
    play.at(paris(5, 23, 50)?)?;
    let dir = play.lab.dir.clone();
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    let environment = environment(&play)?;
    let binary = crate::common::Practice::built_binary()?;
    script(&bin.join("cadre"), &format!("{environment}exec {} \"$@\"\n", binary.display()))?;
    let people =
        [("agnes", &play.therapist), ("helene", &play.helene), ("francois", &play.francois), ("claire", &play.claire)];
    for (id, person) in people {
        let rc = dir.join(format!("{id}.muttrc"));
        fs::write(&rc, muttrc(&play, person)?)?;
        let home = person.home.display();
        script(
            &bin.join(id),
            &format!(
                "{environment}unset NO_FAKE_STAT\nexport TZ=Europe/Paris GNUPGHOME={home}\nexec neomutt -n -F {} \"$@\"\n",
                rc.display()
            ),
        )?;
    }
    script(&bin.join("clock"), &clock(&play.practice.dir))?;
    let log = dir.join("cadre.log");
    let out = fs::File::create(&log)?;
    let mut command = play.practice.command(&["run"])?;
    command.process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let daemon = command.spawn().context("the daemon can't be started")?;
    fs::write(dir.join("cadre.pid"), format!("{}\n", daemon.id()))?;
    play.lab.keep();
    let mut page = std::io::stdout().lock();
    writeln!(page, "{}", guide(&play))?;
    Ok(())
}

/// Writes `stop`, which ends whatever runs by then.
pub fn write_stop(dir: &Path) -> Result<()> {
    script(&dir.join("stop"), &stop(dir))
}

/// What makes a program see the practice's time.
fn environment(play: &Play) -> Result<String> {
    let mut lines = String::from("#!/bin/sh\n");
    for (name, value) in play.practice.command(&[])?.get_envs() {
        if let Some(value) = value {
            lines.push_str(&format!("export {}='{}'\n", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    Ok(lines)
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Turns the practice's clock, for the daemon and for the mail programs.
fn clock(practice: &Path) -> String {
    format!(
        "#!/bin/sh\n# clock '2026-03-06 07:00': what time it is in the play (in Paris). Without an argument: says it.\n\
         cd {} || exit 1\n\
         if [ $# -gt 0 ]; then\n    want=$(TZ=Europe/Paris date -d \"$1\" +%s) || exit 1\n    \
         printf '%+d\\n' $((want - $(date +%s))) > .clock.new && mv .clock.new .clock\nfi\n\
         offset=$(cut -d. -f1 .clock)\n\
         TZ=Europe/Paris date -d \"@$(( $(date +%s) + offset ))\" '+%A %d %B %Y, %H:%M'\n",
        practice.display()
    )
}

fn stop(dir: &Path) -> String {
    format!(
        "#!/bin/sh\n# Ends the daemon, Dovecot, Postfix and the GnuPG agents of this play, by their ids, and removes the folder.\n\
         cd {0} || exit 1\n\
         for f in cadre.pid d/run/master.pid p/queue/pid/master.pid; do\n    \
         [ -f \"$f\" ] && kill $(cat \"$f\") 2>/dev/null\ndone\n\
         for home in g/*/; do gpgconf --homedir \"$PWD/$home\" --kill all 2>/dev/null; done\n\
         n=0\nfor f in cadre.pid d/run/master.pid p/queue/pid/master.pid; do\n    pid=$(cat \"$f\" 2>/dev/null) || continue\n    \
         while [ $n -lt 80 ] && kill -0 $pid 2>/dev/null; do n=$((n + 1)); sleep 0.1; done\ndone\n\
         cd / && rm -rf {0} && echo 'Ended; the folder is gone.'\n",
        dir.display()
    )
}

fn muttrc(play: &Play, person: &Person) -> Result<String> {
    let (imap, smtp) = (play.lab.imap_port, play.lab.smtp_port);
    let Person { name, address, fingerprint, home, .. } = person;
    let user = address.replace('@', "%40");
    let cache = home.join("neomutt");
    fs::create_dir_all(&cache)?;
    Ok(format!(
        "# A mail program for {name}. IMAP and SMTP are the play's own servers on loopback.\n\
         set real_name = \"{name}\"\nset from = \"{address}\"\nset use_from = yes\nset envelope_from = yes\n\
         set folder = \"imap://{user}@127.0.0.1:{imap}/\"\nset spool_file = \"+INBOX\"\nset record = \"+Sent\"\n\
         set imap_user = \"{address}\"\nset imap_pass = \"{PASSWORD}\"\nset imap_check_subscribed = yes\n\
         set smtp_url = \"smtp://127.0.0.1:{smtp}/\"\nset ssl_starttls = no\nset ssl_force_tls = no\n\
         set postponed = \"{0}/postponed\"\nset header_cache = \"\"\nset history_file = \"\"\n\
         set charset = \"utf-8\"\nset send_charset = \"utf-8\"\nset mail_check = 5\nset timeout = 5\n\
         set confirm_append = no\nset copy = yes\nset sleep_time = 0\nset wait_key = no\n\
         # OpenPGP through GPGME, with this person's GNUPGHOME.\n\
         set crypt_use_gpgme = yes\nset crypt_auto_sign = yes\nset crypt_auto_encrypt = yes\n\
         set crypt_reply_sign = yes\nset crypt_reply_encrypt = yes\nset crypt_verify_sig = yes\n\
         set pgp_default_key = \"{fingerprint}\"\nset pgp_sign_as = \"{fingerprint}\"\nset pgp_self_encrypt = yes\n\
         set crypt_protected_headers_read = yes\nset crypt_protected_headers_write = yes\n\
         set crypt_protected_headers_save = no\nset crypt_protected_headers_subject = \"...\"\nset crypt_timestamp = no\n\
         set abort_key = \"\\007\"\n\
         # Letters as a correspondence: threads, the newest last.\n\
         set sort = threads\nset sort_aux = date\nset date_format = \"%d/%m %H:%M\"\n\
         set index_format = \"%4C %Z %[%d/%m %H:%M] %-20.20F %s\"\n\
         set pager_index_lines = 6\nset pager_context = 1\nset pager_stop = yes\nset markers = no\nset text_flowed = yes\n\
         set edit_headers = no\nset fast_reply = yes\nset include = yes\nset forward_quote = yes\n\
         alternative_order text/plain text/html\nauto_view text/html\n\
         ignore *\nunignore from to subject date\nhdr_order from: to: subject: date:\n\
         alias cabinet {OFFICE}\n\
         color header default default .\n",
        cache.display()
    ))
}

fn guide(play: &Play) -> String {
    let d = play.lab.dir.display();
    let (c1, c2) = (&play.c1, &play.c2);
    let now = play.therapist.now().with_timezone(&Paris);
    // Slots are on weekdays.
    let weekday = |date: &NaiveDate| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
    let next = now.date_naive().iter_days().skip(1).find(weekday).unwrap_or_default();
    let now = now.format("%H:%M on %A %-d %B %Y");
    format!(
        "Left running, because of KEEP=1. It is {now} in there.\n\n\
         Each person's mail program (neomutt; q leaves it, r answers, m writes):\n\
         \x20 {d}/bin/agnes        the therapist: digest, letters, receipts\n\
         \x20 {d}/bin/helene       a client\n\
         \x20 {d}/bin/francois     a client\n\
         \x20 {d}/bin/claire       a client since this week\n\n\
         The operator's side (the daemon runs, its log is {d}/cadre.log):\n\
         \x20 {d}/bin/cadre status\n\
         \x20 {d}/bin/cadre client list\n\
         \x20 {d}/bin/cadre thread {c1}        Hélène's;  {c2} is François's\n\
         \x20 {d}/bin/cadre digest --preview\n\
         \x20 {d}/bin/cadre queue list --all\n\
         \x20 {d}/bin/cadre journal show\n\
         \x20 less {d}/practice/cadre.toml\n\n\
         Write as Hélène, then turn the clock; the daemon follows:\n\
         \x20 {d}/bin/clock                     says what time it is in there\n\
         \x20 {d}/bin/clock '{next} 07:00'  and Agnès gets her digest\n\
         \x20 {d}/bin/clock '{next} 18:00'  and what she answered leaves\n\n\
         To end it all:\n\
         \x20 {d}/stop"
    )
}
