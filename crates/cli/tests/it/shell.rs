//! `sql`: statements from the command line and from standard input.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use crate::command::{binary, run, run_with_input};
use crate::fixture::Fixture;

#[test]
fn statements_come_from_the_command_line_or_standard_input() {
    let (_fixture, shop) = Fixture::imported();
    let expect =
        "{\"columns\": [\"1\"], \"rows\": [[1]]}\n{\"columns\": [\"2\"], \"rows\": [[2]]}\n";
    let by_options = run([
        "sql", &shop, "-o", "json", "-e", "SELECT 1", "-e", "SELECT 2",
    ]);
    assert_eq!(by_options.success(), expect);
    let in_one = run(["sql", &shop, "-o", "json", "-e", "SELECT 1; SELECT 2;"]);
    assert_eq!(in_one.success(), expect);
    let read = run_with_input(
        ["sql", &shop, "-o", "json"],
        "SELECT\n 1;\n-- no more\nSELECT 2",
    );
    assert_eq!(read.success(), expect);
}

#[test]
fn every_kind_of_value_has_its_json_form() {
    let (_fixture, shop) = Fixture::imported();
    let sql = "SELECT 9223372036854775807 AS a, 1.0 AS b, 9e999 AS c, -9e999 AS d, \
               x'00ff' AS e, CAST(x'ff' AS TEXT) AS f, NULL AS g, 'caf\u{e9}' AS h";
    assert_eq!(
        run(["sql", &shop, "-o", "json", "-e", sql]).success(),
        "{\"columns\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\"], \
          \"rows\": [[9223372036854775807, 1.0, {\"real\": \"inf\"}, {\"real\": \"-inf\"}, \
          {\"base64\": \"AP8=\"}, {\"text_base64\": \"/w==\"}, null, \"caf\u{e9}\"]]}\n"
    );
}

#[test]
fn a_write_gives_its_changes_and_stays() {
    let (_fixture, shop) = Fixture::imported();
    let sql = "UPDATE orders SET amount = 0 WHERE customer_id = 8";
    assert_eq!(
        run(["sql", &shop, "-o", "json", "-e", sql]).success(),
        "{\"columns\": [], \"rows\": [], \"changes\": 5}\n"
    );
    let sql = "SELECT count(*) AS n FROM orders WHERE amount = 0";
    assert_eq!(
        run(["sql", &shop, "-o", "csv", "-e", sql]).success(),
        "n\n5\n"
    );
}

#[test]
fn a_table_for_people_has_no_colour_codes() {
    let (_fixture, shop) = Fixture::imported();
    let text = run([
        "sql",
        &shop,
        "-e",
        "SELECT code, name FROM countries ORDER BY 1",
    ])
    .success();
    assert!(
        text.contains("Switzerland") && text.contains("code"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn dot_commands_work_without_a_terminal() {
    let (_fixture, shop) = Fixture::imported();
    let script = ".mode json\n.tables\n.schema countries\n.quit\nSELECT 1;\n";
    let text = run_with_input(["sql", &shop], script).success();
    for name in ["countries", "customers", "notes", "orders"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("CREATE TABLE countries"), "{text}");
    assert!(!text.contains("[[1]]"), "nothing runs after .quit: {text}");

    let error = run_with_input(["sql", &shop], ".nonsense\n");
    assert!(error.failure(1).contains(".help"));
}

#[test]
fn explain_says_which_shards_and_why() {
    let (_fixture, shop) = Fixture::imported();
    let one = ".explain SELECT * FROM orders WHERE customer_id = 8;\n";
    let text = run_with_input(["sql", &shop], one).success();
    assert_eq!(text.matches("shard-").count(), 1, "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (_fixture, shop) = Fixture::imported();
    let sql = "SELECT a.id, b.id FROM orders a, orders b";
    let mut child = binary()
        .args(["sql", &shop, "-o", "csv", "-e", sql])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start shardwright");
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "id,id\n");
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), errors.as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_second_process_cannot_open_for_writing() {
    let (_fixture, shop) = Fixture::imported();
    let mut first = binary()
        .args(["sql", &shop, "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start shardwright");
    let mut stdin = first.stdin.take().unwrap();
    let mut answers = BufReader::new(first.stdout.take().unwrap());
    stdin.write_all(b"SELECT 1;\n").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert!(answer.contains("[[1]]"), "the first has the database open");

    let delete = "DELETE FROM orders WHERE customer_id = 8";
    let error = run(["sql", &shop, "-e", delete]).failure(3);
    assert!(
        error.contains("process") && error.contains("\nhint: "),
        "{error}"
    );

    stdin.write_all(b"SELECT count(*) FROM orders;\n").unwrap();
    drop(stdin);
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("[[200]]"), "the second wrote nothing: {rest}");
    assert!(first.wait().unwrap().success());
    run(["sql", &shop, "-e", delete]).success();
}
