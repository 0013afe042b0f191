//! One statement for both databases: the same text, `$1`-numbered parameters, and four kinds of values.
//!
//! Whole numbers and truths are 64-bit integers in the tables of both, so that a row of one is a row of the other.

use std::borrow::Cow;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor as _, Postgres, Row as _, Sqlite, Transaction, ValueRef as _};

use super::large;

/// A transaction of either database.
pub(super) enum Link {
    Lite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

/// A transaction, with what is inserted later: rows that need no answer are written together, before the first statement
/// that names their table, a savepoint, or the end. Each statement goes to another thread or computer and back.
pub(super) struct Conn {
    link: Link,
    later: Vec<Rows>,
    bytes: usize,
    /// Statements about savepoints that go ahead of the next other one, together.
    marks: String,
}

/// A row that may be inserted later.
pub(super) struct Insert {
    /// Its table.
    pub table: &'static str,
    /// Rows of a lower rank are inserted first: those that others refer to.
    pub rank: u8,
    /// Up to `VALUES`.
    pub into: &'static str,
    /// What stands behind the values.
    pub end: &'static str,
    /// A row takes the place of one with the same first value, which PostgreSQL does only once in a statement.
    pub replaces: bool,
}

/// Rows of one [`Insert`].
struct Rows {
    insert: &'static Insert,
    columns: usize,
    values: Vec<Value<'static>>,
}

impl Rows {
    fn of(&self, insert: &'static Insert) -> bool {
        std::ptr::eq(self.insert, insert)
    }

    /// Whether one begins with this value.
    fn has(&self, first: &Value<'_>) -> bool {
        self.values.iter().step_by(self.columns).any(|value| value == first)
    }
}

/// More than this isn't kept back, in bytes and in rows of a table.
const MOST_BYTES: usize = 1 << 20;
const MOST_ROWS: usize = 64;

impl From<Link> for Conn {
    fn from(link: Link) -> Self {
        Self { link, later: Vec::new(), bytes: 0, marks: String::new() }
    }
}

impl Conn {
    /// Inserts a row in its own time.
    pub(super) async fn later(&mut self, insert: &'static Insert, row: Query<'_>) -> Result<(), sqlx::Error> {
        let columns = row.values.len();
        if insert.replaces && self.later.iter().any(|rows| rows.of(insert) && rows.has(&row.values[0])) {
            self.settle().await?;
        }
        self.bytes += row.values.iter().map(Value::len).sum::<usize>();
        let values = row.values.into_iter().map(Value::into_owned);
        let many = match self.later.iter_mut().find(|rows| rows.of(insert)) {
            Some(rows) => {
                rows.values.extend(values);
                rows.values.len() / columns
            }
            None => {
                self.later.push(Rows { insert, columns, values: values.collect() });
                1
            }
        };
        if many >= MOST_ROWS || self.bytes >= MOST_BYTES { self.settle().await } else { Ok(()) }
    }

    /// Inserts a row now, which an index may refuse.
    pub(super) async fn at_once(&mut self, insert: &'static Insert, row: Query<'_>) -> Result<(), sqlx::Error> {
        let sql = rows(insert, row.values.len(), 1);
        Query { sql: &sql, values: row.values }.try_execute(self).await.map(drop)
    }

    /// Inserts what is still to be inserted.
    pub(super) async fn settle(&mut self) -> Result<(), sqlx::Error> {
        self.bytes = 0;
        let mut later = std::mem::take(&mut self.later);
        later.sort_by_key(|rows| rows.insert.rank);
        for Rows { insert, columns, mut values } in later {
            while !values.is_empty() {
                // Powers of two: the plans of few statements are kept.
                let many = 1 << (values.len() / columns).ilog2();
                let rest = values.split_off(many * columns);
                let sql = rows(insert, columns, many);
                Query { sql: &sql, values: std::mem::replace(&mut values, rest) }.run(self.link().await?).await?;
            }
        }
        Ok(())
    }

