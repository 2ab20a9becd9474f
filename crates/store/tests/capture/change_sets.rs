//! Change sets as bytes, and copies that have gone apart.

use shardwright_store::{
    CHANGES_VERSION, Change, ChangeSet, ChangedKey, Difference, Error, ReplicaError, Value,
};

use crate::pair::{Pair, digest, statements};

/// Runs statements on the primary alone and returns what changed.
fn capture(pair: &mut Pair, sql: &[&str]) -> ChangeSet {
    let next = pair.next();
    let mut writer = pair.primary.writer().unwrap();
    let captured = writer.execute_batch(&mut [statements(sql)]).unwrap();
    for executed in &captured.executed {
        assert!(executed.result.is_ok(), "{:?}", executed.result);
    }
    writer.commit_at(next, &[]).unwrap();
    drop(writer);
    pair.applied = next;
    captured.changes
}

fn pair() -> Pair {
    Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, u UNIQUE)",
        "CREATE TABLE k (k TEXT PRIMARY KEY, v) WITHOUT ROWID",
        "INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)",
        "INSERT INTO k VALUES ('a', 1)",
    ])
}

#[test]
fn a_change_shows_its_table_key_and_rows() {
    let mut pair = pair();
    let changes = capture(
        &mut pair,
        &["UPDATE t SET a = 'zwei' WHERE id = 2", "DELETE FROM k"],
    );
    let rows: Vec<_> = changes
        .changes()
        .filter_map(|change| match change {
            Change::Row(row) => Some(row),
            Change::Schema { .. }
            | Change::Setting { .. }
            | Change::Sequences(_)
            | Change::Border => None,
        })
        .collect();
    let values = |values: Option<shardwright_store::Values<'_>>| -> Option<Vec<Value>> {
        values.map(|values| values.map(Value::from).collect())
    };
    assert_eq!(rows[0].table().name, "t");
    assert_eq!(rows[0].table().key, ChangedKey::Columns(vec![0]));
    assert_eq!(rows[0].key(), [Value::from(2).as_ref()]);
    let row = |a: &str| Some(vec![Value::from(2), Value::from(a), Value::from(2)]);
    assert_eq!(values(rows[0].before()), row("two"));
    assert_eq!(values(rows[0].after()), row("zwei"));
    assert_eq!(rows[1].key(), [Value::from("a").as_ref()]);
    assert_eq!(values(rows[1].after()), None);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let mut pair = pair();
    let changes = capture(
        &mut pair,
        &[
            "INSERT INTO t VALUES (4, 'four', 4)",
            "UPDATE t SET a = 'x', u = 20 WHERE id = 2",
            "CREATE TABLE n (a, b)",
            "INSERT INTO n VALUES (1, 2.5)",
            "PRAGMA user_version = 3",
        ],
    );
    let bytes = changes.as_bytes();
    assert_eq!(ChangeSet::from_bytes(bytes).unwrap(), changes);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(
                ChangeSet::from_bytes(damaged).is_err(),
                "byte {at}, bit {bit}"
            );
        }
        assert!(ChangeSet::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(ChangeSet::from_bytes(longer).is_err());
    let mut newer = bytes.to_vec();
    newer[0] = CHANGES_VERSION + 1;
    let error = ChangeSet::from_bytes(newer).unwrap_err();
    assert!(
        matches!(
            error,
            ReplicaError::UnknownVersion {
                found: 2,
                supported: 1
            }
        ),
        "{error}"
    );
}

#[test]
fn the_encoding_is_a_pinned_format() {
    let mut pair = pair();
    let changes = capture(
        &mut pair,
        &[
            "UPDATE t SET a = x'00' WHERE id = 2",
            "INSERT INTO k VALUES ('b', -0.5)",
        ],
    );
    let hex: String = changes
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "01\
         010174010003\
         04000104030374776f010402\
         040100\
         01016b010002\
         0201030162\
         02000000000000e0bf\
         e8589a9d443a2e4b",
        "copies of different releases must understand each other",
    );
}

