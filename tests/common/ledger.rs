//! What must be true whatever broke: the books of the sink, the queue, the folders and the journal.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use cadre::store::{Server, Store, Tx, Vault};
use chrono::DateTime;

use super::mail::{field, headers};
use super::scene::{OFFICE, Scene};
use super::{Caught, Practice, postgres};

/// Mails by Message-ID. Fails where one Message-ID was given to different bytes: what has passed the
/// dot once may be repeated, never changed.
pub fn by_message_id(mails: &[Caught]) -> Result<BTreeMap<String, Vec<Caught>>> {
    let mut books: BTreeMap<String, Vec<Caught>> = BTreeMap::new();
    for mail in mails {
        let id = field(&headers(&mail.data), "Message-ID").context("a mail without Message-ID")?.to_owned();
        books.entry(id).or_default().push(mail.clone());
    }
    for (id, same) in &books {
        let first = &same[0];
        ensure!(same.iter().all(|m| m.data == first.data && m.to == first.to), "{id} was sent in two versions");
    }
    Ok(books)
}

/// The mails for one address, each Message-ID once.
pub fn distinct_to(mails: &[Caught], address: &str) -> Result<Vec<Caught>> {
    let books = by_message_id(mails)?;
    Ok(books.into_values().filter_map(|mut same| same.pop()).filter(|m| m.to == [address]).collect())
}

/// One value from the database, as text; empty when there is none.
pub fn sql(practice: &Practice, statement: &str) -> Result<String> {
    use sqlx::{Connection as _, Row as _};
    if let Some(place) = &practice.place {
        return place.sql(statement);
    }
    let path = practice.dir.join("cadre.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
        let mut rows = sqlx::raw_sql(statement).fetch_all(&mut connection).await?;
        let row = rows.pop();
        connection.close().await?;
        let Some(row) = row else { return Ok(String::new()) };
        // Numbers too: SQLite makes text of them.
        Ok(row.try_get_unchecked::<Option<String>, _>(0)?.unwrap_or_default())
    })
}

/// The practice's database, as Cadre opens it.
async fn store_of(practice: &Practice) -> Result<Store> {
    let dir = &practice.dir;
    let key: [u8; 32] = std::fs::read(dir.join("record.key"))?.as_slice().try_into()?;
    let (vault, head) = (Vault::new(&key), dir.join("journal.head"));
    Ok(match &practice.place {
        None => Store::open(&format!("sqlite:{}", dir.join("cadre.db").display()), vault, &head).await?,
        Some(place) => {
            let server = Server { url: place.url.clone(), password: None, schema: place.schema.clone() };
            Store::connect(&server, vault, &head).await?
        }
    })
}

/// Changes the database as Cadre would, with the MACs that only the record key makes, and commits.
pub fn in_store(practice: &Practice, work: impl AsyncFnOnce(&mut Tx) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = store_of(practice).await?;
        let mut tx = store.begin().await?;
        work(&mut tx).await?;
        tx.commit().await?;
        store.close().await;
        Ok(())
    })
}

/// Somebody reads the database as it is now, and goes on reading, as an export or `verify` does.
pub fn reading(practice: &Practice, during: impl FnOnce() -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (store, tx) = runtime.block_on(async {
        let store = store_of(practice).await?;
        let mut tx = store.read().await?;
        tx.client_ids().await?;
        Ok::<_, anyhow::Error>((store, tx))
    })?;
    let outcome = during();
    runtime.block_on(async {
        drop(tx);
        store.close().await;
    });
    outcome
}

/// Another program holds the database for writing, as a backup or somebody with `sqlite3` would.
pub fn hold(practice: &Practice, during: impl FnOnce() -> Result<()>) -> Result<()> {
    use sqlx::Connection as _;
    if let Some(place) = &practice.place {
        return place.hold(during);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(practice.dir.join("cadre.db"));
    let mut other = runtime.block_on(sqlx::SqliteConnection::connect_with(&options))?;
    runtime.block_on(async { sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut other).await })?;
    let outcome = during();
    runtime.block_on(async { sqlx::raw_sql("ROLLBACK").execute(&mut other).await })?;
    runtime.block_on(other.close())?;
    outcome
}

/// The database as it is at one time.
pub enum Snapshot {
    File(Vec<u8>),
    Dump(postgres::Place, String),
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        // `pg_dump` writes a word of its own for each dump.
        let lines = |dump: &str| dump.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n");
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Dump(_, one), Self::Dump(_, other)) => lines(one) == lines(other),
            _ => false,
        }
    }
}

