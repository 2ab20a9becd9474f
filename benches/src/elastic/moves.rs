//! Shards of SQLite that move from one node to another: `move_10k_keys`, from the request until the other node serves it, and `migrate_1gb`,
//! between two processes, by the rate against that of SQLite's backup.

use std::{fs, path::Path, path::PathBuf, time::Duration};

use anyhow::Context as _;
use rusqlite::{Connection, backup::Backup};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    cluster::{Cluster, Home, Shape},
    harness::{Better, Suite, directory, milliseconds, progress},
};

/// How many keys the small shard has.
const KEYS: u64 = 10_000;

/// What its move may take, in milliseconds.
const MOVE_MS: f64 = 100.0;

/// How many rows the large shard has, and how many bytes each of them.
const ROWS: u64 = 250_000;
const ROW_BYTES: usize = 4_000;

/// How many of them are written at once.
const BATCH: u64 = 1_000;

/// What its rate should reach, of that of a backup.
const RATE: f64 = 0.5;

/// How often the large shard moves at most.
const ROUNDS_MAX: usize = 5;

/// How many pages a backup copies at once.
const PAGES: i32 = 1_024;

/// Two nodes and one copy.
const fn shape(home: Home) -> Shape {
    Shape {
        nodes: 2,
        copies: 1,
        calm: Duration::from_millis(100),
        home,
    }
}

/// Measures both.
pub(super) fn run(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    if suite.wants("move_10k_keys") {
        let home = directory()?;
        let cluster = runtime.block_on(async {
            let cluster = Cluster::start(home.path(), shape(Home::Here)).await?;
            cluster.fill(KEYS).await?;
            anyhow::Ok(cluster)
        })?;
        let took = suite.median_of(|| {
            let took = milliseconds(|| runtime.block_on(cluster.migrate()).expect("a move"));
            // What it leaves behind is removed before it comes back.
            runtime.block_on(cluster.settled()).expect("it ends");
            took
        });
        runtime.block_on(cluster.stop());
        let goal = (Some(1.0), Better::Lower);
        suite.figure("move_10k_keys", "ms", goal, took, MOVE_MS);
    }
    if suite.wants("migrate_1gb") {
        large(suite, runtime)?;
    }
    Ok(())
}

fn large(suite: &mut Suite, runtime: &Runtime) -> anyhow::Result<()> {
    let home = directory()?;
    let cluster = runtime.block_on(async {
        let cluster = Cluster::start(home.path(), shape(Home::Apart)).await?;
        fill(&cluster).await?;
        anyhow::Ok(cluster)
    })?;
    let mut round = 0;
    suite.rates_at_most(ROUNDS_MAX, "migrate_1gb", RATE, || {
        let from = runtime.block_on(cluster.primary()).expect("a primary");
        let file = file_of(&home.path().join(from.as_str())).expect("it has a file");
        let bytes = fs::metadata(&file).expect("it is there").len() as f64;
        let copied = milliseconds(|| backup(&file, &home.path().join("backup.db")));
        let moved = milliseconds(|| runtime.block_on(cluster.migrate()).expect("a move"));
        runtime.block_on(cluster.settled()).expect("it ends");
        round += 1;
        progress(&format!(
            "move {round}: {:.0} MB in {moved:.0} ms, a backup in {copied:.0} ms",
            bytes / 1e6
        ));
        [moved, copied].map(|took| bytes / 1e6 / (took / 1e3))
    });
    runtime.block_on(cluster.stop());
    Ok(())
}

/// Writes the rows of the large shard.
async fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    let body = json!({ "base64": "QUJD".repeat(ROW_BYTES / 3) });
    let sql = format!(
        "INSERT INTO items VALUES {}",
        vec!["(?, ?, ?)"; BATCH as usize].join(", ")
    );
    for first in (0..ROWS).step_by(BATCH as usize) {
        let rows = first..first + BATCH;
        let args = rows.flat_map(|row| [json!(format!("item-{row:08}")), json!(row), body.clone()]);
        let statement = json!({ "sql": sql, "args": args.collect::<Vec<Value>>() });
        cluster.sql(0, &statement).await?;
        if first % (ROWS / 5) == 0 {
            progress(&format!("{first} of {ROWS} large rows are written"));
        }
    }
    Ok(())
}

/// Returns the largest file of a shard that a node has: the catalog is one too, and small.
fn file_of(node: &Path) -> anyhow::Result<PathBuf> {
    let mut largest = None;
    let mut left = vec![node.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else if entry.path().extension().is_some_and(|kind| kind == "db") {
                largest = largest.max(Some((entry.metadata()?.len(), entry.path())));
            }
        }
    }
    Ok(largest.context("it has one")?.1)
}

/// Copies a file as SQLite does.
fn backup(from: &Path, to: &Path) {
    let copy = || -> anyhow::Result<()> {
        let source = Connection::open(from)?;
        // Nothing is written meanwhile; without a transaction it would begin again if something were.
        source.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
        let mut target = Connection::open(to)?;
        Backup::new(&source, &mut target)?.run_to_completion(PAGES, Duration::ZERO, None)?;
        target.close().map_err(|(_, error)| error)?;
        fs::remove_file(to)?;
        Ok(())
    };
    copy().expect("it can be copied");
}
