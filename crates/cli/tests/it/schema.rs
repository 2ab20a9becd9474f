//! Migrations, as the command makes and lists them.

use std::{fs, process::Stdio};

use rusqlite::Connection;

use crate::{
    command::{binary, run},
    fixture::Fixture,
    running::Running,
};

fn write(fixture: &Fixture, name: &str, text: &str) {
    let directory = fixture.path("migrations");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join(name), text).expect("it is written");
}

/// A database without tables of its own.
fn empty(fixture: &Fixture) -> String {
    let plain = fixture.path("plain.db");
    Connection::open(&plain)
        .and_then(|file| file.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY); DROP TABLE t"))
        .expect("a file");
    let shop = fixture.arg("empty");
    run([
        "import",
        &fixture.arg("plain.db"),
        "--into",
        &shop,
        "--shards",
        "2",
    ])
    .success();
    shop
}

#[test]
fn migrations_are_made_once_and_in_their_order() {
    let fixture = Fixture::new();
    let (files, shop) = (fixture.arg("migrations"), empty(&fixture));
    write(
        &fixture,
        "1_users.sql",
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);\nCREATE INDEX by_name ON users(name);\n",
    );
    write(
        &fixture,
        "2_age.sql",
        "ALTER TABLE users ADD COLUMN age INTEGER;",
    );
    let apply = ["schema", "apply", &files, &shop];
    let dry = run([&apply[..], &["--dry-run"]].concat()).success();
    assert_eq!(
        dry,
        "1_users.sql would be made.\n2_age.sql would be made.\n"
    );
    let first = run([&apply[..], &["--to", "1"]].concat()).success();
    assert_eq!(first, "1_users.sql is made.\n1 migration.\n");
    let status = ["schema", "status", &files, &shop, "-o", "json"];
    let listed = run(status).success();
    assert!(
        listed.contains("\"made\"") && listed.contains("\"pending\""),
        "{listed}"
    );
    assert_eq!(run(apply).success(), "2_age.sql is made.\n1 migration.\n");
    assert_eq!(run(apply).success(), "0 migrations.\n");
    run(["schema", "diff", &files, &shop]).success();
    let shards = run(["schema", "status", &files, &shop, "--shards"]).success();
    assert_eq!(shards.matches("current").count(), 3, "{shards}");

    // One that is refused leaves nothing of itself.
    write(
        &fixture,
        "3_bad.sql",
        "CREATE TABLE more(id INTEGER PRIMARY KEY); CREATE INDEX i ON nowhere(x);",
    );
    let refused = run(apply);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let tables = run(["sql", &shop, "-e", "SELECT name FROM sqlite_schema"]).success();
    assert!(!tables.contains("more"), "{tables}");
    fs::remove_file(fixture.path("migrations").join("3_bad.sql")).expect("it is there");

    // What was made does not change, and nothing comes before it.
    write(
        &fixture,
        "2_age.sql",
        "ALTER TABLE users ADD COLUMN age TEXT;",
    );
    let changed = run(apply).failure(3);
    assert!(changed.contains("error[MIGRATION_CHANGED]"), "{changed}");
    write(
        &fixture,
        "2_age.sql",
        "ALTER TABLE users ADD COLUMN age INTEGER;",
    );
    write(
        &fixture,
        "0_late.sql",
        "CREATE TABLE late(id INTEGER PRIMARY KEY);",
    );
    let late = run(apply).failure(3);
    assert!(late.contains("error[MIGRATION_LATE]"), "{late}");
    fs::remove_file(fixture.path("migrations").join("0_late.sql")).expect("it is there");
    let unknown = run([&apply[..], &["--to", "9"]].concat()).failure(1);
    assert!(unknown.contains("error[UNKNOWN_MIGRATION]"), "{unknown}");
}

#[test]
fn what_somebody_changes_by_hand_is_told() {
    let fixture = Fixture::new();
    let (files, shop) = (fixture.arg("migrations"), empty(&fixture));
    write(
        &fixture,
        "1_users.sql",
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);",
    );
    run(["schema", "apply", &files, &shop]).success();
    let by_hand = "CREATE TABLE extra(id INTEGER PRIMARY KEY)";
    run(["sql", &shop, "-e", by_hand]).success();
    Connection::open(fixture.path("empty").join("shard-1.db"))
        .and_then(|file| file.execute_batch("CREATE INDEX stray ON users(name)"))
        .expect("a file");
    let diff = run(["schema", "diff", &files, &shop, "-o", "json"]);
    assert_eq!(diff.code, Some(1), "{diff:?}");
    assert!(diff.err.contains("error[DRIFT]"), "{diff:?}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&diff.out).expect("JSON");
    let told = |place: &str, object: &str| {
        rows.iter().any(|row| {
            row["where"] == place && row["object"] == object && row["difference"] == "unknown"
        })
    };
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        told("schema", "extra") && told("shard-1", "stray"),
        "{rows:?}"
    );
}

#[test]
fn a_command_that_is_killed_goes_on_where_it_was() {
    let fixture = Fixture::new();
    let files = fixture.arg("migrations");
    for number in 1..=12 {
        let sql = format!(
            "CREATE TABLE t{number}(id INTEGER PRIMARY KEY, a); CREATE INDEX i{number} ON t{number}(a);"
        );
        write(&fixture, &format!("{number}_t.sql"), &sql);
    }
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let url = dev.url();
    let apply = ["schema", "apply", &files, "--node", &url];
    // Killed after a different number of migrations each time, or within one.
    for _ in 0..3 {
        let mut child = binary()
            .args(apply)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start shardwright");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("because it is piped");
        let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut first);
        read.expect("a line of text");
        child.kill().expect("it runs, or has ended");
        child.wait().expect("it has ended");
    }
    run(apply).success();
    assert_eq!(run(apply).success(), "0 migrations.\n");
    let count = dev.sql("SELECT count(*), max(version) FROM shardwright_migrations");
    assert!(count.contains("[[12, 12]]"), "{count}");
    run(["schema", "diff", &files, "--node", &url]).success();
    let shards = run(["schema", "status", &files, "--node", &url, "--shards"]).success();
    assert_eq!(shards.matches("current").count(), 3, "{shards}");
}
