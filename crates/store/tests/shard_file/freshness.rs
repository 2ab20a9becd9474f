//! How recent what a reader sees is.

use std::time::Duration;

use shardwright_store::{Config, Value};

use crate::setting::{config, count, filled, insert};

#[test]
fn a_reader_sees_each_commit_that_came_before_its_read() {
    for snapshot_reads in [false, true] {
        let (_directory, file) = filled(
            0,
            &Config {
                snapshot_reads,
                ..config()
            },
        );
        let mut kept = file.reader().unwrap();
        for id in 1..20 {
            insert(&file, id).unwrap();
            for _ in 0..(id % 4) {
                let seen = kept
                    .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
                    .unwrap();
                assert_eq!(seen, Some(Some(id)));
                assert_eq!(count(&file), id);
            }
        }
    }
}

#[test]
fn a_kept_read_transaction_ends_when_it_is_too_old() {
    let (directory, file) = filled(
        1,
        &Config {
            snapshot_reads: true,
            snapshot_age_max: Duration::ZERO,
            ..config()
        },
    );
    let path = directory.path().join("shard-0.db");
    let mut reader = file.reader().unwrap();
    let mut seen = || {
        reader
            .query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64())
            .unwrap()
            .flatten()
    };
    assert_eq!((seen(), seen(), seen()), (Some(1), Some(1), Some(1)));
    // A commit that this process does not know about.
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO t (id) VALUES (2)", [])
        .unwrap();
    assert_eq!(seen(), Some(2));
}

#[test]
fn meta_rows_are_read_as_they_were_last_written() {
    let (_directory, file) = filled(
        1,
        &Config {
            snapshot_reads: true,
            ..config()
        },
    );
    assert_eq!(file.meta("sql.version").unwrap(), None);
    for version in 1..5 {
        file.writer()
            .unwrap()
            .set_meta("sql.version", &Value::from(version))
            .unwrap();
        for _ in 0..3 {
            assert_eq!(
                file.meta("sql.version").unwrap(),
                Some(Value::from(version))
            );
        }
    }
}