    /// The same before a statement that may ask for it: one with a table's name in it, also as a part of another name,
    /// such as that of a column which refers to the table.
    async fn settle_for(&mut self, sql: &str) -> Result<&mut Link, sqlx::Error> {
        if self.later.iter().any(|rows| sql.contains(rows.insert.table)) {
            self.settle().await?;
        }
        self.link().await
    }

    /// The transaction, its savepoints set.
    async fn link(&mut self) -> Result<&mut Link, sqlx::Error> {
        if !self.marks.is_empty() {
            self.link.run(&self.marks).await?;
            self.marks.clear();
        }
        Ok(&mut self.link)
    }

    /// How many rows are still to be inserted.
    #[cfg(test)]
    pub(super) fn kept_back(&self) -> usize {
        self.later.iter().map(|rows| rows.values.len() / rows.columns).sum()
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.settle().await?;
        match self.link {
            Link::Lite(tx) => tx.commit().await,
            Link::Pg(tx) => tx.commit().await,
        }
    }

    /// Sets a savepoint.
    pub(super) async fn mark(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.settle().await?;
        self.marks += sql;
        Ok(())
    }

    /// Keeps what was done since a savepoint.
    pub(super) fn keep(&mut self, sql: &'static str) {
        self.marks += sql;
    }

    /// Goes back to a savepoint.
    pub(super) async fn go_back(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        (self.later, self.bytes) = (Vec::new(), 0);
        self.link().await?.run(sql).await
    }
}

impl Link {
    /// Runs statements without values.
    async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Lite(tx) => tx.execute(sql).await.map(drop),
            Self::Pg(tx) => tx.execute(sql).await.map(drop),
        }
    }
}

/// A bound value; a missing one keeps its kind, which PostgreSQL wants to know.
#[derive(PartialEq)]
pub(super) enum Value<'q> {
    Int(Option<i64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Int(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len()),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len()),
        }
    }

    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Int(int) => Value::Int(int),
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Bytes(bytes) => Value::Bytes(bytes.map(|bytes| Cow::Owned(bytes.into_owned()))),
        }
    }
}

/// What a parameter can be.
pub(super) trait Bind<'q> {
    fn value(self) -> Bound<'q>;
}

/// A value that is ready to be bound.
pub(super) struct Bound<'q>(Value<'q>);

macro_rules! binds {
    ($($kind:ident: $($from:ty => |$it:ident| $to:expr),+;)+) => {$($(
        impl<'q> Bind<'q> for $from {
            fn value(self) -> Bound<'q> {
                let $it = self;
                Bound(Value::$kind(Some($to)))
            }
        }
        impl<'q> Bind<'q> for Option<$from> {
            fn value(self) -> Bound<'q> {
                Bound(Value::$kind(self.map(|$it| $to)))
            }
        }
    )+)+};
}

binds! {
    Int: i64 => |v| v, bool => |v| i64::from(v), u32 => |v| i64::from(v);
    Text: &'q str => |v| Cow::Borrowed(v), String => |v| Cow::Owned(v), &'q String => |v| Cow::Borrowed(v.as_str());
    Bytes: &'q [u8] => |v| Cow::Borrowed(v), Vec<u8> => |v| Cow::Owned(v), &'q Vec<u8> => |v| Cow::Borrowed(v.as_slice());
}

impl<'q> Bind<'q> for &'q Option<String> {
    fn value(self) -> Bound<'q> {
        self.as_deref().value()
    }
}

impl<'q> Bind<'q> for &'q Option<Vec<u8>> {
    fn value(self) -> Bound<'q> {
        self.as_deref().value()
    }
}

/// A statement with its values. The text is constant, so that each connection keeps its plan.
pub(super) struct Query<'q> {
    sql: &'q str,
    values: Vec<Value<'q>>,
}

/// A statement of which the first column is wanted.
pub(super) struct Scalar<'q, T>(Query<'q>, std::marker::PhantomData<fn() -> T>);

/// Begins a statement.
pub(super) fn query(sql: &str) -> Query<'_> {
    Query { sql, values: Vec::new() }
}

/// Begins the row of an [`Insert`].
pub(super) fn row<'q>() -> Query<'q> {
    query("")
}

