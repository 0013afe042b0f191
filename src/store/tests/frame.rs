//! Wordings, offered keys: what somebody with the file and without the keys can and can't do.

use super::*;

#[tokio::test]
async fn a_changed_wording_is_a_new_one_and_a_changed_letter_asked_about_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await;
    let therapist = TherapistId("exemple".into());
    let mut tx = store.begin().await.unwrap();
    let (first, _) = tx.wording(&therapist, Language::Fr, Channel::OpenPgp, &[1; 32], at(0)).await.unwrap();
    let row = tx.enqueue(&mail(Kind::Frame, 0)).await.unwrap();
    tx.add_frame_letter(row, marie.id, &first, at(0)).await.unwrap();
    assert_eq!(tx.frame_letters(marie.id, &first).await.unwrap().len(), 1);
    let (second, new) = tx.wording(&therapist, Language::Fr, Channel::OpenPgp, &[2; 32], at(1)).await.unwrap();
    assert!(new && second.number == 2);
    assert_eq!(
        tx.wording(&therapist, Language::Fr, Channel::OpenPgp, &[2; 32], at(2)).await.unwrap(),
        (second.clone(), false)
    );
    tx.commit().await.unwrap();

    // The letter about the first counts for the second.
    place.attack("UPDATE frame_letter SET number = 2").await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.frame_letters(marie.id, &second).await.unwrap().is_empty());
    drop(tx);
    // The second under the number of the first.
    place.attack("DELETE FROM frame_version WHERE number = 1; UPDATE frame_version SET number = 1").await;
    let mut tx = store.begin().await.unwrap();
    let (again, new) = tx.wording(&therapist, Language::Fr, Channel::OpenPgp, &[2; 32], at(3)).await.unwrap();
    assert!(new && again.number == 2);
}

#[tokio::test]
async fn a_therapists_key_is_sealed_and_never_replaced_unnoticed() {
    let place = Place::new();
    let store = place.open().await;
    let id = TherapistId("second".into());
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.set_therapist_offer(&id, b"a secretfact key", at(0)).await.unwrap(), "nobody asked");
    tx.welcome(&id, at(0)).await.unwrap();
    assert!(tx.set_therapist_offer(&id, b"a secretfact key", at(1)).await.unwrap());
    assert!(!tx.set_therapist_offer(&id, b"another", at(2)).await.unwrap());
    let (_, offer) = tx.therapist_offer(&id).await.unwrap().unwrap();
    assert_eq!(offer.as_deref(), Some(b"a secretfact key".as_slice()));
    let sealed = sql::scalar::<Vec<u8>>("SELECT offer FROM therapist_offer").fetch_one(&mut tx.conn).await.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("secretfact"));
    tx.commit().await.unwrap();
    place.attack("UPDATE therapist_offer SET answered_at = answered_at + 1").await;
    assert!(store.begin().await.unwrap().therapist_offer(&id).await.is_err());
}

#[tokio::test]
async fn that_a_key_was_told_of_stands_under_its_mac() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let offer = KeyOffer {
        id: 0,
        client: marie.id,
        at: at(0),
        certificate: b"key".to_vec(),
        fingerprint: "AA".into(),
        signed: false,
        encrypted: false,
        by_old: false,
        told_at: None,
    };
    let offer = tx.add_offer(&offer).await.unwrap();
    assert_eq!(tx.untold_offers().await.unwrap(), [marie.id]);
    tx.offer_told(offer.id, at(1)).await.unwrap();
    assert_eq!(tx.offers(marie.id).await.unwrap()[0].told_at, Some(at(1)));
    assert!(tx.untold_offers().await.unwrap().is_empty());
    tx.commit().await.unwrap();
    place.attack("UPDATE key_offer SET told_at = NULL").await;
    assert!(store.begin().await.unwrap().offers(marie.id).await.is_err());
}
