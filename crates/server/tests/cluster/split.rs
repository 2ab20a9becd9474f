//! Shards that are split while their cluster runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value as Json, json};
use shardwright_coordinator::registry::Registry;
use shardwright_elastic::{
    ElasticShardManager, Error, Gating, RegistryJournal, Settings, ShardConfig, SplitAt,
};
use shardwright_server::ClusterStore;
use shardwright_topology::{KeyspaceName, ShardId};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    cluster::{Cluster, PATIENCE, node_id, wait},
    sql::Asking,
};

/// Returns what splits the shards of a cluster.
pub(crate) async fn manager(cluster: &Cluster) -> ElasticShardManager {
    let (store, keyspace) = (cluster.store(), KeyspaceName::main());
    let journal = RegistryJournal::new(Registry::new(Arc::clone(&store), keyspace.clone()));
    let shards = ClusterStore::new(store, keyspace, None).expect("a client");
    let mut builder = ElasticShardManager::builder(ShardConfig::default())
        .journal(Arc::new(journal.expect("a journal")))
        .settings(Settings {
            calm: Duration::from_millis(100),
            grace: Duration::ZERO,
            ..Settings::default()
        });
    for name in cluster.names() {
        builder = builder.store(node_id(&name), Arc::new(shards.clone()));
    }
    builder.build().await.expect("a manager")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_split_in_two_that_have_its_rows() {
    let asking = Asking::start(3, 1).await;
    for sql in [
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT)",
        "CREATE TABLE kinds(id INTEGER PRIMARY KEY, name TEXT) /* shardwright: reference */",
        "CREATE TABLE notes(user TEXT NOT NULL REFERENCES users(id), text TEXT, PRIMARY KEY(user, text)) WITHOUT ROWID /* shardwright: shard_key=user colocate_with=users */",
        "INSERT INTO kinds VALUES (1, 'one'), (2, 'two')",
    ] {
        asking.run("n1", sql).await;
    }
    for number in 0..60 {
        let insert = format!("INSERT INTO users VALUES ('u{number}', 'name {number}')");
        asking.run("n2", &insert).await;
        let note = format!("INSERT INTO notes VALUES ('u{number}', 'a note')");
        asking.run("n3", &note).await;
    }
    let manager = manager(&asking.cluster).await;
    let targets = split(&manager, "shard-0").await;
    assert_eq!(targets.len(), 2);
    for node in ["n1", "n2", "n3"] {
        let sql = "SELECT count(*), count(DISTINCT users.id) FROM users JOIN notes ON notes.user = users.id";
        let count = asking.run(node, sql).await;
        assert_eq!(count["rows"], json!([[60, 60]]), "{count}");
    }
    asking.cluster.stop().await;
}

