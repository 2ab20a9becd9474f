//! A whole cluster in one process, asked over SQL.

use std::{fs, path::Path, process::Stdio, thread};

use crate::{
    command::{binary, run},
    fixture::{Fixture, ask},
    running::Running,
};

#[test]
fn it_answers_everything_at_one_address_and_keeps_its_data() {
    let fixture = Fixture::new();
    let data = fixture.arg("trial");
    let dev = Running::dev(&data, &[]);
    dev.sql("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT UNIQUE)");
    let changed = dev.sql("INSERT INTO notes(text) VALUES ('one')");
    assert_eq!(changed, "{\"columns\": [], \"rows\": [], \"changes\": 1}\n");
    assert_eq!(dev.get("/livez").0, 200);
    assert_eq!(dev.get("/readyz").0, 200);
    assert!(dev.get("/metrics").1.contains("shardwright_replicated"));
    let status = run(["status", "-o", "json", "--coordinator", &dev.url()]).success();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["nodes_up"], 3, "{status}");
    let replicated = status["replicated"].as_array().expect("a list");
    // Two for rows, and the catalog.
    assert_eq!(replicated.len(), 3, "{status}");
    let nodes = run(["node", "list", "--coordinator", &dev.url()]).success();
    assert!(nodes.contains("│ n3 ┆ up"), "{nodes}");

    // As a crash does.
    drop(dev);
    let dev = Running::dev(&data, &[]);
    dev.sql("INSERT INTO notes(text) VALUES ('two')");
    let all = "{\"columns\": [\"id\", \"text\"], \"rows\": [[1, \"one\"], [2, \"two\"]]}\n";
    assert_eq!(dev.sql("SELECT * FROM notes ORDER BY id"), all);

    let taken = run(["dev", "--data", &data, "--listen", "127.0.0.1:0"]);
    assert_ne!(taken.code, Some(0), "another process has it: {taken:?}");
    assert_eq!(taken.out, "", "what takes no requests listens nowhere");
    drop(dev);
    let fewer = run(["dev", "--data", &data, "--nodes", "2"]).failure(3);
    assert!(fewer.contains("FEWER_NODES"), "{fewer}");
}

#[test]
fn errors_and_values_are_those_of_files() {
    let fixture = Fixture::new();
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let refused = |code: i32, sql: &str| {
        let run = run(["sql", "--node", &dev.url(), "-e", sql]);
        run.failure(code)
    };
    dev.sql("CREATE TABLE t(id TEXT PRIMARY KEY, value)");
    assert!(refused(1, "SELEC 1").contains("error[SQL_ERROR]"));
    assert!(refused(1, "SELECT * FROM nowhere").contains("error[SQL_ERROR]"));
    dev.sql("INSERT INTO t VALUES ('a', x'00ff')");
    assert!(refused(1, "INSERT INTO t VALUES ('a', 1)").contains("error[CONSTRAINT]"));
    let several = "INSERT INTO t VALUES ('b', 1), ('c', 2), ('d', 3), ('e', 4), ('f', 5)";
    dev.sql(several);
    let half = "INSERT INTO t VALUES ('g', 1), ('h', 2), ('i', 3), ('a', 4)";
    assert!(refused(1, half).contains("error[CONSTRAINT]"));
    assert_eq!(
        dev.sql("SELECT group_concat(id, '') FROM (SELECT id FROM t ORDER BY id)"),
        "{\"columns\": [\"group_concat(id, '')\"], \"rows\": [[\"abcdef\"]]}\n"
    );
    assert!(refused(1, ".shards").contains("error[USAGE]"));
    assert!(refused(1, ".explain SELECT 1").contains("error[USAGE]"));
    assert_eq!(
        dev.sql(".tables"),
        "{\"columns\": [\"table\"], \"rows\": [[\"t\"]]}\n"
    );
    let schema = "CREATE TABLE t(id TEXT PRIMARY KEY, value);\n";
    assert_eq!(dev.sql(".schema T"), schema);
    assert!(refused(1, ".schema nowhere").contains("error[UNKNOWN_TABLE]"));
    let sql = "SELECT 9223372036854775807 AS a, 1.0 AS b, 9e999 AS c, value AS d, NULL AS e \
               FROM t WHERE id = 'a'";
    assert_eq!(
        dev.sql(sql),
        "{\"columns\": [\"a\", \"b\", \"c\", \"d\", \"e\"], \"rows\": \
         [[9223372036854775807, 1.0, {\"real\": \"inf\"}, {\"base64\": \"AP8=\"}, null]]}\n"
    );
}

