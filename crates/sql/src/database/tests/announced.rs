//! Tests of announcements: nothing gets in the way of a change that is written down, and nothing stands for ever.

use super::{
    elsewhere::{Elsewhere, Lost, Trouble},
    several::{Shared, count, kind_of, pinned, run, shared},
    *,
};
use crate::shards::FaultKind;

/// A database with a writer whose places may fail, and another engine.
struct Pair {
    trouble: Arc<Trouble>,
    writer: ShardedDatabase,
    other: ShardedDatabase,
    _shared: Shared,
}

/// Rows of `child` are on all shards, and refer to some of `parent`.
fn pair() -> Pair {
    let _shared = shared();
    let trouble = Arc::new(Trouble::default());
    let places = Elsewhere::with_trouble(_shared.places.clone(), None, &trouble);
    let writer = _shared.join_over(places);
    let other = _shared.join();
    writer.take_over().unwrap();
    run(
        &writer,
        "CREATE TABLE parent(name TEXT PRIMARY KEY) /* shardwright: reference */",
    );
    run(
        &writer,
        "CREATE TABLE child(id TEXT PRIMARY KEY, parent TEXT REFERENCES parent(name), n INTEGER)",
    );
    run(&writer, "INSERT INTO parent VALUES ('a'), ('b'), ('c')");
    other.refresh().unwrap();
    let pair = Pair {
        trouble,
        writer,
        other,
        _shared,
    };
    for result in pair.children('x', 'a') {
        result.unwrap();
    }
    pair
}

impl Pair {
    /// Inserts children on all shards, planned for the schema that the other engine knows.
    fn children(&self, prefix: char, parent: char) -> Vec<Result<(), Error>> {
        let insert = |number: usize| {
            let sql = format!("INSERT INTO child VALUES ('{prefix}{number}', '{parent}', 1)");
            let engine = pinned(&self.other).as_peer();
            engine.execute(&sql, ()).map(drop)
        };
        let results = (0..12).map(insert).collect();
        let rows = self.other.all_all_shards("SELECT count(*) FROM child", ());
        for shard in rows {
            assert_ne!(shard.result.unwrap(), [[Value::from(0)]], "{}", shard.shard);
        }
        results
    }

    /// What is on each shard.
    fn on_shards(&self, sql: &str) -> Vec<Vec<Vec<Value>>> {
        let shards = self.other.all_all_shards(sql, ()).into_iter();
        shards.map(|shard| shard.result.unwrap()).collect()
    }
}

#[test]
fn nothing_gets_in_the_way_of_a_deletion_that_is_written_down() {
    for place in [Place::Catalog, Place::Shard(0), Place::Shard(1)] {
        let pair = pair();
        *pair.trouble.commit.lock().unwrap() = Some((place, Lost::Down));
        let delete = "DELETE FROM parent WHERE name = 'b'";
        let error = pair.writer.execute(delete, ()).unwrap_err();
        assert!(matches!(error, Error::Unfinished { .. }), "{error}");
        assert!(pair.writer.has_unfinished());
        // The writer is lost, and its places are back.
        for refused in pair.children('y', 'b') {
            assert_eq!(kind_of(refused), FaultKind::SchemaChanged);
        }
        let read = "SELECT parent FROM child WHERE id = 'x1'";
        let answered = pinned(&pair.other).execute(read, ());
        assert!(answered.is_ok() || place == Place::Shard(1), "{answered:?}");

        pair.other.take_over().unwrap();
        assert!(!pair.other.has_unfinished());
        let names = "SELECT group_concat(name) FROM (SELECT name FROM parent ORDER BY name)";
        for found in pair.on_shards(names) {
            assert_eq!(found, [[Value::from("a,c")]]);
        }
        for refused in pair.children('y', 'b') {
            assert_eq!(refused.unwrap_err().code(), "CONSTRAINT");
        }
        for taken in pair.children('y', 'c') {
            taken.unwrap();
        }
        run(&pair.other, "CREATE TABLE more(id INTEGER PRIMARY KEY)");
    }
}

#[test]
fn nothing_gets_in_the_way_of_an_index_that_is_written_down() {
    let pair = pair();
    *pair.trouble.commit.lock().unwrap() = Some((Place::Shard(0), Lost::Down));
    let index = "CREATE UNIQUE INDEX child_once ON child(id, n)";
    let error = pair.writer.execute(index, ()).unwrap_err();
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    let double = "UPDATE child SET n = 2 WHERE id = 'x1'";
    let refused = pinned(&pair.other).as_peer().execute(double, ());
    assert_eq!(kind_of(refused), FaultKind::SchemaChanged);
    let mut session = pinned(&pair.other).session();
    session.execute("BEGIN", ()).unwrap();
    assert_eq!(
        kind_of(session.execute(double, ())),
        FaultKind::SchemaChanged
    );
    pair.other.take_over().unwrap();
    run(&pinned(&pair.other), double);
}

