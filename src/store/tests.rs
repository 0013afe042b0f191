use chrono::{Duration, TimeZone, Weekday};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::*;
use crate::model::*;

mod alert;
mod census;
mod engines;
mod frame;
mod lease;
mod safety;
mod transaction;

const KEY: [u8; 32] = [42; 32];

/// Where a test's store is: a file, or a schema of its own on the server that `CADRE_TEST_POSTGRES` names (the URL of a
/// superuser on a server that may be thrown away).
struct Place {
    dir: TempDir,
    server: Option<Server>,
}

fn test_server() -> Option<String> {
    std::env::var("CADRE_TEST_POSTGRES").ok()
}

impl Place {
    fn new() -> Self {
        let schema = || format!("test_{:016x}", rand::rng().next_u64());
        let server = test_server().map(|url| Server { url, password: None, schema: schema() });
        Self { server, ..Self::file() }
    }

    /// For what only SQLite has.
    fn file() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: None }
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("cadre.db")
    }

    fn head(&self) -> PathBuf {
        self.dir.path().join("journal.head")
    }

    async fn open(&self) -> Store {
        self.open_as(&KEY, &self.head()).await.unwrap()
    }

    async fn open_as(&self, key: &[u8; 32], head: &Path) -> Result<Store, StoreError> {
        match &self.server {
            Some(server) => Store::connect(server, Vault::new(key), head).await,
            None => Store::open(&format!("sqlite:{}", self.db().display()), Vault::new(key), head).await,
        }
    }

    /// Somebody with the database and without the keys.
    async fn attack(&self, sql: &str) -> u64 {
        let Some(server) = &self.server else {
            let options = SqliteConnectOptions::new().filename(self.db()).foreign_keys(false);
            let mut raw = options.connect().await.unwrap();
            let done = sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
            raw.close().await.unwrap();
            return done.rows_affected();
        };
        let mut raw = server.raw().await;
        let bytes = regex::Regex::new("x'([0-9a-f]*)'").unwrap();
        let sql = bytes.replace_all(sql, r"'\x$1'::bytea").into_owned();
        // Neither triggers nor foreign keys stop a superuser.
        sqlx::raw_sql("SET session_replication_role = replica").execute(&mut raw).await.unwrap();
        let done = sqlx::raw_sql(&sql).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        done.rows_affected()
    }
}

impl Server {
    async fn raw(&self) -> sqlx::PgConnection {
        let options: PgConnectOptions = self.url.parse().unwrap();
        options.options([("search_path", self.schema.as_str())]).connect().await.unwrap()
    }
}

fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 7, 0, 0).unwrap() + Duration::minutes(minutes)
}

fn day(d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, d).unwrap()
}

fn certificate(seed: &str) -> Certificate {
    Certificate {
        bytes: format!("certificate of {seed}").into_bytes(),
        fingerprint: format!("{:0>40}", data_encoding::HEXUPPER.encode(seed.as_bytes())),
        handles: vec![format!("{:0>16}", data_encoding::HEXUPPER.encode(seed.as_bytes()))],
    }
}

fn newcomer(name: &str) -> NewClient {
    NewClient {
        therapist: TherapistId("exemple".into()),
        state: ClientState::Active,
        channel: Channel::OpenPgp,
        language: Language::Fr,
        address: Address::parse(&format!("{name}@client.example")).unwrap(),
        name: Some(format!("Madame {name}")),
        label: Some(format!("label of {name}")),
        certificate: Some(certificate(name)),
        consent_note: Some(format!("on paper, {name}")),
        consented_at: Some(at(0)),
        created_at: at(1),
        care: crate::store::Care::default(),
    }
}

async fn add(store: &Store, name: &str) -> Client {
    let mut tx = store.begin().await.unwrap();
    let client = tx.add_client(newcomer(name)).await.unwrap();
    tx.commit().await.unwrap();
    client
}

