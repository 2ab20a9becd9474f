//! What a caller may do who may only read.

use shardwright_http::axum::response::Response;
use shardwright_sql::Error;

use super::attempts::no_keyspace;
use crate::gateway::{
    Shared,
    client::PATIENCE,
    guard::forbidden,
    request::{Statement, failure},
};

/// Refuses a statement that changes something, whatever its values are. A statement that is none is left to be refused as such.
pub(super) async fn only_reads(shared: &Shared, statement: &Statement) -> Result<(), Response> {
    let Some(engine) = shared.engines.get(PATIENCE).await else {
        return Err(no_keyspace());
    };
    let ask = || engine.database.only_reads(&statement.sql);
    let reads = match ask() {
        // It may be about a table that another node has made.
        Err(Error::Sql { .. } | Error::UnknownTable { .. }) if engine.refresh(PATIENCE).await => {
            ask()
        }
        reads => reads,
    };
    match reads {
        Ok(true) if statement.together.is_empty() => Ok(()),
        Ok(_) => Err(forbidden("a caller with the role read changes nothing")),
        Err(error) => Err(failure(&error)),
    }
}