/// Begins a statement of which the first column is wanted.
pub(super) fn scalar<T>(sql: &str) -> Scalar<'_, T> {
    Scalar(query(sql), std::marker::PhantomData)
}

/// A list in slices whose lengths are powers of two, so that lists of every length need few statements, whose plans are
/// kept.
pub(super) fn in_slices<T>(list: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let many = MOST_ROWS.min(1 << rest.len().checked_ilog2()?);
        let (slice, others) = rest.split_at(many);
        rest = others;
        Some(slice)
    })
}

/// A statement in which `one`, the piece about one value, stands `many` times, the value numbered from `first` on.
pub(super) fn repeated(sql: &str, one: &str, first: usize, many: usize) -> String {
    let number = format!("${first}");
    let all: Vec<String> = (first..first + many).map(|n| one.replace(&number, &format!("${n}"))).collect();
    sql.replacen(one, &all.join(", "), 1)
}

/// A statement that inserts `many` rows.
fn rows(insert: &Insert, columns: usize, many: usize) -> String {
    let row = |n: usize| {
        let values: Vec<String> = (1..=columns).map(|column| format!("${}", n * columns + column)).collect();
        format!("({})", values.join(", "))
    };
    let all: Vec<String> = (0..many).map(row).collect();
    format!("{} {}{}", insert.into, all.join(", "), insert.end)
}

macro_rules! bound {
    ($query:expr, $db:ty) => {
        $query.values.into_iter().fold(sqlx::query::<$db>($query.sql), |query, value| match value {
            Value::Int(v) => query.bind(v),
            Value::Text(None) => query.bind(None::<&str>),
            Value::Text(Some(Cow::Borrowed(v))) => query.bind(v),
            Value::Text(Some(Cow::Owned(v))) => query.bind(v),
            Value::Bytes(None) => query.bind(None::<&[u8]>),
            Value::Bytes(Some(Cow::Borrowed(v))) => query.bind(v),
            Value::Bytes(Some(Cow::Owned(v))) => query.bind(v),
        })
    };
}

impl<'q> Query<'q> {
    /// Binds the next parameter.
    pub(super) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.values.push(value.value().0);
        self
    }

    pub(super) async fn execute(self, conn: &mut Conn) -> Result<Done, sqlx::Error> {
        let link = conn.settle_for(self.sql).await?;
        self.run(link).await
    }

    /// As [`Query::execute`], for a statement that has nothing to do with what is inserted later, whatever it names.
    pub(super) async fn execute_apart(self, conn: &mut Conn) -> Result<Done, sqlx::Error> {
        self.run(conn.link().await?).await
    }

    async fn run(mut self, link: &mut Link) -> Result<Done, sqlx::Error> {
        let rows = match link {
            Link::Lite(tx) => bound!(self, Sqlite).execute(&mut **tx).await?.rows_affected(),
            Link::Pg(tx) if large::any(&self.values) => {
                let sql = large::ahead(tx, self.sql, &mut self.values).await?;
                let query = Query { sql: &sql, values: self.values };
                bound!(query, Postgres).execute(&mut **tx).await?.rows_affected()
            }
            Link::Pg(tx) => bound!(self, Postgres).execute(&mut **tx).await?.rows_affected(),
        };
        Ok(Done { rows })
    }

    /// As [`Query::execute`], for a statement that an index may refuse: the transaction goes on after that.
    /// PostgreSQL ends a transaction at any error, unless a savepoint was set before.
    pub(super) async fn try_execute(self, conn: &mut Conn) -> Result<Done, sqlx::Error> {
        let link = conn.settle_for(self.sql).await?;
        if matches!(link, Link::Lite(_)) {
            return self.run(link).await;
        }
        link.run("SAVEPOINT attempt").await?;
        let done = self.run(link).await;
        if done.is_err() {
            link.run("ROLLBACK TO attempt").await?;
        }
        link.run("RELEASE attempt").await?;
        done
    }

    pub(super) async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, sqlx::Error> {
        Ok(match conn.settle_for(self.sql).await? {
            Link::Lite(tx) => bound!(self, Sqlite).fetch_optional(&mut **tx).await?.map(Row::Lite),
            Link::Pg(tx) => bound!(self, Postgres).fetch_optional(&mut **tx).await?.map(Row::Pg),
        })
    }

    pub(super) async fn fetch_one(self, conn: &mut Conn) -> Result<Row, sqlx::Error> {
        self.fetch_optional(conn).await?.ok_or(sqlx::Error::RowNotFound)
    }

    pub(super) async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match conn.settle_for(self.sql).await? {
            Link::Lite(tx) => bound!(self, Sqlite).fetch_all(&mut **tx).await?.into_iter().map(Row::Lite).collect(),
            Link::Pg(tx) => bound!(self, Postgres).fetch_all(&mut **tx).await?.into_iter().map(Row::Pg).collect(),
        })
    }
}