#[test]
fn a_file_and_a_directory_come_into_a_cluster() {
    let (fixture, shop) = Fixture::imported();
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let url = dev.url();
    let journal = fixture.arg("journal");
    let import = |from: &str, more: &[&str]| {
        let arguments = ["import", from, "--node", &url, "--journal", &journal];
        run(arguments.iter().chain(more))
    };
    let would = import(&fixture.arg("shop.db"), &["--dry-run"]).success();
    assert!(would.contains("would be in the cluster"), "{would}");
    let done = import(&shop, &[]).success();
    assert!(
        done.contains("245 rows in 4 tables are now in the cluster."),
        "{done}"
    );
    assert!(!fixture.path("journal").exists());
    for sql in [
        "SELECT * FROM customers ORDER BY id",
        "SELECT * FROM orders ORDER BY id",
        "SELECT * FROM countries ORDER BY code",
        "SELECT text, mark, count(*) FROM notes GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT * FROM totals ORDER BY customer_id",
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('totals', 'orders_by_customer')",
    ] {
        assert_eq!(dev.sql(sql), ask(&shop, sql), "{sql}");
    }
    let refused = import(&fixture.arg("shop.db"), &[]).failure(3);
    assert!(refused.contains("error[EXISTS]"), "{refused}");
    let nothing = import(&shop, &["--resume"]).failure(1);
    assert!(nothing.contains("error[JOURNAL]"), "{nothing}");
    let declared = import(&shop, &["--global", "orders"]).failure(2);
    assert!(declared.contains("error[USAGE]"), "{declared}");
}

#[test]
fn rows_that_refer_to_later_ones_and_last_numbers_come_into_a_cluster() {
    let fixture = Fixture::new();
    fixture.create(
        "links.db",
        "CREATE TABLE chain(id INTEGER PRIMARY KEY, next REFERENCES chain);
         CREATE TABLE tree(tenant INT, id INT, parent INT, PRIMARY KEY(tenant, id),
           FOREIGN KEY(tenant, parent) REFERENCES tree(tenant, id)) WITHOUT ROWID;
         CREATE TABLE copied(id INTEGER PRIMARY KEY, next REFERENCES copied);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           INSERT INTO chain SELECT i, nullif(i + 1, 1001) FROM n;
         INSERT INTO tree SELECT id % 7, id, iif(id + 7 < 1001, id + 7, NULL) FROM chain;
         INSERT INTO copied SELECT * FROM chain;
         CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL UNIQUE);
         CREATE TABLE counted_once(id INTEGER PRIMARY KEY AUTOINCREMENT, text);
         INSERT INTO counted VALUES (1, 'a'), (70, 'b'); DELETE FROM counted WHERE id = 70;
         INSERT INTO counted_once VALUES (1, 'a'), (70, 'b'); DELETE FROM counted_once;
         CREATE TABLE counted_keyed(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL);
         INSERT INTO counted_keyed VALUES (1, 'a'), (2, 'b'), (70, 'b'); DELETE FROM counted_keyed WHERE id = 70",
    );
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let (file, url, journal) = (fixture.arg("links.db"), dev.url(), fixture.arg("journal"));
    let arguments = [
        &["import", &file, "--node", &url, "--journal", &journal][..],
        &["--global", "chain", "--global", "counted_once"],
        &["--reference", "copied", "--shard-key", "counted_keyed=who"],
    ];
    let import = || run(arguments.concat());
    // A name is taken by whatever has it.
    dev.sql("CREATE VIEW tree AS SELECT 1");
    let refused = import().failure(3);
    assert!(
        refused.contains("the cluster has tree already"),
        "{refused}"
    );
    dev.sql("DROP VIEW tree");
    let done = import().success();
    assert!(done.contains("3,003 rows in 6 tables are now"), "{done}");
    for table in ["chain", "tree", "copied"] {
        let counted = dev.sql(&format!("SELECT count(*), sum(id) FROM {table}"));
        assert!(counted.contains("[[1000, 500500]]"), "{table}: {counted}");
    }
    for (table, column) in [
        ("counted", "text"),
        ("counted_once", "text"),
        ("counted_keyed", "who"),
    ] {
        dev.sql(&format!("INSERT INTO {table}({column}) VALUES ('next')"));
        let next = dev.sql(&format!("SELECT id FROM {table} WHERE {column} = 'next'"));
        assert!(next.contains("[[71]]"), "{table}: {next}");
    }
}

