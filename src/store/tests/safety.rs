//! The journal, the outbox, locks, file modes, and what the file's bytes show.

use std::os::unix::fs::PermissionsExt;

use super::*;

async fn journal(store: &Store, n: i64) {
    journal_from(store, 0, n).await;
}

async fn journal_from(store: &Store, minutes: i64, n: i64) {
    for i in minutes..minutes + n {
        let mut tx = store.begin().await.unwrap();
        let code: ClientCode = "C-7K2M".parse().unwrap();
        tx.journal(at(i), "filed", Some(&code), json!({"verdict": "verified", "n": i})).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn faults(store: &Store, expect: Option<&JournalHead>) -> Vec<JournalFault> {
    let expect = expect.map(|head| JournalHead::parse_expectation(&head.to_string()).unwrap());
    store.verify_journal(expect).await.unwrap().faults
}

/// Takes the triggers away first, as somebody who writes to the file would.
async fn attack_journal(place: &Place, sql: &str) {
    if place.server.is_some() {
        place.attack(sql).await;
        return;
    }
    let triggers = "DROP TRIGGER IF EXISTS journal_keeps_its_words; DROP TRIGGER IF EXISTS journal_keeps_its_lines;";
    place.attack(&format!("{triggers} {sql}")).await;
}

#[tokio::test]
async fn a_whole_journal_is_good_and_lists_its_entries() {
    let place = Place::new();
    let store = place.open().await;
    assert!(faults(&store, None).await.is_empty(), "an empty one is whole");
    let mut tx = store.begin().await.unwrap();
    tx.journal(at(0), "started", None, json!({})).await.unwrap();
    tx.journal(at(1), "filed", None, json!({"words": 3})).await.unwrap();
    let inside = tx.journal_head().await.unwrap();
    tx.commit().await.unwrap();
    journal(&store, 1).await;
    let report = store.verify_journal(None).await.unwrap();
    assert!(report.ok());
    assert_eq!((report.head.count, report.crash_remnant), (3, 0));
    assert!(report.head.to_string().starts_with("3:"));
    assert!(faults(&store, Some(&inside)).await.is_empty(), "an earlier head is on the chain");
    let full = Some((2, inside.hex().to_lowercase()));
    assert!(store.verify_journal(full).await.unwrap().ok());
    let mut tx = store.read().await.unwrap();
    let entries = tx.journal_entries(2, 10).await.unwrap();
    assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(entries[0].detail, json!({"words": 3}));
    assert_eq!(entries[1].client.as_ref().unwrap().as_str(), "C-7K2M");
    assert_eq!(tx.journal_head().await.unwrap(), report.head);
}

#[tokio::test]
async fn an_entry_of_a_dropped_transaction_was_never_there() {
    let place = Place::new();
    let store = place.open().await;
    journal(&store, 1).await;
    let mut tx = store.begin().await.unwrap();
    tx.journal(at(0), "lost", None, json!({})).await.unwrap();
    drop(tx);
    journal(&store, 1).await;
    let report = store.verify_journal(None).await.unwrap();
    assert!(report.ok());
    assert_eq!(report.head.count, 2);
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_or_cut_the_journal() {
    let place = Place::new();
    let store = place.open().await;
    journal(&store, 2).await;
    let mut tx = store.begin().await.unwrap();
    for sql in ["UPDATE journal SET kind = 'x' WHERE seq = 1", "DELETE FROM journal WHERE seq = 2"] {
        let error = sql::query(sql).try_execute(&mut tx.conn).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn a_changed_moved_or_missing_entry_is_found() {
    for (sql, seq) in [
        ("UPDATE journal SET at = at + 1 WHERE seq = 2", 2),
        ("UPDATE journal SET kind = 'sent' WHERE seq = 3", 3),
        ("UPDATE journal SET client = NULL WHERE seq = 1", 1),
        ("UPDATE journal SET client = 'C-2222' WHERE seq = 4", 4),
        ("UPDATE journal SET detail = '{}' WHERE seq = 2", 2),
        ("UPDATE journal SET mac = x'00' WHERE seq = 2", 2),
        ("DELETE FROM journal WHERE seq = 2; UPDATE journal SET seq = seq - 1 WHERE seq > 2", 2),
    ] {
        let place = Place::new();
        let store = place.open().await;
        journal(&store, 4).await;
        attack_journal(&place, sql).await;
        assert_eq!(faults(&store, None).await, [JournalFault::Changed { seq }], "{sql}");
    }
    let place = Place::new();
    let store = place.open().await;
    journal(&store, 4).await;
    attack_journal(&place, "DELETE FROM journal WHERE seq = 2").await;
    assert_eq!(faults(&store, None).await, [JournalFault::Gap { seq: 2 }]);
}

#[tokio::test]
async fn a_journal_cut_at_its_end_is_found_by_the_head_file_and_by_the_digests_head() {
    let place = Place::new();
    let store = place.open().await;
    journal(&store, 4).await;
    let told = store.verify_journal(None).await.unwrap().head;
    attack_journal(&place, "DELETE FROM journal WHERE seq = 4").await;
    let cut = JournalFault::Behind { head: 4, database: 3 };
    assert_eq!(faults(&store, None).await, std::slice::from_ref(&cut));
    let expected = JournalFault::ExpectedMore { expected: 4, database: 3 };
    assert_eq!(faults(&store, Some(&told)).await, [cut, expected]);

    // Going on doesn't hide it: the head file stays where it was.
    journal(&store, 3).await;
    assert_eq!(faults(&store, None).await, [JournalFault::HeadDiffers { count: 4 }]);
    let other = JournalFault::ExpectedOther { count: 4 };
    assert_eq!(faults(&store, Some(&told)).await, [JournalFault::HeadDiffers { count: 4 }, other]);
}

#[tokio::test]
async fn row_32_an_old_database_with_its_old_head_file_is_found_by_the_digests_head() {
    let place = Place::file();
    let store = place.open().await;
    journal(&store, 2).await;
    let old = place.dir.path().join("old.db");
    place.attack(&format!("VACUUM INTO '{}'", old.display())).await;
    let old_head = std::fs::read(place.head()).unwrap();
    journal(&store, 2).await;
    let told = store.verify_journal(None).await.unwrap().head;

    let open = async |file: &str| {
        let url = format!("sqlite:{}", place.dir.path().join(file).display());
        Store::open(&url, Vault::new(&KEY), &place.head()).await.unwrap()
    };
    // The whole database deleted: a new one doesn't take the head file over.
    assert_eq!(faults(&open("new.db").await, None).await, [JournalFault::Behind { head: 4, database: 0 }]);
    let store = open("old.db").await;
    assert_eq!(faults(&store, None).await, [JournalFault::Behind { head: 4, database: 2 }]);
    std::fs::write(place.head(), old_head).unwrap();
    assert_eq!(faults(&store, None).await, [], "both put back: only the digest knows");
    assert_eq!(faults(&store, Some(&told)).await, [JournalFault::ExpectedMore { expected: 4, database: 2 }]);
    journal_from(&store, 60, 3).await;
    assert_eq!(faults(&store, Some(&told)).await, [JournalFault::ExpectedOther { count: 4 }]);
}

#[tokio::test]
async fn a_head_file_that_lags_on_the_chain_is_a_crash_and_is_said() {
    let place = Place::new();
    let store = place.open().await;
    journal(&store, 1).await;
    let before = std::fs::read(place.head()).unwrap();
    journal(&store, 2).await;
    std::fs::write(place.head(), before).unwrap();
    let report = store.verify_journal(None).await.unwrap();
    assert!(report.ok());
    assert_eq!((report.head.count, report.crash_remnant), (3, 2));
    journal(&store, 1).await;
    let report = store.verify_journal(None).await.unwrap();
    assert_eq!((report.head.count, report.crash_remnant), (4, 0), "the next commit catches up");
}

#[tokio::test]
async fn a_missing_or_garbled_head_file_is_a_fault_and_stays_one() {
    for garbled in [None, Some("nonsense")] {
        let place = Place::file();
        let store = place.open().await;
        journal(&store, 1).await;
        match garbled {
            None => std::fs::remove_file(place.head()).unwrap(),
            Some(text) => std::fs::write(place.head(), text).unwrap(),
        }
        journal(&store, 1).await;
        store.close().await;
        let store = place.open().await;
        assert_eq!(faults(&store, None).await, [JournalFault::HeadUnreadable]);
    }
}

#[test]
fn an_expectation_has_a_count_and_sixteen_digits() {
    assert_eq!(JournalHead::parse_expectation(" 7:00ff00ff00ff00ff "), Some((7, "00FF00FF00FF00FF".to_owned())));
    for bad in ["", "7", "7:", "7:00ff", "x:00ff00ff00ff00ff", "7:00ff00ff00ff00fg", "-1:00ff00ff00ff00ff"] {
        assert_eq!(JournalHead::parse_expectation(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn stores_on_one_database_take_turns_and_keep_one_chain() {
    let place = Place::new();
    let (a, b) = (place.open().await, place.open().await);
    let work = |store: Store| async move {
        for i in 0..15 {
            let mut tx = store.begin().await.unwrap();
            tx.enqueue(&mail(Kind::Receipt, i)).await.unwrap();
            tx.journal(at(i), "queued", None, json!({})).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    tokio::join!(work(a.clone()), work(b.clone()));
    let report = a.verify_journal(None).await.unwrap();
    assert!(report.ok());
    assert_eq!((report.head.count, report.crash_remnant), (30, 0));
    assert_eq!(b.read().await.unwrap().queue(OutboxFilter::All).await.unwrap().len(), 30);
}

#[test]
fn ids_rise_in_one_process_and_differ_between_two() {
    let ms = at(0).timestamp_millis();
    let first = next_id(0, ms, u32::MAX / 2);
    assert!(next_id(first, ms, 0) == first + 1, "the same millisecond");
    assert!(next_id(first, ms - 60_000, u32::MAX) == first + 1, "a clock put back");
    assert!(next_id(first, ms + 1, 0) > first + 1);
    assert_ne!(next_id(0, ms, 1 << 10), next_id(0, ms, 2 << 10), "another process, the same millisecond");
    assert!(next_id(0, 0, 0) > 0, "a clock before 2020");
}

#[tokio::test]
async fn a_mail_is_attempted_frozen_and_finished_and_its_bytes_go() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let new = NewOutbox {
        client: Some(a.id),
        therapist: Some(TherapistId("exemple".into())),
        recipient: Some(Address::parse("stranger@else.example").unwrap()),
        mail_id: Some("m1@cadre.example".into()),
        ..mail(Kind::Stranger, 10)
    };
    let late = tx.enqueue(&mail(Kind::Digest, 20)).await.unwrap();
    let id = tx.enqueue(&new).await.unwrap();
    assert_eq!(tx.next_due().await.unwrap(), Some(at(10)));
    assert!(tx.claimable(at(9), 10).await.unwrap().0.is_empty());
    let due = tx.claimable(at(30), 10).await.unwrap().0;
    assert_eq!(due.iter().map(|o| o.id).collect::<Vec<_>>(), [id, late]);
    assert_eq!(due[0].facts, new.facts);
    assert_eq!(due[0].recipient, new.recipient);
    assert_eq!(due[0].mail_id, new.mail_id);

    assert!(tx.claim(id, Some(b"bytes one"), at(30), at(35)).await.unwrap());
    assert!(!tx.claim(id, None, at(30), at(35)).await.unwrap(), "claimed already");
    assert_eq!(tx.claimable(at(30), 10).await.unwrap().0.len(), 1, "one stuck mail blocks no other");
    assert_eq!(tx.frozen(id).await.unwrap().unwrap(), b"bytes one");
    tx.end_attempt(id, false).await.unwrap();
    assert!(tx.claim(id, Some(b"bytes two"), at(35), at(36)).await.unwrap(), "no server has it: other bytes may leave");
    assert!(!tx.claim(id, Some(b"bytes three"), at(40), at(50)).await.unwrap(), "never changed after the dot");
    assert!(!tx.cancel(id, at(36)).await.unwrap(), "nor cancelled");
    assert!(!tx.postpone(id, at(90)).await.unwrap());
    assert_eq!(tx.frozen(id).await.unwrap().unwrap(), b"bytes two");
    tx.reschedule(id, at(40), Some("greylisted 451")).await.unwrap();
    assert!(tx.claim(id, None, at(40), at(50)).await.unwrap());
    let row = tx.outbox(id).await.unwrap().unwrap();
    assert_eq!((row.attempts, row.first_attempt_at, row.state), (2, Some(at(30)), OutboxState::Leaving));
    assert_eq!(row.last_error.as_deref(), Some("attempting"), "what a crash leaves, so that it is taken up at once");

    assert!(tx.finish(id, Finish::Sent, Some(250), None, at(41)).await.unwrap());
    assert!(!tx.finish(id, Finish::Failed, None, None, at(42)).await.unwrap(), "ended once");
    let row = tx.outbox(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_code, row.size), (OutboxState::Sent, Some(250), Some(9)));
    assert_eq!(row.sha256.unwrap().len(), 32);
    assert!(row.facts.is_null() && !row.has_frozen && row.recipient.is_none());
    assert_eq!(tx.frozen(id).await.unwrap(), None);
    assert_eq!(tx.outbox_by_mail_id("<m1@cadre.example>").await.unwrap().unwrap().id, id);
    assert_eq!(tx.count_outbox(Kind::Stranger, Some(a.id), at(0)).await.unwrap(), 1);
    assert_eq!(tx.count_outbox(Kind::Stranger, None, at(1)).await.unwrap(), 0);
    assert_eq!(tx.queue(OutboxFilter::Unfinished).await.unwrap().len(), 1);
    assert_eq!(tx.queue(OutboxFilter::All).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_mail_can_be_held_retried_postponed_and_cancelled() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let m = reply(&store, a.id, 600, day(2));
    tx.insert_message(&m).await.unwrap();
    let id = tx.enqueue(&NewOutbox { message: Some(m.id), ..mail(Kind::Reply, 0) }).await.unwrap();
    assert_eq!(tx.outbox_of_message(m.id).await.unwrap()[0].id, id);
    assert!(tx.hold(id).await.unwrap());
    assert!(tx.claimable(at(60), 10).await.unwrap().0.is_empty());
    assert!(!tx.claim(id, Some(b"x"), at(60), at(61)).await.unwrap());
    assert!(tx.retry(id, at(60)).await.unwrap());
    assert!(tx.postpone(id, at(90)).await.unwrap());
    assert!(tx.retry(id, at(60)).await.unwrap());
    assert!(tx.claimable(at(89), 10).await.unwrap().0.is_empty(), "a retry never comes before its time");
    assert_eq!(tx.claimable(at(90), 10).await.unwrap().0.len(), 1);
    assert!(tx.cancel(id, at(91)).await.unwrap());
    assert!(!tx.retry(id, at(92)).await.unwrap());
    let refused = tx.enqueue(&mail(Kind::Receipt, 0)).await.unwrap();
    tx.finish(refused, Finish::Failed, Some(550), Some("refused 550"), at(95)).await.unwrap();
    assert_eq!(tx.failed_since(at(95)).await.unwrap()[0].id, refused);
}

#[tokio::test]
async fn an_outgoing_mail_that_was_turned_to_another_client_never_leaves() {
    let place = Place::new();
    let store = place.open().await;
    let (a, b) = (add(&store, "marie").await, add(&store, "paul").await);
    let mut tx = store.begin().await.unwrap();
    let ours = tx.enqueue(&NewOutbox { client: Some(a.id), ..mail(Kind::Reply, 0) }).await.unwrap();
    let theirs = tx.enqueue(&NewOutbox { client: Some(b.id), ..mail(Kind::Reply, 0) }).await.unwrap();
    assert!(tx.claim(ours, Some(b"ours"), at(0), at(1)).await.unwrap());
    assert!(tx.claim(theirs, Some(b"theirs"), at(0), at(1)).await.unwrap());
    tx.commit().await.unwrap();
    let (o, t) = (ours.0, theirs.0);
    place
        .attack(&format!("UPDATE outbox SET frozen = (SELECT frozen FROM outbox WHERE id = {t}) WHERE id = {o}"))
        .await;
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.frozen(ours).await, Err(StoreError::Corrupt { .. })));
    drop(tx);
    place.attack(&format!("UPDATE outbox SET client_id = {} WHERE id = {o}", b.id.0)).await;
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.outbox(ours).await, Err(StoreError::Corrupt { .. })));
    let due = tx.claimable(at(1), 10).await.unwrap().0;
    assert_eq!(due.iter().map(|o| o.id).collect::<Vec<_>>(), [theirs], "and blocks no other");
}

#[tokio::test]
async fn a_second_run_on_one_database_fails_at_once() {
    let place = Place::file();
    let (first, second) = (place.open().await, place.open().await);
    let held = first.lock().unwrap();
    let refused = second.lock().unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }));
    assert!(refused.to_string().contains("another `cadre run`"));
    drop(held);
    second.lock().unwrap();
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let place = Place::file();
    let store = place.open().await;
    let _lock = store.lock().unwrap();
    add(&store, "marie").await;
    let mut names = Vec::new();
    for file in std::fs::read_dir(place.dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["cadre.db", "cadre.db-shm", "cadre.db-wal", "cadre.db.lock", "journal.head"]);
}

#[tokio::test]
async fn other_urls_are_refused() {
    let place = Place::file();
    for url in ["postgres://x", "sqlite:", "sqlite::memory:", "cadre.db"] {
        let refused = Store::open(url, Vault::new(&KEY), &place.head()).await;
        assert!(matches!(refused, Err(StoreError::Url)), "{url}");
    }
    let nowhere = format!("sqlite:{}/none/cadre.db", place.dir.path().display());
    assert!(matches!(Store::open(&nowhere, Vault::new(&KEY), &place.head()).await, Err(StoreError::File { .. })));
}

#[tokio::test]
async fn every_connection_is_durable_and_wipes() {
    let place = Place::file();
    let store = place.open().await;
    for mut tx in [store.begin().await.unwrap(), store.read().await.unwrap()] {
        for (pragma, value) in
            [("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1), ("busy_timeout", 5000), ("temp_store", 2)]
        {
            let sql = format!("SELECT * FROM pragma_{pragma}");
            let found: i64 = sql::scalar(&sql).fetch_one(&mut tx.conn).await.unwrap();
            assert_eq!(found, value, "{pragma}");
        }
        let mode: String = sql::scalar("PRAGMA journal_mode").fetch_one(&mut tx.conn).await.unwrap();
        assert_eq!(mode, "wal");
    }
    let mut tx = store.read().await.unwrap();
    assert!(tx.set_meta("a", "b").await.is_err(), "a view for reading doesn't write");
}

#[tokio::test]
async fn nothing_that_names_a_person_is_in_the_files() {
    let place = Place::file();
    let store = place.open().await;
    let a = add(&store, "canarymarie").await;
    let mut tx = store.begin().await.unwrap();
    tx.set_label(a.id, Some("canarylabel")).await.unwrap();
    let m = Message {
        subject: Some("canarysubject".into()),
        message_id: Some("canaryown@cadre.example".into()),
        origin_id: Some("canaryorigin@client.example".into()),
        sender: Some(Address::parse("canarysender@client.example").unwrap()),
        note: Some("canarynote".into()),
        ..letter(&store, a.id, 0)
    };
    tx.insert_message(&m).await.unwrap();
    tx.remember_bytes(b"canaryraw", Some(m.id), at(0)).await.unwrap();
    tx.remember_signature("canarysigner", b"canarydigest", Some(m.id), at(0)).await.unwrap();
    let new = NewOutbox {
        recipient: Some(Address::parse("canaryrecipient@client.example").unwrap()),
        mail_id: Some("canarymail@cadre.example".into()),
        facts: json!({"word": "canaryfact"}),
        ..mail(Kind::Stranger, 0)
    };
    let id = tx.enqueue(&new).await.unwrap();
    assert!(tx.claim(id, Some(b"canaryfrozen"), at(0), at(1)).await.unwrap());
    tx.journal(at(0), "filed", Some(&a.code), json!({"verdict": "verified"})).await.unwrap();
    tx.commit().await.unwrap();
    let search = |when: &str| {
        let mut bytes = 0;
        for file in std::fs::read_dir(place.dir.path()).unwrap() {
            // The log may go while the database closes.
            let Ok(data) = std::fs::read(file.unwrap().path()) else { continue };
            bytes += data.len();
            let text = String::from_utf8_lossy(&data).to_lowercase();
            for word in ["canary", "client.example"] {
                assert!(!text.contains(word), "{word} {when}");
            }
        }
        assert!(bytes > 10_000);
    };
    search("in the write-ahead log");
    store.close().await;
    search("in the database");
    let fingerprint = certificate("canarymarie").fingerprint;
    let all = String::from_utf8_lossy(&std::fs::read(place.db()).unwrap()).to_uppercase();
    assert!(!all.contains(&fingerprint));
}

#[test]
fn nothing_that_names_a_person_is_shown_by_debug() {
    let new = newcomer("canary");
    let shown = format!("{new:?} {:?} {:?} {:?}", new.certificate, mail(Kind::Stranger, 0), Vault::new(&KEY));
    assert!(!shown.to_lowercase().contains("canary") && !shown.contains("secretfact"), "{shown}");
}

/// Every statement in the sources, as SQLite would run it: with a long history none may read a table whole.
#[tokio::test]
async fn no_query_reads_a_whole_table() {
    let place = Place::file();
    let store = place.open().await;
    let mut tx = store.read().await.unwrap();
    let statements = regex::Regex::new(r#""((?:SELECT|UPDATE|DELETE) [^"]*)"|columns!\(\s*"([^"]*)""#).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let continued = regex::Regex::new(r"\\\n\s*").unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).filter(|p| p.is_file()) {
        // To look at everything is what `verify`, `backup` and `migrate-store` are for; the daemon calls none of them.
        // What an erasure looks for is anywhere, and a breach concerns everybody.
        if file.file_name().is_some_and(|name| {
            [
                "tests.rs",
                "verify.rs",
                "backup.rs",
                "moving.rs",
                "engine.rs",
                "lease.rs",
                "schema.rs",
                "breach.rs",
                "traces.rs",
            ]
            .iter()
            .any(|other| name == *other)
        }) {
            continue;
        }
        let source = continued.replace_all(&std::fs::read_to_string(file).unwrap(), "").into_owned();
        for found in statements.captures_iter(&source) {
            let sql = match (found.get(1), found.get(2)) {
                (Some(sql), _) if !sql.as_str().ends_with(", ") => sql.as_str().to_owned(),
                (_, Some(rest)) => format!("SELECT id, facts FROM outbox {}", rest.as_str()),
                _ => continue,
            };
            let plan = sql::query(&format!("EXPLAIN QUERY PLAN {sql}")).fetch_all(&mut tx.conn).await.unwrap();
            seen += 1;
            for step in plan {
                let step: String = step.get("detail").unwrap();
                let whole_list = [
                    "FROM client ORDER BY code",
                    "FROM outbox ORDER BY",
                    "FROM journal ORDER BY seq DESC",
                    "FROM absence ORDER BY",
                    "DELETE FROM locum_copy",
                    // Keys that wait to be compared: a few.
                    "FROM key_offer WHERE told_at IS NULL",
                    // Those who are asked for a key, for a month.
                    "FROM enrolment ORDER BY",
                    // Unanswered letters of those who agreed, emptied after every absence.
                    "FROM locum_copy WHERE EXISTS",
                    // Once, when a clock was set back.
                    "UPDATE notice SET at",
                    "UPDATE meta SET value",
                    "AND leave_day >= $1 ORDER BY state, slot NULLS FIRST, id",
                    // What is being read at this moment: a group at most.
                    "DELETE FROM in_hand WHERE suspect",
                    // Once, when an older database is put back.
                    "FROM erasure ORDER BY code",
                    // Records under legal hold: a few.
                    "FROM legal_hold",
                    // The therapists: a few.
                    "FROM therapist_key ORDER BY",
                ];
                let partial = [
                    "message_held",
                    "turn_due",
                    "one_open_turn",
                    "outbox_due",
                    "outbox_unfinished",
                    "copy_pending",
                    "message_unfinished",
                    "alert_open",
                    "alert_due",
                    "erasure_open",
                ];
                // A SELECT without a table of its own: EXISTS (…) OR EXISTS (…).
                let fine = !step.starts_with("SCAN")
                    || step == "SCAN CONSTANT ROW"
                    || partial.iter().any(|index| step.ends_with(index))
                    || whole_list.iter().any(|list| sql.contains(list));
                assert!(fine, "{sql}: {step}");
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Prints what a letter costs; run it with `--release --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints a measurement"]
async fn cost_of_letters_committed_in_groups() {
    let place = Place::new();
    let store = place.open().await;
    let mut clients = Vec::new();
    for i in 0..64 {
        clients.push(add(&store, &format!("client{i}")).await);
    }
    let body = vec![7_u8; 4000];
    for round in 0..20 {
        let begun = std::time::Instant::now();
        let mut tx = store.begin().await.unwrap();
        for (i, client) in clients.iter().enumerate() {
            let m = Message {
                subject: Some("Un rêve".into()),
                message_id: Some(format!("own{round}.{i}@cadre.example")),
                origin_id: Some(format!("theirs{round}.{i}@client.example")),
                ..letter(&store, client.id, round * 60)
            };
            tx.insert_message(&m).await.unwrap();
            tx.put_blob(m.id, &body).await.unwrap();
            tx.remember_signature("AB", m.id.0.to_string().as_bytes(), Some(m.id), at(0)).await.unwrap();
            let forward = NewOutbox { client: Some(client.id), message: Some(m.id), ..mail(Kind::Forward, 0) };
            tx.enqueue(&forward).await.unwrap();
            let original = Original {
                folder: "INBOX".into(),
                uidvalidity: 1,
                uid: u32::try_from(round * 64).unwrap() + u32::try_from(i).unwrap(),
                message: Some(m.id),
                action: Disposal::Remove,
                copy_needed: true,
                at: at(0),
            };
            tx.add_original(&original).await.unwrap();
            tx.add_copy(m.id, at(0)).await.unwrap();
            tx.journal(at(0), "filed", Some(&client.code), json!({"verdict": "verified"})).await.unwrap();
        }
        let filled = begun.elapsed();
        tx.commit().await.unwrap();
        let all = begun.elapsed();
        eprintln!("64 letters: {} µs each, commit {} µs", all.as_micros() / 64, (all - filled).as_micros());
    }
}

#[tokio::test]
async fn only_what_was_alone_in_hand_at_a_death_has_a_try_counted() {
    let place = Place::new();
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.suspect_what_was_held(at(0)).await.unwrap(), 0);
    tx.take_in_hand("INBOX", 9, &[5, 6, 7]).await.unwrap();
    tx.put_down("INBOX", 9, &[7]).await.unwrap();
    // Two together: suspects, and neither is blamed.
    assert_eq!(tx.suspect_what_was_held(at(1)).await.unwrap(), 2);
    assert_eq!(tx.suspects("INBOX", 9).await.unwrap().into_iter().collect::<Vec<_>>(), [5, 6]);
    assert_eq!(tx.tries("INBOX", 9).await.unwrap(), []);
    // One alone: blamed, and the other remains suspect through a clean end.
    tx.take_in_hand("INBOX", 9, &[5]).await.unwrap();
    assert_eq!(tx.suspect_what_was_held(at(2)).await.unwrap(), 1);
    tx.take_in_hand("INBOX", 9, &[6]).await.unwrap();
    tx.take_in_hand("Junk", 9, &[6]).await.unwrap();
    tx.put_all_down().await.unwrap();
    assert_eq!(tx.suspect_what_was_held(at(3)).await.unwrap(), 0);
    assert_eq!(tx.suspects("INBOX", 9).await.unwrap().len(), 2);
    assert!(tx.suspects("Junk", 9).await.unwrap().is_empty());
    let tries = tx.tries("INBOX", 9).await.unwrap();
    assert_eq!(tries.iter().map(|tries| (tries.uid, tries.n)).collect::<Vec<_>>(), [(5, 1)]);
    tx.forget_suspects_but_of("INBOX", 10).await.unwrap();
    assert!(tx.suspects("INBOX", 9).await.unwrap().is_empty());
}
