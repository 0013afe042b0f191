//! What differs between the two databases, and that nothing else does. On PostgreSQL where there is one.

use std::collections::BTreeSet;

use super::*;

/// A place on the server; `None`: there is no server to test on.
fn on_server() -> Option<Place> {
    let place = Place::new();
    place.server.is_some().then_some(place)
}

/// Columns, constraints and indexes of a schema, as PostgreSQL words them.
async fn tables(raw: &mut sqlx::PgConnection, schema: &str) -> BTreeSet<String> {
    let sql = "SELECT format('%s.%s %s %s %s %s', table_name, column_name, data_type, is_nullable, column_default, \
               collation_name) FROM information_schema.columns WHERE table_schema = $1 \
               UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
               WHERE connamespace = $1::regnamespace \
               UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index \
               JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = $1::regnamespace";
    let lines: Vec<String> = sqlx::query_scalar(sql).bind(schema).fetch_all(raw).await.unwrap();
    let place = regex::Regex::new(&format!(r"\b{schema}\.")).unwrap();
    lines.iter().map(|line| place.replace_all(line, "").into_owned()).filter(|l| !l.contains("_sqlx")).collect()
}

/// PostgreSQL reads SQLite's own statements, so that both are compared in the same words.
#[tokio::test]
async fn both_databases_have_the_same_columns_constraints_and_indexes() {
    let Some(place) = on_server() else { return };
    place.open().await;
    let server = place.server.as_ref().unwrap();
    let file = Place::file();
    let lite = file.open().await;
    let sql = "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL \
               AND name NOT LIKE '%sqlx%' ORDER BY type DESC, rootpage";
    let made: Vec<String> = sql::scalar(sql).fetch_all(&mut lite.read().await.unwrap().conn).await.unwrap();
    let mirror = format!("{}_lite", server.schema);
    let mut raw = server.raw().await;
    let schema = format!("CREATE SCHEMA {mirror}; SET search_path = {mirror}");
    sqlx::raw_sql(&schema).execute(&mut raw).await.unwrap();
    let words = [(r"\bINTEGER\b", "BIGINT"), (r"\bBLOB\b", "BYTEA"), (r"\bTEXT\b", "TEXT COLLATE \"C\"")];
    let words = words.map(|(from, to)| (regex::Regex::new(from).unwrap(), to));
    let end = regex::Regex::new(r"\) STRICT(, WITHOUT ROWID)?$").unwrap();
    for statement in &made {
        let mut statement = end.replace(statement, ")").into_owned();
        for (from, to) in &words {
            statement = from.replace_all(&statement, *to).into_owned();
        }
        sqlx::raw_sql(&statement).execute(&mut raw).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    sqlx::raw_sql("SET search_path = pg_catalog").execute(&mut raw).await.unwrap();
    let (of_lite, of_server) = (tables(&mut raw, &mirror).await, tables(&mut raw, &server.schema).await);
    let strip = |lines: BTreeSet<String>, schema: &str| {
        lines.into_iter().map(|line| line.replace(schema, "")).collect::<BTreeSet<_>>()
    };
    let (of_lite, of_server) = (strip(of_lite, &mirror), strip(of_server, &server.schema));
    assert!(of_lite.len() > 200, "{}", of_lite.len());
    assert_eq!(of_lite.difference(&of_server).collect::<Vec<_>>(), Vec::<&String>::new(), "only in SQLite");
    assert_eq!(of_server.difference(&of_lite).collect::<Vec<_>>(), Vec::<&String>::new(), "only in PostgreSQL");
}

#[tokio::test]
async fn every_session_is_durable_and_bounded_and_a_view_does_not_write() {
    let Some(place) = on_server() else { return };
    let store = place.open().await;
    let schema = &place.server.as_ref().unwrap().schema;
    let (writer, reader) = (store.begin().await.unwrap(), store.read().await.unwrap());
    for (mut tx, isolation, lock) in [(writer, "read committed", "5s"), (reader, "repeatable read", "0")] {
        for (setting, value) in [
            ("synchronous_commit", "on"),
            ("search_path", schema),
            ("statement_timeout", "1min"),
            ("transaction_isolation", isolation),
            ("lock_timeout", lock),
        ] {
            let found: String = sql::scalar(&format!("SHOW {setting}")).fetch_one(&mut tx.conn).await.unwrap();
            assert_eq!(found, value, "{setting}");
        }
    }
    let mut tx = store.read().await.unwrap();
    assert!(tx.set_meta("a", "b").await.is_err());
}

#[tokio::test]
async fn two_practices_of_one_database_see_nothing_of_each_other_and_both_write() {
    let (Some(one), Some(other)) = (on_server(), on_server()) else { return };
    let (one, other) = (one.open().await, other.open().await);
    let mut first = one.begin().await.unwrap();
    first.set_meta("whose", "one").await.unwrap();
    let mut second = other.begin().await.unwrap();
    assert_eq!(second.meta("whose").await.unwrap(), None);
    second.set_meta("whose", "other").await.unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(one.read().await.unwrap().meta("whose").await.unwrap().as_deref(), Some("one"));
}

/// What ends the sessions of a practice, as a restart of the server does.
async fn end_sessions(place: &Place) {
    let server = place.server.as_ref().unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'cadre' AND locktype = 'relation' AND relation IN \
               (SELECT oid FROM pg_class WHERE relnamespace = $1::regnamespace)";
    let mut raw = server.raw().await;
    let ended = sqlx::query(sql).bind(&server.schema).execute(&mut raw).await.unwrap();
    assert!(ended.rows_affected() > 0);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_busy_and_the_next_transaction_has_another() {
    let Some(place) = on_server() else { return };
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    tx.set_meta("lost", "1").await.unwrap();
    end_sessions(&place).await;
    let error = tx.set_meta("lost", "2").await.unwrap_err();
    assert!(error.is_busy() && !error.is_full(), "{error:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.meta("lost").await.unwrap(), None);
    tx.set_meta("lost", "3").await.unwrap();
    end_sessions(&place).await;
    let error = tx.commit().await.unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    assert_eq!(store.read().await.unwrap().meta("lost").await.unwrap(), None);
}

#[tokio::test]
async fn who_waits_too_long_for_the_writer_is_told_that_it_is_busy() {
    let Some(place) = on_server() else { return };
    let (one, other) = (place.open().await, place.open().await);
    let held = one.begin().await.unwrap();
    let error = other.begin().await.map(drop).unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    drop(held);
    other.begin().await.unwrap();
}

#[tokio::test]
async fn the_head_file_of_a_host_that_did_not_write_lately_is_behind_and_that_is_fine() {
    let Some(place) = on_server() else { return };
    let second = place.dir.path().join("second.head");
    let one = place.open().await;
    let other = place.open_as(&KEY, &second).await.unwrap();
    let line = async |store: &Store| {
        let mut tx = store.begin().await.unwrap();
        tx.journal(at(0), "filed", None, json!({})).await.unwrap();
        tx.commit().await.unwrap();
    };
    for store in [&one, &one, &other, &other, &one] {
        line(store).await;
        assert_eq!(one.ahead_of_journal().await.unwrap(), None);
        assert_eq!(other.ahead_of_journal().await.unwrap(), None);
    }
    let report = other.verify_journal(None).await.unwrap();
    assert!(report.ok());
    assert_eq!((report.head.count, report.crash_remnant), (5, 1));
    // A host that joins begins where the journal is.
    let third = place.open_as(&KEY, &place.dir.path().join("third.head")).await.unwrap();
    assert_eq!(third.verify_journal(None).await.unwrap().crash_remnant, 0);
    place.attack("DELETE FROM journal WHERE seq = 5").await;
    assert_eq!(other.ahead_of_journal().await.unwrap(), None, "this host never saw it");
    assert!(one.ahead_of_journal().await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_url_that_is_none_and_one_that_nobody_answers_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = |url: &str| Server { url: url.into(), password: None, schema: "practice".into() };
    let open = async |url: &str| Store::connect(&server(url), Vault::new(&KEY), &dir.path().join("head")).await;
    assert!(matches!(open("postgres://[x/y").await, Err(StoreError::ServerUrl)));
    let nobody = open(&format!("postgres://u@{}/d", dir.path().display().to_string().replace('/', "%2F"))).await;
    assert!(nobody.as_ref().is_err_and(StoreError::is_busy), "{nobody:?}");
}
