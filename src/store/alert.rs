//! Alerts: a letter with crisis words, until the therapist shows a sign of life (SPEC section 7).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::sql::{self, Row};
use super::{MacParts, Reader, StoreError, Tx, Vault, micros, vault};
use crate::model::{Address, ClientId, CrisisClass, Kind, MessageRow, OutboxRow, Scanned, TherapistId, Verdict};

const TABLE: &str = "alert";

/// An alert that is to be opened.
#[derive(Debug, Clone)]
pub struct NewAlert {
    /// `None`: a stranger's request.
    pub client: Option<ClientId>,
    pub therapist: TherapistId,
    pub message: MessageRow,
    pub class: CrisisClass,
    /// Ids of rules, never words of the letter.
    pub rules: Vec<String>,
    pub verdict: Verdict,
    /// `H3` or `N-3F…`, where it is held or a request.
    pub number: Option<String>,
    pub arrived: DateTime<Utc>,
    /// A safety letter goes to the client.
    pub safety: bool,
    /// The letter goes to the therapist, or can be released by its number. Otherwise only the mailbox has it.
    pub passed_on: bool,
}

/// An alert. `id` is its row.
#[derive(Debug, Clone)]
pub struct Alert {
    pub id: i64,
    pub what: NewAlert,
    pub first_at: DateTime<Utc>,
    /// When it was last said, by the plan.
    pub last_at: DateTime<Utc>,
    /// Mails made for it.
    pub sent: u32,
    /// `None`: answered.
    pub next_at: Option<DateTime<Utc>>,
    pub answered_at: Option<DateTime<Utc>>,
    /// Whom a mail that speaks of it was handed to, and when first, in microseconds.
    told: BTreeMap<String, i64>,
}

impl Alert {
    /// Since when a therapist or a locum can know of it.
    pub fn told_at(&self, reader: &TherapistId) -> Option<DateTime<Utc>> {
        self.told.get(&reader.0).and_then(|at| DateTime::from_timestamp_micros(*at))
    }

    /// Over all of it: whoever has the file alone can neither quiet an alert nor turn it to somebody else.
    fn mac(&self, vault: &Vault) -> [u8; 32] {
        let what = &self.what;
        MacParts::default()
            .int(Some(self.id))
            .int(what.client.map(|client| client.0))
            .text(&what.therapist.0)
            .int(Some(what.message.0))
            .text(what.class.as_str())
            .text(&rules_text(&what.rules))
            .text(what.verdict.as_str())
            .add(what.number.as_deref().map(str::as_bytes))
            .int(Some(micros(what.arrived)))
            .int(Some(i64::from(what.safety)))
            .int(Some(i64::from(what.passed_on)))
            .int(Some(micros(self.first_at)))
            .int(Some(micros(self.last_at)))
            .int(Some(i64::from(self.sent)))
            .int(self.next_at.map(micros))
            .text(&told_text(&self.told))
            .int(self.answered_at.map(micros))
            .mac(vault, TABLE)
    }
}

fn rules_text(rules: &[String]) -> String {
    serde_json::Value::from(rules.to_vec()).to_string()
}

fn told_text(told: &BTreeMap<String, i64>) -> String {
    let told = told.iter().map(|(reader, at)| (reader.clone(), serde_json::Value::from(*at)));
    serde_json::Value::Object(told.collect()).to_string()
}

fn open(vault: &Vault, row: &Row) -> Result<Alert, StoreError> {
    let read = Reader::new(vault, TABLE, row)?;
    let what = NewAlert {
        client: read.get::<Option<i64>>("client_id")?.map(ClientId),
        therapist: TherapistId(read.get("therapist")?),
        message: MessageRow(read.get("message_id")?),
        class: read.word("class")?,
        rules: serde_json::from_str(read.get("rules")?).map_err(|_| read.corrupt())?,
        verdict: read.word("verdict")?,
        number: read.get("number")?,
        arrived: read.time("arrived_at")?,
        safety: read.get("safety")?,
        passed_on: read.get("passed_on")?,
    };
    let alert = Alert {
        id: read.id,
        first_at: read.time("first_at")?,
        last_at: read.time("last_at")?,
        sent: read.count("sent")?,
        next_at: read.time_opt("next_at")?,
        answered_at: read.time_opt("answered_at")?,
        told: serde_json::from_str(read.get("told")?).map_err(|_| read.corrupt())?,
        what,
    };
    if vault::same(&alert.mac(vault), read.get("mac")?) { Ok(alert) } else { Err(read.corrupt()) }
}

