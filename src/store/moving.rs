//! A whole practice's rows, read from one database and written into another: in batches by key, each committed with the
//! place that was reached.
//!
//! What the tables are is read from SQLite's own catalogue, so that a new migration's table can't be forgotten. A row of
//! one database is a row of the other: the same columns, whole numbers, texts and octets, the same order of keys.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sql::{self, Query, Row};
use super::{Store, StoreError, Tx};

/// The row of `meta` that stands in the target from before its first row until it was verified.
const MARK: &str = "migrate-store";

/// Rows of one batch; fewer where they are large.
const BATCH_ROWS: usize = 500;
/// Octets of one batch, unless one row alone has more.
const BATCH_BYTES: i64 = 4 << 20;
/// Parameters of one statement: SQLite takes 32766.
const PARAMETERS: usize = 30_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Bytes,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
}

/// A table, as its rows are moved.
#[derive(Debug, Clone)]
pub struct Shape {
    pub table: String,
    columns: Vec<Column>,
    /// Places in `columns`, in the key's order.
    key: Vec<usize>,
    /// Columns that name a row of the same table, written when all of its rows are there.
    links: Vec<usize>,
    /// Tables that have to be filled before.
    after: Vec<String>,
}

/// One value. No `Debug`: it may be anything that is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row, its columns in the order of the shape's.
pub type Cells = Vec<Cell>;

/// How far a move has come; it is committed with the rows themselves.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    /// The source's journal as it was when the move began: `count:MAC`, whole.
    pub source: String,
    /// Rows are written.
    pub rows: u64,
    /// The table that is being moved; those before it are done.
    pub table: String,
    /// The key of its last row; empty before the first.
    pub after: Cells,
}

/// Of a table's rows, in the order of their keys: how many there are, and SHA-256 over every octet.
#[derive(Default)]
pub struct Sum {
    pub rows: u64,
    hash: Sha256,
}

impl Sum {
    /// Adds the next rows.
    pub fn add(&mut self, rows: &[Cells]) {
        let mut counted = |kind: u8, bytes: &[u8]| {
            self.hash.update([kind]);
            self.hash.update((bytes.len() as u64).to_be_bytes());
            self.hash.update(bytes);
        };
        for cell in rows.iter().flatten() {
            match cell {
                Cell::Null => counted(0, &[]),
                Cell::Int(value) => counted(1, &value.to_be_bytes()),
                Cell::Text(text) => counted(2, text.as_bytes()),
                Cell::Bytes(bytes) => counted(3, bytes),
            }
        }
        self.rows += rows.len() as u64;
    }

    /// The digest, in hex.
    pub fn hex(self) -> String {
        HEXLOWER.encode(&self.hash.finalize())
    }
}

impl Shape {
    fn list(&self, columns: impl IntoIterator<Item = usize>) -> String {
        let names: Vec<&str> = columns.into_iter().map(|column| self.columns[column].name.as_str()).collect();
        names.join(", ")
    }

    fn key_list(&self) -> String {
        self.list(self.key.iter().copied())
    }

    /// The part of a statement after its columns: these rows of the table, in the order of their keys.
    fn some(&self, bounds: &[(&str, &[Cell])]) -> String {
        let mut words = vec![if self.table == "meta" { format!("key <> '{MARK}'") } else { "1 = 1".to_owned() }];
        let mut next = 1;
        for (sign, cells) in bounds.iter().filter(|(_, cells)| !cells.is_empty()) {
            let places: Vec<String> = (next..).take(cells.len()).map(|place| format!("${place}")).collect();
            next += cells.len();
            words.push(format!("({}) {sign} ({})", self.key_list(), places.join(", ")));
        }
        format!("FROM {} WHERE {} ORDER BY {}", self.table, words.join(" AND "), self.key_list())
    }

    /// Whether rows of it name others of the same table.
    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// The key of a row.
    pub fn key_of(&self, row: &[Cell]) -> Cells {
        self.key.iter().map(|place| row[*place].clone()).collect()
    }

    fn read(&self, row: &Row, place: usize, column: usize) -> Result<Cell, StoreError> {
        Ok(match self.columns[column].kind {
            Kind::Int => row.at::<Option<i64>>(place)?.map_or(Cell::Null, Cell::Int),
            Kind::Text => row.at::<Option<String>>(place)?.map_or(Cell::Null, Cell::Text),
            Kind::Bytes => row.at::<Option<Vec<u8>>>(place)?.map_or(Cell::Null, Cell::Bytes),
        })
    }