#[test]
fn what_a_cluster_would_refuse_is_said_before_anything_is_made() {
    let fixture = Fixture::new();
    fixture.create(
        "circle.db",
        "CREATE TABLE circle(id INTEGER PRIMARY KEY, next REFERENCES circle);
         INSERT INTO circle VALUES (1, 2), (2, 1);
         CREATE TABLE large(id INTEGER PRIMARY KEY, x); INSERT INTO large VALUES (1, zeroblob(9000000))",
    );
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let (file, url, journal) = (fixture.arg("circle.db"), dev.url(), fixture.arg("journal"));
    let arguments = ["import", &file, "--node", &url, "--global", "circle"];
    for more in [&["--journal", &journal][..], &["--dry-run"]] {
        let refused = run(arguments.iter().chain(more)).failure(3);
        assert!(refused.contains("error[UNFIT]"), "{refused}");
        assert!(refused.contains("circle: 2 rows"), "{refused}");
        assert!(refused.contains("large: 1 row"), "{refused}");
    }
    assert!(!fixture.path("journal").exists());
    assert!(dev.sql(".tables").contains("\"rows\": []"));
}

#[test]
fn the_largest_row_that_is_not_refused_comes_into_a_cluster() {
    let fixture = Fixture::new();
    fixture.create(
        "large.db",
        "CREATE TABLE large(id INTEGER PRIMARY KEY, x, y TEXT);
         INSERT INTO large VALUES (1, zeroblob((8 << 20) - (64 << 10) - 32), ''), (2, '', 'small')",
    );
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let (file, url, journal) = (fixture.arg("large.db"), dev.url(), fixture.arg("journal"));
    run(["import", &file, "--node", &url, "--journal", &journal]).success();
    let sizes = dev.sql("SELECT length(x) FROM large ORDER BY id");
    assert!(sizes.contains("[[8323040], [0]]"), "{sizes}");
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let fixture = Fixture::new();
    fixture.create(
        "many.db",
        "CREATE TABLE many(id INTEGER PRIMARY KEY, text TEXT);
         CREATE INDEX many_by_text ON many(text);
         CREATE TABLE log(text);
         CREATE TRIGGER many_logged AFTER INSERT ON many BEGIN
           INSERT INTO log VALUES ('never during an import');
         END;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
           INSERT INTO many SELECT i, 'text ' || i FROM n;
         DELETE FROM log",
    );
    let dev = Running::dev(&fixture.arg("trial"), &["--nodes", "1"]);
    let (file, url) = (fixture.arg("many.db"), dev.url());
    let journal = fixture.path("journal");
    let arguments = [
        "import",
        &file,
        "--node",
        &url,
        "--global",
        "log",
        "--journal",
        &fixture.arg("journal"),
    ];
    kill_an_import(&arguments, &journal);

    let refused = run(arguments).failure(3);
    assert!(refused.contains("error[JOURNAL]"), "{refused}");
    let resume = || run(arguments.iter().chain(&["--resume"]));
    // As many rows, and not the same ones.
    fixture.create("many.db", "UPDATE many SET text = 'other' WHERE id = 12000");
    let refused = resume().failure(3);
    assert!(refused.contains("error[JOURNAL]"), "{refused}");
    fixture.create(
        "many.db",
        "UPDATE many SET text = 'text 12000' WHERE id = 12000",
    );
    dev.sql("CREATE VIEW many_by_text AS SELECT 1");
    let refused = resume().failure(3);
    assert!(
        refused.contains("the cluster has many_by_text"),
        "{refused}"
    );
    dev.sql("DROP VIEW many_by_text");
    let done = resume().success();
    assert!(done.contains("after an interruption"), "{done}");
    assert!(!journal.exists());
    let sql = "SELECT count(*), sum(id), count(DISTINCT text) FROM many";
    let counted = dev.sql(sql);
    assert!(counted.contains("[[12000, 72006000, 12000]]"), "{counted}");
    let logged = dev.sql("SELECT count(*) FROM log");
    assert!(logged.contains("[[0]]"), "{logged}");
    let objects =
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('many_by_text', 'many_logged')";
    assert!(dev.sql(objects).contains("[[2]]"));
}

/// Starts an import, and kills it when the cluster has acknowledged something.
fn kill_an_import(arguments: &[&str], journal: &Path) {
    let mut child = binary()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start an import");
    let batches = || {
        let text = fs::read_to_string(journal).unwrap_or_default();
        let written: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        written.and_then(|written| written["batches"].as_u64())
    };
    while batches().unwrap_or_default() < 3 {
        let ended = child.try_wait().expect("ask after an import");
        assert_eq!(ended, None, "it ended before it was killed");
        thread::yield_now();
    }
    child.kill().expect("kill an import");
    child.wait().expect("wait for its end");
}
