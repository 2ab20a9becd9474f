//! `sql`: statements by key on a sharded database, against bare rusqlite on as many files.
//!
//! 8 shards of about 20,000 rows. The baseline picks the file by a multiplication, and has all connections open.
//! Both sides return the text of one row; all times are for one operation.

use std::{cell::Cell, hint::black_box, path::Path};

use anyhow::Context;
use rusqlite::{Connection, params};
use shardwright_sql::{
    CreateOptions, Options, Prepared, Row, ShardedDatabase, Synchronous, Value, ValueRef,
};

use crate::harness::Suite;

const SHARDS: usize = 8;
const ROWS: i64 = 160_000;
const READS: usize = 1 << 12;
const CREATE: &str = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
const READ: &str = "SELECT name FROM users WHERE id = ?1";
const INSERT: &str = "INSERT INTO users VALUES (?1, ?2)";

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    // Beside the build rather than in memory, as far as the system allows to choose.
    std::fs::create_dir_all("target")?;
    let directory = tempfile::tempdir_in("target").context("make a directory in target")?;
    reads(suite, directory.path())?;
    inserts(suite, directory.path())?;
    commits(suite, directory.path())
}

fn reads(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    let path = directory.join("reads");
    let ours = filled(&path)?;
    let bare = BareFiles::filled(&directory.join("bare-reads"))?;
    let keys = random_keys();
    let read_bare = || each(&keys, |key| bare.read(key));

    let handle = ours.prepare(READ)?;
    let by_handle = |handle: &Prepared, key| {
        let key = ValueRef::Integer(key);
        let read = handle.query_row_by(key, &[key], name_length);
        read.expect("the read succeeds").expect("the row is there")
    };
    suite.time(
        "read_by_handle",
        Some(1.15),
        READS,
        || each(&keys, |key| by_handle(&handle, key)),
        read_bare,
    );
    suite.time(
        "read_by_text",
        Some(1.3),
        READS,
        || {
            each(&keys, |key| {
                let read = ours.query_row(key, READ, &[ValueRef::Integer(key)], name_length);
                read.expect("the read succeeds").expect("the row is there")
            });
        },
        read_bare,
    );

    drop(handle);
    ours.close()?;
    let options = Options {
        snapshot_reads: true,
        ..Options::default()
    };
    let ours = ShardedDatabase::open(&path, &options)?;
    let handle = ours.prepare(READ)?;
    suite.time(
        "read_by_handle_snapshot",
        Some(0.6),
        READS,
        || each(&keys, |key| by_handle(&handle, key)),
        read_bare,
    );

    // Files of their own: a lock held anywhere in the process would spare the other side its system calls.
    let held = BareFiles::filled(&directory.join("bare-held"))?;
    held.begin()?;
    suite.time(
        "raw_in_transaction",
        None,
        READS,
        || each(&keys, |key| held.read(key)),
        read_bare,
    );
    Ok(())
}

fn inserts(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    let levels = [
        ("insert_normal", Synchronous::Normal, "NORMAL"),
        ("insert_full", Synchronous::Full, "FULL"),
    ];
    for (case, synchronous, keyword) in levels {
        let ours = create(&directory.join(case), synchronous)?;
        let bare = BareFiles::create(&directory.join(format!("bare-{case}")), keyword)?;
        let handle = ours.prepare(INSERT)?;
        let (our_next, bare_next) = (Cell::new(0), Cell::new(0));
        suite.time(
            case,
            Some(1.2),
            1,
            || {
                let key = our_next.replace(our_next.get() + 1);
                let params = [Value::from(key), Value::from(name(key))];
                let outcome = handle.run(key, &params).expect("the key is new");
                black_box(outcome);
            },
            || {
                let key = bare_next.replace(bare_next.get() + 1);
                bare.insert(key).expect("the key is new");
            },
        );
    }
    Ok(())
}

