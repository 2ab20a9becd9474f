//! `split_sqlite`: a shard of SQLite that is split, from the request until its halves own the rows, against copies of the halves by
//! INSERT ... SELECT.

use std::{path::Path, time::Duration};

use rusqlite::Connection;
use shardwright_hashing::{Position, TypedKey};
use tokio::runtime::Runtime;

use crate::{
    cluster::{Cluster, Home, INSERT, Shape},
    harness::{Better, Suite, directory, milliseconds},
};

/// How many rows the shard has.
const ROWS: u64 = 200_000;

/// What the split may take, of what the copies take.
const GOAL: f64 = 5.0;

/// A node with one copy, which counts as close almost at once: nothing else is measured.
const SHAPE: Shape = Shape {
    nodes: 1,
    copies: 1,
    calm: Duration::from_millis(100),
    home: Home::Here,
};

/// Measures it.
pub(super) fn run(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    if !suite.wants("split_sqlite") {
        return Ok(());
    }
    let home = directory()?;
    let path = home.path().join("whole.db");
    let whole = Connection::open(&path)?;
    whole.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE items (id TEXT PRIMARY KEY, kind INTEGER, body BLOB);
         CREATE INDEX items_by_kind ON items (kind)",
    )?;
    whole.execute(INSERT, [0, i64::try_from(ROWS)?])?;
    is_low(&whole)?;
    let mut round = 0;
    let copies = suite.median_of(|| {
        round += 1;
        milliseconds(|| copy(&whole, home.path(), round).expect("it can be copied"))
    });
    let split = suite.median_of(|| {
        let home = directory().expect("a directory");
        let cluster = runtime.block_on(async {
            let cluster = Cluster::start(home.path(), SHAPE).await?;
            cluster.fill(ROWS).await?;
            anyhow::Ok(cluster)
        });
        let cluster = cluster.expect("a cluster");
        let took = milliseconds(|| runtime.block_on(cluster.reshape("split")).expect("a split"));
        runtime.block_on(cluster.stop());
        took
    });
    let goal = (Some(GOAL), Better::Lower);
    suite.figure("split_sqlite", "ms", goal, split, copies);
    Ok(())
}

/// Gives a connection a function that says on which side of the middle a key is.
fn is_low(connection: &Connection) -> rusqlite::Result<()> {
    let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8
        | rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("is_low", 1, flags, |context| {
        let key = context.get_raw(0).as_bytes()?;
        Ok(TypedKey::Text(key).position_in("items") < Position(1 << 63))
    })
}

/// Copies both halves, into files of their own.
fn copy(whole: &Connection, home: &Path, round: usize) -> anyhow::Result<()> {
    for (half, condition) in [("low", "is_low(id)"), ("high", "NOT is_low(id)")] {
        let path = home.join(format!("{half}-{round}.db"));
        whole.execute("ATTACH ?1 AS half", [path.to_string_lossy()])?;
        whole.execute_batch(&format!(
            "CREATE TABLE half.items (id TEXT PRIMARY KEY, kind INTEGER, body BLOB);
             CREATE INDEX half.items_by_kind ON items (kind);
             INSERT INTO half.items SELECT * FROM main.items WHERE {condition};
             DETACH half"
        ))?;
        std::fs::remove_file(path)?;
    }
    Ok(())
}
