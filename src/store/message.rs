//! Messages of the threads, held mail and requests.

use chrono::{DateTime, NaiveDate, Utc};

use super::sql::{self, Done, Insert, Row};
use super::{MacParts, Reader, StoreError, Tx, Vault, is_unique, micros, micros_opt, vault};
use crate::model::{
    Address, CODE_ALPHABET, ClientId, Direction, Kind, Mark, MessageRow, MessageState, Scanned, TherapistId, TurnRow,
    Verdict,
};

const TABLE: &str = "message";

/// A stored message, also as it is inserted. `Debug` shows row, kind and state only.
#[derive(Clone, PartialEq)]
pub struct Message {
    /// From [`Store::new_id`](super::Store::new_id).
    pub id: MessageRow,
    /// `None`: a stranger's.
    pub client: Option<ClientId>,
    pub therapist: Option<TherapistId>,
    pub direction: Direction,
    pub kind: Kind,
    /// `None` for mail that goes out.
    pub verdict: Option<Verdict>,
    pub marks: Vec<Mark>,
    pub state: MessageState,
    /// Arrival (clamped INTERNALDATE), or when a reply was accepted.
    pub at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub slot: Option<DateTime<Utc>>,
    /// The day that a reply uses, in the therapist's zone.
    pub leave_day: Option<NaiveDate>,
    pub turn: Option<TurnRow>,
    /// Cadre's own Message-ID: of the forward, or of the mail sent.
    pub message_id: Option<String>,
    /// The sender's own Message-ID.
    pub origin_id: Option<String>,
    /// A stranger's address, or another address that a client used.
    pub sender: Option<Address>,
    pub subject: Option<String>,
    /// `H3`.
    pub held_no: Option<u64>,
    /// `N-3F`.
    pub request_code: Option<String>,
    pub signed_at: Option<DateTime<Utc>>,
    /// The newest message that a reply answers.
    pub answers: Option<MessageRow>,
    pub bytes: u64,
    pub words: u64,
    pub attachments: u32,
    pub forwarded_at: Option<DateTime<Utc>>,
    pub note: Option<String>,
    /// `None`: it wasn't scanned, as automatic mail and what goes out.
    pub scan: Option<Scanned>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// A message with nothing but what every one has.
    pub fn new(id: MessageRow, direction: Direction, kind: Kind, state: MessageState, at: DateTime<Utc>) -> Self {
        Self {
            id,
            client: None,
            therapist: None,
            direction,
            kind,
            verdict: None,
            marks: Vec::new(),
            state,
            at,
            seen_at: at,
            slot: None,
            leave_day: None,
            turn: None,
            message_id: None,
            origin_id: None,
            sender: None,
            subject: None,
            held_no: None,
            request_code: None,
            signed_at: None,
            answers: None,
            bytes: 0,
            words: 0,
            attachments: 0,
            forwarded_at: None,
            note: None,
            scan: None,
        }
    }

    /// Over what never changes: whose it is, what it is, what the signature check said.
    pub(super) fn mac(&self, vault: &Vault) -> [u8; 32] {
        MacParts::default()
            .int(Some(self.id.0))
            .int(self.client.map(|c| c.0))
            .add(self.therapist.as_ref().map(|t| t.0.as_bytes()))
            .text(self.direction.as_str())
            .text(self.kind.as_str())
            .add(self.verdict.map(|v| v.as_str().as_bytes()))
            .int(Some(micros(self.at)))
            .int(micros_opt(self.signed_at))
            .int(self.answers.map(|a| a.0))
            .mac(vault, TABLE)
    }
}

