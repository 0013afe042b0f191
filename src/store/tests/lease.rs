//! Several gateways on one schema; on PostgreSQL where there is one.

use super::*;

/// Two gateways of one practice, each with a connection of its own; `None`: there is no server to test on.
async fn two() -> Option<(Place, Store, Store)> {
    let place = Place::new();
    place.server.as_ref()?;
    let (one, other) = (place.open().await, place.open().await);
    one.join("AA", &[], at(0)).await.unwrap();
    other.join("BB", &[], at(0)).await.unwrap();
    Some((place, one, other))
}

/// As if the gateway had been stopped for longer than its leases last.
async fn outlive(place: &Place, gateway: &str) {
    assert!(place.attack(&format!("UPDATE lease SET until = 1 WHERE holder = '{gateway}'")).await > 0);
}

#[tokio::test]
async fn one_gateway_has_the_mailbox_and_another_only_when_its_lease_has_ended() {
    let Some((place, one, other)) = two().await else { return };
    assert!(one.take_mailbox().await.unwrap());
    assert!(!other.take_mailbox().await.unwrap());
    let lives = |id: &str, mailbox| GatewayLife { id: id.into(), mailbox };
    assert_eq!(other.gateways().await.unwrap(), [lives("AA", true), lives("BB", false)]);
    one.renew().await.unwrap();
    assert!(one.take_mailbox().await.unwrap(), "it has it still");
    assert!(matches!(place.open().await.at_rest().await, Err(StoreError::Held)));
    outlive(&place, "AA").await;
    one.renew().await.unwrap();
    assert!(!other.take_mailbox().await.unwrap(), "late, and nobody has taken it");
    outlive(&place, "AA").await;
    assert!(other.take_mailbox().await.unwrap());
    assert_eq!(other.gateways().await.unwrap(), [lives("BB", true)]);
    other.leave(at(0)).await.unwrap();
    assert_eq!(other.gateways().await.unwrap(), []);
    place.open().await.at_rest().await.unwrap();
}

#[tokio::test]
async fn who_was_taken_for_dead_commits_nothing_more() {
    let Some((place, one, other)) = two().await else { return };
    assert!(one.take_mailbox().await.unwrap());
    // In the midst of a transaction nothing is taken away: whoever would waits for its end.
    let mut tx = one.begin().await.unwrap();
    outlive(&place, "AA").await;
    tx.set_meta("written", "yes").await.unwrap();
    let (taken, committed) = tokio::join!(other.take_mailbox(), async {
        tokio::task::yield_now().await;
        tx.commit().await
    });
    committed.unwrap();
    assert!(taken.unwrap());
    assert!(matches!(one.begin().await.map(drop), Err(StoreError::Fenced)));
    one.fenced().await;
    assert!(matches!(one.renew().await, Err(StoreError::Fenced)));
    assert!(one.read().await.is_ok(), "it may look");
    // Begun anew it is another one, and what it had before is gone.
    one.join("CC", &["AA".to_owned()], at(0)).await.unwrap();
    assert!(!one.take_mailbox().await.unwrap());
    one.begin().await.unwrap();
    other.begin().await.unwrap();
}

#[tokio::test]
async fn tokens_rise_whoever_has_the_lease() {
    let Some((place, one, other)) = two().await else { return };
    let mut last = 0;
    for (store, gateway) in [(&one, "AA"), (&other, "BB")] {
        assert!(store.take_mailbox().await.unwrap());
        let sql = "SELECT token FROM lease WHERE name = 'mailbox'";
        let token: i64 = sql::scalar(sql).fetch_one(&mut store.read().await.unwrap().conn).await.unwrap();
        assert!(token > last);
        last = token;
        outlive(&place, gateway).await;
    }
}

