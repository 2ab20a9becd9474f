//! Copies of files: made, installed and compared.

use std::{fs, ops::ControlFlow, path::Path};

use shardwright_store::{
    Applied, ChangeSet, Error, Expect, ReplicaError, Scrub, ScrubPlace, ShardFile, Value,
};

use crate::pair::{Pair, config, digest, statements, value};

fn filled() -> Pair {
    Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO t SELECT i, hex(randomblob(800)) FROM n",
    ])
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn write(pair: &mut Pair) -> ChangeSet {
    let next = pair.next();
    let mut writer = pair.primary.writer().unwrap();
    let captured = writer
        .execute_batch(&mut [statements(&["UPDATE t SET a = a || 'x' WHERE id % 7 = 0"])])
        .unwrap();
    writer.commit_at(next, &[]).unwrap();
    pair.applied = next;
    captured.changes
}

#[test]
fn a_copy_is_of_one_moment_while_the_writer_goes_on() {
    let mut pair = filled();
    let received = pair.directory.path().join("received.db");
    let moment = digest(&pair.primary);
    let snapshot = pair.primary.snapshot().unwrap();
    let mut later = Vec::new();
    let copied = snapshot
        .copy_to(&received, |_, _| {
            later.push((write(&mut pair), pair.applied));
            ControlFlow::Continue(())
        })
        .unwrap();
    drop(snapshot);
    assert!(!later.is_empty(), "the file is too small for this test");
    assert_eq!(copied.source.applied, moment.applied);
    let path = pair.directory.path().join("third.db");
    let third = ShardFile::install(&received, &path, &[9; 16], &config()).unwrap();
    assert_eq!(digest(&third), moment);
    for (changes, applied) in later {
        third
            .writer()
            .unwrap()
            .apply(applied, &changes, &[])
            .unwrap();
    }
    assert_eq!(digest(&third), digest(&pair.primary));
}

#[test]
fn a_copy_that_is_broken_off_leaves_nothing() {
    let pair = filled();
    let received = pair.directory.path().join("received.db");
    let snapshot = pair.primary.snapshot().unwrap();
    let error = snapshot
        .copy_to(&received, |_, _| ControlFlow::Break(()))
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(!received.exists());
    fs::write(&received, "taken").unwrap();
    let error = snapshot.copy_to(&received, go_on).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read(&received).unwrap(), b"taken");
}

#[test]
fn an_installed_copy_has_an_id_of_its_own_and_the_position_of_its_source() {
    let pair = filled().reinstall();
    let replica = pair.copy.replica().unwrap().unwrap();
    assert_ne!(replica.id, pair.primary.replica().unwrap().unwrap().id);
    assert_eq!(replica.applied, pair.applied);
    assert!(!pair.directory.path().join("received.db").exists());
    pair.compare();
}

/// Makes a received file, and closes the copy whose place it is to take.
fn received(pair: Pair) -> (Pair, std::path::PathBuf, std::path::PathBuf) {
    let received = pair.directory.path().join("received.db");
    pair.primary
        .snapshot()
        .unwrap()
        .copy_to(&received, go_on)
        .unwrap();
    let path = pair.copy.path().to_path_buf();
    (pair, received, path)
}

#[test]
fn no_log_of_the_old_file_reaches_the_new_one() {
    let (pair, received, path) = received(filled());
    // The old file as a killed process leaves it, with commits in its log.
    let old = pair.directory.path().join("old.db");
    pair.copy
        .writer()
        .unwrap()
        .execute("DELETE FROM t WHERE id < 4000", ())
        .unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(beside(&path, suffix), beside(&old, suffix)).unwrap();
    }
    let installed = ShardFile::install(&received, &old, &[9; 16], &config()).unwrap();
    assert_eq!(digest(&installed), digest(&pair.primary));
}

#[test]
fn a_damaged_old_file_is_replaced() {
    let (pair, received, _) = received(filled());
    let old = pair.directory.path().join("old.db");
    fs::write(&old, "rubbish".repeat(1000)).unwrap();
    fs::write(beside(&old, "-wal"), "more rubbish").unwrap();
    let installed = ShardFile::install(&received, &old, &[9; 16], &config()).unwrap();
    assert_eq!(digest(&installed), digest(&pair.primary));
}

