//! Tests of lookup keys.

use std::path::Path;

use super::*;

const SCHEMA: &str = "
    CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT);
    CREATE TABLE planes(id INTEGER PRIMARY KEY)";

fn options(form: LookupForm) -> Options {
    Options {
        directory: Some(Allocation::default()),
        lookup_form: form,
        ..Options::default()
    }
}

fn create(directory: &Path, form: LookupForm) -> ShardedDatabase {
    let create = CreateOptions {
        shards: 3,
        options: options(form),
        ..CreateOptions::default()
    };
    let db = ShardedDatabase::create(directory, &create).unwrap();
    for sql in crate::statement::split(SCHEMA) {
        db.execute(sql, ()).unwrap();
    }
    db.execute(
        "INSERT INTO users VALUES ('u1', 'Jane'), ('u2', 'John')",
        (),
    )
    .unwrap();
    db
}

fn key_of(db: &ShardedDatabase, name: &str) -> Option<Value> {
    let found = db.look_up(Some("users"), name).unwrap();
    found.map(|key| key.value().clone())
}

const ALL: [LookupForm; 3] = [LookupForm::Hmac, LookupForm::Sha256, LookupForm::Clear];

#[test]
fn a_record_is_found_by_each_of_its_lookup_keys() {
    for form in ALL {
        let directory = tempfile::tempdir().unwrap();
        let db = create(directory.path(), form);
        let table = Some("users");
        db.add_lookup_keys(table, "u1", &["email:jane@example.com", "name:jane"])
            .unwrap();
        db.add_lookup_keys(table, "u1", &["name:jane", "phone:1"])
            .unwrap();
        for name in ["email:jane@example.com", "name:jane", "phone:1"] {
            assert_eq!(key_of(&db, name), Some(Value::from("u1")), "{form:?}");
            let sql = "SELECT name FROM users WHERE id = 'u1'";
            let row = db.first_by_lookup(table, name, sql, &[]).unwrap();
            assert_eq!(row, Some(vec![Value::from("Jane")]));
        }
        assert_eq!(key_of(&db, "name:nobody"), None);
        let nobody = db.run_by_lookup(
            table,
            "name:nobody",
            "DELETE FROM users WHERE id = 'u1'",
            &[],
        );
        assert_eq!(nobody.unwrap(), None);
        assert_eq!(db.lookup_keys(table, "u1").unwrap().len(), 3);
        assert_eq!(
            db.look_up(Some("planes"), "phone:1").unwrap(),
            None,
            "another key space"
        );

        let taken = db
            .add_lookup_keys(table, "u2", &["name:john", "phone:1"])
            .unwrap_err();
        assert_eq!((taken.code(), taken.is_refusal()), ("LOOKUP_TAKEN", true));
        assert_eq!(key_of(&db, "name:john"), None, "nothing of it was added");
        // From any of them, all are replaced or removed.
        let key = db.look_up(table, "phone:1").unwrap().unwrap();
        db.replace_lookup_keys(table, key, &["phone:2", "name:jane"])
            .unwrap();
        assert_eq!(key_of(&db, "phone:1"), None);
        assert_eq!(key_of(&db, "phone:2"), Some(Value::from("u1")));
        db.reassign_shard(table, "u1", "shard-2").unwrap();
        db.reassign_shard(table, "u1", "shard-0").unwrap();
        assert_eq!(key_of(&db, "name:jane"), Some(Value::from("u1")));
        db.remove_lookup_keys(table, "u1").unwrap();
        assert_eq!(key_of(&db, "phone:2"), None);
        assert!(db.lookup_keys(table, "u1").unwrap().is_empty());
        db.add_lookup_keys(table, "u2", &["phone:1"]).unwrap();
        let gone = db.run_by_lookup(table, "phone:1", "DELETE FROM users WHERE id = 'u2'", &[]);
        assert_eq!(gone.unwrap().unwrap().changes, 1);
    }
}

#[test]
fn the_files_do_not_tell_lookup_keys_unless_that_is_wanted() {
    for form in ALL {
        let directory = tempfile::tempdir().unwrap();
        let db = create(directory.path(), form);
        db.add_lookup_keys(Some("users"), "u1", &["email:jane@example.com"])
            .unwrap();
        let listed = db.lookup_keys(Some("users"), "u1").unwrap();
        let is_clear = listed == ["clear:email:jane@example.com"];
        assert_eq!(is_clear, form == LookupForm::Clear);
        db.close().unwrap();
        let mut tells = false;
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            tells |= bytes.windows(16).any(|part| part == b"jane@example.com");
        }
        assert_eq!(tells, is_clear);
        #[cfg(unix)]
        if form == LookupForm::Hmac {
            use std::os::unix::fs::PermissionsExt;
            let path = Layout::of(directory.path()).lookup_secret();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn a_secret_is_rotated_and_missed_when_it_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let db = create(directory.path(), LookupForm::Hmac);
    let table = Some("users");
    db.add_lookup_keys(table, "u1", &["name:jane"]).unwrap();
    db.rotate_lookup_secret().unwrap();
    db.add_lookup_keys(table, "u2", &["name:john"]).unwrap();
    db.close().unwrap();

    let db = ShardedDatabase::open(directory.path(), &options(LookupForm::Hmac)).unwrap();
    assert_eq!(key_of(&db, "name:jane"), Some(Value::from("u1")));
    assert_eq!(key_of(&db, "name:john"), Some(Value::from("u2")));
    let taken = db.add_lookup_keys(table, "u2", &["name:jane"]);
    assert_eq!(
        taken.unwrap_err().code(),
        "LOOKUP_TAKEN",
        "by its old token"
    );
    db.add_lookup_keys(table, "u1", &["name:jane"]).unwrap();
    assert_eq!(db.lookup_keys(table, "u1").unwrap().len(), 1);
    db.replace_lookup_keys(table, "u1", &["name:jane"]).unwrap();
    let (old, new) = (
        db.lookup_keys(table, "u1").unwrap(),
        db.lookup_keys(table, "u2").unwrap(),
    );
    assert_eq!((old.len(), old[0][..13].len()), (1, 13));
    assert_eq!(
        old[0][..13],
        new[0][..13],
        "what is written anew is hashed with the new secret"
    );
    db.close().unwrap();

    let path = Layout::of(directory.path()).lookup_secret();
    let text = std::fs::read_to_string(&path).unwrap();
    for lost in ["", text.lines().next().unwrap(), "nonsense"] {
        std::fs::write(&path, lost).unwrap();
        let db = ShardedDatabase::open(directory.path(), &options(LookupForm::Hmac)).unwrap();
        let refused = db.look_up(table, "name:jane").unwrap_err();
        assert_eq!(refused.code(), "LOOKUP_SECRET", "{lost:?}");
        assert!(refused.hint().unwrap().contains("lookup.key"));
        assert!(db.add_lookup_keys(table, "u1", &["name:other"]).is_err());
        let found = db
            .first("u1", "SELECT name FROM users WHERE id = 'u1'", ())
            .unwrap();
        assert_eq!(
            found,
            Some(vec![Value::from("Jane")]),
            "the rows need no secret"
        );
        db.close().unwrap();
    }
}
