//! What clients of libSQL send, each kind of request, and what they must not be able to do.

use serde_json::{Value as Json, json};
use shardwright_http::reqwest::StatusCode;

use crate::{cluster::wait, sql::Asking};

/// A stream that is asked through any node.
pub(crate) struct Stream<'a> {
    asking: &'a Asking,
    baton: Json,
}

impl Stream<'_> {
    pub(crate) async fn send(&mut self, node: &str, requests: Json) -> Vec<Json> {
        let (status, body) = self.try_send(node, requests).await;
        assert!(status.is_success(), "{status}: {body}");
        let is_last = body["baton"].is_null();
        assert!(
            is_last || self.baton != body["baton"],
            "each reply has a new baton"
        );
        self.baton = body["baton"].clone();
        body["results"].as_array().expect("results").clone()
    }

    pub(crate) async fn try_send(&self, node: &str, requests: Json) -> (StatusCode, Json) {
        let body = json!({"baton": self.baton, "requests": requests, "unknown": 1});
        let (status, text) = post(self.asking, node, "/v3/pipeline", &body).await;
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    pub(crate) async fn run(&mut self, node: &str, sql: &str) -> Json {
        let results = self.send(node, json!([execute(sql)])).await;
        results[0].clone()
    }
}

async fn post(asking: &Asking, node: &str, path: &str, body: &Json) -> (StatusCode, String) {
    let url = format!("{}{path}", asking.cluster.url_of(node));
    let sending = asking.client.post(url).body(body.to_string());
    let response = sending.send().await.expect("an answer");
    let status = response.status();
    (status, response.text().await.expect("a body"))
}

pub(crate) fn stream(asking: &Asking) -> Stream<'_> {
    Stream {
        asking,
        baton: Json::Null,
    }
}

pub(crate) fn execute(sql: &str) -> Json {
    json!({"type": "execute", "stmt": {"sql": sql, "want_rows": true}})
}

/// A transaction in one batch, as clients write it.
pub(crate) fn transaction(statements: &[&str]) -> Json {
    let mut steps = vec![json!({"stmt": {"sql": "BEGIN IMMEDIATE"}})];
    for sql in statements.iter().chain(&["COMMIT"]) {
        let before = steps.len() - 1;
        steps.push(json!({"condition": {"type": "ok", "step": before}, "stmt": {"sql": sql}}));
    }
    let commit = steps.len() - 1;
    let failed = json!({"type": "not", "cond": {"type": "ok", "step": commit}});
    steps.push(json!({"condition": failed, "stmt": {"sql": "ROLLBACK"}}));
    json!({"type": "batch", "batch": {"steps": steps}})
}

/// A pipeline with each kind of request.
fn each_kind() -> Json {
    json!([
        {"type": "store_sql", "sql_id": 1, "sql": "INSERT INTO t VALUES (?, :a)"},
        {"type": "execute", "stmt": {"sql_id": 1,
            "args": [{"type": "float", "value": 7.0}],
            "named_args": [{"name": "a", "value": {"type": "text", "value": "é"}}]}},
        {"type": "execute", "stmt": {"sql": "SELECT id, a, x'ff' AS b, NULL, 0.5 FROM t WHERE id = 7"}},
        {"type": "describe", "sql_id": 1},
        {"type": "describe", "sql": "DELETE FROM t WHERE id = 1 RETURNING a"},
        {"type": "close_sql", "sql_id": 1},
        {"type": "describe", "sql_id": 1},
        {"type": "sequence", "sql": "INSERT INTO t VALUES (8, 'b'); DELETE FROM t WHERE id = 8;"},
        {"type": "get_autocommit"},
        {"type": "execute", "stmt": {"sql": "BEGIN"}},
        {"type": "get_autocommit"},
        {"type": "close"},
        {"type": "get_autocommit"},
    ])
}

/// The only value of a result.
pub(crate) fn value(result: &Json) -> &Json {
    &result["response"]["result"]["rows"][0][0]["value"]
}

