//! All rows of one store copied into another and compared, octet by octet: what moves a practice to another database,
//! and what copies one out of a server and puts it back.

use crate::failpoint::failpoint;
use crate::store::{JournalHead, Shape, Store, StoreError, Sum, Tx, Underway};

/// Why the rows weren't copied; the source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the copying stopped")]
    Store(#[from] StoreError),
    #[error("the target isn't empty (table {table})")]
    NotEmpty { table: String },
    #[error("the target has a part of another database, or the source was used since the copying began")]
    OtherSource,
    #[error("table {table} isn't the same in both databases")]
    Differs { table: String },
    #[error("the journal in the copy doesn't verify")]
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
pub struct CopiedTable {
    pub table: String,
    pub rows: u64,
    /// SHA-256 over every octet of every row, hex.
    pub sha256: String,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    pub tables: Vec<CopiedTable>,
    pub rows: u64,
    /// Of the journal in the copy.
    pub head: JournalHead,
    /// An earlier attempt had stopped.
    pub resumed: bool,
}

/// Copies what one view of `source` shows into `target`, which is empty or has a part of it, and compares it. One of the
/// two is SQLite's. `source_head` is what a copying that was stopped is known by.
///
/// # Errors
/// [`CopyError`].
pub async fn copy_all<P: Fn(Progress<'_>)>(
    source: &Store,
    reading: &mut Tx,
    target: &Store,
    source_head: String,
    progress: &P,
) -> Result<Copied, CopyError> {
    let shapes = match source.is_file() {
        true => reading.shapes().await?,
        false => target.read().await?.shapes().await?,
    };
    let mut rows = 0;
    for shape in &shapes {
        rows += reading.rows_of(shape).await?;
    }
    let copying = Copying { target, progress };
    let (underway, resumed) = copying.begin(&shapes, source_head).await?;
    copying.copy(reading, &shapes, underway, rows).await?;
    failpoint("moved");
    let tables = copying.compare(reading, &shapes, rows).await?;
    let mut journal = target.verify_journal(None).await?;
    if journal.faults.pop().is_some() {
        return Err(CopyError::JournalDiffers);
    }
    let mut tx = target.begin().await?;
    tx.set_underway(None).await?;
    tx.commit().await?;
    Ok(Copied { tables, rows, head: journal.head, resumed })
}

struct Copying<'m, P> {
    target: &'m Store,
    progress: &'m P,
}

impl<P: Fn(Progress<'_>)> Copying<'_, P> {
    /// Marks an empty target as one that is being filled, or finds how far an earlier attempt has come.
    async fn begin(&self, shapes: &[Shape], source: String) -> Result<(Underway, bool), CopyError> {
        let mut tx = self.target.begin().await?;
        if let Some(underway) = tx.underway().await? {
            return if underway.source == source { Ok((underway, true)) } else { Err(CopyError::OtherSource) };
        }
        for shape in shapes {
            if tx.rows_of(shape).await? > 0 {
                return Err(CopyError::NotEmpty { table: shape.table.clone() });
            }
        }
        let table = shapes.first().map_or_else(String::new, |shape| shape.table.clone());
        let underway = Underway { source, rows: 0, table, after: Vec::new() };
        tx.set_underway(Some(&underway)).await?;
        tx.commit().await?;
        Ok((underway, false))
    }

    async fn copy(&self, reading: &mut Tx, shapes: &[Shape], mut underway: Underway, of: u64) -> Result<(), CopyError> {
        let reached = shapes.iter().position(|shape| shape.table == underway.table).ok_or(CopyError::OtherSource)?;
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

    /// What names another row of the same table; written again by one that goes on in this table.
    async fn link(&self, reading: &mut Tx, shape: &Shape) -> Result<(), CopyError> {
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
    async fn compare(&self, reading: &mut Tx, shapes: &[Shape], of: u64) -> Result<Vec<CopiedTable>, CopyError> {
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
                return Err(CopyError::Differs { table: shape.table.clone() });
            }
            tables.push(CopiedTable { table: shape.table.clone(), rows, sha256 });
        }
        Ok(tables)
    }
}