#[test]
fn a_file_in_use_is_not_replaced() {
    let (pair, received, path) = received(filled());
    pair.copy
        .writer()
        .unwrap()
        .execute("DELETE FROM t WHERE id = 1", ())
        .unwrap();
    let _reader = pair.copy.snapshot().unwrap();
    let error = ShardFile::install(&received, &path, &[9; 16], &config()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(
        value(&pair.copy, "SELECT count(*) FROM t"),
        Value::from(4999)
    );
}

#[test]
fn a_received_file_is_checked_first() {
    let (pair, received, path) = received(filled());
    let elsewhere = shardwright_store::Config {
        expect: Expect {
            place: Some("shard-7".to_owned()),
            ..Expect::default()
        },
        ..config()
    };
    let error = ShardFile::install(&received, &path, &[9; 16], &elsewhere).unwrap_err();
    assert!(matches!(error, Error::WrongIdentity { .. }), "{error}");

    let mut bytes = fs::read(&received).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 9000].fill(0xab);
    fs::write(&received, bytes).unwrap();
    let error = ShardFile::install(&received, &path, &[9; 16], &config()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");

    let plain = pair.directory.path().join("plain.db");
    let identity = shardwright_store::Identity::new("shop", "shard-0");
    ShardFile::create(&plain, &identity, &config())
        .unwrap()
        .close()
        .unwrap();
    let error = ShardFile::install(&plain, &path, &[9; 16], &config()).unwrap_err();
    assert!(
        matches!(error, Error::Replica(ReplicaError::NotReplicated)),
        "{error}"
    );
    pair.compare();
}

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[test]
fn a_scrub_sees_one_moment_and_every_difference() {
    let mut pair = filled();
    let mut scrub = Scrub::new(pair.primary.snapshot().unwrap()).unwrap();
    let moment = digest(&pair.primary);
    assert_eq!(scrub.slice(100).unwrap(), None);
    let changes = write(&mut pair);
    let mut slices = 1;
    let scrubbed = loop {
        slices += 1;
        if let Some(scrubbed) = scrub.slice(100).unwrap() {
            break scrubbed;
        }
    };
    assert_eq!(scrubbed, moment);
    assert!(slices >= 50, "{slices}");
    pair.follow(&changes, &[]).unwrap();
    pair.compare();
    let same = digest(&pair.copy);
    for sql in [
        "UPDATE t SET a = 1 WHERE id = 5000",
        "DELETE FROM t WHERE id = 1",
        "CREATE INDEX i ON t (a)",
        "PRAGMA user_version = 1",
    ] {
        pair.copy.writer().unwrap().execute(sql, ()).unwrap();
        let other = digest(&pair.copy);
        assert_ne!(other.digest, same.digest, "{sql}");
        pair = pair.reinstall();
        assert_eq!(digest(&pair.copy), same);
    }
    // A copy that differs in its id alone is the same; at another position it is not compared.
    pair.copy
        .writer()
        .unwrap()
        .set_replica_id(&[77; 16])
        .unwrap();
    assert_eq!(digest(&pair.copy), same);
    let ahead = Applied {
        hash: [0; 32],
        ..pair.next()
    };
    pair.copy.writer().unwrap().advance(ahead, &[]).unwrap();
    assert_ne!(digest(&pair.copy).applied, same.applied);
    assert_eq!(digest(&pair.copy).digest, same.digest);
}

/// Compares the copies slice by slice while writes go on. Returns whether all are the same, and how many slices there were.
fn compare_in_slices(pair: &mut Pair, rows_max: u64) -> (bool, usize) {
    let (mut from, mut slices) = (None, 0);
    loop {
        let [one, other] = [&pair.primary, &pair.copy].map(|file| {
            Scrub::one_slice(file.snapshot().unwrap(), from.as_ref(), rows_max).unwrap()
        });
        slices += 1;
        if one != other {
            return (false, slices);
        }
        let Some(next) = one.next else {
            return (true, slices);
        };
        assert_eq!(ScrubPlace::from_bytes(&next.to_bytes()).unwrap(), next);
        from = Some(next);
        let changes = write(pair);
        pair.follow(&changes, &[]).unwrap();
    }
}

#[test]
fn slices_of_later_moments_show_every_difference() {
    let mut pair = filled();
    let (is_same, slices) = compare_in_slices(&mut pair, 1_000);
    assert!(is_same && slices >= 5, "{slices}");
    for sql in [
        "UPDATE t SET a = 1 WHERE id = 4999",
        "DELETE FROM t WHERE id = 1",
        "CREATE INDEX i ON t (a)",
    ] {
        pair.copy.writer().unwrap().execute(sql, ()).unwrap();
        let (is_same, _) = compare_in_slices(&mut pair, 1_000);
        assert!(!is_same, "{sql}");
        pair = pair.reinstall();
    }
    assert!(ScrubPlace::from_bytes(&[200]).is_err());
    // A table that went away meanwhile ends the comparison.
    let begin = Scrub::one_slice(pair.copy.snapshot().unwrap(), None, 1_000).unwrap();
    let mut writer = pair.copy.writer().unwrap();
    writer.execute("DROP TABLE t", ()).unwrap();
    drop(writer);
    let rest = Scrub::one_slice(pair.copy.snapshot().unwrap(), begin.next.as_ref(), 1_000);
    let rest = rest.unwrap();
    assert_eq!((rest.rows, rest.next), (0, None));
}

#[test]
fn a_detached_copy_is_a_file_of_its_own() {
    let pair = filled();
    let path = pair.directory.path().join("apart.db");
    let mut writer = pair.primary.writer().unwrap();
    writer
        .execute(
            "INSERT INTO _meta(key, value) VALUES ('one.a', 1), ('other.a', 3)",
            (),
        )
        .unwrap();
    drop(writer);
    let snapshot = pair.primary.snapshot().unwrap();
    let bytes = snapshot.copy_detached(&path, &["one."], go_on).unwrap();
    assert_eq!(bytes, fs::metadata(&path).unwrap().len());
    let again = snapshot.copy_detached(&path, &["one."], go_on).unwrap_err();
    assert!(matches!(again, Error::Io { .. }), "{again}");
    drop(snapshot);
    let apart = ShardFile::open(&path, &config()).unwrap();
    assert_eq!(apart.replica().unwrap(), None);
    assert_eq!(apart.meta("one.a").unwrap(), None);
    assert_eq!(apart.meta("other.a").unwrap(), Some(Value::Integer(3)));
    assert_eq!(apart.identity(), pair.primary.identity());
    let rows = |file: &ShardFile| file.snapshot().unwrap().row_count("t").unwrap();
    assert_eq!(rows(&apart), rows(&pair.primary));
    let system = "SELECT count(*) FROM sqlite_schema WHERE name IN ('_repl', '_dedup')";
    assert_eq!(value(&apart, system), Value::Integer(0));
    // It takes writes like any other.
    apart
        .writer()
        .unwrap()
        .execute("DELETE FROM t", ())
        .unwrap();
    assert_eq!(rows(&apart), 0);
}