pub(crate) fn code(result: &Json) -> &str {
    result["error"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no error: {result}"))
}

/// The codes of the steps of a batch that failed.
pub(crate) fn step_codes(result: &Json) -> Vec<&str> {
    let errors = result["response"]["result"]["step_errors"].as_array();
    let errors = errors.unwrap_or_else(|| panic!("no batch: {result}"));
    errors
        .iter()
        .filter_map(|error| error["code"].as_str())
        .collect()
}

async fn started() -> Asking {
    let asking = Asking::start(3, 2).await;
    asking
        .run("n1", "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
        .await;
    asking
}

async fn counted(asking: &Asking, node: &str) -> i64 {
    let answer = asking.run(node, "SELECT count(*) FROM t").await;
    answer["rows"][0][0].as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_request_is_answered() {
    let asking = started().await;
    let mut stream = stream(&asking);
    let results = stream.send("n2", each_kind()).await;
    assert_eq!(stream.baton, Json::Null, "it is closed");
    let types: Vec<&str> = results
        .iter()
        .map(|result| result["response"]["type"].as_str().unwrap_or("error"))
        .collect();
    assert_eq!(
        types,
        [
            "store_sql",
            "execute",
            "execute",
            "describe",
            "describe",
            "close_sql",
            "error",
            "sequence",
            "get_autocommit",
            "execute",
            "get_autocommit",
            "close",
            "error",
        ]
    );
    let inserted = &results[1]["response"]["result"];
    assert_eq!(inserted["affected_row_count"], 1);
    assert_eq!(inserted["last_insert_rowid"], "7");
    let found = &results[2]["response"]["result"];
    assert_eq!(
        found["cols"][0],
        json!({"name": "id", "decltype": "INTEGER"})
    );
    assert_eq!(
        found["rows"][0],
        json!([
            {"type": "integer", "value": "7"}, {"type": "text", "value": "é"},
            {"type": "blob", "base64": "/w"}, {"type": "null"}, {"type": "float", "value": 0.5},
        ])
    );
    let described = &results[3]["response"]["result"];
    assert_eq!(described["params"], json!([{"name": null}, {"name": ":a"}]));
    assert_eq!(described["is_readonly"], false);
    let returning = &results[4]["response"]["result"];
    assert_eq!(
        returning["cols"],
        json!([{"name": "a", "decltype": "TEXT"}])
    );
    assert_eq!(code(&results[6]), "SQL_STORE_NOT_FOUND");
    assert_eq!(results[8]["response"]["is_autocommit"], true);
    assert_eq!(results[10]["response"]["is_autocommit"], false);
    assert_eq!(code(&results[12]), "STREAM_CLOSED");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_out_which_versions_are_spoken() {
    let asking = Asking::start(1, 1).await;
    for (path, expect) in [
        ("/v2", 200),
        ("/v3", 200),
        ("/db/main/v3", 200),
        ("/v3-protobuf", 404),
    ] {
        let url = format!("{}{path}", asking.cluster.url_of("n1"));
        let status = asking
            .client
            .get(url)
            .send()
            .await
            .expect("an answer")
            .status();
        assert_eq!(status, expect, "{path}");
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_through_any_node() {
    let asking = started().await;
    let mut stream = stream(&asking);
    stream.run("n1", "BEGIN IMMEDIATE").await;
    let inserted = stream.run("n2", "INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(inserted["type"], "ok", "{inserted}");
    let seen = stream
        .run("n3", "SELECT count(*) FROM t WHERE id = 1")
        .await;
    assert_eq!(value(&seen), "1");
    assert_eq!(counted(&asking, "n2").await, 0);
    assert_eq!(stream.run("n2", "COMMIT").await["type"], "ok");
    assert_eq!(counted(&asking, "n2").await, 1);

    stream.run("n3", "BEGIN").await;
    stream.run("n1", "DELETE FROM t WHERE id = 1").await;
    assert_eq!(stream.run("n1", "ROLLBACK").await["type"], "ok");
    stream.run("n1", "BEGIN").await;
    stream.run("n1", "DELETE FROM t WHERE id = 1").await;
    stream.send("n2", json!([{"type": "close"}])).await;
    assert_eq!(counted(&asking, "n2").await, 1);
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baton_is_good_once_and_for_one_stream() {
    let asking = started().await;
    let mut stream = stream(&asking);
    stream.run("n1", "SELECT 1").await;
    let used = stream.baton.clone();
    stream.run("n2", "SELECT 1").await;
    let good = stream.baton.as_str().expect("a baton").to_owned();
    let made_up = format!("{}{}", "0".repeat(32), &good[32..]);
    let guessed = format!("{}.{}{}", &good[..32], "0".repeat(32), &good[65..]);
    for (baton, expect) in [
        (used, "BATON_REUSED"),
        (json!(guessed), "BATON_REUSED"),
        (json!(made_up), "BATON_INVALID"),
        (json!("nonsense"), "BATON_INVALID"),
    ] {
        let other = Stream {
            asking: &asking,
            baton: baton.clone(),
        };
        for node in ["n1", "n3"] {
            let (status, body) = other.try_send(node, json!([{"type": "close"}])).await;
            assert_eq!(
                (status.as_u16(), &body["code"]),
                (400, &json!(expect)),
                "{baton}"
            );
        }
    }
    let gone = Stream {
        asking: &asking,
        baton: json!(format!("{}nowhere", &good[..66])),
    };
    let (status, body) = gone.try_send("n1", json!([])).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (503, &json!("UNREACHABLE"))
    );
    assert_eq!(value(&stream.run("n3", "SELECT 5").await), "5");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_transaction() {
    let asking = started().await;
    let mut stream = stream(&asking);
    let good = transaction(&[
        "INSERT INTO t VALUES (1, 'a')",
        "UPDATE t SET a = 'b' WHERE id = 1",
    ]);
    let bad = transaction(&[
        "UPDATE t SET a = 'c' WHERE id = 1",
        "INSERT INTO t VALUES (1, 'd')",
    ]);
    let one = transaction(&["INSERT INTO t VALUES (2, 'a'), (3, 'a')"]);
    let results = stream.send("n1", json!([good, bad, one])).await;
    assert_eq!(step_codes(&results[0]), [""; 0]);
    assert_eq!(step_codes(&results[1]), ["SQLITE_CONSTRAINT_PRIMARYKEY"]);
    let kept = stream.run("n3", "SELECT a FROM t WHERE id = 1").await;
    assert_eq!(value(&kept), "b");

    // What a transaction has read of several shards it may write then.
    let counted = transaction(&[
        "SELECT count(*) FROM t",
        "INSERT INTO t SELECT 10 + count(*), 'all' FROM t",
        "SELECT 1",
    ]);
    let results = stream.send("n2", json!([counted])).await;
    assert_eq!(step_codes(&results[0]), [""; 0]);
    let added = stream.run("n1", "SELECT id FROM t WHERE a = 'all'").await;
    assert_eq!(value(&added), "13");

    let later = json!({"type": "batch", "batch": {"steps": [
        {"condition": {"type": "ok", "step": 0}, "stmt": {"sql": "DELETE FROM t WHERE id = 1"}}]}});
    assert_eq!(
        code(&stream.send("n1", json!([later])).await[0]),
        "BATCH_COND_BAD_STEP"
    );
    assert_eq!(
        value(
            &stream
                .run("n1", "SELECT count(*) FROM t WHERE id = 1")
                .await
        ),
        "1"
    );
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_on_several_shards_happens_on_all_or_none() {
    let asking = started().await;
    let mut stream = stream(&asking);
    let inserts: Vec<String> = (0..12)
        .map(|id| format!("INSERT INTO t VALUES ({id}, 'a')"))
        .collect();
    let mut statements: Vec<&str> = inserts.iter().map(String::as_str).collect();
    statements.push("INSERT INTO t VALUES (0, 'again')");
    let results = stream.send("n1", json!([transaction(&statements)])).await;
    assert_eq!(step_codes(&results[0]), ["SQLITE_CONSTRAINT_PRIMARYKEY"]);
    assert_eq!(counted(&asking, "n2").await, 0);

    stream.run("n2", "BEGIN").await;
    for insert in &inserts {
        let inserted = stream.run("n3", insert).await;
        assert_eq!(inserted["type"], "ok", "{inserted}");
    }
    assert_eq!(counted(&asking, "n2").await, 0);
    assert_eq!(stream.run("n1", "COMMIT").await["type"], "ok");
    assert_eq!(counted(&asking, "n2").await, 12);
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_happens_as_a_whole_or_not_at_all() {
    let asking = started().await;
    let mut stream = stream(&asking);
    let migration = transaction(&[
        "CREATE TABLE __drizzle_migrations(id SERIAL PRIMARY KEY, hash TEXT)",
        "CREATE TABLE u(id INTEGER PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN b",
        "INSERT INTO __drizzle_migrations(hash) VALUES ('one')",
    ]);
    // Whichever node it comes to, the keyspace's writer makes it.
    for (node, expect) in [("n1", vec![]), ("n2", vec!["SQLITE_ERROR"])] {
        let results = stream.send(node, json!([migration])).await;
        assert_eq!(step_codes(&results[0]), expect);
    }
    let half = transaction(&[
        "DROP TABLE t",
        "CREATE TABLE v(id INTEGER PRIMARY KEY",
        "DROP TABLE u",
    ]);
    assert_eq!(
        step_codes(&stream.send("n3", json!([half])).await[0]),
        ["SQLITE_ERROR"]
    );
    let rows = transaction(&[
        "CREATE TABLE v(id INTEGER PRIMARY KEY)",
        "INSERT INTO v VALUES (1)",
    ]);
    assert_eq!(
        step_codes(&stream.send("n3", json!([rows])).await[0]),
        ["UNSUPPORTED"]
    );
    let tables = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name)";
    let found = stream.run("n2", tables).await;
    assert_eq!(value(&found), "__drizzle_migrations,t,u");
    let noted = stream
        .run("n3", "SELECT count(*) FROM __drizzle_migrations")
        .await;
    assert_eq!(value(&noted), "1");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_is_rolled_back_and_its_client_is_told() {
    let asking = started().await;
    let mut stream = stream(&asking);
    stream.run("n1", "BEGIN").await;
    stream.run("n1", "INSERT INTO t VALUES (1, 'a')").await;
    // It waits until the transaction has ended.
    asking.run("n2", "INSERT INTO t VALUES (1, 'b')").await;
    wait("the stream to be known as expired", async || {
        let (status, body) = stream.try_send("n3", json!([execute("COMMIT")])).await;
        assert_eq!(
            (status.as_u16(), &body["code"]),
            (400, &json!("STREAM_EXPIRED"))
        );
        body["message"]
            .as_str()?
            .contains("rolled back")
            .then_some(())
    })
    .await;
    assert_eq!(counted(&asking, "n3").await, 1);
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_ends_its_transaction_is_not_followed_by_others() {
    let asking = started().await;
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.a = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
    asking.run("n1", trigger).await;
    let mut stream = stream(&asking);
    stream.run("n1", "BEGIN").await;
    stream.run("n1", "INSERT INTO t VALUES (1, 'a')").await;
    let refused = stream.run("n1", "INSERT INTO t VALUES (1, 'bad')").await;
    assert_eq!(refused["type"], "error", "{refused}");
    let after = stream.run("n1", "INSERT INTO t VALUES (2, 'a')").await;
    assert_eq!(code(&after), "TRANSACTION_CLOSED");
    assert_eq!(
        code(&stream.run("n1", "COMMIT").await),
        "TRANSACTION_CLOSED"
    );
    assert_eq!(counted(&asking, "n1").await, 0);
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_requests_without_a_stream_are_answered() {
    let asking = started().await;
    let steps = json!([
        {"stmt": {"sql": "INSERT INTO t VALUES (1, 'a')"}},
        {"stmt": {"sql": "SELECT * FROM nowhere"}},
        {"condition": {"type": "error", "step": 1}, "stmt": {"sql": "SELECT a FROM t", "want_rows": true}},
    ]);
    let body = json!({"baton": null, "batch": {"steps": steps}});
    let (status, text) = post(&asking, "n2", "/v3/cursor", &body).await;
    assert!(status.is_success(), "{text}");
    let lines: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let types: Vec<&str> = lines[1..]
        .iter()
        .map(|line| line["type"].as_str().unwrap_or_default())
        .collect();
    let expect = [
        "step_begin",
        "step_end",
        "step_error",
        "step_begin",
        "row",
        "step_end",
    ];
    assert_eq!(types, expect);
    assert_eq!(lines[5]["row"], json!([{"type": "text", "value": "a"}]));
    let mut stream = stream(&asking);
    stream.baton = lines[0]["baton"].clone();
    assert_eq!(value(&stream.run("n1", "SELECT 2").await), "2");

    let stmt = json!({"stmt": {"sql": "SELECT a FROM t WHERE id = ?", "args": [{"type": "integer", "value": "1"}]}});
    let (_, text) = post(&asking, "n1", "/v1/execute", &stmt).await;
    let answer: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["result"]["rows"][0][0]["value"], "a");
    let batch = json!({"batch": {"steps": [{"stmt": {"sql": "BEGIN"}}, {"stmt": {"sql": "DELETE FROM t WHERE id = 1"}}]}});
    let (_, text) = post(&asking, "n1", "/v1/batch", &batch).await;
    let answer: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["result"]["step_results"][1]["affected_row_count"], 1);
    assert_eq!(
        counted(&asking, "n3").await,
        1,
        "what is not committed is rolled back"
    );
    let wrong = json!({"stmt": {"sql": "SELEC"}});
    let (status, text) = post(&asking, "n1", "/v1/execute", &wrong).await;
    let answer: Json = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (400, &json!("SQLITE_ERROR"))
    );
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_too_much_is_refused_by_name() {
    let asking = started().await;
    // One byte too many: a node reads no further, and whoever still sends then may not hear what it answers.
    let around = json!({"requests": [execute("")]}).to_string().len();
    let large = json!({"requests": [execute(&"x".repeat((16 << 20) + 1 - around))]});
    for (path, body, status, expect) in [
        (
            "/v2/pipeline",
            json!({"requests": [{"type": "dance"}]}),
            400,
            "BAD_REQUEST",
        ),
        ("/v3/cursor", json!([]), 400, "BAD_REQUEST"),
        ("/v3/pipeline", large, 413, "TOO_LARGE"),
        (
            "/db/other/v2/pipeline",
            json!({"requests": []}),
            404,
            "UNKNOWN_KEYSPACE",
        ),
    ] {
        let (found, text) = post(&asking, "n1", path, &body).await;
        let answer: Json = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(
            (found.as_u16(), &answer["code"]),
            (status, &json!(expect)),
            "{path}: {text}"
        );
    }
    let mut stream = stream(&asking);
    let results = stream
        .send(
            "n1",
            json!([
                execute("PRAGMA journal_mode = off"),
                execute("ATTACH 'x' AS y"),
                execute("BEGIN TRANSACTION READONLY"),
                execute("DELETE FROM t WHERE id = 1"),
                execute("ROLLBACK"),
                execute("COMMIT"),
                execute("CREATE TABLE p(id INTEGER PRIMARY KEY)"),
                execute("CREATE TABLE c(id INTEGER PRIMARY KEY REFERENCES p ON DELETE CASCADE) /* shardwright: shard_key=id colocate_with=p */"),
                execute("PRAGMA foreign_keys = off"),
                execute("DELETE FROM p WHERE id = 1"),
                execute("PRAGMA foreign_keys = on"),
                execute("DELETE FROM p WHERE id = 1"),
            ]),
        )
        .await;
    let codes: Vec<&str> = results
        .iter()
        .map(|result| result["error"]["code"].as_str().unwrap_or("ok"))
        .collect();
    assert_eq!(
        codes,
        [
            "UNSUPPORTED",
            "UNSUPPORTED",
            "ok",
            "SQLITE_READONLY",
            "ok",
            "SQLITE_ERROR",
            "ok",
            "ok",
            "ok",
            "UNSUPPORTED",
            "ok",
            "ok",
        ]
    );
    asking.cluster.stop().await;
}