fn letter(store: &Store, client: ClientId, minutes: i64) -> Message {
    let mut m = Message::new(MessageRow(store.new_id()), Direction::In, Kind::Letter, MessageState::Filed, at(minutes));
    m.client = Some(client);
    m.therapist = Some(TherapistId("exemple".into()));
    m.verdict = Some(Verdict::Verified);
    m
}

fn reply(store: &Store, client: ClientId, slot: i64, leave: NaiveDate) -> Message {
    let mut m =
        Message::new(MessageRow(store.new_id()), Direction::Out, Kind::Reply, MessageState::Waiting, at(slot - 60));
    m.client = Some(client);
    m.slot = Some(at(slot));
    m.leave_day = Some(leave);
    m
}

fn mail(kind: Kind, minutes: i64) -> NewOutbox {
    NewOutbox {
        kind,
        client: None,
        therapist: None,
        message: None,
        created_at: at(0),
        not_before: at(minutes),
        facts: json!({"first_line": "Chère secretfact"}),
        recipient: None,
        mail_id: None,
    }
}

// Clients

#[tokio::test]
async fn a_client_reads_back_by_every_way_of_finding_one() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await;
    let paul = add(&store, "paul").await;
    assert_ne!(marie.code, paul.code);
    let mut tx = store.begin().await.unwrap();
    tx.set_weekdays(marie.id, Some(&[Weekday::Tue, Weekday::Fri])).await.unwrap();
    tx.set_about_keys_at(marie.id, Some(at(5))).await.unwrap();
    tx.set_client_state(marie.id, ClientState::Paused).await.unwrap();
    tx.set_label(marie.id, Some("M.")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.read().await.unwrap();
    let other_case = Address::parse("MARIE@Client.Example").unwrap();
    let found = [
        tx.client(marie.id).await.unwrap().unwrap(),
        tx.client_by_code(&marie.code).await.unwrap().unwrap(),
        tx.client_by_address(&other_case).await.unwrap().unwrap(),
        tx.clients_by_handle(&certificate("marie").fingerprint.to_lowercase()).await.unwrap().remove(0),
        tx.clients_by_handle(&certificate("marie").handles[0]).await.unwrap().remove(0),
    ];
    for client in found {
        assert_eq!(client.id, marie.id);
        assert_eq!(client.code, marie.code);
        assert_eq!(client.state, ClientState::Paused);
        assert_eq!(client.address.as_typed(), "marie@client.example");
        assert_eq!(client.name.as_deref(), Some("Madame marie"));
        assert_eq!(client.label.as_deref(), Some("M."));
        assert_eq!(client.certificate, Some(certificate("marie").bytes));
        assert_eq!(client.fingerprint, Some(certificate("marie").fingerprint));
        assert_eq!(client.weekdays, Some(vec![Weekday::Tue, Weekday::Fri]));
        assert_eq!(client.thread_root, marie.thread_root);
        assert_eq!(client.thread_root.len(), 32);
        assert_eq!(client.consented_at, Some(at(0)));
        assert_eq!(client.created_at, at(1));
        assert_eq!(client.about_keys_at, Some(at(5)));
    }
    assert_eq!(tx.clients().await.unwrap().len(), 2);
    assert_eq!(tx.client_ids().await.unwrap().len(), 2);
    assert!(tx.client_by_address(&Address::parse("nobody@client.example").unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_address_or_a_certificate_belongs_to_one_client() {
    let place = Place::new();
    let store = place.open().await;
    let marie = add(&store, "marie").await;
    let paul = add(&store, "paul").await;
    let mut tx = store.begin().await.unwrap();
    let same_address = NewClient { certificate: None, ..newcomer("Marie") };
    assert!(matches!(tx.add_client(same_address).await, Err(StoreError::AddressTaken)));
    let same_key = NewClient { certificate: Some(certificate("marie")), ..newcomer("jean") };
    assert!(matches!(tx.add_client(same_key).await, Err(StoreError::CertificateTaken)));
    let stolen = certificate("marie");
    let pinned = tx.set_client_certificate(paul.id, Some(&stolen)).await;
    assert!(matches!(pinned, Err(StoreError::CertificateTaken)));
    let moved = tx.set_client_address(paul.id, &marie.address).await;
    assert!(matches!(moved, Err(StoreError::AddressTaken)));

    tx.set_client_certificate(marie.id, Some(&certificate("marie2"))).await.unwrap();
    assert!(tx.clients_by_handle(&certificate("marie").fingerprint).await.unwrap().is_empty(), "old handles are gone");
    assert_eq!(tx.clients_by_handle(&certificate("marie2").fingerprint).await.unwrap().len(), 1);
    tx.set_client_certificate(marie.id, None).await.unwrap();
    assert_eq!(tx.client(marie.id).await.unwrap().unwrap().certificate, None);
}

#[tokio::test]
async fn every_column_of_a_client_that_is_swapped_is_noticed_and_stops_that_client_only() {
    let columns = [
        "therapist = 'other'",
        "state = 'discharged'",
        "channel = 'pdf'",
        "language = 'en'",
        "code = 'C-2222'",
        "weekdays = 'Mon'",
        "consented_at = 0",
        "address = (SELECT address FROM client WHERE id = {b})",
        "address_hash = x'00112233445566778899aabbccddeeff'",
        "name = (SELECT name FROM client WHERE id = {b})",
        "label = NULL",
        "certificate = (SELECT certificate FROM client WHERE id = {b})",
        "fingerprint = (SELECT fingerprint FROM client WHERE id = {b})",
        "fingerprint_hash = NULL",
        "thread_root = (SELECT thread_root FROM client WHERE id = {b})",
        "mac = (SELECT mac FROM client WHERE id = {b})",
    ];
    for column in columns {
        let place = Place::new();
        let store = place.open().await;
        let a = add(&store, "marie").await;
        let b = add(&store, "paul").await;
        let column = column.replace("{b}", &b.id.0.to_string());
        assert_eq!(place.attack(&format!("UPDATE client SET {column} WHERE id = {}", a.id.0)).await, 1);
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.client(a.id).await, Err(StoreError::Tampered { .. })), "{column}");
        let healed = tx.set_client_state(a.id, ClientState::Active).await;
        assert!(matches!(healed, Err(StoreError::Tampered { .. })), "{column} must not be MACed anew");
        assert!(tx.client(b.id).await.unwrap().is_some(), "the other client goes on");
        assert!(tx.clients().await.is_err());
    }
}

#[tokio::test]
async fn a_certificate_put_back_to_an_older_one_is_noticed() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    place.attack("CREATE TABLE kept AS SELECT certificate, fingerprint, fingerprint_hash FROM client").await;
    let mut tx = store.begin().await.unwrap();
    tx.set_client_certificate(a.id, Some(&certificate("marie2"))).await.unwrap();
    tx.commit().await.unwrap();
    place
        .attack(
            "UPDATE client SET certificate = (SELECT certificate FROM kept), fingerprint = (SELECT fingerprint FROM kept), \
             fingerprint_hash = (SELECT fingerprint_hash FROM kept)",
        )
        .await;
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.client(a.id).await, Err(StoreError::Tampered { code }) if code == a.code));
}