/// Those that nobody else than Cadre has changed; the others are named in the log and hide none of them.
fn sound(vault: &Vault, rows: &[Row]) -> Result<Vec<Alert>, StoreError> {
    let sound = |row: &Row| match open(vault, row) {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "an alert is left out");
            None
        }
        other => Some(other),
    };
    rows.iter().filter_map(sound).collect()
}

impl Tx {
    /// Opens an alert, to be said again at `next_at`, or sooner where another one of the same person is: what comes
    /// later puts nothing off. Its row.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn open_alert(
        &mut self,
        new: &NewAlert,
        at: DateTime<Utc>,
        next_at: DateTime<Utc>,
    ) -> Result<i64, StoreError> {
        let earlier = self.alerts_about(new.client, &new.therapist).await?;
        let next_at = earlier.iter().filter_map(|alert| alert.next_at).fold(next_at, DateTime::min);
        let id = self.new_id();
        let alert = Alert {
            id,
            what: new.clone(),
            first_at: at,
            last_at: at,
            sent: 0,
            next_at: Some(next_at),
            answered_at: None,
            told: BTreeMap::new(),
        };
        let mac = alert.mac(self.vault()).to_vec();
        sql::query(
            "INSERT INTO alert (id, client_id, therapist, message_id, class, rules, verdict, number, arrived_at, \
             safety, passed_on, first_at, last_at, sent, next_at, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 0, $13, $14)",
        )
        .bind(id)
        .bind(new.client.map(|client| client.0))
        .bind(&new.therapist.0)
        .bind(new.message.0)
        .bind(new.class.as_str())
        .bind(rules_text(&new.rules))
        .bind(new.verdict.as_str())
        .bind(new.number.as_deref())
        .bind(micros(new.arrived))
        .bind(new.safety)
        .bind(new.passed_on)
        .bind(micros(at))
        .bind(micros(next_at))
        .bind(mac)
        .execute(&mut self.conn)
        .await?;
        Ok(id)
    }

    /// Changes an alert and its MAC; one that something else than Cadre changed stays as it is, for the operator.
    async fn change_alert(&mut self, id: i64, change: impl FnOnce(&mut Alert)) -> Result<(), StoreError> {
        let mut alert = match self.alert(id).await {
            Ok(Some(alert)) => alert,
            Ok(None) => return Ok(()),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "an alert is left out");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        change(&mut alert);
        let sql = "UPDATE alert SET therapist = $8, last_at = $2, sent = $3, next_at = $4, told = $5, answered_at = $6, mac = $7 \
                   WHERE id = $1";
        sql::query(sql)
            .bind(id)
            .bind(micros(alert.last_at))
            .bind(alert.sent)
            .bind(alert.next_at.map(micros))
            .bind(told_text(&alert.told))
            .bind(alert.answered_at.map(micros))
            .bind(alert.mac(self.vault()).to_vec())
            .bind(&alert.what.therapist.0)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Counts a mail that was made about an alert.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn alert_mailed(&mut self, id: i64) -> Result<(), StoreError> {
        self.change_alert(id, |alert| alert.sent = alert.sent.saturating_add(1)).await
    }

    /// Plans when an alert is said again, unless it is answered.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn plan_alert(
        &mut self,
        id: i64,
        last_at: DateTime<Utc>,
        next_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let plan = |alert: &mut Alert| {
            if alert.answered_at.is_none() {
                (alert.last_at, alert.next_at) = (last_at, Some(next_at));
            }
        };
        self.change_alert(id, plan).await
    }

    /// A mail that speaks of an alert was handed over to this reader.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn alert_told(&mut self, id: i64, reader: &TherapistId, at: DateTime<Utc>) -> Result<(), StoreError> {
        let tell = |alert: &mut Alert| {
            alert.told.entry(reader.0.clone()).or_insert(micros(at));
        };
        self.change_alert(id, tell).await
    }

    /// The therapist has shown a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn answer_alert(&mut self, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.change_alert(id, |alert| (alert.next_at, alert.answered_at) = (None, Some(at))).await
    }

    /// Gives a client's unanswered alerts to another therapist, who has been told of none of them: they are said
    /// again from `now` on. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn move_alerts(
        &mut self,
        client: ClientId,
        to: &TherapistId,
        now: DateTime<Utc>,
    ) -> Result<u32, StoreError> {
        let sql = "SELECT * FROM alert WHERE client_id = $1 AND answered_at IS NULL";
        let rows = sql::query(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        let mut moved = 0;
        for row in &rows {
            let id = open(self.vault(), row)?.id;
            let turn = |alert: &mut Alert| {
                alert.what.therapist = to.clone();
                alert.told.clear();
                alert.next_at = alert.next_at.map(|_| now);
            };
            self.change_alert(id, turn).await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// An alert, answered or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where its MAC doesn't hold; [`StoreError::Db`].
    pub async fn alert(&mut self, id: i64) -> Result<Option<Alert>, StoreError> {
        let row = sql::query("SELECT * FROM alert WHERE id = $1").bind(id).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// Alerts that nobody has answered, the oldest first. One that something else than Cadre changed is left out
    /// with an error in the log: it hides none of the others.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn open_alerts(&mut self) -> Result<Vec<Alert>, StoreError> {
        let sql = "SELECT * FROM alert WHERE answered_at IS NULL ORDER BY first_at, id";
        let rows = sql::query(sql).fetch_all(&mut self.conn).await?;
        sound(self.vault(), &rows)
    }

    /// Open alerts about one person to one therapist, or about all strangers to them: said again together.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn alerts_about(
        &mut self,
        client: Option<ClientId>,
        therapist: &TherapistId,
    ) -> Result<Vec<Alert>, StoreError> {
        let sql = "SELECT * FROM alert WHERE client_id IS NOT DISTINCT FROM $1 AND therapist = $2 AND answered_at IS NULL \
                   ORDER BY first_at, id";
        let query = sql::query(sql).bind(client.map(|client| client.0)).bind(&therapist.0);
        let rows = query.fetch_all(&mut self.conn).await?;
        sound(self.vault(), &rows)
    }

    /// Alerts that are to be said again, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn due_alerts(&mut self, now: DateTime<Utc>) -> Result<Vec<Alert>, StoreError> {
        let sql = "SELECT * FROM alert WHERE next_at <= $1 ORDER BY next_at, id";
        let rows = sql::query(sql).bind(micros(now)).fetch_all(&mut self.conn).await?;
        sound(self.vault(), &rows)
    }

    /// How many alerts since then, answered or not, something else than Cadre has changed.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn changed_alerts(&mut self, since: DateTime<Utc>) -> Result<usize, StoreError> {
        let sql = "SELECT * FROM alert WHERE first_at >= $1";
        let rows = sql::query(sql).bind(micros(since)).fetch_all(&mut self.conn).await?;
        Ok(rows.len() - sound(self.vault(), &rows)?.len())
    }

    /// How many alerts of a class were opened since then about one client, or about strangers, and mailed.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_alerts(
        &mut self,
        client: Option<ClientId>,
        class: CrisisClass,
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM alert WHERE client_id IS NOT DISTINCT FROM $1 AND first_at >= $2 AND class = $3 AND sent > 0";
        let query = sql::scalar::<i64>(sql).bind(client.map(|client| client.0)).bind(micros(since));
        Ok(query.bind(class.as_str()).fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// Mails about this person's alerts, or about strangers', that still wait to leave to this reader.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn waiting_alerts(
        &mut self,
        client: Option<ClientId>,
        reader: &TherapistId,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = "SELECT id FROM outbox WHERE kind = $1 AND client_id IS NOT DISTINCT FROM $2 AND therapist = $3 \
                   AND state IN ('waiting', 'leaving')";
        let query = sql::scalar(sql).bind(Kind::Alert.as_str());
        let query = query.bind(client.map(|client| client.0)).bind(&reader.0);
        Ok(query.fetch_all(&mut self.conn).await?.into_iter().map(OutboxRow).collect())
    }

    /// What the scans of a client's mail outside of turns came to: what arrived since then, and what is held.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn scans(&mut self, client: ClientId, since: DateTime<Utc>) -> Result<Vec<Scanned>, StoreError> {
        let sql = "SELECT DISTINCT scan FROM message WHERE client_id = $1 AND scan IS NOT NULL AND state <> 'discarded' \
                   AND (state = 'held' OR turn_id IS NULL AND at >= $2)";
        let query = sql::scalar::<String>(sql).bind(client.0).bind(micros(since));
        let corrupt = |_| StoreError::Corrupt { table: "message", row: 0 };
        query.fetch_all(&mut self.conn).await?.iter().map(|word| word.parse().map_err(corrupt)).collect()
    }

    /// The number of a stranger's newest request.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn request_of(&mut self, sender: &Address) -> Result<Option<String>, StoreError> {
        let hash = self.vault().address(sender).to_vec();
        let sql = "SELECT request_code FROM message WHERE sender_hash = $1 AND request_code IS NOT NULL \
                   ORDER BY at DESC LIMIT 1";
        Ok(sql::scalar(sql).bind(hash).fetch_optional(&mut self.conn).await?)
    }
}