#[test]
fn what_is_refused_is_withdrawn_at_once() {
    let pair = pair();
    for (sql, code) in [
        ("DELETE FROM parent WHERE name = 'a'", "CONSTRAINT"),
        ("INSERT INTO parent VALUES ('a')", "CONSTRAINT"),
        ("CREATE INDEX i ON child(missing)", "SQL_ERROR"),
        (
            "ALTER TABLE child ADD COLUMN m INTEGER NOT NULL",
            "SQL_ERROR",
        ),
    ] {
        let error = pair.writer.execute(sql, ()).unwrap_err();
        assert_eq!(error.code(), code, "{sql}: {error}");
        assert!(!pair.writer.has_unfinished(), "{sql}");
    }
    for taken in pair.children('y', 'b') {
        taken.unwrap();
    }
    assert_eq!(pair.writer.broadcast_number(), 3);
}

#[test]
fn a_place_that_does_not_hear_of_a_withdrawal_hears_of_it_later() {
    let pair = pair();
    let lost = [Place::Catalog, Place::Shard(1)];
    for place in lost {
        *pair.trouble.statement.lock().unwrap() = Some((place, Lost::Down));
        let error = pair
            .writer
            .execute("INSERT INTO parent VALUES ('d')", ())
            .unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("UNREACHABLE", true));
        assert!(pair.writer.has_unfinished());
        let error = pair.writer.take_over().unwrap_err();
        assert!(error.is_retryable(), "{error}");
        *pair.trouble.down.lock().unwrap() = None;
        if place == Place::Shard(1) {
            let results = pair.children('y', 'b');
            let refused = results.iter().filter(|result| result.is_err()).count();
            assert!(0 < refused && refused < results.len(), "{results:?}");
        }
        pair.writer.take_over().unwrap();
        assert!(!pair.writer.has_unfinished());
    }
    for taken in pair.children('z', 'b') {
        taken.unwrap();
    }
    // So does the next change, without being asked to.
    *pair.trouble.statement.lock().unwrap() = Some((Place::Shard(2), Lost::Down));
    let insert = "INSERT INTO parent VALUES ('d')";
    pair.writer.execute(insert, ()).unwrap_err();
    *pair.trouble.down.lock().unwrap() = None;
    run(&pair.writer, insert);
    assert!(!pair.writer.has_unfinished());
}

#[test]
fn whoever_takes_over_withdraws_what_is_not_written_down() {
    let pair = pair();
    let number = pair.writer.announce().unwrap();
    for refused in pair.children('y', 'b') {
        assert_eq!(kind_of(refused), FaultKind::SchemaChanged);
    }
    pair.other.take_over().unwrap();
    for taken in pair.children('y', 'b') {
        taken.unwrap();
    }
    assert!(pair.other.announce().unwrap() > number);
    pair.other.take_over().unwrap();
    // The former one has not noticed.
    let delete = "DELETE FROM parent WHERE name = 'c'";
    assert_eq!(
        kind_of(pair.writer.execute(delete, ())),
        FaultKind::NotWriter
    );
    for taken in pair.children('z', 'c') {
        taken.unwrap();
    }
}

#[test]
fn what_is_found_written_down_after_it_was_withdrawn_never_happens() {
    let pair = pair();
    let step = journal::Step::new("DELETE FROM parent WHERE name = 'b'");
    let late = journal::Operation {
        number: pair.writer.broadcast_number() + 1,
        announced: pair.writer.announce().unwrap(),
        ..journal::Operation::new(vec![step.clone()], vec![step], None)
    };
    pair.other.take_over().unwrap();
    for taken in pair.children('y', 'b') {
        taken.unwrap();
    }
    let records = &pair.other.inner.shared.records;
    records.begin(&late).unwrap();
    run(&pair.other, "INSERT INTO parent VALUES ('d')");
    assert!(records.pending().unwrap().is_empty());
    assert_eq!(pair.other.broadcast_number(), late.number);
    assert_eq!(count(&pair.other, "SELECT count(*) FROM parent"), 4);

    // As late, after the next change of that number.
    records.begin(&late).unwrap();
    pair.other.take_over().unwrap();
    assert!(records.pending().unwrap().is_empty());
    assert_eq!(count(&pair.other, "SELECT count(*) FROM parent"), 4);
}

#[test]
fn a_change_that_cannot_be_finished_is_told_of_and_not_to_be_repeated() {
    let pair = pair();
    let step = journal::Step::new("DELETE FROM parent WHERE name = 'a'");
    let impossible = journal::Operation {
        number: pair.writer.broadcast_number() + 1,
        ..journal::Operation::new(vec![step.clone()], vec![step], None)
    };
    let records = &pair.writer.inner.shared.records;
    records.begin(&impossible).unwrap();
    for _ in 0..2 {
        let error = pair.writer.take_over().unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("CANNOT_FINISH", false)
        );
        let error = error.to_string();
        assert!(error.contains("FOREIGN KEY constraint failed"), "{error}");
    }
    // It is no announced change, so that what is in the way can be removed.
    for shard in pair.other.run_all_shards("DELETE FROM child", ()) {
        shard.result.unwrap();
    }
    pair.writer.take_over().unwrap();
}