#[tokio::test]
async fn another_record_key_opens_nothing() {
    let place = Place::new();
    let a = add(&place.open().await, "marie").await;
    let store = place.open_as(&[1; 32], &place.head()).await.unwrap();
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.client(a.id).await, Err(StoreError::Tampered { .. })));
    assert!(tx.client_by_address(&a.address).await.unwrap().is_none());
}

// Messages

#[tokio::test]
async fn a_message_and_its_body_read_back_whole() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let turn = tx.open_turn(a.id, at(0), Some(at(600))).await.unwrap();
    let first = letter(&store, a.id, 0);
    tx.insert_message(&first).await.unwrap();
    let full = Message {
        marks: vec![Mark::OtherAddress, Mark::Raw],
        seen_at: at(3),
        slot: Some(at(600)),
        leave_day: Some(day(2)),
        turn: Some(turn),
        message_id: Some("own@cadre.example".into()),
        origin_id: Some("theirs@client.example".into()),
        sender: Some(Address::parse("else@where.example").unwrap()),
        subject: Some("Un rêve".into()),
        held_no: Some(tx.next_held_no().await.unwrap()),
        request_code: Some(tx.new_request_code().await.unwrap()),
        signed_at: Some(at(-5)),
        answers: Some(first.id),
        bytes: 1234,
        words: 210,
        attachments: 2,
        forwarded_at: Some(at(9)),
        note: Some("a note".into()),
        ..letter(&store, a.id, 2)
    };
    tx.insert_message(&full).await.unwrap();
    tx.put_blob(full.id, b"-----BEGIN PGP MESSAGE-----").await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    assert!(tx.message(full.id).await.unwrap().unwrap() == full);
    assert!(tx.message_by_own_id("<own@cadre.example>").await.unwrap().unwrap() == full);
    assert_eq!(tx.messages_by_origin_id("theirs@client.example").await.unwrap().len(), 1);
    assert_eq!(tx.message_by_held_no(1).await.unwrap().unwrap().id, full.id);
    let code = full.request_code.clone().unwrap();
    assert!(code.starts_with("N-") && code.len() == 4, "{code}");
    assert_eq!(tx.message_by_request_code(&code.to_lowercase()).await.unwrap().unwrap().id, full.id);
    assert_eq!(tx.thread(a.id).await.unwrap().iter().map(|m| m.id).collect::<Vec<_>>(), [first.id, full.id]);
    assert_eq!(tx.letters_in_turn(turn).await.unwrap().len(), 1);
    assert_eq!(tx.letters_since(a.id, at(0)).await.unwrap().len(), 1);
    assert_eq!(tx.recent_messages(a.id, 1).await.unwrap()[0].id, full.id);
    assert_eq!(tx.count_from(&Address::parse("ELSE@where.example").unwrap(), at(0)).await.unwrap(), 1);
    assert_eq!(tx.count_held(a.id, at(0)).await.unwrap(), 1);
    assert_eq!(tx.blob(full.id).await.unwrap().unwrap(), b"-----BEGIN PGP MESSAGE-----");
    tx.put_blob(full.id, b"resealed").await.unwrap();
    assert_eq!(tx.blob(full.id).await.unwrap().unwrap(), b"resealed");
    assert!(tx.delete_blob(full.id).await.unwrap());
    assert_eq!(tx.blob(full.id).await.unwrap(), None);
    tx.set_own_id(full.id, "other@cadre.example").await.unwrap();
    assert!(tx.message_by_own_id("own@cadre.example").await.unwrap().is_none());
    assert_eq!(tx.message_by_own_id("other@cadre.example").await.unwrap().unwrap().id, full.id);
}

