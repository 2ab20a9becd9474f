//! Statements while shards are sealed, split and merged.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value as Json, json};
use shardwright_http::reqwest::StatusCode;
use shardwright_server::shard::Limits;
use shardwright_topology::ShardId;
use tokio::task::JoinSet;

use crate::{
    by_hand::ByHand,
    cluster::{PATIENCE, wait},
    sql::Asking,
};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

const TABLES: &[&str] = &[
    "CREATE TABLE plain(id TEXT PRIMARY KEY, n INTEGER)",
    "CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER)",
    "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
    "CREATE TABLE units(name TEXT PRIMARY KEY, n INTEGER) /* shardwright: reference */",
    "INSERT INTO units VALUES ('m', 0)",
];

/// How many rows `plain` has at first.
const ROWS: usize = 40;

async fn with_tables(shards: u32) -> Asking {
    let asking = Asking::start(3, shards).await;
    for sql in TABLES {
        asking.run("n1", sql).await;
    }
    for number in 0..ROWS {
        let insert = format!("INSERT INTO plain VALUES ('k{number}', 0)");
        asking.run(NODES[number % 3], &insert).await;
    }
    asking
}

/// Runs a statement that has to succeed at its first try, and may take long.
async fn once(asking: &Asking, node: &str, mut body: Json) -> Json {
    body["timeout_ms"] = 60_000.into();
    let (status, answer) = asking.post(node, &body).await.expect("an answer");
    assert_eq!(status, StatusCode::OK, "{body}: {answer}");
    answer
}

/// Waits until a node does not run statements on a shard.
async fn until_held_up(asking: &Asking, node: &str) {
    wait("a shard that is sealed", async || {
        let body = json!({"sql": "SELECT count(*) FROM plain", "timeout_ms": 50});
        let (status, answer) = asking.post(node, &body).await?;
        assert!(!status.is_success(), "{answer}");
        // A slow machine may have had no time even to find that out.
        (answer["error"]["code"] == "UNREACHABLE").then(|| {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer["error"]["retryable"], true, "{answer}");
        })
    })
    .await;
}

/// Statements of all kinds, of which each waits for all shards, or for that of its key.
fn held_up(asking: &Asking) -> JoinSet<Json> {
    let mut waiting = JoinSet::new();
    let mut start = |number: usize, body: Json| {
        let asking = asking.clone();
        waiting.spawn(async move { once(&asking, NODES[number % 3], body).await });
    };
    for number in 0..ROWS {
        let update = format!("UPDATE plain SET n = n + 1 WHERE id = 'k{number}'");
        start(number, json!({ "sql": update }));
    }
    for number in 0..6 {
        for read in ["leased", "consistent"] {
            let sum = "SELECT count(*) FROM plain";
            start(number, json!({"sql": sum, "read": read}));
        }
        start(number, json!({"sql": "UPDATE units SET n = n + 1"}));
        start(number, json!({"sql": "INSERT INTO items(n) VALUES (1)"}));
        let user = format!("INSERT INTO users VALUES ({number}, 'u{number}@x')");
        start(number, json!({ "sql": user }));
        let all = "UPDATE plain SET n = n + 100";
        let (client, seq) = ("shop", number);
        start(
            number,
            json!({"sql": all, "write": "best-effort", "client": client, "seq": seq}),
        );
    }
    start(1, json!({"sql": "CREATE TABLE more(id TEXT PRIMARY KEY)"}));
    waiting
}

async fn all_of(mut waiting: JoinSet<Json>) {
    while let Some(ended) = waiting.join_next().await {
        let answer = ended.expect("it succeeds");
        if answer["columns"] == json!(["count(*)"]) {
            assert_eq!(answer["rows"], json!([[ROWS]]), "{answer}");
        }
    }
}