pub(super) fn open(vault: &Vault, row: &Row) -> Result<Message, StoreError> {
    let read = Reader::new(vault, TABLE, row)?;
    let sender = read.text("sender")?.map(|a| Address::parse(&a).map_err(|_| read.corrupt())).transpose()?;
    let message = Message {
        id: MessageRow(read.id),
        client: read.get::<Option<i64>>("client_id")?.map(ClientId),
        therapist: read.get::<Option<String>>("therapist")?.map(TherapistId),
        direction: read.word("direction")?,
        kind: read.word("kind")?,
        verdict: read.word_opt("verdict")?,
        marks: serde_json::from_str(read.get("marks")?).map_err(|_| read.corrupt())?,
        state: read.word("state")?,
        at: read.time("at")?,
        seen_at: read.time("seen_at")?,
        slot: read.time_opt("slot")?,
        leave_day: read.day_opt("leave_day")?,
        turn: read.get::<Option<i64>>("turn_id")?.map(TurnRow),
        message_id: read.text("message_id")?,
        origin_id: read.text("origin_id")?,
        sender,
        subject: read.text("subject")?,
        held_no: read.get::<Option<i64>>("held_no")?.map(i64::unsigned_abs),
        request_code: read.get("request_code")?,
        signed_at: read.time_opt("signed_at")?,
        answers: read.get::<Option<i64>>("answers")?.map(MessageRow),
        bytes: read.count("bytes")?,
        words: read.count("words")?,
        attachments: read.count("attachments")?,
        forwarded_at: read.time_opt("forwarded_at")?,
        note: read.text("note")?,
        scan: read.word_opt("scan")?,
    };
    if vault::same(&message.mac(vault), read.get("mac")?) { Ok(message) } else { Err(read.corrupt()) }
}

fn day_taken(error: sqlx::Error) -> StoreError {
    if is_unique(&error, "message.leave_day", "one_reply_a_day") { StoreError::DayTaken } else { error.into() }
}

static MESSAGE: Insert = Insert {
    table: "message",
    rank: 0,
    into: "INSERT INTO message (id, client_id, therapist, direction, kind, verdict, marks, state, at, seen_at, slot, \
           leave_day, turn_id, message_id, message_id_hash, origin_id, origin_id_hash, sender, sender_hash, subject, \
           held_no, request_code, signed_at, answers, bytes, words, attachments, forwarded_at, note, mac, scan) VALUES",
    end: "",
    replaces: false,
};

impl Tx {
    /// Stores a message.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`] for a second reply on one day; [`StoreError::Db`].
    pub async fn insert_message(&mut self, m: &Message) -> Result<(), StoreError> {
        let vault = self.vault().clone();
        let id = m.id.0;
        let seal = |column: &str, v: Option<&str>| v.map(|v| vault.seal(TABLE, id, column, v.as_bytes()));
        let hash = |v: Option<&String>| v.map(|v| vault.message_id(v).to_vec());
        let row = sql::row()
            .bind(id)
            .bind(m.client.map(|c| c.0))
            .bind(m.therapist.as_ref().map(|t| t.0.as_str()))
            .bind(m.direction.as_str())
            .bind(m.kind.as_str())
            .bind(m.verdict.map(|v| v.as_str()))
            .bind(marks_json(&m.marks))
            .bind(m.state.as_str())
            .bind(micros(m.at))
            .bind(micros(m.seen_at))
            .bind(micros_opt(m.slot))
            .bind(m.leave_day.map(|d| d.to_string()))
            .bind(m.turn.map(|t| t.0))
            .bind(seal("message_id", m.message_id.as_deref()))
            .bind(hash(m.message_id.as_ref()))
            .bind(seal("origin_id", m.origin_id.as_deref()))
            .bind(hash(m.origin_id.as_ref()))
            .bind(seal("sender", m.sender.as_ref().map(Address::as_typed)))
            .bind(m.sender.as_ref().map(|a| vault.address(a).to_vec()))
            .bind(seal("subject", m.subject.as_deref()))
            .bind(m.held_no.map(u64::cast_signed))
            .bind(m.request_code.as_deref())
            .bind(micros_opt(m.signed_at))
            .bind(m.answers.map(|a| a.0))
            .bind(m.bytes.cast_signed())
            .bind(m.words.cast_signed())
            .bind(i64::from(m.attachments))
            .bind(micros_opt(m.forwarded_at))
            .bind(seal("note", m.note.as_deref()))
            .bind(m.mac(&vault).to_vec())
            .bind(m.scan.map(Scanned::as_str));
        match m.leave_day {
            // What uses a day can meet another one there.
            Some(_) => self.conn.at_once(&MESSAGE, row).await.map_err(day_taken)?,
            None => self.conn.later(&MESSAGE, row).await?,
        }
        self.remember_owner(m.id, m.client);
        Ok(())
    }