#[tokio::test]
async fn a_mail_that_a_living_gateway_has_claimed_is_no_other_ones() {
    let Some((place, one, other)) = two().await else { return };
    let mut tx = one.begin().await.unwrap();
    let first = tx.enqueue(&mail(Kind::Receipt, 0)).await.unwrap();
    let second = tx.enqueue(&mail(Kind::Receipt, 1)).await.unwrap();
    tx.commit().await.unwrap();
    let ids = async |store: &Store, minutes: i64| {
        let (rows, _) = store.read().await.unwrap().claimable(at(minutes), 10).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    one.reserve(at(5), 1).await.unwrap();
    other.reserve(at(5), 10).await.unwrap();
    assert_eq!((ids(&one, 5).await, ids(&other, 5).await), (vec![first], vec![second]));
    // What one gateway leaves for later another may send.
    one.give_back(&[first, second]).await.unwrap();
    assert!(ids(&one, 5).await.is_empty());
    assert_eq!(ids(&other, 5).await, [second], "another's isn't given back");
    one.reserve(at(5), 1).await.unwrap();
    assert_eq!(ids(&one, 5).await, [first]);
    let mut tx = other.begin().await.unwrap();
    assert!(!tx.claim(first, Some(b"theirs"), at(5), at(6)).await.unwrap());
    assert!(tx.claim(second, Some(b"others"), at(5), at(6)).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = one.begin().await.unwrap();
    assert!(tx.claim(first, Some(b"the bytes"), at(5), at(6)).await.unwrap());
    tx.commit().await.unwrap();

    // Long after its next try, which would be due: it lives, and may be in the midst of sending.
    assert_eq!(other.bury_the_dead(at(5)).await.unwrap(), 0);
    other.reserve(at(500), 10).await.unwrap();
    assert_eq!(ids(&other, 500).await, [second]);
    let mut tx = other.begin().await.unwrap();
    assert_eq!(tx.resume_attempts(at(5)).await.unwrap(), 0);
    tx.commit().await.unwrap();

    outlive(&place, "AA").await;
    assert_eq!(other.bury_the_dead(at(5)).await.unwrap(), 1);
    let mut tx = other.begin().await.unwrap();
    assert_eq!(tx.frozen(first).await.unwrap().as_deref(), Some(b"the bytes".as_slice()), "these and no others");
    assert!(!tx.claim(first, Some(b"other bytes"), at(6), at(7)).await.unwrap());
    tx.commit().await.unwrap();
    other.reserve(at(5), 10).await.unwrap();
    assert_eq!(ids(&other, 5).await, [first]);
    assert!(matches!(one.begin().await.map(drop), Err(StoreError::Fenced)), "its result is nobody's any more");
}

#[tokio::test]
async fn what_a_gateway_notes_of_its_reload_stands_beside_the_others_and_goes_with_it() {
    let Some((place, one, other)) = two().await else { return };
    for (store, says) in [(&one, "refused"), (&other, "taken")] {
        let mut tx = store.begin().await.unwrap();
        tx.set_reload(Some(says)).await.unwrap();
        tx.commit().await.unwrap();
    }
    let noted = |id: &str, says: &str| (Some(id.to_owned()), says.to_owned());
    let store = place.open().await;
    assert_eq!(store.read().await.unwrap().reloads().await.unwrap(), [noted("AA", "refused"), noted("BB", "taken")]);
    one.leave(at(0)).await.unwrap();
    assert_eq!(store.read().await.unwrap().reloads().await.unwrap(), [noted("BB", "taken")]);
    assert_eq!(place.attack("DELETE FROM meta WHERE key LIKE 'reload%'").await, 1, "its note is gone as well");
}

#[tokio::test]
async fn with_sqlite_there_is_one_gateway_and_no_lease() {
    let place = Place::file();
    let store = place.open().await;
    assert!(!store.is_shared() && store.lives());
    assert_eq!(store.gateways().await.unwrap(), []);
    let mut tx = store.begin().await.unwrap();
    let id = tx.enqueue(&mail(Kind::Receipt, 0)).await.unwrap();
    tx.commit().await.unwrap();
    store.reserve(at(5), 10).await.unwrap();
    assert_eq!(store.read().await.unwrap().claimable(at(5), 10).await.unwrap().0.len(), 1);
    assert!(store.begin().await.unwrap().claim(id, Some(b"bytes"), at(5), at(6)).await.unwrap());
    let lock = store.at_rest().await.unwrap();
    assert!(matches!(store.at_rest().await, Err(StoreError::Locked { .. })));
    drop(lock);
}
