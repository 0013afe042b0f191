//! What a large practice is looked over by.

use super::*;

#[tokio::test]
async fn pages_bring_every_client_once_and_name_who_was_changed() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..7 {
        add(&store, &format!("c{n}")).await;
    }
    let mut tx = store.begin().await.unwrap();
    let other = NewClient { therapist: TherapistId("autre".into()), ..newcomer("elsewhere") };
    let other = tx.add_client(other).await.unwrap();
    tx.commit().await.unwrap();
    let changed = add(&store, "victim").await;
    place.attack(&format!("UPDATE client SET state = 'ending' WHERE id = {}", changed.id.0)).await;

    let mut tx = store.read().await.unwrap();
    let (mut sound, mut codes, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = tx.clients_after(after, 2).await.unwrap();
        let Some(last) = page.last else { break };
        sound.extend(page.sound.iter().map(|client| client.id));
        codes.extend(page.changed);
        after = Some(last);
    }
    assert_eq!((sound.len(), &codes[..]), (8, &[changed.code.clone()][..]));
    assert!(sound.is_sorted());
    let own = tx.clients_of(&other.therapist).await.unwrap();
    assert_eq!(own.sound.iter().map(|client| client.id).collect::<Vec<_>>(), [other.id]);
    assert_eq!(tx.clients_of(&changed.therapist).await.unwrap().changed, [changed.code]);
    assert_eq!(tx.clients_in(ClientState::Active).await.unwrap().sound.len(), 8);
    assert_eq!(tx.count_clients().await.unwrap(), 9);
}

#[tokio::test]
async fn counts_and_a_therapists_part_are_those_of_the_whole_lists() {
    let place = Place::new();
    let store = place.open().await;
    let (own, other) = (add(&store, "own").await, {
        let mut tx = store.begin().await.unwrap();
        let new = NewClient { therapist: TherapistId("autre".into()), ..newcomer("other") };
        let client = tx.add_client(new).await.unwrap();
        tx.commit().await.unwrap();
        client
    });
    let mut tx = store.begin().await.unwrap();
    for (client, due) in [(&own, 10), (&other, 20)] {
        tx.open_turn(client.id, at(0), Some(at(due))).await.unwrap();
        let mut waiting = reply(&store, client.id, 90, day(2));
        waiting.therapist = Some(client.therapist.clone());
        tx.insert_message(&waiting).await.unwrap();
    }
    for now in [at(5), at(15), at(25)] {
        let figures = tx.figures(now, now, now).await.unwrap();
        assert_eq!(figures.all_clients(), 2);
        assert_eq!(figures.open_turns, tx.open_turns().await.unwrap().len() as u64);
        assert_eq!(figures.overdue_turns, tx.overdue_turns(now).await.unwrap().len() as u64);
        assert_eq!(figures.waiting_replies, tx.all_waiting().await.unwrap().len() as u64);
    }
    let turns = tx.open_turns_of(&own.therapist).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.client).collect::<Vec<_>>(), [own.id]);
    let waiting = tx.waiting_of(&other.therapist).await.unwrap();
    assert_eq!(waiting.iter().map(|message| message.client).collect::<Vec<_>>(), [Some(other.id)]);
}

#[tokio::test]
async fn a_note_of_a_keys_end_counts_for_its_certificate_alone() {
    let place = Place::new();
    let store = place.open().await;
    let client = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    // Nobody has read the certificate yet: it is among those to be looked at.
    assert!(tx.keys_noted(std::slice::from_ref(&client)).await.unwrap().is_empty());
    assert_eq!(tx.keys_unread(5).await.unwrap(), [client.id]);
    tx.note_key_expiry(&client, Some(at(60))).await.unwrap();
    assert_eq!(tx.keys_noted(std::slice::from_ref(&client)).await.unwrap().get(&client.id), Some(&Some(at(60))));
    assert!(tx.keys_expiring(at(59)).await.unwrap().is_empty());
    assert_eq!(tx.keys_expiring(at(60)).await.unwrap(), [client.id]);
    tx.note_key_expiry(&client, None).await.unwrap();
    assert_eq!(tx.keys_noted(std::slice::from_ref(&client)).await.unwrap().get(&client.id), Some(&None));
    assert!(tx.keys_expiring(at(60)).await.unwrap().is_empty());
    tx.commit().await.unwrap();

    // Who puts it off in the file hides no end of a key: the note counts no more.
    place.attack("UPDATE key_expiry SET expires_at = 9000000000000000").await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.keys_noted(std::slice::from_ref(&client)).await.unwrap().is_empty());
    tx.note_key_expiry(&client, Some(at(60))).await.unwrap();
    tx.set_client_certificate(client.id, Some(&certificate("marie's next"))).await.unwrap();
    let now = tx.client(client.id).await.unwrap().unwrap();
    assert!(tx.keys_noted(std::slice::from_ref(&now)).await.unwrap().is_empty());
    assert_eq!(tx.keys_unread(5).await.unwrap(), [client.id]);
    tx.set_client_certificate(client.id, None).await.unwrap();
    assert!(tx.keys_expiring(at(60)).await.unwrap().is_empty() && tx.keys_unread(5).await.unwrap().is_empty());
}
