//! Snapshots, the cursors that read them in batches, and how to interrupt those.

use std::{ops::ControlFlow, rc::Rc, time::Duration};

use shardwright_store::{Batch, Config, Error, Value};

use crate::setting::{config, count, filled, insert};

#[test]
fn a_snapshot_does_not_see_later_commits() {
    let (_directory, file) = filled(1, &config());
    let snapshot = file.snapshot().unwrap();
    insert(&file, 2).unwrap();
    let seen = snapshot.query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64());
    assert_eq!(seen.unwrap(), Some(Some(1)));
    drop(snapshot);
    assert_eq!(count(&file), 2);
}

#[test]
fn cursors_of_one_snapshot_advance_independently() {
    let (_directory, file) = filled(1000, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let sql = "SELECT id, v FROM t WHERE id > ?1 ORDER BY id";
    let mut first = snapshot.cursor(sql, &[Value::from(0)]).unwrap();
    let mut second = snapshot.cursor(sql, &[Value::from(990)]).unwrap();
    drop(snapshot);
    insert(&file, 5000).unwrap();
    let mut batch = Batch::new();
    let mut ids = Vec::new();
    while first.next_batch(&mut batch).unwrap() {
        assert!(batch.len() <= 256);
        ids.extend(batch.rows().map(|row| row.get(0).as_i64().unwrap()));
        if second.next_batch(&mut batch).unwrap() {
            assert_eq!(
                batch.row(9).to_values(),
                [Value::from(1000), Value::from("v1000")]
            );
        }
    }
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    assert!(
        !first.next_batch(&mut batch).unwrap(),
        "a finished cursor stays finished"
    );
}

#[test]
fn a_snapshot_waits_for_a_reader_as_long_as_it_is_told() {
    let config = Config {
        readers: 1,
        busy_timeout: Duration::from_secs(3_600),
        ..config()
    };
    let (_directory, file) = filled(1, &config);
    let held = file.snapshot().unwrap();
    let refused = file.snapshot_within(Duration::from_millis(5));
    assert!(matches!(refused, Err(Error::Busy { .. })));
    drop(held);
    file.snapshot_within(Duration::ZERO).unwrap();
}

#[test]
fn a_batch_is_bounded_in_bytes_too() {
    let (_directory, file) = filled(100, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let mut cursor = snapshot
        .cursor("SELECT zeroblob(10000) FROM t", ())
        .unwrap();
    let mut batch = Batch::new();
    assert!(cursor.next_batch(&mut batch).unwrap());
    assert_eq!(batch.len(), 7);
}

#[test]
fn a_snapshot_can_be_interrupted_from_another_thread() {
    let (_directory, file) = filled(1, &config());
    let snapshot = Rc::new(file.snapshot().unwrap());
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let mut cursor = snapshot.cursor(endless, ()).unwrap();
    let mut batch = Batch::new();
    assert!(cursor.next_batch(&mut batch).unwrap());
    let interrupter = snapshot.interrupter();
    std::thread::spawn(move || interrupter.interrupt())
        .join()
        .unwrap();
    let error = cursor.next_batch(&mut batch).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(!cursor.next_batch(&mut batch).unwrap());
}

#[test]
fn an_interrupter_outlives_its_snapshot_harmlessly() {
    let (_directory, file) = filled(
        1,
        &Config {
            readers: 1,
            ..config()
        },
    );
    let snapshot = file.snapshot().unwrap();
    let interrupter = snapshot.interrupter();
    drop(snapshot);
    let mut rows = 0;
    let _flow: ControlFlow<()> = file
        .reader()
        .unwrap()
        .query("SELECT 1 UNION ALL SELECT 2", (), |_| {
            interrupter.interrupt();
            rows += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(rows, 2);
}

#[test]
fn a_snapshot_moves_to_another_thread() {
    let (_directory, file) = filled(3, &config());
    let snapshot = file.snapshot().unwrap();
    let rows = std::thread::spawn(move || {
        let mut cursor = Rc::new(snapshot).cursor("SELECT v FROM t", ()).unwrap();
        let mut batch = Batch::new();
        cursor.next_batch(&mut batch).unwrap();
        batch
    })
    .join()
    .unwrap();
    assert_eq!(rows.row(2).to_values(), [Value::from("v3")]);
}
