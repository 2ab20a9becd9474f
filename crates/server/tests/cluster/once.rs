//! Statements that are sent again, or that wait for others.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use shardwright_http::reqwest::StatusCode;
use shardwright_server::shard::{Interactive, Limits};
use tokio::{task::JoinSet, time::timeout};

use crate::{cluster::wait, sql::Asking};

const TABLES: &[&str] = &[
    "CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER)",
    "CREATE TABLE tokens(id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))), n INTEGER)",
    "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
    "CREATE TABLE units(name TEXT PRIMARY KEY, n INTEGER) /* shardwright: reference */",
    "INSERT INTO units VALUES ('m', 0)",
];

/// What another try would write elsewhere, or again everywhere.
const STATEMENTS: &[&str] = &[
    "INSERT INTO items(n) VALUES (1) RETURNING id",
    "INSERT INTO tokens(n) VALUES (1) RETURNING id",
    "INSERT INTO tokens VALUES (hex(randomblob(8)), 2) RETURNING id",
    "INSERT INTO tokens SELECT hex(randomblob(8)), n FROM units RETURNING id",
    "INSERT INTO users(email) VALUES ('a@x') RETURNING id",
    "INSERT INTO users VALUES (100, 'b@x')",
    "UPDATE units SET n = n + 1 RETURNING n",
    "CREATE TABLE more(id INTEGER PRIMARY KEY)",
];

async fn with_tables(nodes: u32) -> Asking {
    let asking = Asking::start(nodes, 2).await;
    for sql in TABLES {
        asking.run("n1", sql).await;
    }
    asking
}

