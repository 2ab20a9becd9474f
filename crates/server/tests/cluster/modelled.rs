//! Clients that write and read what comes into their heads while shards are split and merged, each with a model of its own rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::{by_hand::ByHand, cluster::wait, sql::Asking};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

const TABLES: &[&str] = &[
    "CREATE TABLE plain(id TEXT PRIMARY KEY, n INTEGER)",
    "CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER)",
    "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
    "CREATE TABLE units(name TEXT PRIMARY KEY, n INTEGER) /* shardwright: reference */",
    "INSERT INTO units VALUES ('m', 0)",
];

const CLIENTS: usize = 6;

/// How many keys each client has.
const KEYS: usize = 12;

/// How many statements there are at least between two steps of an operation, and after the last.
const STEADY: usize = 60;

/// A client, and what it takes the database to be.
struct Client {
    asking: Asking,
    name: String,
    number: usize,
    rng: StdRng,
    sequence: u64,
    rows: BTreeMap<String, i64>,
    items: Vec<i64>,
    /// How often it has counted up the reference table.
    counted: i64,
    users: i64,
}

impl Client {
    fn new(asking: &Asking, number: usize, seed: u64) -> Self {
        Self {
            asking: asking.clone(),
            name: format!("c{number}"),
            number,
            rng: StdRng::seed_from_u64(seed),
            sequence: 0,
            rows: BTreeMap::new(),
            items: Vec::new(),
            counted: 0,
            users: 0,
        }
    }

    /// Asks once, or with the same number twice; the answers are alike. An error is returned by its code.
    async fn ask(&mut self, sql: &str, write: &str) -> Result<Json, String> {
        self.sequence += 1;
        let body = json!({
            "sql": sql,
            "write": write,
            "client": self.name,
            "seq": self.sequence,
            "timeout_ms": 60_000,
        });
        let first = self.post(&body).await;
        if self.rng.random_ratio(1, 3) {
            let again = self.post(&body).await;
            let same = |answer: &Json| (answer["changes"].clone(), sorted(&answer["rows"]));
            match (&first, &again) {
                (Ok(first), Ok(again)) => assert_eq!(same(first), same(again), "{sql}"),
                (first, again) => assert_eq!(
                    first.as_ref().err(),
                    again.as_ref().err(),
                    "{sql}: {first:?}, {again:?}"
                ),
            }
        }
        first
    }

    async fn post(&mut self, body: &Json) -> Result<Json, String> {
        let node = NODES[self.rng.random_range(0..NODES.len())];
        let (status, answer) = self.asking.post(node, body).await.expect("an answer");
        if status.is_success() {
            return Ok(answer);
        }
        let code = answer["error"]["code"].as_str().expect("a code");
        let is_expected = ["CONSTRAINT", "PARTIAL_WRITE"].contains(&code);
        assert!(is_expected, "{body}: {answer}");
        Err(code.to_owned())
    }