#[tokio::test]
async fn what_is_moved_between_messages_of_two_clients_is_noticed() {
    let attacks = [
        "UPDATE message SET subject = (SELECT subject FROM message WHERE id = {b}) WHERE id = {a}",
        "UPDATE message SET client_id = (SELECT client_id FROM message WHERE id = {b}) WHERE id = {a}",
        "UPDATE message SET verdict = 'verified' WHERE id = {a}",
        "UPDATE message SET kind = 'urgent' WHERE id = {a}",
        "UPDATE blob SET data = (SELECT data FROM blob WHERE message_id = {b}) WHERE message_id = {a}",
        "UPDATE blob SET data = x'00' WHERE message_id = {a}",
        "UPDATE blob SET data = (SELECT data FROM blob WHERE message_id = {b}), \
         mac = (SELECT mac FROM blob WHERE message_id = {b}) WHERE message_id = {a}",
    ];
    for attack in attacks {
        let place = Place::new();
        let store = place.open().await;
        let (ca, cb) = (add(&store, "marie").await, add(&store, "paul").await);
        let mut rows = Vec::new();
        let mut tx = store.begin().await.unwrap();
        for client in [ca.id, cb.id] {
            let m =
                Message { subject: Some("s".into()), verdict: Some(Verdict::Unsigned), ..letter(&store, client, 0) };
            tx.insert_message(&m).await.unwrap();
            tx.put_blob(m.id, format!("for {client:?}").as_bytes()).await.unwrap();
            rows.push(m.id);
        }
        tx.commit().await.unwrap();
        let sql = attack.replace("{a}", &rows[0].0.to_string()).replace("{b}", &rows[1].0.to_string());
        assert_eq!(place.attack(&sql).await, 1);
        let mut tx = store.read().await.unwrap();
        let whole = async {
            tx.message(rows[0]).await?;
            tx.blob(rows[0]).await
        };
        assert!(matches!(whole.await, Err(StoreError::Corrupt { .. })), "{attack}");
    }
}

