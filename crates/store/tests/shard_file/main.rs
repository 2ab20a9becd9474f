//! Opening, reading and writing one shard file.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod freshness;
mod opening;
mod setting;
mod snapshots;
mod statements;
mod transactions;
mod values;