/// Checks that all that was [held up](held_up) has happened once.
async fn check(asking: &Asking) {
    for node in NODES {
        let counts = "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM users),
            (SELECT n FROM units), (SELECT count(*) FROM more)";
        let rows = asking.run(node, counts).await["rows"].clone();
        assert_eq!(rows, json!([[6, 6, 6, 0]]), "{node}");
        let sums = "SELECT count(*), min(n), max(n) FROM plain";
        let rows = asking.run(node, sums).await["rows"].clone();
        assert_eq!(rows, json!([[ROWS, 601, 601]]), "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_sealed_and_opened_again_costs_clients_time_and_nothing_else() {
    let asking = with_tables(2).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    split.seal().await;
    until_held_up(&asking, "n2").await;
    for read in ["leased", "consistent"] {
        let body = json!({"sql": "SELECT n FROM plain", "read": read, "timeout_ms": 50});
        let (status, _) = asking.post("n1", &body).await.expect("an answer");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut waiting = held_up(&asking);
    // Those that need the sealed shard do not end, however many of the others do.
    until_held_up(&asking, "n3").await;
    assert!(waiting.try_join_next().is_none_or(|ended| ended.is_ok()));
    split.abort().await;
    all_of(waiting).await;
    check(&asking).await;
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_sealed_shard_goes_on_with_those_that_replace_it() {
    let asking = with_tables(2).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    split.seal().await;
    until_held_up(&asking, "n2").await;
    let waiting = held_up(&asking);
    split.copy().await;
    split.commit().await;
    all_of(waiting).await;
    check(&asking).await;
    split.resolve().await;
    check(&asking).await;
    let read = asking.run("n1", "SELECT count(*) FROM plain").await;
    let names = read["shards"].as_array().expect("shards").len();
    assert_eq!(names, 3, "{read}");
    let [lower, upper] = &split.targets()[..] else {
        unreachable!("two halves")
    };
    let merge = ByHand::merge(&asking.cluster, 2, [lower, upper]).await;
    merge.finish().await;
    check(&asking).await;
    asking
        .run("n2", "ALTER TABLE plain ADD COLUMN more INTEGER DEFAULT 5")
        .await;
    for node in NODES {
        let read = asking
            .run(node, "SELECT count(*), sum(more) FROM plain")
            .await;
        assert_eq!(read["rows"], json!([[ROWS, 5 * ROWS]]));
    }
    asking.cluster.stop().await;
}

/// Two keys of `plain`, on the first shard and on the second.
async fn one_key_each(asking: &Asking) -> [String; 2] {
    let mut found = [const { String::new() }; 2];
    for number in 0..ROWS {
        let key = format!("k{number}");
        let read = format!("SELECT n FROM plain WHERE id = '{key}'");
        let answer = asking.run("n1", &read).await;
        let index = usize::from(answer["shards"] == json!(["shard-1"]));
        found[index] = key;
    }
    found
}

async fn n_of(asking: &Asking, key: &str) -> Option<i64> {
    let read = format!("SELECT n FROM plain WHERE id = '{key}'");
    asking.run("n2", &read).await["rows"][0][0].as_i64()
}

/// Writes to both shards, the second of which is sealed, and waits until the first one is written to.
async fn half_written(asking: &Asking, split: &ByHand) -> JoinSet<(StatusCode, Json)> {
    let [first, _] = one_key_each(asking).await;
    let second = ShardId::numbered(1);
    split.seal_one(&second).await;
    let mut waiting = JoinSet::new();
    let body =
        json!({"sql": "UPDATE plain SET n = n + 1", "write": "best-effort", "timeout_ms": 60_000});
    let clone = asking.clone();
    waiting.spawn(async move { clone.post("n3", &body).await.expect("an answer") });
    wait("a half", async || {
        (n_of(asking, &first).await? == 1).then_some(())
    })
    .await;
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_several_shards_is_completed_after_a_split() {
    let asking = with_tables(2).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-1").await;
    let waiting = half_written(&asking, &split).await;
    split.copy().await;
    split.commit().await;
    let (status, answer) = waiting.join_all().await.remove(0);
    assert_eq!(
        (status, &answer["changes"]),
        (StatusCode::OK, &json!(ROWS)),
        "{answer}"
    );
    let sums = asking.run("n1", "SELECT min(n), max(n) FROM plain").await;
    assert_eq!(sums["rows"], json!([[1, 1]]));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_several_shards_says_so_if_they_were_merged_when_one_had_made_it() {
    let asking = with_tables(2).await;
    let [first, second] = one_key_each(&asking).await;
    let shards = [0, 1].map(ShardId::numbered);
    let merge = ByHand::merge(&asking.cluster, 1, [&shards[0], &shards[1]]).await;
    let waiting = half_written(&asking, &merge).await;
    merge.finish().await;
    let (status, answer) = waiting.join_all().await.remove(0);
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(answer["error"]["code"], "PARTIAL_WRITE", "{answer}");
    assert_eq!(n_of(&asking, &first).await, Some(1));
    assert_eq!(n_of(&asking, &second).await, Some(0));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_several_shards_is_completed_when_the_merge_is_aborted() {
    let asking = with_tables(2).await;
    let shards = [0, 1].map(ShardId::numbered);
    let merge = ByHand::merge(&asking.cluster, 1, [&shards[0], &shards[1]]).await;
    let waiting = half_written(&asking, &merge).await;
    merge.abort().await;
    let (status, answer) = waiting.join_all().await.remove(0);
    assert_eq!(
        (status, &answer["changes"]),
        (StatusCode::OK, &json!(ROWS)),
        "{answer}"
    );
    let sums = asking.run("n1", "SELECT min(n), max(n) FROM plain").await;
    assert_eq!(sums["rows"], json!([[1, 1]]));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_shard_answers_for_what_it_has_made_and_no_client_waits_longer_than_it_wants() {
    let asking = with_tables(1).await;
    let made = numbered(
        1,
        "UPDATE plain SET n = n + 1 WHERE id = 'k1' RETURNING n",
        "single",
    );
    let first = once(&asking, "n1", made.clone()).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    split.seal().await;
    let again = once(&asking, "n2", made).await;
    assert_eq!(again["rows"], first["rows"]);
    for (number, (sql, write)) in NUMBERED.iter().enumerate() {
        let mut body = numbered(2 + number, sql, write);
        body["timeout_ms"] = 100.into();
        let (status, answer) = asking.post("n3", &body).await.expect("an answer");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert_eq!(answer["error"]["retryable"], true, "{answer}");
    }
    split.abort().await;
    let sum = asking.run("n1", "SELECT sum(n) FROM plain").await;
    assert_eq!(sum["rows"], json!([[1]]), "nothing of them has happened");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_holds_up_the_seal() {
    let asking = with_tables(1).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    let limits = Limits {
        idle: PATIENCE,
        total: PATIENCE,
        ..Limits::default()
    };
    let begun = asking.cluster.primary().await.begin(limits).await;
    let transaction = begun.expect("it begins").open().expect("it is new");
    let is_sealed = AtomicBool::new(false);
    let seal = async {
        split.seal().await;
        is_sealed.store(true, Ordering::Relaxed);
    };
    let update = "UPDATE plain SET n = n + 1 WHERE id = 'k1'";
    let write = async {
        for _ in 0..100 {
            let ran = transaction.execute(move |member| member.execute(update, ()));
            ran.await.expect("it goes on");
            assert!(!is_sealed.load(Ordering::Relaxed));
        }
        transaction.commit(Vec::new()).await.expect("it is made");
    };
    tokio::join!(seal, write);
    split.copy().await;
    split.commit().await;
    let read = once(
        &asking,
        "n2",
        json!({"sql": "SELECT n FROM plain WHERE id = 'k1'"}),
    )
    .await;
    assert_eq!(read["rows"], json!([[100]]));
    asking.cluster.stop().await;
}

/// What is numbered, and tried again later, and how: those for one shard stay that.
const NUMBERED: &[(&str, &str)] = &[
    (
        "UPDATE plain SET n = n + 1 WHERE id = 'k1' RETURNING n",
        "single",
    ),
    (
        "UPDATE plain SET n = n + 1 WHERE id = 'k2' RETURNING n",
        "single",
    ),
    (
        "UPDATE plain SET n = n + 1 WHERE id = 'k3' RETURNING n",
        "single",
    ),
    (
        "UPDATE plain SET n = n + 1 WHERE id IN ('k4', 'k5', 'k6', 'k7')",
        "single",
    ),
    (
        "INSERT INTO plain VALUES ('x1', 1), ('x2', 1), ('x3', 1), ('x4', 1) RETURNING n",
        "single",
    ),
    ("UPDATE plain SET n = n + 1 RETURNING n", "single"),
    ("DELETE FROM plain WHERE id IN ('k8', 'k9')", "best-effort"),
    ("UPDATE plain SET n = n + 1", "best-effort"),
    ("INSERT INTO items(n) VALUES (1) RETURNING id", "single"),
    (
        "INSERT INTO items(n) VALUES (1), (2), (3) RETURNING id",
        "best-effort",
    ),
    (
        "INSERT INTO users(id, email) VALUES (7, 'a@x'), (8, 'b@x'), (9, 'c@x')",
        "best-effort",
    ),
    ("UPDATE units SET n = n + 1 RETURNING n", "single"),
    ("CREATE TABLE more(id TEXT PRIMARY KEY)", "single"),
];

fn numbered(number: usize, sql: &str, write: &str) -> Json {
    json!({"sql": sql, "client": "shop", "seq": number, "write": write})
}

async fn tried_again(asking: &Asking, first: &[Json]) {
    let state = async || {
        let sql = "SELECT (SELECT count(*) FROM plain), (SELECT sum(n) FROM plain),
            (SELECT count(*) FROM items), (SELECT count(*) FROM users), (SELECT n FROM units)";
        asking.run("n1", sql).await["rows"].clone()
    };
    let before = state().await;
    for node in NODES {
        for ((number, (sql, write)), first) in NUMBERED.iter().enumerate().zip(first) {
            let again = once(asking, node, numbered(number, sql, write)).await;
            assert_eq!(
                again["changes"], first["changes"],
                "{sql}: {again}, {first}"
            );
            let sorted = |answer: &Json| {
                let mut rows = answer["rows"].as_array().expect("rows").clone();
                rows.sort_by_key(ToString::to_string);
                rows
            };
            assert_eq!(sorted(&again), sorted(first), "{sql}: {again}, {first}");
        }
    }
    assert_eq!(state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_statement_is_answered_alike_after_splits_and_merges() {
    let asking = with_tables(1).await;
    let mut first = Vec::new();
    for (number, (sql, write)) in NUMBERED.iter().enumerate() {
        first.push(once(&asking, "n1", numbered(number, sql, write)).await);
    }
    tried_again(&asking, &first).await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    split.finish().await;
    tried_again(&asking, &first).await;
    let targets = split.targets();
    let next = ByHand::split(&asking.cluster, 2, targets[1].as_str()).await;
    next.finish().await;
    tried_again(&asking, &first).await;
    // A neighbour that only knows of them, and one that tells what they did.
    let merge = ByHand::merge(&asking.cluster, 3, [&targets[0], &next.targets()[0]]).await;
    merge.finish().await;
    tried_again(&asking, &first).await;
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_honoured_by_those_that_replace_a_shard() {
    let asking = with_tables(1).await;
    let before = once(
        &asking,
        "n1",
        json!({"sql": "UPDATE plain SET n = 1 WHERE id = 'k1'"}),
    )
    .await;
    let split = ByHand::split(&asking.cluster, 1, "shard-0").await;
    split.finish().await;
    let after = once(
        &asking,
        "n1",
        json!({"sql": "UPDATE plain SET n = 2 WHERE id = 'k2'"}),
    )
    .await;
    for node in NODES {
        for (token, row) in [
            (&before["token"], json!([["k1", 1]])),
            (&after["token"], json!([["k2", 2]])),
        ] {
            let id = &row[0][0];
            let body = json!({"sql": "SELECT id, n FROM plain WHERE id = ?1", "args": [id], "read": "at_least", "token": token});
            assert_eq!(once(&asking, node, body).await["rows"], row, "{node}");
        }
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_all_shards_and_splits_exclude_one_another() {
    let asking = with_tables(1).await;
    let stops = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for (number, node) in NODES.into_iter().enumerate() {
        let (asking, stops) = (asking.clone(), Arc::clone(&stops));
        running.spawn(async move {
            let mut made = 0_usize;
            while !stops.load(Ordering::Relaxed) {
                let create = format!("CREATE TABLE t_{number}_{made}(id TEXT PRIMARY KEY)");
                once(&asking, node, json!({ "sql": create })).await;
                once(&asking, node, json!({"sql": "UPDATE units SET n = n + 1"})).await;
                let insert = format!("INSERT INTO t_{number}_{made} VALUES ('a')");
                once(&asking, node, json!({ "sql": insert })).await;
                made += 1;
            }
            (number, made)
        });
    }
    let mut source = "shard-0".to_owned();
    for number in 1..=3 {
        let split = ByHand::split(&asking.cluster, number, &source).await;
        split.finish().await;
        split.targets()[0].as_str().clone_into(&mut source);
    }
    stops.store(true, Ordering::Relaxed);
    let made = running.join_all().await;
    let all: usize = made.iter().map(|(_, made)| made).sum();
    for node in NODES {
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 't\\_%' ESCAPE '\\'";
        assert_eq!(asking.run(node, tables).await["rows"], json!([[all]]));
        assert_eq!(
            asking.run(node, "SELECT n FROM units").await["rows"],
            json!([[all]])
        );
    }
    for (number, made) in made {
        for table in 0..made {
            let count = format!("SELECT count(*) FROM t_{number}_{table}");
            assert_eq!(
                asking.run("n2", &count).await["rows"],
                json!([[1]]),
                "{count}"
            );
        }
    }
    asking.cluster.stop().await;
}