#[tokio::test]
async fn a_client_has_one_reply_a_day_and_a_refused_second_one_leaves_the_transaction_usable() {
    let place = Place::new();
    let store = place.open().await;
    let (a, b) = (add(&store, "marie").await, add(&store, "paul").await);
    let mut tx = store.begin().await.unwrap();
    let first = reply(&store, a.id, 600, day(2));
    tx.insert_message(&first).await.unwrap();
    let second = reply(&store, a.id, 600, day(2));
    assert!(matches!(tx.insert_message(&second).await, Err(StoreError::DayTaken)));
    tx.insert_message(&reply(&store, b.id, 600, day(2))).await.unwrap();
    tx.insert_message(&Message { kind: Kind::Urgent, ..reply(&store, a.id, 600, day(2)) }).await.unwrap();

    let tomorrow = reply(&store, a.id, 2040, day(3));
    tx.insert_message(&tomorrow).await.unwrap();
    assert!(matches!(tx.set_slot(tomorrow.id, Some(at(600)), Some(day(2))).await, Err(StoreError::DayTaken)));
    assert_eq!(tx.reply_on_day(a.id, day(2)).await.unwrap().unwrap().id, first.id);
    assert!(tx.shift_message_state(first.id, MessageState::Waiting, MessageState::Cancelled).await.unwrap());
    assert!(!tx.shift_message_state(first.id, MessageState::Waiting, MessageState::Leaving).await.unwrap());
    tx.set_slot(tomorrow.id, Some(at(600)), Some(day(2))).await.unwrap();
    let back = tx.set_message_state(first.id, MessageState::Waiting).await;
    assert!(matches!(back, Err(StoreError::DayTaken)), "a cancelled reply can't come back to a taken day");
    tx.set_message_state(tomorrow.id, MessageState::Sent).await.unwrap();
    assert!(matches!(tx.insert_message(&second).await, Err(StoreError::DayTaken)), "a sent one keeps its day");
    assert_eq!(tx.last_sent_reply(a.id).await.unwrap().unwrap().id, tomorrow.id);
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.waiting_replies(at(599)).await.unwrap().len(), 0);
    assert_eq!(tx.waiting_replies(at(600)).await.unwrap().len(), 2, "Paul's reply and Marie's urgent one");
    assert_eq!(tx.next_slot().await.unwrap(), Some(at(600)));
    assert_eq!(tx.all_waiting().await.unwrap().len(), 2);
    assert_eq!(tx.pending_replies(b.id).await.unwrap().len(), 1);
    let waiting = tx.pending_replies(b.id).await.unwrap()[0].id;
    tx.set_message_kind(waiting, Kind::Urgent).await.unwrap();
    assert_eq!(tx.message(waiting).await.unwrap().unwrap().kind, Kind::Urgent);
    assert_eq!(tx.reply_on_day(b.id, day(2)).await.unwrap().map(|m| m.id), None, "/urgent frees the day");
}