    fn key(&mut self) -> String {
        let key = self.rng.random_range(0..KEYS);
        format!("{}-{key}", self.name)
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..10) {
            0 | 1 => self.insert().await,
            2 | 3 => self.update().await,
            4 => self.delete().await,
            5 => self.update_all().await,
            6 => self.insert_item().await,
            7 => self.insert_user().await,
            8 => self.put_several().await,
            9 if self.rng.random_ratio(1, 3) => self.count_up().await,
            _ => {}
        }
        self.read().await;
    }

    async fn insert(&mut self) {
        let (key, n) = (self.key(), self.rng.random_range(0..100));
        let sql = format!("INSERT INTO plain VALUES ('{key}', {n}) RETURNING n");
        let inserted = self.ask(&sql, "single").await;
        match inserted {
            Ok(answer) => {
                assert_eq!(answer["rows"], json!([[n]]), "{sql}");
                assert_eq!(self.rows.insert(key, n), None, "{sql}");
            }
            Err(_) => assert!(self.rows.contains_key(&key), "{sql}"),
        }
    }

    async fn update(&mut self) {
        let key = self.key();
        let sql = format!("UPDATE plain SET n = n + 1 WHERE id = '{key}' RETURNING n");
        let answer = self.ask(&sql, "single").await.expect("it is made");
        let n = self.rows.get_mut(&key).map(|n| {
            *n += 1;
            *n
        });
        let expected = n.map_or(json!([]), |n| json!([[n]]));
        assert_eq!(answer["rows"], expected, "{sql}");
    }

    async fn delete(&mut self) {
        let key = self.key();
        let sql = format!("DELETE FROM plain WHERE id = '{key}'");
        let answer = self.ask(&sql, "single").await.expect("it is made");
        let changes = i32::from(self.rows.remove(&key).is_some());
        assert_eq!(answer["changes"], changes, "{sql}");
    }

    /// Changes all of its rows, which are on several shards.
    async fn update_all(&mut self) {
        let like = format!("id LIKE '{}-%'", self.name);
        let sql = format!("UPDATE plain SET n = n + 1000 WHERE {like}");
        match self.ask(&sql, "best-effort").await {
            Ok(answer) => {
                assert_eq!(answer["changes"], self.rows.len(), "{sql}");
                self.rows.values_mut().for_each(|n| *n += 1000);
            }
            Err(code) => {
                assert_eq!(code, "PARTIAL_WRITE");
                let found = self.found().await;
                assert!(found.keys().eq(self.rows.keys()));
                for (key, n) in found {
                    let before = self.rows.get_mut(&key).expect("it is there");
                    assert!(n == *before || n == *before + 1000, "{key}: {n}");
                    *before = n;
                }
            }
        }
    }

    /// Inserts or changes rows by their keys, which may be on several shards.
    async fn put_several(&mut self) {
        let n = self.rng.random_range(0..100);
        let keys = BTreeSet::from([self.key(), self.key(), self.key()]);
        let values: Vec<String> = keys.iter().map(|key| format!("('{key}', {n})")).collect();
        let sql = format!(
            "INSERT INTO plain VALUES {} ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            values.join(",")
        );
        match self.ask(&sql, "best-effort").await {
            Ok(answer) => {
                assert_eq!(answer["changes"], keys.len(), "{sql}");
                self.rows.extend(keys.into_iter().map(|key| (key, n)));
            }
            Err(code) => {
                assert_eq!(code, "PARTIAL_WRITE");
                let mut found = self.found().await;
                for key in keys {
                    let after = found.remove(&key);
                    let before = self.rows.remove(&key);
                    assert!(after == Some(n) || after == before, "{key}: {after:?}");
                    self.rows.extend(after.map(|n| (key, n)));
                }
                found.retain(|key, n| self.rows.get(key) != Some(n));
                assert!(found.is_empty(), "{found:?}");
            }
        }
    }

    async fn insert_item(&mut self) {
        let sql = format!("INSERT INTO items(n) VALUES ({}) RETURNING id", self.number);
        let answer = self.ask(&sql, "single").await.expect("it is made");
        let id = answer["rows"][0][0].as_i64();
        self.items.push(id.expect("a number"));
    }

    /// Inserts what another client may have inserted, on another shard.
    async fn insert_user(&mut self) {
        let email = self.rng.random_range(0..500);
        let sql = format!("INSERT INTO users(email) VALUES ('{email}@x')");
        let inserted = self.ask(&sql, "single").await;
        self.users += i64::from(inserted.is_ok());
    }

    async fn count_up(&mut self) {
        let counted = self.ask("UPDATE units SET n = n + 1", "single").await;
        counted.expect("it is made");
        self.counted += 1;
    }

    async fn found(&mut self) -> BTreeMap<String, i64> {
        let sql = format!("SELECT id, n FROM plain WHERE id LIKE '{}-%'", self.name);
        let body = json!({"sql": sql, "timeout_ms": 60_000});
        let answer = self.post(&body).await.expect("it is read");
        let rows = answer["rows"].as_array().expect("rows").iter();
        let row = |row: &Json| Some((row[0].as_str()?.to_owned(), row[1].as_i64()?));
        let found: Vec<_> = rows.filter_map(row).collect();
        let count = found.len();
        let found = BTreeMap::from_iter(found);
        assert_eq!(found.len(), count, "a row is there twice");
        found
    }

    async fn read(&mut self) {
        let key = self.key();
        let sql = format!("SELECT n FROM plain WHERE id = '{key}'");
        let read = if self.rng.random_ratio(1, 4) {
            "consistent"
        } else {
            "leased"
        };
        let body = json!({"sql": sql, "read": read, "timeout_ms": 60_000});
        let answer = self.post(&body).await.expect("it is read");
        let expected = self.rows.get(&key).map_or(json!([]), |n| json!([[n]]));
        assert_eq!(answer["rows"], expected, "{sql}");
        assert_eq!(self.found().await, self.rows);
    }
}

