//! Large values on their way to PostgreSQL. Bound to a statement, its library would hold a value three times: so they go
//! ahead of it, a slice at a time, into a table of the session's own, which the server empties at the transaction's end.

use std::borrow::Cow;

use sqlx::{Executor as _, PgConnection};

use super::sql::Value;

/// What goes ahead, and the size of a slice, in bytes.
const LARGE: usize = 1 << 20;

/// Begins binary COPY data: the signature, no flags, no extension (PostgreSQL 15, "COPY", file formats).
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Ends it.
const TAIL: &[u8] = &(-1i16).to_be_bytes();

/// Whether one of them has to go ahead.
pub(super) fn any(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| bytes(value).is_some())
}

fn bytes<'v>(value: &'v Value<'_>) -> Option<&'v [u8]> {
    match value {
        Value::Bytes(Some(bytes)) if bytes.len() >= LARGE => Some(bytes),
        _ => None,
    }
}

/// Sends the large ones ahead; what is left is the statement that takes them from there.
pub(super) async fn ahead(conn: &mut PgConnection, sql: &str, values: &mut [Value<'_>]) -> Result<String, sqlx::Error> {
    conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS ahead (n BIGINT, data BYTEA) ON COMMIT DELETE ROWS").await?;
    conn.execute("TRUNCATE pg_temp.ahead").await?;
    let mut sql = sql.to_owned();
    let mut copy = conn.copy_in_raw("COPY pg_temp.ahead (n, data) FROM STDIN (FORMAT binary)").await?;
    copy.send(HEAD).await?;
    for (number, value) in (1i64..).zip(values) {
        let Some(data) = bytes(value) else { continue };
        let length = i32::try_from(data.len()).map_err(|error| sqlx::Error::Encode(error.into()))?;
        // Two columns, each behind its length.
        let row = [&2i16.to_be_bytes()[..], &8i32.to_be_bytes(), &number.to_be_bytes(), &length.to_be_bytes()].concat();
        copy.send(row).await?;
        for slice in data.chunks(LARGE) {
            copy.send(slice).await?;
        }
        // Still bound, empty: the parameter keeps its number and its kind.
        *value = Value::Bytes(Some(Cow::Borrowed(&[])));
        sql = taken(&sql, number);
    }
    copy.send(TAIL).await?;
    copy.finish().await?;
    Ok(sql)
}

/// The statement with a parameter taken from where it went ahead.
fn taken(sql: &str, number: i64) -> String {
    let parameter = format!("${number}");
    let longer = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let mut out = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find(&parameter) {
        let (before, after) = (&rest[..at], &rest[at + parameter.len()..]);
        out.push_str(before);
        if longer(after) {
            out.push_str(&parameter);
        } else {
            out.push_str(&format!("coalesce((SELECT data FROM pg_temp.ahead WHERE n = {number}), {parameter})"));
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parameter_itself_is_taken_from_elsewhere() {
        let there = "coalesce((SELECT data FROM pg_temp.ahead WHERE n = 1), $1)";
        assert_eq!(taken("VALUES ($1, $2, $10), ($11, $1)", 1), format!("VALUES ({there}, $2, $10), ($11, {there})"));
        assert_eq!(taken("SET data = $12", 1), "SET data = $12");
    }
}
