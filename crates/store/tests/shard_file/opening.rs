//! Creating a shard file, opening it, and every reason to refuse one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use shardwright_store::{Access, Config, Encoding, Error, Expect, Identity, ShardFile, Value};

use crate::setting::{config, count, directory, filled, identity};

#[test]
fn a_created_file_opens_with_its_identity() {
    let directory = directory();
    let path = directory.path().join("shard-0.db");
    let identity = Identity {
        encoding: Encoding::Utf16be,
        page_size: 8192,
        ..identity()
    };
    ShardFile::create(&path, &identity, &config())
        .unwrap()
        .close()
        .unwrap();
    let expect = Expect {
        database: Some("shop".to_owned()),
        place: Some("shard-0".to_owned()),
    };
    let file = ShardFile::open(&path, &Config { expect, ..config() }).unwrap();
    assert_eq!(file.identity(), &identity);
}

#[test]
fn a_file_of_another_place_is_refused() {
    let (directory, file) = filled(0, &config());
    drop(file);
    let expect = Expect {
        place: Some("shard-1".to_owned()),
        ..Expect::default()
    };
    let error = ShardFile::open(
        directory.path().join("shard-0.db"),
        &Config { expect, ..config() },
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::WrongIdentity { field: "place", .. }),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_refused_and_not_created() {
    let directory = directory();
    let path = directory.path().join("none.db");
    let error = ShardFile::open(&path, &config()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn creating_never_replaces_a_file() {
    let directory = directory();
    let path = directory.path().join("shard-0.db");
    std::fs::write(&path, "precious").unwrap();
    let error = ShardFile::create(&path, &identity(), &config()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn creating_in_a_directory_that_is_not_there_says_so() {
    let directory = directory();
    let path = directory.path().join("none").join("shard-0.db");
    let error = ShardFile::create(&path, &identity(), &config()).unwrap_err();
    assert!(
        matches!(&error, Error::Io { action: "create", path: named, .. } if *named == path),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = directory();
    let path = directory.path().join("notes.db");
    std::fs::write(
        &path,
        "not a database, but longer than a header. ".repeat(100),
    )
    .unwrap();
    let error = ShardFile::open(&path, &config()).unwrap_err();
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
}

#[test]
fn a_plain_sqlite_file_and_an_empty_file_are_not_shard_files() {
    let directory = directory();
    let plain = directory.path().join("plain.db");
    rusqlite::Connection::open(&plain)
        .unwrap()
        .execute_batch("CREATE TABLE users (id)")
        .unwrap();
    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    for path in [plain, empty] {
        let error = ShardFile::open(&path, &config()).unwrap_err();
        assert!(matches!(error, Error::NotAShardFile { .. }), "{error}");
    }
}

#[test]
fn an_unknown_format_is_refused_by_name() {
    let (directory, file) = filled(0, &config());
    file.writer()
        .unwrap()
        .set_meta("format", &Value::from(7))
        .unwrap();
    file.close().unwrap();
    let error = ShardFile::open(directory.path().join("shard-0.db"), &config()).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownFormat { found, supported: 1, .. } if found == "7"),
        "{error}"
    );
    assert!(error.to_string().contains("format 7"), "{error}");
}

#[test]
fn a_closed_file_leaves_no_log_behind() {
    let (directory, file) = filled(10, &config());
    assert_eq!(count(&file), 10);
    let held = file.clone();
    let error = held.close().unwrap_err();
    assert!(matches!(error, Error::InUse { handles: 1, .. }), "{error}");
    file.close().unwrap();
    assert_eq!(names_in(directory.path()), ["shard-0.db"]);
}

#[test]
fn a_file_that_is_closed_while_its_log_moves_leaves_none_behind() {
    let config = Config {
        checkpoint_pages: 5,
        ..config()
    };
    for _ in 0..3 {
        let (directory, file) = filled(1, &config);
        let write = |sql: &str| file.writer().unwrap().execute(sql, ()).unwrap();
        write("CREATE TABLE large (v)");
        let snapshot = file.snapshot().unwrap();
        for _ in 0..4 {
            write("INSERT INTO large VALUES (zeroblob(4000000))");
        }
        drop(snapshot);
        write("INSERT INTO large VALUES (zeroblob(40000))");
        file.close().unwrap();
        assert_eq!(names_in(directory.path()), ["shard-0.db"]);
    }
}

fn names_in(directory: &Path) -> Vec<OsString> {
    let names = std::fs::read_dir(directory).unwrap();
    names.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_file_opened_for_reading_refuses_the_writer() {
    let (directory, file) = filled(2, &config());
    file.close().unwrap();
    let path: PathBuf = directory.path().join("shard-0.db");
    for access in [Access::ReadOnly, Access::Immutable] {
        let file = ShardFile::open(&path, &Config { access, ..config() }).unwrap();
        assert_eq!(count(&file), 2);
        let error = file.writer().unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    }
}

#[test]
fn a_file_that_may_not_be_written_is_not_opened_for_writing() {
    let (directory, file) = filled(1, &config());
    file.close().unwrap();
    let path = directory.path().join("shard-0.db");
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    // A superuser may write it all the same.
    let writable = std::fs::OpenOptions::new().write(true).open(&path).is_ok();
    match ShardFile::open(&path, &config()) {
        Ok(_) => assert!(writable),
        Err(error) => assert!(
            !writable && matches!(error, Error::ReadOnly { .. }),
            "{error}"
        ),
    }
}

#[test]
fn an_immutable_file_with_an_odd_name_opens_and_leaves_nothing_beside_it() {
    let directory = directory();
    let path = directory.path().join("50% of a?#\u{e9}.db");
    ShardFile::create(&path, &identity(), &config())
        .unwrap()
        .close()
        .unwrap();
    let file = ShardFile::open(
        &path,
        &Config {
            access: Access::Immutable,
            ..config()
        },
    )
    .unwrap();
    assert_eq!(file.meta("place").unwrap(), Some(Value::from("shard-0")));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
