//! `migrate-store`: a whole practice from SQLite into PostgreSQL, or back.
//!
//! The source isn't changed: a transaction that writes nothing keeps every other writer out while its rows are read. The
//! target gets each batch together with how far it has come, so that a move that was killed goes on where it stopped; no
//! other command opens it until every row was compared.

use super::context::StartError;
use super::database;
use crate::config::{Config, DatabasePlace};
use crate::failpoint::failpoint;
use crate::store::{JournalFault, JournalHead, RunLock, Shape, Store, StoreError, Sum, Tx, Underway, beside};

/// Why a practice wasn't moved; whatever it is, the source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("a practice is moved from SQLite to PostgreSQL or back: name one `sqlite:` URL and one `postgres://` URL")]
    Kinds,
    #[error("there is no database {path}: name the file of the practice's database")]
    NoSource { path: std::path::PathBuf },
    #[error("the {which} database can't be opened")]
    Open {
        which: &'static str,
        #[source]
        source: Box<StartError>,
    },
    #[error("the source is in use: stop `cadre run` and every other `cadre` command on it, then run this again")]
    InUse(#[source] StoreError),
    #[error("the source can't be moved as it is")]
    Source(#[source] StoreError),
    #[error("nothing was ever written into the source: it is no practice's database")]
    Empty,
    #[error(
        "the source's journal doesn't verify: it was made with another record key (`[keys] record`), or was changed; look at it with `cadre journal verify` first"
    )]
    Journal(#[source] JournalFault),
    #[error(
        "the target isn't empty (table {table}): name an empty schema (`--schema`) or a file that isn't there; nothing was changed"
    )]
    NotEmpty { table: String },
    #[error(
        "the target has a part of another database, or the source was used since the move began: empty the target (drop its schema, or remove its file) and run this again"
    )]
    OtherSource,
    #[error("the move stopped; the source is as it was: run the same command again, and it goes on where it stopped")]
    Stopped(#[from] StoreError),
    #[error(
        "table {table} isn't the same in both databases: the source was used since the move began, or something else wrote into the target; empty the target (drop its schema, or remove its file) and run this again"
    )]
    Differs { table: String },
    #[error(
        "the journal in the target doesn't verify: empty the target (drop its schema, or remove its file) and run this again"
    )]
    JournalDiffers,
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Rows are compared now, after all were copied.
    pub comparing: bool,
    pub table: &'a str,
    /// Rows of all tables.
    pub done: u64,
    pub of: u64,
}

/// One table, the same in both databases.
#[derive(Debug, serde::Serialize)]
pub struct MovedTable {
    pub table: String,
    pub rows: u64,
    /// SHA-256 over every octet of every row, hex.
    pub sha256: String,
}

/// What was moved.
#[derive(Debug)]
pub struct Moved {
    pub tables: Vec<MovedTable>,
    pub rows: u64,
    /// The journal's, in both.
    pub head: JournalHead,
    /// An earlier move had stopped.
    pub resumed: bool,
}

/// Copies everything of `from` into `to` and compares it. Nothing else writes into the source meanwhile.
///
/// # Errors
/// [`MoveError`].
pub async fn migrate_store(
    config: &Config,
    from: &DatabasePlace,
    to: &DatabasePlace,
    progress: impl Fn(Progress<'_>),
) -> Result<Moved, MoveError> {
    let (from_file, to_file) = (from.file(), to.file());
    if from_file.is_some() == to_file.is_some() {
        return Err(MoveError::Kinds);
    }
    if let Some(path) = from_file.filter(|path| !path.exists()) {
        return Err(MoveError::NoSource { path: path.to_owned() });
    }
    let lock = |file: Option<&std::path::Path>| file.map(RunLock::take).transpose();
    let _source_lock = lock(from_file).map_err(MoveError::InUse)?;
    let _target_lock = lock(to_file)?;
    let head_file = &config.database.journal_head;
    let opened = |which| move |source| MoveError::Open { which, source: Box::new(source) };
    let source = database::at(config, from, head_file).await.map_err(opened("source"))?;
    // A head file of the target's own while it is filled: the real one is the source's proof.
    let own_head = beside(head_file, ".moving");
    let target = match database::at(config, to, &own_head).await {
        Ok(target) => target,
        Err(error) => {
            source.close().await;
            return Err(opened("target")(error));
        }
    };
    let moved = Move { source: &source, target: &target, progress: &progress }.carry_out().await;
    target.close().await;
    source.close().await;
    let _ = std::fs::remove_file(own_head);
    moved
}

struct Move<'m, P> {
    source: &'m Store,
    target: &'m Store,
    progress: &'m P,
}