async fn counts(asking: &Asking, node: &str) -> Json {
    let sql = "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM tokens), (SELECT count(*) FROM users),
        (SELECT n FROM units)";
    asking.run(node, sql).await["rows"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_statement_happens_once_through_whichever_node_it_is_sent_again() {
    let asking = with_tables(3).await;
    let numbered = |number: usize, sql: &str| json!({"sql": sql, "client": "shop", "seq": number});
    let mut first = Vec::new();
    for (number, sql) in STATEMENTS.iter().enumerate() {
        let answer = asking.ask("n1", numbered(number, sql)).await;
        first.push(answer.unwrap_or_else(|error| panic!("{sql}: {error}")));
    }
    assert_eq!(counts(&asking, "n1").await, json!([[1, 3, 2, 1]]));
    // The address of one of them is another user's since, on another shard.
    asking
        .run("n1", "UPDATE users SET email = 'c@x' WHERE id = 100")
        .await;
    for id in 101.. {
        let insert = format!("INSERT INTO users VALUES ({id}, 'b@x')");
        if asking.run("n1", &insert).await["shards"] != first[5]["shards"] {
            break;
        }
        let delete = format!("DELETE FROM users WHERE id = {id}");
        asking.run("n1", &delete).await;
    }
    let expected = json!([[1, 3, 3, 1]]);
    let writer = asking.cluster.writer_name().await;
    let mut nodes = vec!["n2", "n3", "n1"];
    for round in 0..2 {
        if round == 1 {
            // Whoever takes over knows it too.
            asking.cluster.kill(&writer);
            nodes.retain(|node| *node != writer);
        }
        for node in &nodes {
            for ((number, sql), first) in STATEMENTS.iter().enumerate().zip(&first) {
                let again = asking.ask(node, numbered(number, sql)).await;
                let again = again.unwrap_or_else(|error| panic!("{sql}: {error}"));
                for field in ["rows", "changes", "columns", "shards"] {
                    assert_eq!(again[field], first[field], "{sql}: {again}, {first}");
                }
            }
            assert_eq!(counts(&asking, node).await, expected);
        }
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_reference_table_is_read_no_earlier_than_its_token() {
    let asking = with_tables(3).await;
    for n in 1..6 {
        let changed = asking.run("n2", "UPDATE units SET n = n + 1").await;
        let token = &changed["token"];
        assert_eq!(token.as_object().expect("a token").len(), 3, "{changed}");
        for node in ["n1", "n2", "n3"] {
            let body = json!({"sql": "SELECT n FROM units", "read": "at_least", "token": token});
            let read = asking.ask(node, body).await.expect("it is read");
            assert_eq!(read["rows"], json!([[n]]), "{node}");
        }
    }
    asking.cluster.stop().await;
}

/// Occupies the first shard, until it is dropped or half a minute is over.
async fn occupied(asking: &Asking) -> Interactive {
    let limits = Limits {
        idle: Duration::from_secs(30),
        ..Limits::default()
    };
    let begun = asking.cluster.primary().await.begin(limits).await;
    begun.expect("it begins").open().expect("it is new")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_everywhere_and_who_waits_for_another_one_keep_to_their_time() {
    let asking = with_tables(1).await;
    let transaction = occupied(&asking).await;
    // One of them waits for the shard, and the others for that one.
    let patient = json!({"sql": "UPDATE units SET n = n + 1", "timeout_ms": 60_000});
    let hasty = async {
        for sql in [
            "UPDATE units SET n = n + 10",
            "CREATE TABLE others(id INTEGER PRIMARY KEY)",
        ] {
            let body = json!({"sql": sql, "timeout_ms": 300});
            let answer = timeout(Duration::from_secs(8), asking.post("n1", &body)).await;
            let (status, answer) = answer.expect("in its time").expect("an answer");
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
            assert_eq!(answer["error"]["retryable"], true, "{answer}");
        }
        drop(transaction);
    };
    let (made, ()) = tokio::join!(asking.ask("n1", patient), hasty);
    made.expect("it is made");
    assert_eq!(counts(&asking, "n1").await, json!([[0, 0, 0, 1]]));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_for_one_another_keep_nobody_else_from_running() {
    let asking = with_tables(1).await;
    let transaction = occupied(&asking).await;
    let mut waiting = JoinSet::new();
    // Whichever shard the first one writes to, one comes soon that waits for the first shard.
    for number in 0..300 {
        let asking = asking.clone();
        waiting.spawn(async move {
            let sql = format!("INSERT INTO users(id, email) VALUES ({number}, 'u{number}@x')");
            asking
                .post("n1", &json!({"sql": sql, "timeout_ms": 120_000}))
                .await
        });
    }
    for _ in 0..20 {
        let body = json!({"sql": "SELECT count(*) FROM units", "timeout_ms": 8_000});
        let (status, answer) = asking.post("n1", &body).await.expect("an answer");
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    drop(transaction);
    while let Some(ended) = waiting.join_next().await {
        let (status, answer) = ended.expect("no panic").expect("an answer");
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    assert_eq!(counts(&asking, "n1").await, json!([[0, 0, 300, 0]]));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_lost_under_its_statements_is_not_noticed_by_clients() {
    let asking = with_tables(3).await;
    let writer = asking.cluster.writer_name().await;
    let others: Vec<&str> = ["n1", "n2", "n3"]
        .into_iter()
        .filter(|node| *node != writer)
        .collect();
    // They give no numbers.
    let client = async |number: usize| {
        let sql = [
            "INSERT INTO items(n) VALUES (1)",
            "UPDATE units SET n = n + 1",
        ];
        for _ in 0..12 {
            let body = json!({"sql": sql[number % 2], "timeout_ms": 60_000});
            let answer = asking.ask(others[number / 2 % 2], body).await;
            answer.unwrap_or_else(|error| panic!("{error}"));
        }
    };
    let killing = async {
        wait("some of them to be made", async || {
            let rows = counts(&asking, others[0]).await;
            (rows[0][0].as_i64()? >= 10).then_some(())
        })
        .await;
        asking.cluster.kill(&writer);
    };
    tokio::join!(join_all((0..8).map(client)), killing);
    assert_eq!(counts(&asking, others[0]).await, json!([[48, 0, 0, 48]]));
    asking.cluster.stop().await;
}
