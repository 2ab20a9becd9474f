//! `adopt` and `validate`: files that become shards, and files again.

use std::path::Path;

use crate::{
    command::run,
    fixture::{ask, contents},
};

fn make(path: &Path, script: &str) {
    let file = rusqlite::Connection::open(path).expect("make an SQLite file");
    file.execute_batch(script).expect("fill it");
}

#[test]
fn files_become_shards_and_files_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| home.path().join(name).display().to_string();
    let users = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);";
    make(
        &home.path().join("old.db"),
        &format!("{users} INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')"),
    );
    make(
        &home.path().join("more.db"),
        &format!(
            "{users} INSERT INTO users VALUES (3, 'Edith'); CREATE TABLE loose(x); INSERT INTO users VALUES (2, 'twin')"
        ),
    );
    let before = contents(&home.path().join("old.db"));
    let college = path("college");
    let old = format!("db-old={}", path("old.db"));
    let more = format!("db-more={}", path("more.db"));
    let adopt = |rest: &[&str]| {
        let arguments = ["adopt", &college, &old, &more, "db-new"];
        run(arguments.iter().chain(rest))
    };

    let said = run(["validate", &path("more.db")]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.err.contains("NOT_ADOPTABLE") && said.err.contains("loose"),
        "{said:?}"
    );
    run(["validate", &path("more.db"), "--tables", "users"]).success();
    let twins = adopt(&["--tables", "users", "--dry-run"]);
    assert_eq!(twins.code, Some(3), "{twins:?}");
    assert!(
        twins.err.contains("both hold 1 keys of users, such as 2"),
        "{twins:?}"
    );

    make(
        &home.path().join("more.db"),
        "DELETE FROM users WHERE id = 2",
    );
    adopt(&["--tables", "users", "--dry-run"]).success();
    assert!(!Path::new(&college).exists(), "a dry run makes nothing");
    let listed = adopt(&["--tables", "users", "-o", "json"]).success();
    assert!(
        listed.contains("\"db-old\": 2, \"db-more\": 1, \"db-new\": 0"),
        "{listed}"
    );
    assert!(ask(&college, "SELECT name FROM users WHERE id = 3").contains("Edith"));
    let located = run(["locate", &college, "3", "--table", "users"]).success();
    assert!(located.contains("db-more"), "{located}");

    run(["adopt", &college, "--rollback"]).success();
    assert_eq!(contents(&home.path().join("old.db")), before);
    assert!(!Path::new(&college).exists());
    let nothing = run(["adopt", &college, "--rollback"]).failure(1);
    assert!(nothing.contains("NOT_A_DATABASE"), "{nothing}");
}
