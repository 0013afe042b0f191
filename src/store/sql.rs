//! One statement for both databases: the same text, `$1`-numbered parameters, and four kinds of values.
//!
//! Whole numbers and truths are 64-bit integers in the tables of both, so that a row of one is a row of the other.

use std::borrow::Cow;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor as _, Postgres, Row as _, Sqlite, Transaction, ValueRef as _};

/// A transaction of either database.
pub(super) enum Conn {
    Lite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

impl Conn {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Lite(tx) => tx.commit().await,
            Self::Pg(tx) => tx.commit().await,
        }
    }

    /// Runs a statement of a literal text, which no plan is kept of.
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Lite(tx) => tx.execute(sql).await.map(drop),
            Self::Pg(tx) => tx.execute(sql).await.map(drop),
        }
    }
}

/// A bound value; a missing one keeps its kind, which PostgreSQL wants to know.
enum Value<'q> {
    Int(Option<i64>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
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

/// Begins a statement of which the first column is wanted.
pub(super) fn scalar<T>(sql: &str) -> Scalar<'_, T> {
    Scalar(query(sql), std::marker::PhantomData)
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
        let rows = match conn {
            Conn::Lite(tx) => bound!(self, Sqlite).execute(&mut **tx).await?.rows_affected(),
            Conn::Pg(tx) => bound!(self, Postgres).execute(&mut **tx).await?.rows_affected(),
        };
        Ok(Done { rows })
    }

    /// As [`Query::execute`], for a statement that an index may refuse: the transaction goes on after that.
    /// PostgreSQL ends a transaction at any error, unless a savepoint was set before.
    pub(super) async fn try_execute(self, conn: &mut Conn) -> Result<Done, sqlx::Error> {
        if matches!(conn, Conn::Lite(_)) {
            return self.execute(conn).await;
        }
        conn.run("SAVEPOINT attempt").await?;
        let done = self.execute(conn).await;
        if done.is_err() {
            conn.run("ROLLBACK TO attempt").await?;
        }
        conn.run("RELEASE attempt").await?;
        done
    }

    pub(super) async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, sqlx::Error> {
        Ok(match conn {
            Conn::Lite(tx) => bound!(self, Sqlite).fetch_optional(&mut **tx).await?.map(Row::Lite),
            Conn::Pg(tx) => bound!(self, Postgres).fetch_optional(&mut **tx).await?.map(Row::Pg),
        })
    }

    pub(super) async fn fetch_one(self, conn: &mut Conn) -> Result<Row, sqlx::Error> {
        self.fetch_optional(conn).await?.ok_or(sqlx::Error::RowNotFound)
    }

    pub(super) async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match conn {
            Conn::Lite(tx) => bound!(self, Sqlite).fetch_all(&mut **tx).await?.into_iter().map(Row::Lite).collect(),
            Conn::Pg(tx) => bound!(self, Postgres).fetch_all(&mut **tx).await?.into_iter().map(Row::Pg).collect(),
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