/// A write to rows of two shards, all or nothing, against the same write to two rows of one shard.
fn commits(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    if !suite.wants("commit_two") {
        return Ok(());
    }
    let database = create(&directory.join("commit_two"), Synchronous::Full)?;
    for key in 0..100 {
        database.run(key, INSERT, &[Value::from(key), Value::from(name(key))])?;
    }
    let home = |key: i64| database.locate(None, key).expect("there is one key space");
    let like = |same: bool| (1..100).find(|key| (home(*key) == home(0)) == same);
    let (beside, apart) = (like(true), like(false));
    let (beside, apart) = (beside.context("one beside")?, apart.context("one apart")?);
    let sql = "UPDATE users SET name = name || '' WHERE id IN (?1, ?2)";
    let update = |other: i64| {
        let params = [Value::from(0), Value::from(other)];
        black_box(database.execute(sql, &params).expect("both rows are there"));
    };
    suite.time(
        "commit_two",
        Some(2.5),
        1,
        || update(apart),
        || update(beside),
    );
    Ok(())
}

fn create(path: &Path, synchronous: Synchronous) -> anyhow::Result<ShardedDatabase> {
    let options = Options {
        synchronous,
        ..Options::default()
    };
    let options = CreateOptions {
        shards: SHARDS,
        options,
        ..CreateOptions::default()
    };
    let database = ShardedDatabase::create(path, &options)?;
    database.execute(CREATE, ())?;
    Ok(database)
}

fn filled(path: &Path) -> anyhow::Result<ShardedDatabase> {
    let database = create(path, Synchronous::Off)?;
    let insert = database.prepare(INSERT)?;
    for key in 0..ROWS {
        insert.run(key, &[Value::from(key), Value::from(name(key))])?;
    }
    drop(insert);
    database.close()?;
    Ok(ShardedDatabase::open(path, &Options::default())?)
}

fn name(key: i64) -> String {
    format!("user number {key}")
}

fn name_length(row: &Row<'_>) -> usize {
    row.get(0).as_str().map_or(0, str::len)
}

/// Keys in no order, the same in every run.
fn random_keys() -> Vec<i64> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as i64 % ROWS
    };
    std::iter::repeat_with(next).take(READS).collect()
}

fn each(keys: &[i64], read: impl Fn(i64) -> usize) {
    for key in keys {
        black_box(read(black_box(*key)));
    }
}

/// Bare SQLite files with the same rows.
struct BareFiles(Vec<Connection>);

impl BareFiles {
    fn create(directory: &Path, synchronous: &str) -> anyhow::Result<Self> {
        std::fs::create_dir(directory)?;
        let files = Self::open(directory, synchronous)?;
        for file in &files.0 {
            file.execute_batch(CREATE)?;
        }
        Ok(files)
    }

    fn open(directory: &Path, synchronous: &str) -> anyhow::Result<Self> {
        let open = |shard: usize| {
            let file = Connection::open(directory.join(format!("{shard}.db")))?;
            file.execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}"
            ))?;
            Ok(file)
        };
        (0..SHARDS)
            .map(open)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// Files with all rows, opened anew as the other side's are: what wrote them has its pages in the order of the keys.
    fn filled(directory: &Path) -> anyhow::Result<Self> {
        let files = Self::create(directory, "NORMAL")?;
        files.begin()?;
        for key in 0..ROWS {
            files.insert(key)?;
        }
        for file in &files.0 {
            file.execute_batch("COMMIT")?;
        }
        drop(files);
        Self::open(directory, "NORMAL")
    }

    /// Opens a transaction in every file.
    fn begin(&self) -> rusqlite::Result<()> {
        self.0
            .iter()
            .try_for_each(|file| file.execute_batch("BEGIN"))
    }

    fn file(&self, key: i64) -> &Connection {
        let hash = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.0[(hash >> 61) as usize]
    }

    fn read(&self, key: i64) -> usize {
        let statement = self.file(key).prepare_cached(READ);
        statement
            .and_then(|mut statement| {
                statement.query_row([key], |row| Ok(row.get_ref(0)?.as_str()?.len()))
            })
            .expect("the row is there")
    }

    fn insert(&self, key: i64) -> rusqlite::Result<usize> {
        self.file(key)
            .prepare_cached(INSERT)?
            .execute(params![key, name(key)])
    }
}
