//! Notes: the rows of `_meta` that belong to whoever uses the file.

use shardwright_store::{Error, Value};

use crate::pair::{Pair, digest, error_of, statements};

const ENTER: &str = "INSERT INTO main._meta(key, value) VALUES ('sql.broadcast', 1)
    ON CONFLICT(key) DO UPDATE SET value = value + 1";

fn note(pair: &Pair, key: &str) -> Value {
    pair.one(&format!("SELECT value FROM _meta WHERE key = '{key}'"))
}

#[test]
fn notes_reach_a_copy_like_rows_of_any_table() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)"]);
    let before = digest(&pair.primary);
    pair.execute(ENTER);
    assert_ne!(digest(&pair.primary).digest, before.digest);
    assert_eq!(note(&pair, "sql.broadcast"), Value::from(1));
    pair.run(&mut [
        statements(&[ENTER, "INSERT INTO t VALUES (1)"]),
        statements(&[
            "INSERT INTO _meta VALUES ('a.b', x'00ff'), ('a.c', NULL)",
            ENTER,
        ]),
    ]);
    assert_eq!(note(&pair, "sql.broadcast"), Value::from(3));
    assert_eq!(note(&pair, "a.b"), Value::from(vec![0, 255]));
    pair.execute("UPDATE _meta SET key = 'a.d' WHERE key = 'a.b'");
    pair.execute("DELETE FROM _meta WHERE key = 'a.c'");
    // A statement on the schema in the same batch.
    pair.run(&mut [statements(&[ENTER, "ALTER TABLE t ADD COLUMN b", ENTER])]);
    pair.execute(
        "CREATE TRIGGER counts AFTER INSERT ON t BEGIN UPDATE _meta SET value = value + 10 WHERE key = 'sql.broadcast'; END",
    );
    pair.execute("INSERT INTO t VALUES (2, 2)");
    assert_eq!(note(&pair, "sql.broadcast"), Value::from(15));

    // A copy that is made anew has them, and the one that takes over goes on with them.
    let mut pair = pair.reinstall().swap();
    pair.execute(ENTER);
    let mut pair = pair.reopen();
    pair.execute(ENTER);
    assert_eq!(note(&pair, "sql.broadcast"), Value::from(17));
    assert_eq!(
        pair.one("SELECT count(*) FROM _meta WHERE key LIKE '%.%'"),
        Value::from(2)
    );
}

#[test]
fn the_rows_that_are_the_files_own_stay_as_they_are() {
    let mut pair = Pair::after(&["CREATE TABLE t (a)", ENTER]);
    for sql in [
        "INSERT INTO _meta VALUES ('mine', 1)",
        "REPLACE INTO _meta VALUES ('format', 7)",
        "UPDATE _meta SET value = 'other' WHERE key = 'database'",
        "UPDATE _meta SET value = 1",
        "UPDATE _meta SET key = 'x.y' WHERE key = 'place'",
        "UPDATE _meta SET key = 'x' WHERE key = 'sql.broadcast'",
        "DELETE FROM _meta",
        "INSERT INTO _meta VALUES ('format', 7) ON CONFLICT DO UPDATE SET value = excluded.value",
    ] {
        let (mut results, _) = pair.run(&mut [
            statements(&["INSERT INTO t VALUES (1)", sql]),
            statements(&[ENTER]),
        ]);
        let error = error_of(results.remove(0));
        assert!(matches!(error, Error::Sql { .. }), "{sql}: {error}");
        // Nothing is left of it, and its neighbour is not affected.
        results.remove(0).unwrap().unwrap();
        assert_eq!(pair.one("SELECT count(*) FROM t"), Value::from(0));
    }
    assert_eq!(note(&pair, "sql.broadcast"), Value::from(9));
    assert_eq!(note(&pair, "format"), Value::from(1));
    pair.reopen().execute(ENTER);
}

#[test]
fn a_copy_with_another_note_differs() {
    let pair = Pair::after(&["CREATE TABLE t (a)", ENTER]);
    let same = digest(&pair.primary);
    let content = || pair.copy.snapshot().unwrap().content_digest().unwrap();
    let was = content();
    let mut writer = pair.copy.writer().unwrap();
    writer.set_meta("sql.broadcast", &Value::from(2)).unwrap();
    drop(writer);
    assert_ne!(digest(&pair.copy).digest, same.digest);
    assert_ne!(content(), was);
    // What the file says of itself is not compared.
    let mut writer = pair.copy.writer().unwrap();
    writer.set_meta("sql.broadcast", &Value::from(1)).unwrap();
    writer.set_meta("own", &Value::from(1)).unwrap();
    drop(writer);
    assert_eq!(digest(&pair.copy).digest, same.digest);
    assert_eq!(content(), was);
}
