//! What the log of a shard says of commits over several shards, as a reign begins.

use std::{ops::ControlFlow, time::Duration};

use shardwright_quorum::log::Level;
use shardwright_sql::{Value, commit::notes};
use shardwright_store::Member;
use shardwright_topology::Epoch;

use crate::{
    gateway::{
        host::{Reason, refusal},
        wire::{self, Refusal},
    },
    shard::{Shard, Write},
};

/// Reads what the log says of commits, at that epoch.
pub(super) async fn read(
    copy: &Shard,
    epoch: Epoch,
    within: Duration,
) -> Result<notes::Kept, Refusal> {
    let read = |member: &mut Member<'_>| {
        let mut found: Vec<(String, String)> = Vec::new();
        let _all = member.query(notes::UNRESOLVED, (), |row| {
            let text = |column: usize| row.get(column).as_str().unwrap_or_default().to_owned();
            found.push((text(0), text(1)));
            ControlFlow::<()>::Continue(())
        })?;
        Ok(wire::encode(&found))
    };
    let write = Write::new(read).until(Level::Quorum, within);
    let written = copy.write_notes(write).await;
    let written = written.map_err(|error| refusal(error, &Reason::default()))?;
    if written.token.epoch != epoch {
        return Err(Refusal::Later);
    }
    let found: Vec<(String, String)> = wire::decode(&written.outcome).ok_or(Refusal::Later)?;
    let mut kept = notes::Kept::default();
    for (key, value) in found {
        if let Err(why) = kept.add(&key, &Value::from(value)) {
            tracing::error!(%why, "what a shard has of commits cannot be read");
            return Err(Refusal::Later);
        }
    }
    Ok(kept)
}