    /// Binds a value; PostgreSQL wants to know the kind of one that is missing.
    fn bound<'q>(&self, query: Query<'q>, column: usize, cell: &'q Cell) -> Query<'q> {
        match (cell, self.columns[column].kind) {
            (Cell::Int(value), _) => query.bind(*value),
            (Cell::Text(text), _) => query.bind(text),
            (Cell::Bytes(bytes), _) => query.bind(bytes),
            (Cell::Null, Kind::Int) => query.bind(None::<i64>),
            (Cell::Null, Kind::Text) => query.bind(None::<&str>),
            (Cell::Null, Kind::Bytes) => query.bind(None::<&[u8]>),
        }
    }

    fn bound_keys<'q>(&self, query: Query<'q>, cells: &'q [Cell]) -> Query<'q> {
        self.key.iter().zip(cells).fold(query, |query, (column, cell)| self.bound(query, *column, cell))
    }
}

/// Tables in an order in which each comes after those that it names.
fn ordered(mut shapes: Vec<Shape>) -> Result<Vec<Shape>, StoreError> {
    let mut ready: Vec<Shape> = Vec::with_capacity(shapes.len());
    while !shapes.is_empty() {
        let is_done = |table: &String| ready.iter().any(|shape| shape.table == *table);
        let next = shapes.iter().position(|shape| shape.after.iter().all(is_done));
        ready.push(shapes.remove(next.ok_or(StoreError::Damaged)?));
    }
    Ok(ready)
}

