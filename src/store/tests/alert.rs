use super::*;

fn alert(client: Option<ClientId>) -> NewAlert {
    NewAlert {
        client,
        therapist: TherapistId("exemple".into()),
        message: MessageRow(7),
        class: CrisisClass::A,
        rules: vec!["fr.a.want-to-die".into()],
        verdict: Verdict::Verified,
        number: None,
        arrived: at(0),
        safety: true,
        passed_on: true,
    }
}

#[tokio::test]
async fn alerts_pass_every_queue_and_safety_letters_come_next() {
    let place = Place::new();
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    for n in 0..30 {
        tx.enqueue(&mail(Kind::Forward, -n)).await.unwrap();
    }
    tx.enqueue(&mail(Kind::StrangerSafety, 0)).await.unwrap();
    tx.enqueue(&mail(Kind::Alert, 0)).await.unwrap();
    tx.enqueue(&mail(Kind::Safety, 0)).await.unwrap();
    let kinds: Vec<Kind> = tx.claimable(at(1), 4).await.unwrap().0.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [Kind::Alert, Kind::StrangerSafety, Kind::Safety, Kind::Forward]);
}

#[tokio::test]
async fn an_alert_is_due_until_it_is_answered_and_each_reader_is_told_for_themselves() {
    let place = Place::new();
    let store = place.open().await;
    let (own, locum) = (TherapistId("exemple".into()), TherapistId("second".into()));
    let mut tx = store.begin().await.unwrap();
    let first = tx.open_alert(&alert(None), at(0), at(30)).await.unwrap();
    let second = tx.open_alert(&alert(None), at(5), at(35)).await.unwrap();
    assert!(tx.due_alerts(at(29)).await.unwrap().is_empty());
    // A stranger's later letter neither puts off what was due, nor stands for itself.
    assert_eq!(tx.due_alerts(at(30)).await.unwrap().iter().map(|a| a.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(tx.alerts_about(None, &own).await.unwrap().len(), 2);
    assert!(tx.alerts_about(None, &locum).await.unwrap().is_empty());
    // What was never mailed uses nothing of the hour's ceiling; nor does another class.
    assert_eq!(tx.count_alerts(None, CrisisClass::A, at(0)).await.unwrap(), 0);
    tx.alert_mailed(first).await.unwrap();
    assert_eq!(tx.count_alerts(None, CrisisClass::A, at(0)).await.unwrap(), 1);
    assert_eq!(tx.count_alerts(None, CrisisClass::B, at(0)).await.unwrap(), 0);
    assert_eq!(tx.count_alerts(None, CrisisClass::A, at(1)).await.unwrap(), 0);

    tx.alert_told(first, &own, at(1)).await.unwrap();
    tx.alert_told(first, &own, at(2)).await.unwrap();
    let told = tx.alert(first).await.unwrap().unwrap();
    assert_eq!((told.told_at(&own), told.told_at(&locum), told.sent), (Some(at(1)), None, 1));
    tx.alert_told(first, &locum, at(3)).await.unwrap();
    let told = tx.alert(first).await.unwrap().unwrap();
    assert_eq!((told.told_at(&own), told.told_at(&locum)), (Some(at(1)), Some(at(3))));

    assert!(tx.waiting_alerts(None, &own).await.unwrap().is_empty());
    let row = tx.enqueue(&NewOutbox { therapist: Some(own.clone()), ..mail(Kind::Alert, 0) }).await.unwrap();
    assert_eq!(tx.waiting_alerts(None, &own).await.unwrap(), [row]);
    assert!(tx.waiting_alerts(None, &locum).await.unwrap().is_empty());

    tx.plan_alert(first, at(30), at(60)).await.unwrap();
    tx.answer_alert(first, at(40)).await.unwrap();
    tx.plan_alert(first, at(60), at(90)).await.unwrap();
    assert_eq!(tx.due_alerts(at(99)).await.unwrap().iter().map(|a| a.id).collect::<Vec<_>>(), [second]);
    assert_eq!(tx.open_alerts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_flood_of_later_letters_puts_no_alert_off() {
    let place = Place::new();
    let store = place.open().await;
    let (marie, paul) = (add(&store, "marie").await.id, add(&store, "paul").await.id);
    let mut tx = store.begin().await.unwrap();
    let own = tx.open_alert(&alert(Some(marie)), at(0), at(30)).await.unwrap();
    for n in 1..29 {
        let forged = NewAlert { class: CrisisClass::B, verdict: Verdict::Unsigned, ..alert(Some(marie)) };
        tx.open_alert(&forged, at(n), at(n + 30)).await.unwrap();
    }
    let other = tx.open_alert(&alert(Some(paul)), at(29), at(59)).await.unwrap();
    let due = tx.due_alerts(at(30)).await.unwrap();
    assert_eq!((due.len(), due.iter().any(|a| a.id == own), due.iter().any(|a| a.id == other)), (29, true, false));
}

#[tokio::test]
async fn an_alert_that_somebody_with_the_file_changed_is_not_believed_and_hides_no_other() {
    let changes = [
        "therapist = 'other'",
        "class = 'B'",
        "rules = '[]'",
        "number = 'H1'",
        "arrived_at = arrived_at - 1",
        "safety = 0",
        "first_at = first_at + 1",
        "last_at = last_at + 1",
        "sent = sent + 1",
        "next_at = NULL",
        "next_at = next_at + 1",
        "told = '{\"exemple\":1}'",
        "answered_at = 1, next_at = NULL",
    ];
    for change in changes {
        let place = Place::new();
        let store = place.open().await;
        let mut tx = store.begin().await.unwrap();
        let first = tx.open_alert(&alert(None), at(0), at(30)).await.unwrap();
        let second = tx.open_alert(&alert(None), at(5), at(35)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.read().await.unwrap().changed_alerts(at(-9)).await.unwrap(), 0);
        assert_eq!(place.attack(&format!("UPDATE alert SET {change} WHERE id = {first}")).await, 1);
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.alert(first).await, Err(StoreError::Corrupt { table: "alert", .. })), "{change}");
        assert_eq!(tx.open_alerts().await.unwrap().iter().map(|a| a.id).collect::<Vec<_>>(), [second], "{change}");
        assert_eq!(tx.due_alerts(at(35)).await.unwrap().len(), 1, "{change}");
        assert_eq!(tx.changed_alerts(at(-9)).await.unwrap(), 1, "{change}");
        // Nor is it made good by what Cadre itself writes later.
        tx.alert_told(first, &TherapistId("exemple".into()), at(6)).await.unwrap();
        assert!(tx.alert(first).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn an_absence_or_a_locums_copy_that_somebody_with_the_file_changed_is_not_believed() {
    let own = TherapistId("exemple".into());
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await.id;
    let row = letter(&store, marie, 0);
    let locum = TherapistId("second".into());
    let mut tx = store.begin().await.unwrap();
    let mut absence = Absence {
        id: AbsenceRow(store.new_id()),
        therapist: own,
        first_day: day(3),
        last_day: Some(day(9)),
        locum: Some(locum.clone()),
        origin: AbsenceOrigin::Mail,
        unplanned: false,
        created_at: at(0),
        announced_at: None,
        started_at: None,
        ended_at: None,
    };
    tx.put_absence(&absence).await.unwrap();
    (absence.announced_at, absence.started_at, absence.ended_at) = (Some(at(1)), Some(at(2)), Some(at(3)));
    tx.put_absence(&absence).await.unwrap();
    assert_eq!(tx.absence(absence.id).await.unwrap(), Some(absence.clone()));
    tx.insert_message(&row).await.unwrap();
    tx.put_locum_copy(row.id, &locum, b"ciphertext").await.unwrap();
    assert_eq!(tx.locum_copy(row.id, &locum).await.unwrap().as_deref(), Some(&b"ciphertext"[..]));
    assert_eq!(tx.handed_to_locum(row.id, &locum).await.unwrap(), None);
    tx.hand_locum_copy(row.id, &locum, at(4)).await.unwrap();
    assert_eq!(tx.handed_to_locum(row.id, &locum).await.unwrap(), Some(at(4)));
    assert_eq!(tx.locum_copy(row.id, &locum).await.unwrap(), None);
    tx.commit().await.unwrap();

    place.attack("UPDATE locum_copy SET handed_at = handed_at - 1").await;
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.handed_to_locum(row.id, &locum).await, Err(StoreError::Corrupt { table: "locum_copy", .. })));
    drop(tx);
    for change in ["ended_at = NULL", "started_at = NULL", "announced_at = NULL", "created_at = created_at + 1"] {
        place.attack(&format!("UPDATE absence SET {change}")).await;
        let mut tx = store.begin().await.unwrap();
        let read = tx.absence(absence.id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { table: "absence", .. })), "{change}");
        tx.put_absence(&absence).await.unwrap();
        let mended = sql::query("UPDATE absence SET created_at = $1").bind(micros(absence.created_at));
        mended.execute(&mut tx.conn).await.unwrap();
        assert!(tx.absence(absence.id).await.unwrap().is_some(), "{change}");
        tx.commit().await.unwrap();
    }
}
