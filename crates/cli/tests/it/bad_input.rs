//! Bad input gets a code and a hint, and changes nothing.

use std::fs;

use crate::command::{run, run_with_input};
use crate::fixture::{Fixture, ask, is_absent_or_empty};

/// The import must fail with this exit code, leave its source as it was and make no database.
#[track_caller]
fn import_fails(fixture: &Fixture, file: &str, more: &[&str], code: i32) -> String {
    let before = fs::read(fixture.path(file)).ok();
    let error = fixture.import(file, "into", more).failure(code);
    assert!(
        is_absent_or_empty(&fixture.path("into")),
        "a failed import leaves no database"
    );
    assert_eq!(
        fs::read(fixture.path(file)).ok(),
        before,
        "an import never touches its source"
    );
    error
}

/// The statement must fail, and the shop hold what it held.
#[track_caller]
fn statement_fails(database: &str, sql: &str, code: i32) -> String {
    let held = "SELECT count(*), sum(amount) FROM orders; SELECT count(*) FROM customers";
    let before = ask(database, held);
    let error = run(["sql", database, "-e", sql]).failure(code);
    assert_eq!(
        ask(database, held),
        before,
        "a failed statement changes nothing"
    );
    error
}

#[test]
fn a_missing_file_is_not_imported_and_not_made() {
    let fixture = Fixture::new();
    let error = import_fails(&fixture, "nothing.db", &[], 1);
    assert!(error.contains("nothing.db"), "{error}");
    assert!(!fixture.path("nothing.db").exists());
}

#[test]
fn a_file_that_is_no_database_is_not_imported() {
    let fixture = Fixture::new();
    fs::write(fixture.path("text.db"), "this is not SQLite\n".repeat(500)).unwrap();
    let error = import_fails(&fixture, "text.db", &[], 1);
    assert!(error.contains("text.db"), "{error}");
}

#[test]
fn a_directory_is_not_imported() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("folder")).unwrap();
    import_fails(&fixture, "folder", &[], 1);
}

#[test]
fn a_corrupt_page_fails_the_import_and_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let path = fixture.create(
        "corrupt.db",
        "PRAGMA page_size = 512;
         CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
           INSERT INTO t SELECT i, hex(zeroblob(60)) FROM n;",
    );
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 1024 * 512;
    bytes[middle..middle + 512].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = import_fails(&fixture, "corrupt.db", &[], 1);
    assert!(error.contains("corrupt.db"), "{error}");
}

#[test]
fn a_table_without_a_primary_key_is_not_sharded_and_the_remedy_works() {
    let fixture = Fixture::new();
    let error = import_fails(&fixture, "shop.db", &["--shard-key", "notes=text"], 3);
    let statements = error.find("CREATE TABLE").expect("the remedy is named");
    fixture.create("shop.db", &error[statements..]);
    fixture
        .import("shop.db", "into", &["--shard-key", "notes=id"])
        .success();
    let notes = ask(
        &fixture.arg("into"),
        "SELECT count(*), count(mark) FROM notes",
    );
    assert!(notes.contains("[[3, 2]]"), "{notes}");
}

#[test]
fn an_unknown_shard_key_column_or_table_is_named() {
    let fixture = Fixture::new();
    let error = import_fails(&fixture, "shop.db", &["--shard-key", "orders=colour"], 1);
    assert!(error.contains("colour"), "{error}");
    let error = import_fails(&fixture, "shop.db", &["--shard-key", "ordres=id"], 1);
    assert!(error.contains("ordres"), "{error}");
}

#[test]
fn a_shard_key_option_without_a_column_is_wrong_usage() {
    let fixture = Fixture::new();
    let run = fixture.import("shop.db", "into", &["--shard-key", "orders"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("TABLE=COLUMN"), "{run:?}");
}

#[test]
fn a_directory_that_holds_something_is_not_imported_into() {
    let (fixture, shop) = Fixture::imported();
    let before = ask(&shop, "SELECT count(*) FROM orders");
    fixture.import("shop.db", "shop", &[]).failure(3);
    assert_eq!(ask(&shop, "SELECT count(*) FROM orders"), before);

    fs::create_dir(fixture.path("mine")).unwrap();
    fs::write(fixture.path("mine").join("letter.txt"), "dear").unwrap();
    fixture.import("shop.db", "mine", &[]).failure(3);
    assert_eq!(fs::read_dir(fixture.path("mine")).unwrap().count(), 1);
}

#[test]
fn a_null_shard_key_is_refused() {
    let (_fixture, shop) = Fixture::imported();
    let error = statement_fails(&shop, "INSERT INTO orders VALUES (1000, NULL, 1.0)", 3);
    assert!(
        error.contains("customer_id") && error.contains("\nhint: "),
        "{error}"
    );
}

#[test]
fn a_duplicate_key_is_an_error() {
    let (_fixture, shop) = Fixture::imported();
    let error = statement_fails(&shop, "INSERT INTO customers VALUES (7, 'again', NULL)", 1);
    assert!(error.contains("customers.id"), "{error}");
}

#[test]
fn wrong_sql_is_an_error_of_the_statement() {
    let (_fixture, shop) = Fixture::imported();
    for sql in [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT colour FROM orders",
        "INSERT INTO",
    ] {
        statement_fails(&shop, sql, 1);
    }
}

#[test]
fn statements_before_the_failing_one_are_answered_and_those_after_it_are_not_run() {
    let (_fixture, shop) = Fixture::imported();
    let script = "SELECT 1;\nSELEC 2;\nDELETE FROM orders;\n";
    let run = run_with_input(["sql", &shop, "-o", "json"], script);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.out, "{\"columns\": [\"1\"], \"rows\": [[1]]}\n");
    assert!(run.err.starts_with("error["), "{run:?}");
    assert!(ask(&shop, "SELECT count(*) FROM orders").contains("[[200]]"));
}

#[test]
fn a_missing_shard_file_is_named_and_not_made_again() {
    let (fixture, shop) = Fixture::imported();
    let file = fixture.path("shop").join("shard-2.db");
    fs::remove_file(&file).unwrap();
    let error = run(["sql", &shop, "-e", "SELECT count(*) FROM orders"]).failure(1);
    assert!(error.contains("shard-2"), "{error}");
    assert!(!file.exists());
}

#[test]
fn a_directory_without_a_database_is_named_and_left_alone() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("empty")).unwrap();
    for name in ["empty", "nowhere"] {
        let directory = fixture.arg(name);
        for arguments in [
            &["sql", &directory, "-e", "SELECT 1"][..],
            &["shards", &directory],
            &["locate", &directory, "1"],
            &["export", &directory, &fixture.arg("out.db")],
        ] {
            let error = run(arguments).failure(1);
            assert!(error.contains(name), "{error}");
        }
        assert!(is_absent_or_empty(&fixture.path(name)));
    }
    assert!(!fixture.path("out.db").exists());
}

#[test]
fn an_export_never_overwrites_a_file() {
    let (fixture, shop) = Fixture::imported();
    fs::write(fixture.path("taken.db"), "mine").unwrap();
    run(["export", &shop, &fixture.arg("taken.db")]).failure(3);
    assert_eq!(fs::read(fixture.path("taken.db")).unwrap(), b"mine");
}
