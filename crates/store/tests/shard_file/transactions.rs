//! Transactions of the one writer, and whom it and the readers keep waiting.

use shardwright_store::{Config, Error, Holder, ShardFile};

use crate::setting::{config, count, filled, insert};

#[test]
fn a_dropped_writer_rolls_its_transaction_back() {
    let (_directory, file) = filled(1, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    writer.execute("DELETE FROM t", ()).unwrap();
    assert!(writer.in_transaction());
    drop(writer);
    assert_eq!(count(&file), 1);
    insert(&file, 2).unwrap();
    assert_eq!(count(&file), 2);
}

#[test]
fn savepoints_undo_a_part_of_a_transaction() {
    let (_directory, file) = filled(0, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    writer.execute("INSERT INTO t VALUES (1, 1)", ()).unwrap();
    writer.savepoint("a \"quoted\" name").unwrap();
    writer.execute("INSERT INTO t VALUES (2, 2)", ()).unwrap();
    writer.rollback_to("a \"quoted\" name").unwrap();
    writer.release("a \"quoted\" name").unwrap();
    writer.commit().unwrap();
    drop(writer);
    assert_eq!(count(&file), 1);
}

#[test]
fn a_statement_that_ends_the_transaction_is_reported_as_such() {
    let (_directory, file) = filled(1, &config());
    let mut writer = file.writer().unwrap();
    writer.begin().unwrap();
    let error = writer
        .execute("INSERT OR ROLLBACK INTO t VALUES (1, 1)", ())
        .unwrap_err();
    assert!(
        matches!(&error, Error::TransactionEnded { source }
            if matches!(**source, Error::Constraint { .. })),
        "{error}"
    );
    assert!(!writer.in_transaction());
}

#[test]
fn a_transaction_that_read_an_old_state_cannot_write() {
    let (_directory, file) = filled(1, &config());
    let other = ShardFile::open(file.path(), &config()).unwrap();
    let mut writer = file.writer().unwrap();
    writer.execute("BEGIN", ()).unwrap();
    let seen = writer.query_row("SELECT count(*) FROM t", (), |row| row.get(0).as_i64());
    assert_eq!(seen.unwrap(), Some(Some(1)));
    insert(&other, 2).unwrap();
    let error = writer.execute("DELETE FROM t", ()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::NewerCommit,
                ..
            }
        ),
        "{error}"
    );
    writer.rollback().unwrap();
    assert_eq!(writer.execute("DELETE FROM t", ()).unwrap().changes, 2);
}

#[test]
fn only_one_writer_is_lent_at_a_time() {
    let (_directory, file) = filled(0, &config());
    let writer = file.writer().unwrap();
    let error = file.writer().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Writer,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_retryable());
    drop(writer);
    insert(&file, 1).unwrap();
}

#[test]
fn readers_beyond_the_limit_are_refused_and_come_back() {
    let (_directory, file) = filled(
        1,
        &Config {
            readers: 2,
            ..config()
        },
    );
    let first = file.reader().unwrap();
    let second = file.snapshot().unwrap();
    let error = file.reader().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                holder: Holder::Readers,
                ..
            }
        ),
        "{error}"
    );
    drop(first);
    assert_eq!(count(&file), 1);
    drop(second);
}
