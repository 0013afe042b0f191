//! Rows that are inserted later: a transaction sees them as if they were there already, and loses none.

use super::*;

/// A letter with its body and a line of the journal.
async fn file(tx: &mut Tx, store: &Store, client: ClientId, minutes: i64, body: &[u8]) -> MessageRow {
    let m = letter(store, client, minutes);
    tx.insert_message(&m).await.unwrap();
    tx.put_blob(m.id, body).await.unwrap();
    tx.journal(at(minutes), "letter_filed", None, json!({"minutes": minutes})).await.unwrap();
    m.id
}

#[tokio::test]
async fn a_transaction_reads_what_it_is_still_to_insert() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await.id;
    let mut tx = store.begin().await.unwrap();
    let id = file(&mut tx, &store, marie, 1, b"sealed").await;
    assert_eq!(tx.conn.kept_back(), 3, "a message, its body, a line");
    assert_eq!(tx.message(id).await.unwrap().unwrap().at, at(1));
    assert_eq!(tx.conn.kept_back(), 0);
    assert_eq!(tx.blob(id).await.unwrap().as_deref(), Some(&b"sealed"[..]));

    let other = file(&mut tx, &store, marie, 2, b"sealed too").await;
    assert_eq!(tx.thread(marie).await.unwrap().len(), 2);
    tx.set_message_state(other, MessageState::Discarded).await.unwrap();
    file(&mut tx, &store, marie, 3, b"a third").await;
    tx.commit().await.unwrap();

    let mut tx = store.read().await.unwrap();
    assert_eq!(tx.thread(marie).await.unwrap().len(), 3);
    assert_eq!(tx.message(other).await.unwrap().unwrap().state, MessageState::Discarded);
    drop(tx);
    store.verify_journal(None).await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_replaced_before_it_is_written_is_the_last_one() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await.id;
    let mut tx = store.begin().await.unwrap();
    let first = file(&mut tx, &store, marie, 1, b"one").await;
    let second = file(&mut tx, &store, marie, 2, b"two").await;
    tx.put_blob(first, b"one, again").await.unwrap();
    tx.put_blob(first, b"one, at last").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.read().await.unwrap();
    assert_eq!(tx.blob(first).await.unwrap().as_deref(), Some(&b"one, at last"[..]));
    assert_eq!(tx.blob(second).await.unwrap().as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn what_is_undone_or_let_go_is_not_there_and_what_stood_before_is() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await.id;
    let mut tx = store.begin().await.unwrap();
    file(&mut tx, &store, marie, 1, b"before").await;
    let savepoint = tx.savepoint().await.unwrap();
    assert_eq!(tx.conn.kept_back(), 0, "what stood before can't be undone with the rest");
    file(&mut tx, &store, marie, 2, b"undone").await;
    tx.undo(savepoint).await.unwrap();
    assert_eq!(tx.conn.kept_back(), 0);
    let savepoint = tx.savepoint().await.unwrap();
    file(&mut tx, &store, marie, 3, b"kept").await;
    tx.keep(savepoint);
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    file(&mut tx, &store, marie, 4, b"let go").await;
    drop(tx);
    let mut tx = store.read().await.unwrap();
    let times: Vec<_> = tx.thread(marie).await.unwrap().iter().map(|m| m.at).collect();
    assert_eq!(times, [at(1), at(3)]);
    drop(tx);
    store.verify_journal(None).await.unwrap();
}

#[tokio::test]
async fn every_number_of_rows_is_written_and_large_bodies_are_not_kept_back() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await.id;
    let mut filed = 0;
    for many in [1, 2, 3, 7, 31, 63, 64, 65, 130] {
        let mut tx = store.begin().await.unwrap();
        for _ in 0..many {
            file(&mut tx, &store, marie, filed, filed.to_string().as_bytes()).await;
            filed += 1;
        }
        assert!(tx.conn.kept_back() < 3 * 64, "{many}: {}", tx.conn.kept_back());
        tx.commit().await.unwrap();
    }
    let mut tx = store.begin().await.unwrap();
    let large = file(&mut tx, &store, marie, filed, &vec![7; 2 << 20]).await;
    assert_eq!(tx.conn.kept_back(), 1, "the line of the journal, which came after");
    let thread = tx.thread(marie).await.unwrap();
    assert_eq!(thread.len() as i64, filed + 1);
    for (n, m) in thread.iter().enumerate() {
        let body = tx.blob(m.id).await.unwrap().unwrap();
        let expected = if m.id == large { vec![7; 2 << 20] } else { n.to_string().into_bytes() };
        assert!(body == expected, "{n}");
    }
    tx.commit().await.unwrap();
    store.verify_journal(None).await.unwrap();
}
