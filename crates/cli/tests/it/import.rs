//! `import`, `export`, `shards` and `locate` on a file as users have it.

use std::fs;

use crate::command::run;
use crate::fixture::{Fixture, ask, contents};

#[test]
fn a_round_trip_gives_a_file_with_the_same_schema_and_rows() {
    let (fixture, shop) = Fixture::imported();
    run(["export", &shop, &fixture.arg("again.db")]).success();
    assert_eq!(
        contents(&fixture.path("again.db")),
        contents(&fixture.path("shop.db"))
    );
}

#[test]
fn an_import_leaves_its_source_byte_for_byte() {
    let fixture = Fixture::new();
    let before = fs::read(fixture.path("shop.db")).unwrap();
    fixture.import("shop.db", "shop", &[]).success();
    assert_eq!(fs::read(fixture.path("shop.db")).unwrap(), before);
    let mut names: Vec<_> = fs::read_dir(fixture.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["shop", "shop.db"], "and no journal beside it");
}

#[test]
fn answers_equal_those_of_the_source() {
    let (_fixture, shop) = Fixture::imported();
    let sql = "SELECT c.country, count(*), sum(o.amount) FROM orders o
               JOIN customers c ON c.id = o.customer_id GROUP BY 1 ORDER BY 1;
               SELECT * FROM totals ORDER BY total DESC, customer_id LIMIT 2;
               SELECT text, mark FROM notes ORDER BY 1;";
    assert_eq!(
        ask(&shop, sql),
        "{\"columns\": [\"country\", \"count(*)\", \"sum(o.amount)\"], \
          \"rows\": [[null, 65, 9607.5], [\"ch\", 65, 9750.0], [\"fr\", 70, 10792.5]]}\n\
         {\"columns\": [\"customer_id\", \"total\"], \"rows\": [[1, 900.0], [34, 892.5]]}\n\
         {\"columns\": [\"text\", \"mark\"], \"rows\": [[null, null], \
          [\"first\", {\"base64\": \"AP8=\"}], [\"first\", {\"base64\": \"AP8=\"}]]}\n"
    );
}

#[test]
fn a_dry_run_says_what_each_table_becomes_and_makes_nothing() {
    let fixture = Fixture::new();
    let text = fixture.import("shop.db", "shop", &["--dry-run"]).success();
    for table in ["customers", "orders", "countries", "notes"] {
        assert!(text.contains(table), "{text}");
    }
    assert!(
        text.contains("no primary key"),
        "and why notes is not sharded: {text}"
    );
    assert!(!fixture.path("shop").exists());
}

#[test]
fn a_dry_run_can_be_read_by_programs() {
    let fixture = Fixture::new();
    let text = fixture
        .import("shop.db", "shop", &["--dry-run", "-o", "json"])
        .success();
    let tables: Vec<serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(tables.len(), 4);
    let orders = tables
        .iter()
        .find(|table| table["table"] == "orders")
        .expect("orders is listed");
    assert_eq!(
        orders["shard_key"], "customer_id",
        "inferred from the foreign key"
    );
    let why = orders["why"].as_str().expect("a reason is given");
    assert!(why.contains("customers"), "{why}");
}

#[test]
fn options_decide_what_a_table_becomes() {
    let fixture = Fixture::new();
    let options = [
        "--reference",
        "countries",
        "--global",
        "customers",
        "--shard-key",
        "orders=id",
    ];
    let dry_run = [&options[..], &["--dry-run", "-o", "json"]].concat();
    let text = fixture.import("shop.db", "shop", &dry_run).success();
    let tables: Vec<serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    let kind = |name: &str| {
        let table = tables
            .iter()
            .find(|table| table["table"] == name)
            .expect("it is listed");
        (table["becomes"].clone(), table["shard_key"].clone())
    };
    assert_eq!(
        kind("countries"),
        ("reference".into(), serde_json::Value::Null)
    );
    assert_eq!(
        kind("customers"),
        ("global".into(), serde_json::Value::Null)
    );
    assert_eq!(kind("orders"), ("sharded".into(), "id".into()));
}

#[test]
fn the_shards_are_listed_and_hold_all_rows() {
    let (_fixture, shop) = Fixture::imported();
    let text = run(["shards", &shop, "-o", "json"]).success();
    let shards: Vec<serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    let rows: u64 = shards
        .iter()
        .map(|shard| shard["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 242, "all but the three notes, which have no key");
    let ids: Vec<_> = shards
        .iter()
        .map(|shard| shard["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["shard-0", "shard-1", "shard-2", "shard-3"]);
    assert!(run(["shards", &shop]).success().contains("shard-3"));
}

#[test]
fn a_key_is_located_where_its_row_is() {
    let (_fixture, shop) = Fixture::imported();
    let text = run(["locate", &shop, "7", "--table", "customers", "-o", "json"]).success();
    let places: Vec<serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    let shard = places[0]["shard"].as_str().expect("a shard is named");
    let mut holders = Vec::new();
    for index in 0..4 {
        let file = rusqlite::Connection::open(format!("{shop}/shard-{index}.db")).unwrap();
        let sql = "SELECT count(*) FROM customers WHERE id = 7";
        let count: i64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
        if count == 1 {
            holders.push(format!("shard-{index}"));
        }
    }
    assert_eq!(holders, [shard]);
}
