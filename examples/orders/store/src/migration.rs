//! Brings tables up to date, in numbered steps that are applied once each, by however many processes start at once.

use crate::Error;
use crate::database::Database;
use crate::sql::{Backend, Schema, Statement};
use crate::transaction::Transaction;

pub(crate) async fn run(database: &Database, schema: Schema) -> Result<(), Error> {
    database
        .write(|transaction| transaction.define(transaction.backend().text(Statement::DefineSchemaVersions)))
        .await?;
    for index in 0..database.backend().migrations(schema).len() {
        database
            .write(move |transaction| apply(transaction, schema, index))
            .await?;
    }
    let known = i64::try_from(database.backend().migrations(schema).len()).unwrap_or(i64::MAX);
    let found = database
        .read(move |transaction| {
            let row = transaction.query_one(Statement::LatestSchemaVersion, &[schema.name().into()])?;
            row.integer(0)
        })
        .await?;
    match found > known {
        true => Err(Error::TooNew {
            component: schema.name(),
            found,
            known,
        }),
        false => Ok(()),
    }
}

/// Applies one step unless it has been. Whoever inserts the row first applies the step; all others wait for that transaction
/// and then insert nothing.
fn apply(transaction: &mut Transaction<'_>, schema: Schema, index: usize) -> Result<(), Error> {
    let version = i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1);
    let values = [schema.name().into(), version.into()];
    if transaction.execute(Statement::AddSchemaVersion, &values)? == 1 {
        let backend: Backend = transaction.backend();
        transaction.define(backend.migrations(schema)[index])?;
    }
    Ok(())
}
