//! Statements that would never end, and many at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use shardwright_http::reqwest::StatusCode;
use shardwright_quorum::log::Level;
use shardwright_server::{
    Shard,
    shard::{Ended, Limits, StatementError, Write, WriteError},
};
use shardwright_store::Member;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    cluster::{Cluster, PATIENCE, insert, wait},
    sql::Asking,
};

/// A number that is never found.
const ENDLESS: &str =
    "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c)";

fn endless_update() -> String {
    format!("UPDATE written SET value = {ENDLESS}")
}

/// Writes something that never ends. Returns once it runs.
async fn run_away(primary: &Shard, within: Duration) -> JoinHandle<Result<(), WriteError>> {
    let runs = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&runs);
    let write = Write::new(move |member: &mut Member<'_>| {
        runs.store(true, Ordering::Release);
        member.execute(&endless_update(), ())?;
        Ok(Vec::new())
    });
    let write = write.until(Level::Quorum, within);
    let primary = primary.clone();
    let running = tokio::spawn(async move { primary.write(write).await.map(drop) });
    wait("it to run", async || {
        begun.load(Ordering::Acquire).then_some(())
    })
    .await;
    running
}

async fn with_a_row(nodes: u32) -> Cluster {
    let cluster = Cluster::start(nodes).await;
    let written = cluster
        .primary()
        .await
        .write(Write::new(insert("row")))
        .await;
    written.expect("it is written");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_ends_is_refused_and_no_other_with_it() {
    let cluster = with_a_row(1).await;
    let primary = cluster.primary().await;
    // What comes while the shard is held is one batch.
    let held = primary.begin(Limits::default()).await.expect("it begins");
    let endless = Write::new(|member: &mut Member<'_>| {
        member.execute(&endless_update(), ())?;
        Ok(Vec::new())
    });
    let endless = endless.until(Level::Quorum, Duration::from_secs(2));
    let impatient = Write::new(insert("impatient")).until(Level::Quorum, Duration::from_secs(1));
    let others = (0..5).map(|number| Write::new(insert(&format!("value {number}"))));
    let patient = others.map(|write| write.until(Level::Quorum, PATIENCE));
    let mut writes = vec![endless, impatient];
    writes.extend(patient);
    let mut running = Vec::new();
    for write in writes {
        let primary = primary.clone();
        running.push(tokio::spawn(async move { primary.write(write).await }));
    }
    drop(held);
    let mut answers = Vec::new();
    for write in running {
        let answer = timeout(PATIENCE, write).await.expect("it ends");
        answers.push(answer.expect("no panic"));
    }
    assert!(
        matches!(answers[0], Err(WriteError::Ended(Ended::TooLong))),
        "{:?}",
        answers[0]
    );
    assert!(
        matches!(answers[1], Ok(_) | Err(WriteError::Late)),
        "{:?}",
        answers[1]
    );
    for patient in &answers[2..] {
        assert!(patient.is_ok(), "{patient:?}");
    }
    let written = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
    assert_eq!(cluster.rows("n1").await, 1 + written);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_ends_in_the_middle_of_a_statement() {
    let cluster = with_a_row(1).await;
    let primary = cluster.primary().await;
    let limits = Limits {
        total: Duration::from_millis(300),
        ..Limits::default()
    };
    for sql in [endless_update(), format!("SELECT {ENDLESS}")] {
        let begun = primary.begin(limits).await.expect("it begins");
        let transaction = begun.open().expect("it is new");
        let step = transaction.execute(move |member| member.execute(&sql, ()));
        let ended = timeout(PATIENCE, step).await.expect("it ends");
        assert!(
            matches!(ended, Err(StatementError::Ended(Ended::TooLong))),
            "{ended:?}"
        );
        let committed = transaction.commit(Vec::new()).await;
        assert!(committed.is_err(), "{committed:?}");
    }
    let next = primary.write(Write::new(insert("next"))).await;
    next.expect("it is free");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_waits_for_no_statement() {
    let cluster = with_a_row(1).await;
    let primary = cluster.primary().await;
    let running = run_away(&primary, PATIENCE * 10).await;
    let stopped = timeout(PATIENCE, cluster.shut_down("n1")).await;
    assert!(stopped.is_ok(), "the statement lasts for longer");
    let refused = running.await.expect("no panic");
    assert!(
        matches!(
            refused,
            Err(WriteError::NotRunning | WriteError::NotPrimary { .. })
        ),
        "{refused:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_hands_over_in_the_middle_of_a_statement() {
    let cluster = with_a_row(3).await;
    let (name, primary) = (cluster.primary_name().await, cluster.primary().await);
    let running = run_away(&primary, PATIENCE * 10).await;
    timeout(PATIENCE, cluster.leave(&name))
        .await
        .expect("it hands over");
    let refused = timeout(PATIENCE, running).await.expect("it ends");
    let refused = refused.expect("no panic");
    assert!(
        matches!(refused, Err(WriteError::NotPrimary { .. })),
        "{refused:?}"
    );
    let next = cluster
        .primary()
        .await
        .write(Write::new(insert("next")))
        .await;
    next.expect("another one leads");
    cluster.until_equal().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_http_ends_with_its_time() {
    let asking = Asking::start(2, 2).await;
    let create = "CREATE TABLE users(id TEXT PRIMARY KEY, age INTEGER)";
    asking.run("n1", create).await;
    asking.run("n1", "INSERT INTO users VALUES ('u1', 1)").await;
    let endless = [
        format!("SELECT {ENDLESS}"),
        format!("SELECT {ENDLESS} FROM users WHERE id = 'u1'"),
        format!("SELECT {ENDLESS}, count(*) FROM users"),
        format!("SELECT {ENDLESS}, count(*) FROM sqlite_schema"),
        format!("UPDATE users SET age = {ENDLESS} WHERE id = 'u1'"),
    ];
    for sql in endless {
        for node in ["n1", "n2"] {
            let body = json!({ "sql": sql, "timeout_ms": 700 });
            let answer = timeout(PATIENCE, asking.post(node, &body)).await;
            let (status, answer) = answer.expect("it ends").expect("an answer");
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{sql}: {answer}");
            assert_eq!(answer["error"]["code"], "OUT_OF_TIME", "{sql}: {answer}");
        }
    }
    let age = asking
        .run("n2", "SELECT age FROM users WHERE id = 'u1'")
        .await;
    assert_eq!(age["rows"], json!([[1]]));
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_returns_too_much_is_refused() {
    let asking = Asking::start(1, 2).await;
    let create = "CREATE TABLE t(id TEXT PRIMARY KEY, n INTEGER UNIQUE)";
    asking.run("n1", create).await;
    // The second one is a transaction, which asks the other shard.
    for (values, size) in [("('a', NULL)", 1_000_000), ("('b', 7)", 1_000_000)] {
        let sql = |size: usize| {
            format!("INSERT INTO t VALUES {values} RETURNING id, hex(zeroblob({size}))")
        };
        let refused = asking.ask("n1", json!({ "sql": sql(4 * size) })).await;
        let refused = refused.expect_err("too large");
        assert_eq!(refused["error"]["code"], "TOO_LARGE", "{refused}");
        let answer = asking.run("n1", &sql(size)).await;
        assert_eq!(answer["changes"], 1, "nothing of the first is there");
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_nested_too_deeply_is_refused() {
    let asking = Asking::start(1, 1).await;
    let levels = 200_000;
    let sql = format!(
        "SELECT * FROM {}t{}",
        "(".repeat(levels),
        ")".repeat(levels)
    );
    let refused = asking.ask("n1", json!({ "sql": sql })).await;
    let refused = refused.expect_err("too deep");
    assert_eq!(refused["error"]["retryable"], false, "{refused}");
    asking.run("n1", "SELECT 1").await;
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_statements_that_read_all_shards_do_not_wait_for_one_another() {
    let asking = Arc::new(Asking::start(1, 8).await);
    asking
        .run("n1", "CREATE TABLE t(id TEXT PRIMARY KEY)")
        .await;
    let all = (0..160).map(|_| {
        let asking = Arc::clone(&asking);
        tokio::spawn(async move {
            let body = json!({ "sql": "SELECT count(*) FROM t", "timeout_ms": 50_000 });
            asking.post("n1", &body).await
        })
    });
    for answer in all.collect::<Vec<_>>() {
        let answer = timeout(PATIENCE, answer).await.expect("it ends");
        let (status, answer) = answer.expect("no panic").expect("an answer");
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let asking = Arc::into_inner(asking).expect("all have ended");
    asking.cluster.stop().await;
}
