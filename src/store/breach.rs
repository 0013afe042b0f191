//! What rested in the database in a period, in counts: for the report of a breach, which reads everything.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::sql;
use super::{JournalEntry, StoreError, Tx, micros};
use crate::model::{ClientCode, Direction};

/// Letters of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rested {
    pub direction: Direction,
    /// With a body at the period's end, as far as they are still there now.
    pub there: u64,
    /// Of these, how many came or left in the period.
    pub moved: u64,
    /// Of these, how many waited under the practice's key now.
    pub waiting: u64,
}

impl Tx {
    /// Letters with a body that were there by `to`.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn rested(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Rested>, StoreError> {
        let sql = "SELECT m.direction, COUNT(*) AS there, \
                   CAST(sum(CASE WHEN m.seen_at >= $1 THEN 1 ELSE 0 END) AS BIGINT) AS moved, \
                   CAST(sum(CASE WHEN m.direction = 'out' AND m.state IN ('waiting', 'leaving', 'held') \
                   THEN 1 ELSE 0 END) AS BIGINT) AS waiting \
                   FROM message m JOIN blob b ON b.message_id = m.id WHERE m.seen_at <= $2 AND m.kind <> 'note' \
                   GROUP BY m.direction ORDER BY m.direction";
        let rows = sql::query(sql).bind(micros(from)).bind(micros(to)).fetch_all(&mut self.conn).await?;
        let mut rested = Vec::with_capacity(rows.len());
        for row in &rows {
            let number = |column: &str| -> Result<u64, StoreError> { Ok(row.get::<i64>(column)?.unsigned_abs()) };
            let word: &str = row.get("direction")?;
            rested.push(Rested {
                direction: word.parse().map_err(|_| StoreError::Corrupt { table: "message", row: 0 })?,
                there: number("there")?,
                moved: number("moved")?,
                waiting: number("waiting")?,
            });
        }
        Ok(rested)
    }

    /// How many notes, requests of strangers, cards, consents and alerts there were by then, in this order.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn rested_besides(&mut self, to: DateTime<Utc>) -> Result<[u64; 5], StoreError> {
        let mut counts = [0; 5];
        for (count, sql) in counts.iter_mut().zip([
            "SELECT COUNT(*) FROM message WHERE kind = 'note' AND seen_at <= $1",
            "SELECT COUNT(*) FROM message WHERE kind = 'request' AND seen_at <= $1",
            "SELECT COUNT(*) FROM card WHERE at <= $1",
            "SELECT COUNT(*) FROM consent WHERE at <= $1",
            "SELECT COUNT(*) FROM alert WHERE first_at <= $1",
        ]) {
            let n: i64 = sql::scalar(sql).bind(micros(to)).fetch_one(&mut self.conn).await?;
            *count = n.unsigned_abs();
        }
        Ok(counts)
    }

    /// The codes whose record was erased after `from`, but was there by `to`: their rows can't be counted any more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn erased_after(&mut self, from: DateTime<Utc>) -> Result<Vec<ClientCode>, StoreError> {
        let sql = "SELECT code FROM erasure WHERE rows_at IS NULL OR rows_at >= $1 ORDER BY code";
        let codes: Vec<String> = sql::scalar(sql).bind(micros(from)).fetch_all(&mut self.conn).await?;
        Ok(codes.into_iter().filter_map(|code| code.parse().ok()).collect())
    }

    /// The journal's lines of a period, of these kinds.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn journal_between(
        &mut self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        kinds: &[&str],
    ) -> Result<Vec<JournalEntry>, StoreError> {
        let mut found = Vec::new();
        let mut next = 1;
        loop {
            let page = self.journal_entries(next, 1000).await?;
            let Some(last) = page.last() else { return Ok(found) };
            next = last.seq + 1;
            // The clock may have been set back: times don't rise with the numbers.
            let wanted =
                |entry: &JournalEntry| entry.at >= from && entry.at <= to && kinds.contains(&entry.kind.as_str());
            found.extend(page.into_iter().filter(wanted));
        }
    }
}
