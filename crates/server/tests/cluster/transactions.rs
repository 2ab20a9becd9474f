//! Transactions of clients on several shards at once, and what becomes of them when nodes die.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use serde_json::{Value as Json, json};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_topology::ShardId;
use tokio::task::JoinSet;

use crate::{
    cluster::wait,
    hrana::{code, step_codes, stream, transaction, value},
    sql::Asking,
    transfers::{ACCOUNTS, Bank},
};

const TABLES: [&str; 3] = [
    "CREATE TABLE people(id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
    "CREATE TABLE visits(id INTEGER PRIMARY KEY, who INTEGER)",
    "CREATE TABLE rates(currency TEXT PRIMARY KEY, rate REAL) /* shardwright: reference */",
];

async fn started() -> Asking {
    let asking = Asking::start(3, 3).await;
    for table in TABLES {
        asking.run("n1", table).await;
    }
    asking
}

async fn counted(asking: &Asking, node: &str, table: &str) -> Json {
    let sql = format!("SELECT count(*) FROM {table}");
    asking.run(node, &sql).await["rows"][0][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_through_any_node_runs_what_needs_all_shards() {
    let asking = started().await;
    for (round, node) in ["n1", "n2", "n3"].into_iter().enumerate() {
        let mut stream = stream(&asking);
        let names: Vec<String> = (0..6).map(|name| format!("('{node}{name}')")).collect();
        let insert = format!("INSERT INTO people(email) VALUES {}", names.join(", "));
        let taken = format!("INSERT INTO people VALUES (900, '{node}3')");
        let follow = format!(
            "INSERT INTO visits(who) SELECT id FROM people WHERE email LIKE '{node}%' ORDER BY id"
        );
        let rate = format!("INSERT INTO rates VALUES ('{node}', 1.5)");
        for sql in [
            "BEGIN",
            "SELECT count(*) FROM people",
            &insert,
            &follow,
            &rate,
            "UPDATE visits SET who = -who",
            "DELETE FROM visits WHERE -who IN (SELECT max(id) FROM people)",
        ] {
            let ran = stream.run(node, sql).await;
            assert_eq!(ran["type"], "ok", "{sql}: {ran}");
        }
        let refused = stream.run(node, &taken).await;
        assert_eq!(code(&refused), "SQLITE_CONSTRAINT_UNIQUE", "{refused}");
        let seen = stream
            .run(node, "SELECT count(*), max(id) FROM people")
            .await;
        assert_eq!(value(&seen), &json!((6 * (round + 1)).to_string()));
        let rate = format!("SELECT rate FROM rates WHERE currency = '{node}'");
        assert_eq!(value(&stream.run(node, &rate).await), &json!(1.5));
        assert_eq!(counted(&asking, node, "people").await, 6 * round);
        assert_eq!(stream.run(node, "COMMIT").await["type"], "ok");
        for reader in ["n1", "n2", "n3"] {
            assert_eq!(counted(&asking, reader, "people").await, 6 * (round + 1));
            assert_eq!(counted(&asking, reader, "visits").await, 5 * (round + 1));
            assert_eq!(counted(&asking, reader, "rates").await, round + 1);
        }
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_rolled_back_leaves_nothing_anywhere() {
    let asking = started().await;
    let mut stream = stream(&asking);
    let statements = [
        "INSERT INTO people(email) VALUES ('a'), ('b'), ('c'), ('d')",
        "INSERT INTO rates VALUES ('EUR', 1)",
        "UPDATE people SET email = 'same'",
    ];
    let results = stream.send("n2", json!([transaction(&statements)])).await;
    assert_eq!(step_codes(&results[0]), ["SQLITE_CONSTRAINT_UNIQUE"]);
    for table in ["people", "rates"] {
        assert_eq!(counted(&asking, "n3", table).await, 0);
    }
    // Nobody holds anything any more.
    asking
        .run("n1", "INSERT INTO people(email) VALUES ('a'), ('b')")
        .await;
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_value_is_taken_once_by_transactions_and_statements_on_all_nodes() {
    let asking = started().await;
    let mut takers = JoinSet::new();
    for taker in 0..6_usize {
        let asking = asking.clone();
        takers.spawn(async move {
            let node = ["n1", "n2", "n3"][taker % 3];
            let mut taken = 0;
            for value in 0..8 {
                let insert = format!("INSERT INTO people(email) VALUES ('value {value}')");
                let made = if taker < 4 {
                    is_made(&asking, node, &["SELECT count(*) FROM people", &insert]).await
                } else {
                    let answer = asking.post(node, &json!({"sql": insert})).await;
                    answer.is_some_and(|(status, _)| status.is_success())
                };
                taken += u64::from(made);
            }
            taken
        });
    }
    let mut taken = 0;
    while let Some(of_one) = takers.join_next().await {
        taken += of_one.expect("no panic");
    }
    let rows = asking
        .run(
            "n1",
            "SELECT count(*), count(DISTINCT email), count(DISTINCT id) FROM people",
        )
        .await;
    assert_eq!(rows["rows"], json!([[taken, taken, taken]]));
    assert!(taken <= 8, "{taken} of 8 values");
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_where_their_new_keys_are_and_a_number_that_is_sent_again_moves_none() {
    let asking = started().await;
    let insert = "INSERT INTO people(email) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f')";
    asking.run("n1", insert).await;
    let body = json!({"sql": "UPDATE people SET id = id + 100", "client": "shop", "seq": 1});
    for node in ["n1", "n2", "n3"] {
        let moved = asking.ask(node, body.clone()).await.expect("it is made");
        assert_eq!(moved["changes"], 6, "{moved}");
    }
    let mut stream = stream(&asking);
    let back = transaction(&[
        "UPDATE people SET id = id - 50 WHERE email < 'c'",
        "DELETE FROM people WHERE id IN (SELECT min(id) FROM people)",
    ]);
    let results = stream.send("n2", json!([back])).await;
    assert_eq!(step_codes(&results[0]), [""; 0]);
    let rows = asking
        .run("n3", "SELECT id, email FROM people ORDER BY 1")
        .await;
    let expect = [(52, "b"), (103, "c"), (104, "d"), (105, "e"), (106, "f")];
    assert_eq!(rows["rows"], json!(expect));
    for (id, email) in expect {
        let one = format!("SELECT email FROM people WHERE id = {id}");
        assert_eq!(asking.run("n1", &one).await["rows"], json!([[email]]));
    }
    asking.cluster.stop().await;
}

/// Makes a transaction of a batch, and returns whether it is known to have happened. A node that dies answers nobody.
async fn is_made(asking: &Asking, node: &str, statements: &[&str]) -> bool {
    let body = json!({"baton": null, "requests": [transaction(statements), {"type": "close"}]});
    let url = format!("{}/v3/pipeline", asking.cluster.url_of(node));
    let Ok(answer) = asking.client.post(url).body(body.to_string()).send().await else {
        return false;
    };
    let text = answer.text().await.unwrap_or_default();
    let body: Json = serde_json::from_str(&text).unwrap_or_default();
    let errors = &body["results"][0]["response"]["result"]["step_errors"];
    let errors = errors.as_array();
    errors.is_some_and(|errors| errors.iter().all(Json::is_null))
}

/// Moves money by transactions through all nodes until it is told to stop.
fn tellers(bank: &Bank, stops: &Arc<AtomicBool>, made: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut tellers = JoinSet::new();
    for teller in 0..4_u64 {
        let (bank, stops, made) = (bank.clone(), Arc::clone(stops), Arc::clone(made));
        tellers.spawn(async move {
            let mut number = teller;
            while !stops.load(Ordering::Relaxed) {
                number += 5;
                let (from, to) = (1 + number % ACCOUNTS, 1 + (number * 7 + 3) % ACCOUNTS);
                let take = format!("UPDATE accounts SET balance = balance - 3 WHERE id = {from}");
                let put = format!("UPDATE accounts SET balance = balance + 3 WHERE id = {to}");
                let tax =
                    "UPDATE accounts SET balance = balance + CASE WHEN id % 2 THEN 1 ELSE -1 END";
                let statements = match number % 3 {
                    0 => vec![&*take, tax, &put],
                    1 => vec![&*take, "SELECT sum(balance) FROM accounts", &put],
                    _ => vec![&*take, &put],
                };
                let names = bank.asking.cluster.names();
                let node = &names[usize::try_from(number).expect("few") % names.len()];
                let is_made = is_made(&bank.asking, node, &statements).await;
                made.fetch_add(u64::from(is_made), Ordering::Relaxed);
            }
        });
    }
    tellers
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_whole_whichever_node_dies_under_them() {
    let bank = Bank::open(3, 3).await;
    let (stops, made) = (Arc::default(), Arc::<AtomicU64>::default());
    let mut tellers = tellers(&bank, &stops, &made);
    let more = async |count: u64| {
        let before = made.load(Ordering::Relaxed);
        let come = async || (before + count <= made.load(Ordering::Relaxed)).then_some(());
        wait("transactions", come).await;
    };
    for round in 0..3 {
        more(5).await;
        let shard = PartitionId::from(ShardId::numbered(round));
        let (node, _) = bank.asking.cluster.leading(&shard).await;
        bank.asking.cluster.kill(&node);
        more(3).await;
        bank.asking.cluster.restart(&node).await;
        bank.check_sum("n1").await;
    }
    stops.store(true, Ordering::Relaxed);
    while let Some(ended) = tellers.join_next().await {
        ended.expect("no panic");
    }
    bank.check_sum("n2").await;
    bank.asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_held_is_free_when_it_has_died_and_nothing_of_it_has_happened() {
    let bank = Bank::open(3, 3).await;
    let mut stream = stream(&bank.asking);
    stream.run("n3", "BEGIN").await;
    let all = stream
        .run("n3", "UPDATE accounts SET balance = balance + 7")
        .await;
    assert_eq!(all["type"], "ok", "{all}");
    bank.asking.cluster.kill("n3");
    let body = json!({"sql": "UPDATE accounts SET balance = balance - 0", "timeout_ms": 10_000});
    let free = bank.asking.ask("n1", body).await.expect("it is free");
    assert_eq!(free["changes"], ACCOUNTS);
    bank.check_sum("n2").await;
    bank.asking.cluster.stop().await;
}