fn sorted(rows: &Json) -> Vec<String> {
    let rows = rows.as_array().expect("rows").iter();
    let mut rows: Vec<String> = rows.map(ToString::to_string).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_their_rows_as_they_left_them_while_shards_are_split_and_merged() {
    let seed: u64 = rand::random();
    let asking = Asking::start(3, 2).await;
    for sql in TABLES {
        asking.run("n1", sql).await;
    }
    let (stops, steps) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut running = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::new(&asking, number, seed.wrapping_add(number as u64));
        let (stops, steps) = (Arc::clone(&stops), Arc::clone(&steps));
        running.spawn(async move {
            while !stops.load(Ordering::Relaxed) {
                client.step().await;
                steps.fetch_add(1, Ordering::Relaxed);
            }
            client
        });
    }
    let steady = async || {
        let aim = steps.load(Ordering::Relaxed) + STEADY;
        wait("statements", async || {
            (steps.load(Ordering::Relaxed) >= aim).then_some(())
        })
        .await;
    };
    steady().await;
    let first = ByHand::split(&asking.cluster, 1, "shard-0").await;
    first.finish().await;
    steady().await;
    let second = ByHand::split(&asking.cluster, 2, "shard-1").await;
    second.seal().await;
    second.abort().await;
    steady().await;
    let second = ByHand::split(&asking.cluster, 3, "shard-1").await;
    second.finish().await;
    steady().await;
    let neighbours = [&first.targets()[1], &second.targets()[0]];
    let merge = ByHand::merge(&asking.cluster, 4, neighbours).await;
    merge.finish().await;
    steady().await;
    stops.store(true, Ordering::Relaxed);
    let clients = running.join_all().await;
    check(&asking, &clients).await;
    asking.cluster.stop().await;
}

/// Checks what the clients have in common.
async fn check(asking: &Asking, clients: &[Client]) {
    let items: Vec<i64> = clients
        .iter()
        .flat_map(|client| client.items.clone())
        .collect();
    let distinct = BTreeSet::from_iter(items.iter().copied());
    assert_eq!(distinct.len(), items.len(), "a number was drawn twice");
    let rows: usize = clients.iter().map(|client| client.rows.len()).sum();
    let users: i64 = clients.iter().map(|client| client.users).sum();
    let counted: i64 = clients.iter().map(|client| client.counted).sum();
    for node in NODES {
        let sql = "SELECT (SELECT count(*) FROM plain), (SELECT count(*) FROM items),
            (SELECT count(*) FROM users), (SELECT count(DISTINCT email) FROM users), (SELECT n FROM units)";
        let found = asking.run(node, sql).await["rows"].clone();
        assert_eq!(
            found,
            json!([[rows, items.len(), users, users, counted]]),
            "{node}"
        );
    }
}