/// Splits a shard, and returns the shards that follow it. A node that dies at the wrong moment costs an attempt.
pub(crate) async fn split(manager: &ElasticShardManager, shard: &str) -> Vec<ShardId> {
    loop {
        let split = manager.begin_split(shard, SplitAt::Median, Gating::Force);
        let split = split.await.expect("it begins");
        match manager.committed(&split).await {
            Ok(split) => return split.operation.targets,
            Err(Error::Aborted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes one shard of several, and returns it.
pub(crate) async fn merge(manager: &ElasticShardManager, shards: &[&ShardId]) -> ShardId {
    let names: Vec<_> = shards.iter().map(|shard| shard.as_str()).collect();
    loop {
        let merge = manager.begin_merge(&names, Gating::Force);
        let merge = merge.await.expect("it begins");
        match manager.committed(&merge).await {
            Ok(merge) => return merge.operation.targets[0].clone(),
            Err(Error::Aborted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writers that count what was acknowledged.
struct Counting {
    written: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Counting {
    /// Starts writers that insert rows and add to a row each, through all nodes, and read what they have written.
    fn start(asking: &Asking, writers: u64) -> Self {
        let (written, stops) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..writers).map(|writer| {
            let (asking, written, stops) =
                (asking.clone(), Arc::clone(&written), Arc::clone(&stops));
            tokio::spawn(async move {
                let mut number = 0;
                while !stops.load(Ordering::Relaxed) {
                    number += 1;
                    write_one(&asking, writer, number).await;
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            written,
            stops,
        }
    }

    async fn at_least(&self, more: u64) {
        let until = self.written.load(Ordering::Relaxed) + more;
        wait("writers", async || {
            (self.written.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    async fn stop(self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no write fails");
        }
        self.written.load(Ordering::Relaxed)
    }
}

/// Asks again as long as the answer is that this may help, or none.
pub(crate) async fn insist(asking: &Asking, node: &str, body: &Json) -> Json {
    let began = Instant::now();
    loop {
        match asking.post(node, body).await {
            Some((status, answer)) if status.is_success() => return answer,
            Some((_, answer)) if answer["error"]["retryable"] != true => {
                panic!("{body}: {answer}")
            }
            _ => assert!(began.elapsed() < PATIENCE, "waited in vain: {body}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn write_one(asking: &Asking, writer: u64, number: u64) {
    let names = asking.cluster.names();
    let node = &names[(writer + number) as usize % names.len()];
    let key = format!("w{writer}-{number}");
    let client = format!("writer {writer}");
    let insert = json!({
        "sql": "INSERT INTO users VALUES (?1, ?2)", "args": [key, "new"],
        "client": client, "seq": number * 3,
    });
    let inserted = insist(asking, node, &insert).await;
    assert_eq!(inserted["changes"], 1, "{inserted}");
    let more = json!({
        "sql": "UPDATE counts SET n = n + 1 WHERE id = ?1", "args": [format!("c{writer}")],
        "client": client, "seq": number * 3 + 1,
    });
    let more = insist(asking, node, &more).await;
    assert_eq!(more["changes"], 1, "{more}");
    let read = json!({
        "sql": "SELECT (SELECT name FROM users WHERE id = ?1)", "args": [key], "key": key,
    });
    let read = insist(asking, node, &read).await;
    assert_eq!(read["rows"], json!([["new"]]), "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_split_while_clients_write_and_nodes_die() {
    let asking = Asking::start(3, 1).await;
    for sql in [
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT)",
        "CREATE TABLE counts(id TEXT PRIMARY KEY, n INTEGER NOT NULL)",
    ] {
        asking.run("n1", sql).await;
    }
    let writers = 6;
    for writer in 0..writers {
        let sql = format!("INSERT INTO counts VALUES ('c{writer}', 0)");
        asking.run("n2", &sql).await;
    }
    let counting = Counting::start(&asking, writers);
    counting.at_least(50).await;
    let manager = manager(&asking.cluster).await;
    let halves = split(&manager, "shard-0").await;
    counting.at_least(50).await;
    let victim = asking.cluster.names()[0].clone();
    let dying = async {
        counting.at_least(20).await;
        asking.cluster.kill(&victim);
        counting.at_least(20).await;
        asking.cluster.restart(&victim).await;
    };
    let (quarters, ()) = tokio::join!(split(&manager, halves[0].as_str()), dying);
    assert_eq!(quarters.len(), 2);
    counting.at_least(50).await;
    let one = merge(&manager, &[&quarters[1], &halves[1]]).await;
    counting.at_least(50).await;
    let whole = merge(&manager, &[&quarters[0], &one]).await;
    assert_eq!(manager.layout().len(), 1, "{whole} owns all");
    counting.at_least(50).await;
    let written = counting.stop().await;
    for node in asking.cluster.names() {
        let users = asking
            .run(&node, "SELECT count(*), count(DISTINCT id) FROM users")
            .await;
        assert_eq!(users["rows"], json!([[written, written]]), "{node}");
        let counts = asking.run(&node, "SELECT sum(n) FROM counts").await;
        assert_eq!(counts["rows"], json!([[written]]), "{node}");
    }
    asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_the_same_streams_write_to_are_merged() {
    let asking = Asking::start(3, 2).await;
    for sql in [
        "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT)",
        "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT)",
        "CREATE TABLE kinds(id INTEGER PRIMARY KEY, name TEXT) /* shardwright: reference */",
    ] {
        asking.run("n1", sql).await;
    }
    let (stops, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let tasks = (0..4_u64).map(|writer| {
        let (asking, stops, written) = (asking.clone(), Arc::clone(&stops), Arc::clone(&written));
        tokio::spawn(async move {
            let mut number = 0_u64;
            while !stops.load(Ordering::Relaxed) {
                number += 1;
                let node = &asking.cluster.names()[number as usize % 3];
                let sql = match writer {
                    // All others wait while that is made everywhere.
                    0 if !number.is_multiple_of(20) => "SELECT 1".to_owned(),
                    0 => format!("INSERT INTO kinds VALUES ({number}, 'kind')"),
                    1 => format!("INSERT INTO counted(user) VALUES ('w{number}')"),
                    _ => format!("INSERT INTO users VALUES ('w{writer}-{number}', 'new')"),
                };
                // Without a number of the client's.
                insist(&asking, node, &json!({ "sql": sql })).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
            number
        })
    });
    let tasks: Vec<JoinHandle<u64>> = tasks.collect();
    let progress = async || {
        let until = written.load(Ordering::Relaxed) + 60;
        wait("writers", async || {
            (written.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    };
    progress().await;
    let manager = manager(&asking.cluster).await;
    let shards = ["shard-1", "shard-0"].map(|name| ShardId::new(name).expect("a name"));
    // From right to left.
    let whole = merge(&manager, &[&shards[0], &shards[1]]).await;
    progress().await;
    let halves = split(&manager, whole.as_str()).await;
    progress().await;
    merge(&manager, &[&halves[0], &halves[1]]).await;
    progress().await;
    stops.store(true, Ordering::Relaxed);
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.expect("no write fails"));
    }
    let expected = [numbers[0] / 20, numbers[1], numbers[2] + numbers[3]];
    for node in asking.cluster.names() {
        let sql = "SELECT (SELECT count(*) FROM kinds), (SELECT count(*) FROM counted), (SELECT count(*) FROM users)";
        let found = asking.run(&node, sql).await;
        assert_eq!(found["rows"], json!([expected]), "{node}");
    }
    asking.cluster.stop().await;
}