impl<P: Fn(Progress<'_>)> Move<'_, P> {
    async fn carry_out(&self) -> Result<Moved, MoveError> {
        // Held to the end: whoever else wants to write waits, and is told that the database is busy.
        let busy = |error: StoreError| if error.is_busy() { MoveError::InUse(error) } else { error.into() };
        let mut reading = self.source.begin().await.map_err(busy)?;
        self.source.is_complete().await.map_err(MoveError::Source)?;
        let mut report = self.source.verify_journal(None).await?;
        if let Some(fault) = report.faults.pop() {
            return Err(MoveError::Journal(fault));
        }
        if report.head.count == 0 {
            return Err(MoveError::Empty);
        }
        let shapes = match self.source.is_file() {
            true => reading.shapes().await?,
            false => self.target.read().await?.shapes().await?,
        };
        let mut rows = 0;
        for shape in &shapes {
            rows += reading.rows_of(shape).await?;
        }
        let head = format!("{}:{}", report.head.count, report.head.hex());
        let (underway, resumed) = self.begin(&shapes, head).await?;
        self.copy(&mut reading, &shapes, underway, rows).await?;
        failpoint("moved");
        let tables = self.compare(&mut reading, &shapes, rows).await?;
        let expected = Some((report.head.count, report.head.hex()));
        if !self.target.verify_journal(expected).await?.ok() {
            return Err(MoveError::JournalDiffers);
        }
        let mut tx = self.target.begin().await?;
        tx.set_underway(None).await?;
        tx.commit().await?;
        Ok(Moved { tables, rows, head: report.head, resumed })
    }

    /// Marks an empty target as one that is being filled, or finds how far an earlier move has come.
    async fn begin(&self, shapes: &[Shape], source: String) -> Result<(Underway, bool), MoveError> {
        let mut tx = self.target.begin().await?;
        if let Some(underway) = tx.underway().await? {
            return if underway.source == source { Ok((underway, true)) } else { Err(MoveError::OtherSource) };
        }
        for shape in shapes {
            if tx.rows_of(shape).await? > 0 {
                return Err(MoveError::NotEmpty { table: shape.table.clone() });
            }
        }
        let table = shapes.first().map_or_else(String::new, |shape| shape.table.clone());
        let underway = Underway { source, rows: 0, table, after: Vec::new() };
        tx.set_underway(Some(&underway)).await?;
        tx.commit().await?;
        Ok((underway, false))
    }

    async fn copy(&self, reading: &mut Tx, shapes: &[Shape], mut underway: Underway, of: u64) -> Result<(), MoveError> {
        let reached = shapes.iter().position(|shape| shape.table == underway.table).ok_or(MoveError::OtherSource)?;
        for shape in &shapes[reached..] {
            if underway.table != shape.table {
                underway = Underway { table: shape.table.clone(), after: Vec::new(), ..underway };
            }
            loop {
                (self.progress)(Progress { comparing: false, table: &shape.table, done: underway.rows, of });
                let rows = reading.batch(shape, &underway.after).await?;
                let Some(last) = rows.last() else { break };
                underway = Underway { after: shape.key_of(last), rows: underway.rows + rows.len() as u64, ..underway };
                let mut tx = self.target.begin().await?;
                tx.put_batch(shape, &rows).await?;
                tx.set_underway(Some(&underway)).await?;
                tx.commit().await?;
                failpoint("moving");
            }
            self.link(reading, shape).await?;
        }
        Ok(())
    }

    /// What names another row of the same table; written again by a move that goes on in this table.
    async fn link(&self, reading: &mut Tx, shape: &Shape) -> Result<(), MoveError> {
        if !shape.has_links() {
            return Ok(());
        }
        let mut after = Vec::new();
        loop {
            let rows = reading.batch(shape, &after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = shape.key_of(last);
            let mut tx = self.target.begin().await?;
            tx.put_links(shape, &rows).await?;
            tx.commit().await?;
        }
    }

    /// Every octet of every row, in the order of the keys.
    async fn compare(&self, reading: &mut Tx, shapes: &[Shape], of: u64) -> Result<Vec<MovedTable>, MoveError> {
        let mut written = self.target.read().await?;
        let mut tables = Vec::with_capacity(shapes.len());
        let mut done = 0;
        for shape in shapes {
            let (mut here, mut there) = (Sum::default(), Sum::default());
            let (mut after_here, mut after_there) = (Vec::new(), Vec::new());
            loop {
                (self.progress)(Progress { comparing: true, table: &shape.table, done: done + here.rows, of });
                let (ours, theirs) =
                    (reading.batch(shape, &after_here).await?, written.batch(shape, &after_there).await?);
                here.add(&ours);
                there.add(&theirs);
                after_here = ours.last().map_or(after_here, |row| shape.key_of(row));
                after_there = theirs.last().map_or(after_there, |row| shape.key_of(row));
                if ours.is_empty() && theirs.is_empty() {
                    break;
                }
            }
            done += here.rows;
            let (rows, theirs, sha256) = (here.rows, there.rows, here.hex());
            if rows != theirs || sha256 != there.hex() {
                return Err(MoveError::Differs { table: shape.table.clone() });
            }
            tables.push(MovedTable { table: shape.table.clone(), rows, sha256 });
        }
        Ok(tables)
    }
}