#[tokio::test]
async fn held_mail_and_requests_are_listed_and_counted() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    for n in 1..=3 {
        let number = tx.next_held_no().await.unwrap();
        assert_eq!(number, n);
        let m = Message { state: MessageState::Held, held_no: Some(number), ..letter(&store, a.id, 0) };
        tx.insert_message(&m).await.unwrap();
    }
    let code = tx.new_request_code().await.unwrap();
    let request = Message {
        client: None,
        kind: Kind::Request,
        request_code: Some(code),
        sender: Some(Address::parse("stranger@else.example").unwrap()),
        ..letter(&store, a.id, 30)
    };
    tx.insert_message(&request).await.unwrap();
    let third = tx.message_by_held_no(3).await.unwrap().unwrap();
    tx.set_message_state(third.id, MessageState::Discarded).await.unwrap();
    assert_eq!(tx.held().await.unwrap().len(), 2);
    assert_eq!(tx.count_held(a.id, at(0)).await.unwrap(), 3);
    assert_eq!(tx.requests(at(30)).await.unwrap().len(), 1);
    assert_eq!(tx.requests(at(31)).await.unwrap().len(), 0);
    assert_eq!(tx.count_kind(a.id, Kind::Letter, at(0)).await.unwrap(), 3);
}

#[tokio::test]
async fn request_codes_go_on_when_the_short_ones_are_used_up() {
    let place = Place::new();
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    let mut codes = std::collections::HashSet::new();
    for _ in 0..1500 {
        assert!(codes.insert(tx.new_request_code().await.unwrap()));
    }
    assert!(codes.iter().any(|c| c.len() > 4));
}

// Turns, replays, mailbox, small facts

