//! What a place refuses, by the number of the schema that a statement was planned for.

use shardwright::{
    sql::{
        Error,
        shards::{
            ANNOUNCED_KEY, BROADCAST_KEY, Batch, Call, Fault, FaultKind, Fragment, is_announced,
        },
    },
    store::{Row, Value},
};

use super::{Request, Server};

const KEPT: &str = "SELECT value FROM main._meta WHERE key = ?1";

impl Server<'_> {
    /// Refuses what begins here and was planned for another schema, or would write while a change is announced. Nothing is
    /// committed here between this and the answer.
    pub(super) fn check(&self, number: Option<u64>, request: &Request) -> Result<(), Error> {
        let Some(number) = number else { return Ok(()) };
        let found = match request {
            Request::Read(_) | Request::Write(_) | Request::Begin(_) => self.kept(BROADCAST_KEY)?,
            Request::Open(snapshot, _) => {
                let mut batch = Batch::new();
                let find = Fragment::new(KEPT, vec![Value::from(BROADCAST_KEY)]);
                self.snapshots[snapshot]
                    .run(self.place, &find)?
                    .next_batch(&mut batch)?;
                let found = batch.rows().next().and_then(|row| row.get(0).as_i64());
                found.unwrap_or(0).unsigned_abs()
            }
            _ => return Ok(()),
        };
        let writes = matches!(request, Request::Write(_) | Request::Begin(_));
        if found == number && !(writes && is_announced(self.kept(ANNOUNCED_KEY)?)) {
            return Ok(());
        }
        let message = format!("the schema is the one of number {found}, or about to change");
        Err(Fault::new(FaultKind::SchemaChanged, message).at(self.places.name(self.place)))
    }

    fn kept(&self, key: &str) -> Result<u64, Error> {
        let key = [Value::from(key)];
        let see = |row: &Row<'_>| row.get(0).as_i64();
        let kept = self
            .places
            .query_row(self.place, Call::new(KEPT, &key), see)?;
        Ok(kept.flatten().unwrap_or(0).unsigned_abs())
    }
}