#[test]
fn a_copy_that_has_gone_apart_is_noticed_and_left_alone() {
    let cases: [(&str, &str, &str, Difference); 7] = [
        (
            "UPDATE t SET a = 'x' WHERE id = 1",
            "UPDATE t SET a = 'y' WHERE id = 1",
            "t",
            Difference::Values,
        ),
        (
            "UPDATE t SET a = 'x' WHERE id = 1",
            "DELETE FROM t WHERE id = 1",
            "t",
            Difference::Missing,
        ),
        (
            "DELETE FROM t WHERE id = 2",
            "UPDATE t SET u = 2.0 WHERE id = 2",
            "t",
            Difference::Values,
        ),
        ("DELETE FROM k", "DELETE FROM k", "k", Difference::Missing),
        (
            "INSERT INTO t VALUES (9, NULL, NULL)",
            "INSERT INTO t VALUES (9, NULL, NULL)",
            "t",
            Difference::Present,
        ),
        (
            "INSERT INTO k VALUES ('b', 1)",
            "INSERT INTO k VALUES ('b', 1)",
            "k",
            Difference::Present,
        ),
        (
            "INSERT INTO t VALUES (9, 9, 9)",
            "ALTER TABLE t ADD COLUMN z",
            "t",
            Difference::Table,
        ),
    ];
    for (elsewhere, here, table_expected, difference_expected) in cases {
        let mut pair = pair();
        pair.copy.writer().unwrap().execute(here, ()).unwrap();
        let before = digest(&pair.copy);
        let changes = capture(
            &mut pair,
            &["INSERT INTO t VALUES (50, 'early', 50)", elsewhere],
        );
        match pair.follow(&changes, &[]).unwrap_err() {
            Error::Replica(ReplicaError::Diverged {
                table, difference, ..
            }) => {
                assert_eq!(
                    (table.as_str(), difference),
                    (table_expected, difference_expected),
                    "{here}"
                );
            }
            error => panic!("{here}: {error}"),
        }
        assert_eq!(digest(&pair.copy), before, "{here}");
    }
}

#[test]
fn a_divergence_names_the_key() {
    let mut pair = pair();
    pair.copy
        .writer()
        .unwrap()
        .execute("DELETE FROM t WHERE id = 3", ())
        .unwrap();
    let changes = capture(&mut pair, &["UPDATE t SET a = a || '!'"]);
    let error = pair.follow(&changes, &[]).unwrap_err();
    let Error::Replica(ReplicaError::Diverged { key, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(key, [Value::from(3)]);
}

#[test]
fn definitions_settings_and_sequences_are_checked_too() {
    for (elsewhere, here) in [
        ("CREATE TABLE u (a)", "CREATE TABLE u (b)"),
        ("DROP TABLE k", "DROP TABLE k"),
        ("CREATE UNIQUE INDEX i ON t (a)", "UPDATE t SET a = 'same'"),
        ("ALTER TABLE t ADD COLUMN z", "CREATE INDEX extra ON t (a)"),
        ("PRAGMA user_version = 2", "PRAGMA user_version = 1"),
        (
            "INSERT INTO s VALUES (NULL)",
            "UPDATE sqlite_sequence SET seq = 50",
        ),
    ] {
        let mut pair = pair();
        pair.execute("CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT)");
        pair.execute("INSERT INTO s VALUES (7)");
        pair.copy.writer().unwrap().execute(here, ()).unwrap();
        let before = digest(&pair.copy);
        let changes = capture(
            &mut pair,
            &["INSERT INTO t VALUES (50, 'early', 50)", elsewhere],
        );
        let error = pair.follow(&changes, &[]).unwrap_err();
        assert!(
            matches!(error, Error::Replica(ReplicaError::Diverged { .. })),
            "{here}: {error}"
        );
        assert_eq!(digest(&pair.copy), before, "{here}");
    }
}

#[test]
fn a_change_set_without_changes_is_empty() {
    let empty = ChangeSet::default();
    assert!(empty.is_empty() && empty.changes().next().is_none());
    assert!(ChangeSet::from_bytes(empty.as_bytes()).unwrap().is_empty());
    assert!(ChangeSet::from_bytes([]).is_err());
}
