//! Databases of the shapes that people have, imported and then queried and changed.

#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use crate::sharded::Sharded;
use shardwright_testkit::{
    Database, ForeignKeys, Oracle, Statement, Verdict, judge, sample::Sample,
};

/// Changes that an owner would make, by sample; they fire its triggers.
const CHANGES: &[(&str, &str)] = &[
    (
        "music",
        "UPDATE Track SET UnitPrice = 1.29 WHERE TrackId = 17",
    ),
    (
        "music",
        "DELETE FROM PlaylistTrack WHERE PlaylistId = 2 AND TrackId = 6",
    ),
    ("music", "INSERT INTO Genre VALUES (77, 'Néw')"),
    (
        "music",
        "UPDATE Invoice SET Total = Total + 1 WHERE BillingCountry = 'Japan'",
    ),
    (
        "wholesale",
        "INSERT INTO [Order Details] VALUES (10250, 59, 1.5, 3, 0.25)",
    ),
    (
        "wholesale",
        "UPDATE \"Order Details\" SET Quantity = Quantity + 1 WHERE OrderID = 10251",
    ),
    (
        "wholesale",
        "INSERT INTO CustomerDemographics VALUES ('big', NULL)",
    ),
    (
        "rental",
        "UPDATE film SET title = title || '!', last_update = '2021-01-01' WHERE film_id = 9",
    ),
    ("rental", "DELETE FROM payment WHERE amount < 0.5"),
    ("oddities", "UPDATE item SET price = 0 WHERE id = 3"),
    (
        "oddities",
        "UPDATE item SET qty = qty + 1 WHERE state = 'OPEN'",
    ),
    ("oddities", "DELETE FROM Tag WHERE name = 'bLUE5'"),
    ("oddities", "INSERT INTO tree VALUES (99, 4, 'leaf')"),
    (
        "oddities",
        "UPDATE \"group\" SET \"select\" = 'from' WHERE \"order\" = 6",
    ),
];

#[track_caller]
fn check(pair: &mut (Oracle, Sharded), what: &str, statement: &Statement) {
    // A sum of reals depends on the order, which is another one over shards.
    let mut statement = statement.clone();
    statement.tolerance.rounding = true;
    let statement = &statement;
    let actual = pair.1.execute(&statement.sql, &statement.params);
    match judge(&mut pair.0, statement, &actual) {
        Verdict::Equal | Verdict::Invalid => {}
        Verdict::Refused(why) if statement.writes => {
            println!("{what}: refused: {statement}: {why}")
        }
        verdict => panic!("{what}: {verdict:?}"),
    }
}

fn tables(oracle: &mut Oracle) -> Vec<String> {
    let sql = "SELECT '\"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_schema \
               WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'";
    let names = oracle
        .execute(sql, &[])
        .expect("the schema can be read")
        .rows;
    names.iter().map(|row| text(&row[0])).collect()
}

fn text(value: &shardwright_testkit::Value) -> String {
    match value {
        shardwright_testkit::Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}

#[test]
fn imported_samples_answer_and_change_as_their_files_do() {
    for sample in Sample::all(5) {
        for shards in [1, 3, 8, 16] {
            let what = format!("{} on {shards} shards", sample.name);
            let mut oracle = Oracle::in_memory(ForeignKeys::Enforced).expect("an empty database");
            oracle
                .script(&sample.script())
                .expect("the sample is well-formed");
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = directory.path().join("one.db");
            oracle.save(&file).expect("a copy");
            let tested = Sharded::import(&file, shards)
                .unwrap_or_else(|failure| panic!("{what}: {failure}"));
            let mut pair = (oracle, tested);
            for query in &sample.queries {
                check(&mut pair, &what, query);
            }
            let whole: Vec<Statement> = tables(&mut pair.0)
                .iter()
                .map(|table| Statement::query(format!("SELECT * FROM {table}")))
                .collect();
            whole
                .iter()
                .for_each(|query| check(&mut pair, &what, query));
            for (_, sql) in CHANGES.iter().filter(|(name, _)| *name == sample.name) {
                check(&mut pair, &what, &Statement::write(*sql, Vec::new()));
            }
            whole
                .iter()
                .for_each(|query| check(&mut pair, &what, query));
        }
    }
}