impl Tx {
    /// Every table of Cadre's, in an order in which they can be filled. SQLite's databases only.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Damaged`].
    pub async fn shapes(&mut self) -> Result<Vec<Shape>, StoreError> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                   AND name <> '_sqlx_migrations' ORDER BY name";
        let tables: Vec<String> = sql::scalar(sql).fetch_all(&mut self.conn).await?;
        let mut shapes = Vec::with_capacity(tables.len());
        for table in tables {
            shapes.push(self.shape(table).await?);
        }
        ordered(shapes)
    }

    async fn shape(&mut self, table: String) -> Result<Shape, StoreError> {
        let sql = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid";
        let mut columns = Vec::new();
        let mut key = Vec::new();
        for row in sql::query(sql).bind(&table).fetch_all(&mut self.conn).await? {
            let kind = match row.at::<&str>(1)? {
                "INTEGER" => Kind::Int,
                "TEXT" => Kind::Text,
                _ => Kind::Bytes,
            };
            if let place @ 1.. = row.at::<i64>(2)? {
                key.push((place, columns.len()));
            }
            columns.push(Column { name: row.at(0)?, kind });
        }
        key.sort_unstable();
        let key: Vec<usize> = key.into_iter().map(|(_, column)| column).collect();
        let (mut links, mut after) = (Vec::new(), Vec::new());
        let sql = "SELECT \"table\", \"from\" FROM pragma_foreign_key_list($1)";
        for row in sql::query(sql).bind(&table).fetch_all(&mut self.conn).await? {
            let (other, column): (String, String) = (row.at(0)?, row.at(1)?);
            if other == table {
                links.extend(columns.iter().position(|known| known.name == column));
            } else {
                after.push(other);
            }
        }
        if key.is_empty() {
            return Err(StoreError::Damaged);
        }
        Ok(Shape { table, columns, key, links, after })
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn rows_of(&mut self, shape: &Shape) -> Result<u64, StoreError> {
        let but = if shape.table == "meta" { format!(" WHERE key <> '{MARK}'") } else { String::new() };
        let sql = format!("SELECT COUNT(*) FROM {}{but}", shape.table);
        Ok(sql::scalar::<i64>(&sql).fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// The rows after that key (empty: the first ones), as many as a batch takes; none: there are no more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn batch(&mut self, shape: &Shape, after: &[Cell]) -> Result<Vec<Cells>, StoreError> {
        // Sizes first: rows of a few large letters would fill the memory.
        let size: Vec<String> = shape
            .columns
            .iter()
            .filter(|column| column.kind == Kind::Bytes)
            .map(|column| format!("COALESCE(length({}), 0)", column.name))
            .collect();
        let size = if size.is_empty() { "0".to_owned() } else { size.join(" + ") };
        let some = shape.some(&[(">", after)]);
        let sql = format!("SELECT {}, CAST({size} AS BIGINT) {some} LIMIT {BATCH_ROWS}", shape.key_list());
        let found = shape.bound_keys(sql::query(&sql), after).fetch_all(&mut self.conn).await?;
        let mut bytes = 0;
        let mut last = None;
        for row in &found {
            bytes += row.at::<i64>(shape.key.len())?;
            if bytes > BATCH_BYTES && last.is_some() {
                break;
            }
            last = Some(row);
        }
        let Some(last) = last else { return Ok(Vec::new()) };
        let columns = shape.key.iter().enumerate();
        let last: Cells = columns.map(|(place, column)| shape.read(last, place, *column)).collect::<Result<_, _>>()?;

        let some = shape.some(&[(">", after), ("<=", last.as_slice())]);
        let sql = format!("SELECT {} {some}", shape.list(0..shape.columns.len()));
        let query = shape.bound_keys(shape.bound_keys(sql::query(&sql), after), &last);
        let found = query.fetch_all(&mut self.conn).await?;
        let cells = |row: &Row| (0..shape.columns.len()).map(|column| shape.read(row, column, column)).collect();
        found.iter().map(cells).collect()
    }

    /// Writes rows that aren't there yet; what names a row of the same table stays for [`Tx::put_links`].
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_batch(&mut self, shape: &Shape, rows: &[Cells]) -> Result<(), StoreError> {
        let width = shape.columns.len();
        for rows in rows.chunks((PARAMETERS / width).max(1)) {
            let places = |row: usize| {
                let own: Vec<String> = (1..=width).map(|column| format!("${}", row * width + column)).collect();
                format!("({})", own.join(", "))
            };
            let values: Vec<String> = (0..rows.len()).map(places).collect();
            let columns = shape.list(0..width);
            let sql = format!("INSERT INTO {} ({columns}) VALUES {}", shape.table, values.join(", "));
            let mut query = sql::query(&sql);
            for row in rows {
                for (column, cell) in row.iter().enumerate() {
                    let cell = if shape.links.contains(&column) { &Cell::Null } else { cell };
                    query = shape.bound(query, column, cell);
                }
            }
            query.execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Writes what of these rows names a row of the same table. All of the table's rows are there.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_links(&mut self, shape: &Shape, rows: &[Cells]) -> Result<(), StoreError> {
        for link in &shape.links {
            let at = format!("({}) = ({})", shape.key_list(), places(shape.key.len()));
            let sql = format!(
                "UPDATE {} SET {} = ${} WHERE {at}",
                shape.table,
                shape.columns[*link].name,
                shape.key.len() + 1
            );
            for row in rows.iter().filter(|row| row[*link] != Cell::Null) {
                let key = shape.key_of(row);
                let query = shape.bound(shape.bound_keys(sql::query(&sql), &key), *link, &row[*link]);
                query.execute(&mut self.conn).await?;
            }
        }
        Ok(())
    }

    /// How far a move into this database has come; `None`: there is none, or it is complete.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Damaged`].
    pub async fn underway(&mut self) -> Result<Option<Underway>, StoreError> {
        let Some(text) = self.meta(MARK).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| StoreError::Damaged)
    }

    /// Says how far a move has come; `None`: it is complete, and the database can be used.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Damaged`].
    pub async fn set_underway(&mut self, underway: Option<&Underway>) -> Result<(), StoreError> {
        match underway {
            None => self.clear_meta(MARK).await,
            Some(underway) => {
                let text = serde_json::to_string(underway).map_err(|_| StoreError::Damaged)?;
                self.set_meta(MARK, &text).await
            }
        }
    }
}

fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

impl Store {
    /// Fails where a move into this database isn't complete.
    ///
    /// # Errors
    /// [`StoreError::Unfinished`], [`StoreError::Db`].
    pub async fn is_complete(&self) -> Result<(), StoreError> {
        let marked = self.read().await?.meta(MARK).await?;
        if marked.is_some() { Err(StoreError::Unfinished) } else { Ok(()) }
    }

    /// Whether the tables' catalogue can be read here: SQLite's.
    pub fn is_file(&self) -> bool {
        self.0.engine.file().is_some()
    }
}