impl<'q, T: for<'r> Column<'r>> Scalar<'q, T> {
    /// Binds the next parameter.
    pub(super) fn bind(self, value: impl Bind<'q>) -> Self {
        Self(self.0.bind(value), self.1)
    }

    pub(super) async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<T>, sqlx::Error> {
        self.0.fetch_optional(conn).await?.map(|row| row.at(0)).transpose()
    }

    pub(super) async fn fetch_one(self, conn: &mut Conn) -> Result<T, sqlx::Error> {
        self.0.fetch_one(conn).await?.at(0)
    }

    pub(super) async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<T>, sqlx::Error> {
        self.0.fetch_all(conn).await?.iter().map(|row| row.at(0)).collect()
    }
}

/// What a statement did.
#[derive(Debug)]
pub(super) struct Done {
    rows: u64,
}

impl Done {
    pub(super) fn rows_affected(&self) -> u64 {
        self.rows
    }
}

/// A row of either database.
pub(super) enum Row {
    Lite(SqliteRow),
    Pg(PgRow),
}

impl Row {
    /// A column by its name.
    pub(super) fn get<'r, T: Column<'r>>(&'r self, column: &str) -> Result<T, sqlx::Error> {
        let failed = |source| sqlx::Error::ColumnDecode { index: column.to_owned(), source };
        match self {
            Self::Lite(row) => row.try_get(column),
            Self::Pg(row) => T::from_pg(row.try_get_raw(column)?).map_err(failed),
        }
    }

    /// A column by its place.
    pub(super) fn at<'r, T: Column<'r>>(&'r self, column: usize) -> Result<T, sqlx::Error> {
        let failed = |source| sqlx::Error::ColumnDecode { index: column.to_string(), source };
        match self {
            Self::Lite(row) => row.try_get(column),
            Self::Pg(row) => T::from_pg(row.try_get_raw(column)?).map_err(failed),
        }
    }
}

/// What a column can be read as.
pub(super) trait Column<'r>: Sized + sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> {
    fn from_pg(value: PgValueRef<'r>) -> Result<Self, BoxDynError>;
}

fn there(value: PgValueRef<'_>) -> Result<PgValueRef<'_>, BoxDynError> {
    if value.is_null() { Err("it is NULL".into()) } else { Ok(value) }
}

macro_rules! columns_as_they_are {
    ($($kind:ty),+) => {$(
        impl<'r> Column<'r> for $kind {
            fn from_pg(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                <$kind as sqlx::Decode<'r, Postgres>>::decode(there(value)?)
            }
        }
    )+};
}

// PostgreSQL's integers of all sizes decode into i64.
columns_as_they_are!(i64, String, &'r str, Vec<u8>, &'r [u8]);

impl<'r> Column<'r> for bool {
    /// A column of truth is an integer, an expression such as `EXISTS (…)` a boolean of one byte: neither is 0.
    fn from_pg(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(i64::from_pg(value)? != 0)
    }
}

impl<'r> Column<'r> for u32 {
    fn from_pg(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(i64::from_pg(value)?.try_into()?)
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn from_pg(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() { Ok(None) } else { T::from_pg(value).map(Some) }
    }
}