impl Snapshot {
    /// Nothing of Cadre's runs meanwhile.
    pub fn of(practice: &Practice) -> Result<Self> {
        if let Some(place) = &practice.place {
            return Ok(Self::Dump(place.clone(), place.dump()?));
        }
        sql(practice, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(Self::File(std::fs::read(practice.dir.join("cadre.db"))?))
    }

    /// Puts it in the place of what there is now.
    pub fn put_back(&self, practice: &Practice) -> Result<()> {
        match self {
            Self::Dump(place, dump) => place.put_back(dump),
            Self::File(bytes) => {
                for name in ["cadre.db-wal", "cadre.db-shm"] {
                    let _ = std::fs::remove_file(practice.dir.join(name));
                }
                Ok(std::fs::write(practice.dir.join("cadre.db"), bytes)?)
            }
        }
    }
}

/// What has to be said before the journal can be changed by hand. (On PostgreSQL [`sql`] asks no trigger.)
pub fn free_journal(practice: &Practice) -> &'static str {
    match practice.place {
        None => "DROP TRIGGER journal_keeps_its_words; DROP TRIGGER journal_keeps_its_lines;",
        Some(_) => "",
    }
}

/// An expression of octets, as a column takes it.
pub fn octets(practice: &Practice, expression: &str) -> String {
    match practice.place {
        None => format!("CAST({expression} AS BLOB)"),
        Some(_) => format!("({expression})"),
    }
}

/// A column's or expression's octets, as SQL makes hexadecimal digits of them.
pub fn hex(practice: &Practice, expression: &str) -> String {
    match practice.place {
        None => format!("hex({expression})"),
        Some(_) => format!("upper(encode({expression}, 'hex'))"),
    }
}

/// `queue list --all --json`: how many rows of each kind and state.
pub fn queue(practice: &Practice) -> Result<BTreeMap<(String, String), usize>> {
    let rows = practice.json(&["queue", "list", "--all"])?;
    let mut counts = BTreeMap::new();
    for row in rows.as_array().context("a list")? {
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        *counts.entry((word("kind"), word("state"))).or_default() += 1;
    }
    Ok(counts)
}

/// The messages of one client's thread with this kind: their states.
pub fn states(thread: &serde_json::Value, kind: &str) -> Vec<String> {
    let messages = thread["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().filter(|m| m["kind"] == kind).map(|m| m["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// How many mails lie in one of the practice's folders.
pub fn lying(scene: &Scene, folder: &[&str]) -> Result<usize> {
    Ok(scene.lab.mails(OFFICE, &scene.lab.folder(folder))?.len())
}

/// The books that hold at any time: same Message-ID same bytes, no two replies of a client that hold one
/// day, the journal whole.
pub fn sound(scene: &Scene) -> Result<()> {
    let verified = scene.practice.run(&["journal", "verify"])?;
    ensure!(verified.ok(), "journal verify: {verified:?}");
    let twice = "SELECT COUNT(*) FROM (SELECT 1 FROM message WHERE kind = 'reply' \
                 AND state IN ('waiting', 'leaving', 'sent') GROUP BY client_id, leave_day HAVING COUNT(*) > 1) AS same";
    ensure!(sql(&scene.practice, twice)? == "0", "two replies on one day");
    let turns = sql(&scene.practice, "SELECT COUNT(*) FROM turn WHERE acknowledged = 1")?;
    let acknowledged = sql(&scene.practice, "SELECT COUNT(*) FROM outbox WHERE kind = 'acknowledgement'")?;
    ensure!(turns == acknowledged, "{acknowledged} acknowledgements for {turns} turns");
    Ok(())
}

/// The replies that reached a client, opened with their own key, by the local day of their Date header
/// (Paris in the laboratory). Fails when two different ones bear the same day.
pub fn replies_by_day(scene: &Scene, who: &super::Person, mails: &[Caught], word: &str) -> Result<BTreeSet<String>> {
    let mut days = BTreeSet::new();
    for mail in distinct_to(mails, &who.address)? {
        let read = who.read(&mail.data)?;
        if !read.text().contains(word) {
            continue;
        }
        ensure!(read.decrypted && read.signed_by(&scene.office.fingerprint), "{:?}", read.status);
        let date = read.outer("Date").context("no Date")?;
        let day = DateTime::parse_from_rfc2822(date)?.with_timezone(&chrono_tz::Europe::Paris).date_naive();
        ensure!(days.insert(day.to_string()), "two different replies on {day}");
    }
    Ok(days)
}
