//! SQL over several shards, through any node.

use serde_json::{Value as Json, json};
use shardwright_http::reqwest::{Client, StatusCode};

use crate::cluster::{Cluster, wait};

/// A client that may ask every node. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) client: Client,
    pub(crate) cluster: Cluster,
}

impl Asking {
    pub(crate) async fn start(nodes: u32, shards: u32) -> Self {
        let cluster = Cluster::of_shards(nodes, shards).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { client, cluster }
    }

    pub(crate) async fn post(&self, node: &str, body: &Json) -> Option<(StatusCode, Json)> {
        let url = format!("{}/v1/sql", self.cluster.url_of(node));
        let body = body.to_string();
        let response = self.client.post(url).body(body).send().await.ok()?;
        let status = response.status();
        let text = response.text().await.ok()?;
        Some((status, serde_json::from_str(&text).expect("JSON")))
    }

    pub(crate) async fn get(&self, node: &str, path: &str) -> Option<Json> {
        let url = format!("{}{path}", self.cluster.url_of(node));
        let response = self.client.get(url).send().await.ok()?;
        let text = response.text().await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks again as long as the answer is that this may help.
    pub(crate) async fn ask(&self, node: &str, body: Json) -> Result<Json, Json> {
        wait("an answer", async || {
            let (status, answer) = self.post(node, &body).await?;
            if status.is_success() {
                return Some(Ok(answer));
            }
            let is_retryable = answer["error"]["retryable"] == true;
            (!is_retryable).then_some(Err(answer))
        })
        .await
    }

    pub(crate) async fn run(&self, node: &str, sql: &str) -> Json {
        let answer = self.ask(node, json!({ "sql": sql })).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_answers_for_all_shards() {
    let asking = Asking::start(3, 2).await;
    asking
        .run(
            "n1",
            "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, age INTEGER)",
        )
        .await;
    for number in 0..40 {
        let node = ["n1", "n2", "n3"][number % 3];
        let body = json!({
            "sql": "INSERT INTO users VALUES (?1, ?2, ?3)",
            "args": [format!("u{number}"), format!("name {number}"), number],
        });
        let answer = asking.ask(node, body).await.expect("it is written");
        assert_eq!(answer["changes"], 1, "{answer}");
        assert_eq!(answer["shards"].as_array().expect("shards").len(), 1);
        assert!(!answer["token"].as_object().expect("a token").is_empty());
    }
    for node in ["n1", "n2", "n3"] {
        let count = asking
            .run(node, "SELECT count(*), sum(age) FROM users")
            .await;
        assert_eq!(count["rows"], json!([[40, 780]]), "{count}");
        let one = asking
            .ask(
                node,
                json!({"sql": "SELECT name FROM users WHERE id = ?1", "args": ["u7"], "key": "u7"}),
            )
            .await
            .expect("it is read");
        assert_eq!(one["rows"], json!([["name 7"]]));
        assert_eq!(one["columns"], json!(["name"]));
    }
    let refused = asking
        .ask(
            "n2",
            json!({"sql": "INSERT INTO users VALUES ('u7', 'again', 1)"}),
        )
        .await
        .expect_err("it is there");
    assert_eq!(refused["error"]["code"], "CONSTRAINT", "{refused}");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_of_another_origin_changes_nothing() {
    let asking = Asking::start(1, 1).await;
    let url = format!("{}/v1/sql", asking.cluster.url_of("n1"));
    let request = asking.client.post(url).body(r#"{"sql": "SELECT 1"}"#);
    let request = request.header("origin", "https://x.example");
    let refused = request.send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_alone_may_do_is_passed_on() {
    let asking = Asking::start(3, 2).await;
    asking
        .run(
            "n3",
            "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT UNIQUE)",
        )
        .await;
    for number in 0..12 {
        let node = ["n1", "n2", "n3"][number % 3];
        let sql = format!("INSERT INTO notes(text) VALUES ('note {number}') RETURNING id");
        let answer = asking.run(node, &sql).await;
        assert_eq!(answer["rows"], json!([[number + 1]]), "{answer}");
    }
    for node in ["n1", "n2", "n3"] {
        let body = json!({"sql": "INSERT INTO notes(text) VALUES ('note 3')"});
        let refused = asking.ask(node, body).await.expect_err("it is there");
        assert_eq!(refused["error"]["code"], "CONSTRAINT", "{refused}");
    }
    // A node that has not heard of a change learns of it when it matters.
    asking
        .run("n1", "ALTER TABLE notes ADD COLUMN stars INTEGER DEFAULT 5")
        .await;
    for node in ["n3", "n2", "n1"] {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%stars%'";
        let said = asking.run(node, sql).await;
        assert_eq!(said["rows"], json!([[1]]), "{node}: {said}");
        let all = asking.run(node, "SELECT * FROM notes WHERE id = 1").await;
        assert_eq!(all["rows"], json!([[1, "note 0", 5]]), "{node}: {all}");
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_checked_against_the_latest_rows_however_old_a_read_may_be() {
    let asking = Asking::start(3, 6).await;
    asking
        .run(
            "n1",
            "CREATE TABLE users(id TEXT PRIMARY KEY, email TEXT UNIQUE)",
        )
        .await;
    for number in 0..30 {
        let insert = |id: &str, read: &str| {
            json!({
                "sql": "INSERT INTO users VALUES (?1, ?2)",
                "args": [format!("{id}{number}"), format!("{number}@example.org")],
                "read": read,
            })
        };
        let first = asking.ask("n2", insert("a", "leased")).await;
        assert!(first.is_ok(), "{first:?}");
        let second = asking.ask("n3", insert("b", "any")).await;
        let refused = second.expect_err("the value is taken");
        assert_eq!(refused["error"]["code"], "CONSTRAINT", "{refused}");
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_statements_that_come_at_once_know_a_table_that_another_node_has_made() {
    let asking = Asking::start(3, 2).await;
    for number in 0..8 {
        let sql = format!("CREATE TABLE t{number}(id TEXT PRIMARY KEY)");
        asking.run("n1", &sql).await;
        // One of them reads the new schema; the others find nothing newer than that, and were planned for the one before.
        let count = format!("SELECT count(*) FROM t{number}");
        let counts = (0..16).map(|_| asking.run("n2", &count));
        for counted in futures_util::future::join_all(counts).await {
            assert_eq!(counted["rows"], json!([[0]]), "{counted}");
        }
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_nothing_and_is_not_noticed_by_clients() {
    let asking = Asking::start(3, 2).await;
    asking
        .run("n1", "CREATE TABLE kept(id TEXT PRIMARY KEY)")
        .await;
    for number in 0..30 {
        if number == 10 {
            asking.cluster.kill("n2");
        }
        if number == 20 {
            asking.cluster.restart("n2").await;
        }
        let node = ["n1", "n3"][number % 2];
        asking
            .run(node, &format!("INSERT INTO kept VALUES ('k{number}')"))
            .await;
    }
    let count = asking.run("n2", "SELECT count(*) FROM kept").await;
    assert_eq!(count["rows"], json!([[30]]));
    asking.cluster.stop().await;
}
