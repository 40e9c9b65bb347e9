//! Looks into a database from outside, while its owner uses it.

use anyhow::{Context as _, bail};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// The rows of a query, every value as text.
pub(crate) fn query(database: &str, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(query_async(database, query))
}

/// As `query`, for those who run already.
pub(crate) async fn query_async(database: &str, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let rows = match database.strip_prefix("sqlite:") {
        Some(file) => sqlite(file, query),
        None => postgres(database, query).await,
    };
    rows.with_context(|| format!("{query:?} on {database}"))
}

fn sqlite(file: &str, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut statement = connection.prepare(query)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|column| match row.get_ref(column)? {
            ValueRef::Integer(number) => Ok(number.to_string()),
            ValueRef::Text(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            other => bail!("column {column} is a {}", other.data_type()),
        });
        all.push(values.collect::<anyhow::Result<_>>()?);
    }
    Ok(all)
}

async fn postgres(database: &str, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let (client, connection) = tokio_postgres::connect(database, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let messages = client.simple_query(query).await?;
    drop(client);
    driver.await??;
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let texts = rows.map(|row| {
        let columns = 0..row.len();
        columns
            .map(|column| row.get(column).unwrap_or_default().to_owned())
            .collect()
    });
    Ok(texts.collect())
}