#[tokio::test]
async fn a_client_has_one_open_turn_and_it_opens_again() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let first = tx.open_turn(a.id, at(0), Some(at(600))).await.unwrap();
    assert!(matches!(tx.open_turn(a.id, at(1), None).await, Err(StoreError::TurnOpen)));
    tx.acknowledge_turn(first).await.unwrap();
    assert_eq!(tx.overdue_turns(at(599)).await.unwrap().len(), 0);
    assert_eq!(tx.overdue_turns(at(600)).await.unwrap().len(), 1);
    assert_eq!(tx.miss_turn(first, at(600)).await.unwrap(), 1);
    assert_eq!(tx.miss_turn(first, at(600)).await.unwrap(), 1, "one slot is missed once");
    assert_eq!(tx.miss_turn(first, at(2040)).await.unwrap(), 2);
    tx.answer_turn(first, at(2050), false).await.unwrap();
    assert!(tx.current_turn(a.id).await.unwrap().is_none());
    tx.reopen_turn(first, Some(at(3480))).await.unwrap();
    let turn = tx.current_turn(a.id).await.unwrap().unwrap();
    assert!(turn.acknowledged);
    assert_eq!((turn.state, turn.due_at, turn.answered_at), (TurnState::Open, Some(at(3480)), None));
    tx.answer_turn(first, at(3000), true).await.unwrap();
    let second = tx.open_turn(a.id, at(4000), None).await.unwrap();
    assert!(matches!(tx.reopen_turn(first, None).await, Err(StoreError::TurnOpen)));
    assert_eq!(tx.open_turns().await.unwrap().len(), 1);
    assert_eq!(tx.last_turn(a.id).await.unwrap().unwrap().id, second);
    assert!(tx.turn(first).await.unwrap().unwrap().closed);
    assert!(matches!(tx.answer_turn(TurnRow(1), at(0), false).await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn a_signature_or_bytes_are_new_once() {
    let place = Place::new();
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.remember_signature("AB12", b"digest", Some(MessageRow(7)), at(0)).await.unwrap());
    assert!(!tx.remember_signature("ab12", b"digest", None, at(1)).await.unwrap());
    assert!(tx.remember_signature("CD34", b"digest", None, at(1)).await.unwrap(), "another signer, the same data");
    assert_eq!(tx.knows_signature("AB12", b"digest").await.unwrap(), Some(Some(MessageRow(7))));
    assert_eq!(tx.knows_signature("AB12", b"other").await.unwrap(), None);
    assert!(tx.remember_bytes(b"raw mail", None, at(0)).await.unwrap());
    assert!(!tx.remember_bytes(b"raw mail", None, at(0)).await.unwrap());
    assert_eq!(tx.knows_bytes(b"raw mail").await.unwrap(), Some(None));
    assert_eq!(tx.knows_bytes(b"raw mail.").await.unwrap(), None);
}

#[tokio::test]
async fn originals_wait_for_their_copy_and_survive_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    let a = add(&store, "marie").await;
    let mut tx = store.begin().await.unwrap();
    let m = letter(&store, a.id, 0);
    tx.insert_message(&m).await.unwrap();
    let filed = Original {
        folder: "INBOX".into(),
        uidvalidity: 9,
        uid: 4_000_000_000,
        message: Some(m.id),
        action: Disposal::Remove,
        copy_needed: true,
        at: at(0),
    };
    let other = Original { uid: 5, message: None, action: Disposal::Others, copy_needed: false, ..filed.clone() };
    tx.add_original(&filed).await.unwrap();
    tx.add_original(&filed).await.unwrap();
    tx.add_original(&other).await.unwrap();
    tx.add_copy(m.id, at(0)).await.unwrap();
    let scan = Scan { folder: "INBOX".into(), uidvalidity: 9, last_uid: 17, completed_at: Some(at(1)) };
    tx.set_scan(&scan).await.unwrap();
    tx.set_scan(&scan).await.unwrap();
    assert_eq!(tx.count_try("INBOX", 9, 6, at(0)).await.unwrap(), 1);
    assert_eq!(tx.count_try("INBOX", 9, 6, at(1)).await.unwrap(), 2);
    tx.commit().await.unwrap();
    store.close().await;

    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.scan("INBOX").await.unwrap(), Some(scan));
    assert_eq!(tx.scan("Junk").await.unwrap(), None);
    assert_eq!(tx.tries("INBOX", 9).await.unwrap(), [Tries { uid: 6, n: 2, first: at(0), last: at(1) }]);
    assert_eq!(tx.originals("INBOX", true).await.unwrap(), [other]);
    assert_eq!(tx.originals("INBOX", false).await.unwrap().len(), 2);
    assert_eq!(tx.copies_pending(10).await.unwrap(), [m.id]);
    tx.copies_confirmed(&[m.id], at(2)).await.unwrap();
    assert_eq!(tx.copies_pending(10).await.unwrap(), []);
    assert_eq!(tx.originals("INBOX", true).await.unwrap().len(), 2);
    assert_eq!(tx.original("INBOX", 9, filed.uid).await.unwrap(), Some(filed.clone()));
    tx.originals_done("INBOX", 9, &[filed.uid]).await.unwrap();
    tx.clear_tries("INBOX", 9, 6).await.unwrap();
    assert_eq!(tx.original("INBOX", 9, filed.uid).await.unwrap(), None);
    assert!(tx.tries("INBOX", 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn small_facts_counters_and_notices() {
    let place = Place::new();
    let store = place.open().await;
    let mut tx = store.begin().await.unwrap();
    tx.set_meta("smtp.null_path_refused", "1").await.unwrap();
    tx.set_meta("smtp.null_path_refused", "2").await.unwrap();
    assert_eq!(tx.meta("smtp.null_path_refused").await.unwrap().as_deref(), Some("2"));
    tx.clear_meta("smtp.null_path_refused").await.unwrap();
    assert_eq!(tx.meta("smtp.null_path_refused").await.unwrap(), None);
    tx.set_meta_time("digest", at(1)).await.unwrap();
    assert_eq!(tx.meta_time("digest").await.unwrap(), Some(at(1)));
    assert_eq!(tx.counter("dropped").await.unwrap(), 0);
    assert_eq!(tx.count_up("dropped").await.unwrap(), 1);
    assert_eq!(tx.count_up("dropped").await.unwrap(), 2);
    assert!(tx.notice_once("alarm", at(0)).await.unwrap());
    assert!(!tx.notice_once("alarm", at(1)).await.unwrap());
    assert!(!tx.notice_since("alarm", at(60), at(0)).await.unwrap());
    assert!(tx.notice_since("alarm", at(60), at(1)).await.unwrap());
    assert_eq!(tx.notice("alarm").await.unwrap(), Some(at(60)));
    tx.clear_notice("alarm").await.unwrap();
    assert!(tx.notice_once("alarm", at(61)).await.unwrap());
}
