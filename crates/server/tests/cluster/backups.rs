//! Backups: what a node sends while money moves between shards is one moment of all of them.

use std::{fs, io::Write as _, path::Path};

use serde_json::{Value as Json, json};
use shardwright_http::reqwest::StatusCode;
use shardwright_server::backup::{FORMAT, Frame, Head};
use shardwright_sql::{CATALOG, Layout, Options, ShardedDatabase, Value, backup};

use crate::{
    sql::Asking,
    transfers::{ACCOUNTS, BALANCE, Bank},
};

/// Asks a node for a backup.
async fn ask(asking: &Asking, node: &str, body: &str) -> (StatusCode, Vec<u8>) {
    let url = format!("{}/v1/backup", asking.cluster.url_of(node));
    let request = asking.client.post(url).body(body.to_owned());
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let bytes = response.bytes().await.expect("a whole answer");
    (status, bytes.to_vec())
}

/// Puts what a node has sent into a directory.
fn unpack(mut bytes: &[u8], directory: &Path) -> Head {
    let layout = Layout::of(directory);
    let Frame::Head(head) = Frame::read(&mut bytes).expect("a frame") else {
        panic!("the head comes first");
    };
    assert_eq!((head.format, &*head.keyspace), (FORMAT, "main"));
    let mut places = Vec::new();
    loop {
        match Frame::read(&mut bytes).expect("a frame") {
            Frame::File(file) => {
                let mut written = fs::File::create(layout.shard(&file.place)).expect("a file");
                while let Frame::Bytes(bytes) = Frame::read(&mut bytes).expect("a frame") {
                    written.write_all(&bytes).expect("room");
                }
                let length = written.metadata().expect("a file").len();
                assert_eq!(length, file.bytes);
                places.push(file.place);
            }
            Frame::End => break,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert!(bytes.is_empty(), "nothing follows");
    assert!(head.outline.places().eq(places.iter().map(String::as_str)));
    assert!(places.iter().all(|place| head.points.contains_key(place)));
    *head
}

fn restore(bytes: &[u8], directory: &Path) -> ShardedDatabase {
    let head = unpack(bytes, directory);
    let layout = Layout::of(directory);
    backup::complete(&layout, &head.keyspace, &head.outline).expect("all files are there");
    ShardedDatabase::open(directory, &Options::default()).expect("a database")
}

fn one(database: &ShardedDatabase, sql: &str) -> i64 {
    let answer = database.execute(sql, ()).expect("it is read");
    answer
        .first_value()
        .and_then(Value::as_i64)
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_one_moment_of_all_shards() {
    let bank = Bank::open(3, 3).await;
    let asking = &bank.asking;
    asking
        .run("n1", "CREATE TABLE marks(id INTEGER PRIMARY KEY)")
        .await;
    let tellers = bank.tellers(4, &["n1", "n2", "n3"]);
    for round in 0..3_i64 {
        bank.at_least(20 * (u64::try_from(round).expect("few") + 1))
            .await;
        // What is acknowledged before is in it, and nothing that begins after.
        let (before, after) = (round * 100, round * 100 + 50);
        for id in before..before + 10 {
            let insert = format!("INSERT INTO marks VALUES ({id})");
            asking.run("n1", &insert).await;
        }
        let node = ["n1", "n2", "n3"][usize::try_from(round).expect("few")];
        let (status, bytes) = ask(asking, node, r#"{"timeout_ms": 60000}"#).await;
        assert_eq!(
            status,
            StatusCode::OK,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        for id in after..after + 10 {
            let insert = format!("INSERT INTO marks VALUES ({id})");
            asking.run("n2", &insert).await;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let restored = restore(&bytes, directory.path());
        let sum = one(&restored, "SELECT sum(balance) FROM accounts");
        let all = i64::try_from(ACCOUNTS).expect("few") * BALANCE;
        assert_eq!(sum, all, "money was made or lost");
        let marks = |from: i64| {
            let sql = format!("SELECT count(*) FROM marks WHERE id BETWEEN {from} AND {from} + 9");
            one(&restored, &sql)
        };
        assert_eq!((marks(before), marks(after)), (10, 0));
        // It is a database, and no copy of a shard.
        let moved = restored.execute("UPDATE accounts SET balance = balance + 1", ());
        assert_eq!(moved.expect("it is written").changes, ACCOUNTS);
        let notes = restored.unresolved_commits().expect("they are read");
        assert!(notes.is_empty(), "{notes:?}");
    }
    bank.stop(tellers).await;
    asking.cluster.clone().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_every_table_where_its_rows_live() {
    let asking = Asking::start(1, 2).await;
    for sql in [
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */",
        "CREATE TABLE settings(name TEXT PRIMARY KEY, value) /* shardwright: global */",
        "CREATE INDEX by_name ON users(name)",
        "INSERT INTO codes VALUES ('a'), ('b')",
        "INSERT INTO settings VALUES ('x', 1.5)",
        "INSERT INTO users VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    ] {
        asking.run("n1", sql).await;
    }
    let (status, bytes) = ask(&asking, "n1", "").await;
    assert_eq!(status, StatusCode::OK);
    let directory = tempfile::tempdir().expect("a directory");
    let restored = restore(&bytes, directory.path());
    let schema = restored.schema();
    assert!(
        schema
            .stored()
            .objects
            .iter()
            .any(|made| made.name == "by_name")
    );
    for (table, rows) in [("users", 3), ("codes", 2), ("settings", 1)] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(one(&restored, &sql), rows, "{table}");
    }
    restored
        .execute("INSERT INTO codes VALUES ('c')", ())
        .expect("all places have the same number");
    assert!(directory.path().join(format!("{CATALOG}.db")).exists());
    // An answer that is cut short is known as such.
    let mut cut = &bytes[..bytes.len() - 1];
    let mut last = Frame::read(&mut cut);
    while last.is_ok() {
        assert!(!matches!(last, Ok(Frame::End)), "{last:?}");
        last = Frame::read(&mut cut);
    }
    let (status, refused) = ask(&asking, "n1", r#"{"timeout": 1}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let refused: Json = serde_json::from_slice(&refused).expect("JSON");
    assert_eq!(refused["error"]["code"], json!("BAD_REQUEST"));
    asking.cluster.stop().await;
}
