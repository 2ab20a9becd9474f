//! The example worker in Python against a real coordinator.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use serde_json::json;
use shardwright_coordinator::http::{Settings, Token};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::setting::{Server, TOKEN, leader, refuses_strangers, wait, worker};

/// The program, and the lines that it has printed.
struct Python {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Python {
    fn start(id: &str, coordinator: &Server, more: &[&str]) -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/python/shardz_worker.py");
        let mut process = Command::new("python3")
            .arg("-B")
            .arg(script)
            .args(["--id", id, "--coordinator", &coordinator.url])
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this test needs python3: install it");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let printed = lines.clone();
        let output = process.stdout.take().expect("its output is piped");
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                printed.lock().expect("no panic").push(line);
            }
        });
        Self { process, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    async fn printed(&self, line: &str) {
        wait(line, async || {
            self.lines().iter().any(|printed| printed == line)
        })
        .await;
    }

    async fn signal(&self, name: &str) {
        let process = self.process.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([name, &process]).status().await;
        assert!(sent.expect("there is a `kill`").success());
    }
}

async fn holder(server: &Server, shard: &str) -> Option<(String, u64)> {
    let list = server.get("/api/v1/assignments").await.ok();
    let assigned = list.as_array().expect("a list").iter();
    let mut assigned = assigned.filter(|assigned| assigned["shard"] == shard);
    let assigned = assigned.next()?;
    let node = assigned["node"].as_str().expect("a name").to_owned();
    Some((node, assigned["epoch"].as_u64().expect("a number")))
}

async fn up(server: &Server, node: &str) {
    wait("the worker to be up", async || {
        let nodes = server.get(&format!("/api/v1/nodes?node={node}")).await.ok();
        nodes[0]["state"] == "up"
    })
    .await;
}

/// One that serves these partitions, as the first to do so.
async fn serving(server: &Server, partitions: &[&str]) -> Python {
    let python = Python::start("py", server, &[]);
    up(server, "py").await;
    let added = json!({"ids": partitions});
    server.post("/api/v1/partitions", added).await.ok();
    for partition in partitions {
        python.printed(&format!("serve {partition} 1")).await;
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_releases_and_leaves() {
    let server = leader(Settings::default()).await;
    let mut python = serving(&server, &["a", "b"]).await;

    let _other = worker("w2", &[&server], None).await;
    up(&server, "w2").await;
    // It may have been given one of the two already, to share the load.
    server
        .post("/api/v1/move", json!({"shard": "a", "to": "w2"}))
        .await;
    wait("the other to have it", async || {
        let has = holder(&server, "a")
            .await
            .is_some_and(|(node, _)| node == "w2");
        // Release before serve: whoever has it now has it at a later epoch than was deleted.
        assert!(!has || python.lines().contains(&"delete a 1".to_owned()));
        has
    })
    .await;

    python.signal("-TERM").await;
    wait("the other to have all", async || {
        let has = |held: Option<(String, u64)>| held.is_some_and(|(node, _)| node == "w2");
        has(holder(&server, "a").await) && has(holder(&server, "b").await)
    })
    .await;
    let ended = python.process.wait().await.expect("it ends");
    assert!(ended.success(), "{ended}");
    let lines = python.lines();
    assert!(lines.contains(&"delete b 1".to_owned()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_nobody_grants_it_time() {
    let server = leader(Settings::default()).await;
    let python = serving(&server, &["a"]).await;
    server.stop().await;
    python.printed("delete a 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_one_finds_its_epoch_gone_and_begins_anew() {
    let server = leader(Settings::default()).await;
    let python = serving(&server, &["a"]).await;
    let other = worker("w2", &[&server], None).await;
    up(&server, "w2").await;
    python.signal("-STOP").await;
    wait("the other to have it", async || {
        holder(&server, "a")
            .await
            .is_some_and(|(node, _)| node == "w2")
    })
    .await;
    python.signal("-CONT").await;
    python.printed("delete a 1").await;
    up(&server, "py").await;
    other.server.abort();
    wait("it to serve again", async || {
        let lines = python.lines();
        lines
            .last()
            .is_some_and(|line| line.starts_with("serve a "))
    })
    .await;
    let lines = python.lines();
    let epochs = lines
        .iter()
        .filter_map(|line| line.strip_prefix("serve a "));
    let epochs: Vec<u64> = epochs
        .map(|epoch| epoch.parse().expect("a number"))
        .collect();
    assert!(epochs.is_sorted_by(|a, b| a < b), "{lines:?}");
    assert!(
        epochs.last() > Some(&2),
        "the other had the epochs between: {lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_presents_its_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).expect("a file");
    let settings = Settings {
        token: Some(Token::new(TOKEN).expect("a token")),
        ..Settings::default()
    };
    let server = leader(settings).await;
    let path = file.to_str().expect("text");
    let _python = Python::start("py", &server, &["--token-file", path]);
    let is_up = |view: &shardwright_coordinator::core::View| {
        view.nodes
            .iter()
            .any(|node| node.leased && node.record.id.as_str() == "py")
    };
    let seen = server.handle().view_when(is_up);
    let seen = tokio::time::timeout(std::time::Duration::from_secs(60), seen).await;
    let view = seen.ok().flatten().expect("it is registered and answers");
    refuses_strangers(&view.nodes[0].record.address).await;
}