    async fn messages_where(&mut self, sql: &'static str, values: &[i64]) -> Result<Vec<Message>, StoreError> {
        let query = values.iter().fold(sql::query(sql), |query, value| query.bind(*value));
        let rows = query.fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open(self.vault(), row)).collect()
    }

    /// A message.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where its MAC doesn't hold; [`StoreError::Db`].
    pub async fn message(&mut self, id: MessageRow) -> Result<Option<Message>, StoreError> {
        let row = sql::query("SELECT * FROM message WHERE id = $1").bind(id.0).fetch_optional(&mut self.conn).await?;
        let message = row.map(|row| open(self.vault(), &row)).transpose()?;
        if let Some(message) = &message {
            self.remember_owner(id, message.client);
        }
        Ok(message)
    }

    /// The message whose forward or sent mail bears this Message-ID of Cadre's own.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn message_by_own_id(&mut self, message_id: &str) -> Result<Option<Message>, StoreError> {
        let hash = self.vault().message_id(message_id).to_vec();
        let sql = "SELECT * FROM message WHERE message_id_hash = $1 ORDER BY at LIMIT 1";
        let row = sql::query(sql).bind(hash).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// The messages that came with this Message-ID of their sender's (anybody can copy one).
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn messages_by_origin_id(&mut self, origin_id: &str) -> Result<Vec<Message>, StoreError> {
        let hash = self.vault().message_id(origin_id).to_vec();
        let sql = "SELECT * FROM message WHERE origin_id_hash = $1 ORDER BY at";
        let rows = sql::query(sql).bind(hash).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open(self.vault(), row)).collect()
    }

    /// The message of a request's code such as `N-3F`, in any case.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn message_by_request_code(&mut self, code: &str) -> Result<Option<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE request_code = $1";
        let row = sql::query(sql).bind(code.trim().to_ascii_uppercase()).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// The held message of a number (`H3` is 3), whatever became of it.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn message_by_held_no(&mut self, number: u64) -> Result<Option<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE held_no = $1";
        let row = sql::query(sql).bind(number.cast_signed()).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// All of a client's messages, the oldest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn thread(&mut self, client: ClientId) -> Result<Vec<Message>, StoreError> {
        self.messages_where("SELECT * FROM message WHERE client_id = $1 ORDER BY at, id", &[client.0]).await
    }

    /// A client's newest `limit` messages, the newest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn recent_messages(&mut self, client: ClientId, limit: u32) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE client_id = $1 ORDER BY at DESC, id DESC LIMIT $2";
        self.messages_where(sql, &[client.0, i64::from(limit)]).await
    }

    /// The letters of a turn (filed and released), the oldest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn letters_in_turn(&mut self, turn: TurnRow) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE turn_id = $1 AND kind = 'letter' \
                   AND state IN ('filed', 'released') ORDER BY at, id";
        self.messages_where(sql, &[turn.0]).await
    }

    /// A client's letters (filed and released) that arrived after `after`, the oldest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn letters_since(&mut self, client: ClientId, after: DateTime<Utc>) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE client_id = $1 AND at > $2 AND kind = 'letter' \
                   AND state IN ('filed', 'released') ORDER BY at, id";
        self.messages_where(sql, &[client.0, micros(after)]).await
    }

    /// A client's replies that wait or leave, by slot.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn pending_replies(&mut self, client: ClientId) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE client_id = $1 AND kind = 'reply' \
                   AND state IN ('waiting', 'leaving') ORDER BY slot NULLS FIRST, at";
        self.messages_where(sql, &[client.0]).await
    }

    /// Waiting messages whose slot is at `due` or before, by slot.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn waiting_replies(&mut self, due: DateTime<Utc>) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE state IN ('waiting', 'leaving') AND state = 'waiting' AND slot <= $1 ORDER BY slot NULLS FIRST, at";
        self.messages_where(sql, &[micros(due)]).await
    }

    /// Everything that waits or leaves, by slot: for the digest.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn all_waiting(&mut self) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE state IN ('waiting', 'leaving') ORDER BY slot NULLS FIRST, at";
        self.messages_where(sql, &[]).await
    }

    /// The earliest slot of a waiting message.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn next_slot(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = "SELECT MIN(slot) FROM message WHERE state IN ('waiting', 'leaving') AND state = 'waiting'";
        let at: Option<i64> = sql::scalar(sql).fetch_one(&mut self.conn).await?;
        at.map(|at| super::time(TABLE, 0, at)).transpose()
    }

    /// The reply that has used or will use a client's day.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn reply_on_day(&mut self, client: ClientId, day: NaiveDate) -> Result<Option<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE client_id = $1 AND leave_day = $2 AND kind = 'reply' \
                   AND state IN ('waiting', 'leaving', 'sent')";
        let query = sql::query(sql).bind(client.0).bind(day.to_string());
        query.fetch_optional(&mut self.conn).await?.map(|row| open(self.vault(), &row)).transpose()
    }

    /// The last reply that was sent to a client.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn last_sent_reply(&mut self, client: ClientId) -> Result<Option<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE client_id = $1 AND kind = 'reply' AND state = 'sent' \
                   ORDER BY at DESC, id DESC LIMIT 1";
        Ok(self.messages_where(sql, &[client.0]).await?.pop())
    }

    /// How many messages of a kind went to or came from a client since then, cancelled, replaced and
    /// failed ones left out: `/now` is one a day.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_kind(&mut self, client: ClientId, kind: Kind, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM message WHERE client_id = $1 AND at >= $2 AND kind = $3 \
                   AND state NOT IN ('cancelled', 'replaced', 'failed')";
        let query = sql::scalar::<i64>(sql).bind(client.0).bind(micros(since)).bind(kind.as_str());
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// What is held now, the oldest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn held(&mut self) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE state = 'held' ORDER BY at, id";
        self.messages_where(sql, &[]).await
    }

    /// How many messages of a client were held since then, whatever became of them.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_held(&mut self, client: ClientId, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM message WHERE client_id = $1 AND seen_at >= $2 AND held_no IS NOT NULL";
        let query = sql::scalar::<i64>(sql).bind(client.0).bind(micros(since));
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// Requests that arrived since then and weren't discarded, the oldest first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn requests(&mut self, since: DateTime<Utc>) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE kind = 'request' AND at >= $1 AND state <> 'discarded' \
                   ORDER BY at, id";
        self.messages_where(sql, &[micros(since)]).await
    }

    /// How many messages bear that sender's address since then (requests and other addresses).
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_from(&mut self, sender: &Address, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let hash = self.vault().address(sender).to_vec();
        let sql = "SELECT COUNT(*) FROM message WHERE sender_hash = $1 AND at >= $2";
        let query = sql::scalar::<i64>(sql).bind(hash).bind(micros(since));
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// The number that the next held message gets (`H1`, `H2`, …); never given twice.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn next_held_no(&mut self) -> Result<u64, StoreError> {
        self.count_up("held").await
    }

    /// A fresh code for a stranger's request: `N-3F`, with more signs when two are used up.
    ///
    /// # Errors
    /// [`StoreError::CodesUsedUp`], [`StoreError::Db`].
    pub async fn new_request_code(&mut self) -> Result<String, StoreError> {
        use rand::Rng;
        for signs in [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5] {
            let bits = rand::rng().next_u32();
            let code: String = (0..signs).map(|i| char::from(CODE_ALPHABET[(bits >> (5 * i) & 31) as usize])).collect();
            let code = format!("N-{code}");
            let done = sql::query("INSERT INTO used_code (code) VALUES ($1) ON CONFLICT (code) DO NOTHING")
                .bind(&code)
                .execute(&mut self.conn)
                .await?;
            if done.rows_affected() == 1 {
                return Ok(code);
            }
        }
        Err(StoreError::CodesUsedUp)
    }

    /// Moves a message to another state, whatever it was in.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_message_state(&mut self, id: MessageRow, state: MessageState) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET state = $2 WHERE id = $1").bind(id.0).bind(state.as_str());
        found(query.try_execute(&mut self.conn).await.map_err(day_taken)?, id)
    }

    /// A message begins to leave; with a day, which it holds from now on.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_leaving(&mut self, id: MessageRow, day: Option<NaiveDate>) -> Result<(), StoreError> {
        let sql = "UPDATE message SET state = 'leaving', leave_day = COALESCE($2, leave_day) WHERE id = $1";
        let query = sql::query(sql).bind(id.0).bind(day.map(|day| day.to_string()));
        found(query.try_execute(&mut self.conn).await.map_err(day_taken)?, id)
    }

    /// A message has left.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_sent(&mut self, id: MessageRow, at: DateTime<Utc>) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET state = 'sent', forwarded_at = $2 WHERE id = $1");
        let done = query.bind(id.0).bind(micros(at)).try_execute(&mut self.conn).await.map_err(day_taken)?;
        found(done, id)
    }

    /// Moves a message from one state to another; `false` when it was in a third one.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Db`].
    pub async fn shift_message_state(
        &mut self,
        id: MessageRow,
        from: MessageState,
        to: MessageState,
    ) -> Result<bool, StoreError> {
        let query = sql::query("UPDATE message SET state = $3 WHERE id = $1 AND state = $2")
            .bind(id.0)
            .bind(from.as_str())
            .bind(to.as_str());
        Ok(query.try_execute(&mut self.conn).await.map_err(day_taken)?.rows_affected() == 1)
    }

    /// Makes a message another kind of message: a waiting reply becomes urgent.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn set_message_kind(&mut self, id: MessageRow, kind: Kind) -> Result<(), StoreError> {
        let found = self.message(id).await?;
        let message = Message { kind, ..found.ok_or(StoreError::Missing { table: TABLE, row: id.0 })? };
        let mac = message.mac(self.vault()).to_vec();
        let query = sql::query("UPDATE message SET kind = $2, mac = $3 WHERE id = $1").bind(id.0).bind(kind.as_str());
        query.bind(mac).try_execute(&mut self.conn).await.map_err(day_taken)?;
        Ok(())
    }

    /// Sets or moves slot and leave day. On [`StoreError::DayTaken`] nothing changed and the
    /// transaction goes on: try the next slot.
    ///
    /// # Errors
    /// [`StoreError::DayTaken`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_slot(
        &mut self,
        id: MessageRow,
        slot: Option<DateTime<Utc>>,
        leave_day: Option<NaiveDate>,
    ) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET slot = $2, leave_day = $3 WHERE id = $1")
            .bind(id.0)
            .bind(micros_opt(slot))
            .bind(leave_day.map(|d| d.to_string()));
        found(query.try_execute(&mut self.conn).await.map_err(day_taken)?, id)
    }

    /// Puts a message into a turn (a released letter).
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_message_turn(&mut self, id: MessageRow, turn: Option<TurnRow>) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET turn_id = $2 WHERE id = $1").bind(id.0).bind(turn.map(|t| t.0));
        found(query.execute(&mut self.conn).await?, id)
    }

    /// Remembers when a letter's forward was handed over.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_forwarded(&mut self, id: MessageRow, at: DateTime<Utc>) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET forwarded_at = $2 WHERE id = $1").bind(id.0).bind(micros(at));
        found(query.execute(&mut self.conn).await?, id)
    }

    /// Sets Cadre's own Message-ID of a message's forward or sent mail.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_own_id(&mut self, id: MessageRow, message_id: &str) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET message_id = $2, message_id_hash = $3 WHERE id = $1")
            .bind(id.0)
            .bind(self.vault().seal(TABLE, id.0, "message_id", message_id.as_bytes()))
            .bind(self.vault().message_id(message_id).to_vec());
        found(query.execute(&mut self.conn).await?, id)
    }
}

fn marks_json(marks: &[Mark]) -> String {
    serde_json::Value::from(marks.iter().map(|m| m.as_str()).collect::<Vec<_>>()).to_string()
}

fn found(done: Done, id: MessageRow) -> Result<(), StoreError> {
    if done.rows_affected() == 0 { Err(StoreError::Missing { table: TABLE, row: id.0 }) } else { Ok(()) }
}
