//! An event store of six processes in three zones and two regions, one of which is killed.
//!
//! The first process starts the six, puts events by way of each, kills one, puts more, and counts the copies in their files.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

mod node;

use std::{collections::BTreeMap, env, path::Path, process::Stdio};

use reqwest::{Client, StatusCode};
use shardwright_quorum::{BoxError, Keys, sqlite::EventStore};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

use crate::node::NODES;

/// The process of each node, and where clients reach it.
type Nodes = BTreeMap<&'static str, (Child, String)>;

async fn start(directory: &Path) -> Result<Nodes, BoxError> {
    let token = Keys::new().generate();
    let (mut started, mut urls, mut nodes) = (Vec::new(), String::new(), Nodes::new());
    for name in NODES {
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(name)
            .arg(directory)
            .env("CLUSTER_TOKEN", &token);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        urls += &(output.next_line().await?.ok_or("a node ended")? + "\n");
        started.push((name, process, output));
    }
    for (name, mut process, mut output) in started {
        let input = process.stdin.as_mut().ok_or("no input")?;
        input.write_all(urls.as_bytes()).await?;
        let url = output.next_line().await?.ok_or("a node ended")?;
        nodes.insert(name, (process, url));
    }
    Ok(nodes)
}

/// Puts ten events by way of each node, and returns their keys.
async fn put(nodes: &Nodes) -> Result<Vec<String>, BoxError> {
    let (client, mut keys) = (Client::new(), Vec::new());
    for (name, (_, url)) in nodes {
        for number in 0..10 {
            let event = format!(r#"{{"by": "{name}", "number": {number}}}"#);
            let answer = client.post(url).body(event).send().await?;
            assert_eq!(answer.status(), StatusCode::CREATED, "a quorum is reached");
            let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
            keys.push(answer["key"].as_str().unwrap_or_default().to_owned());
        }
        println!("{name}: ten events are on two nodes at least");
    }
    Ok(keys)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    if let [_, name, directory] = &env::args().collect::<Vec<_>>()[..] {
        return node::run(name, Path::new(directory)).await;
    }
    let directory = tempfile::tempdir()?;
    let mut nodes = start(directory.path()).await?;
    let before = put(&nodes).await?;
    let (mut killed, _) = nodes.remove("eu b 3").ok_or("no such node")?;
    killed.kill().await?;
    println!("eu b 3: killed");
    let after = put(&nodes).await?;

    for (mut process, _) in nodes.into_values() {
        // A node that is asked to end finishes its copies first.
        drop(process.stdin.take());
        assert!(process.wait().await?.success());
    }
    let mut copies = BTreeMap::<String, usize>::new();
    for name in NODES {
        let store = EventStore::open(directory.path().join(name))?;
        for stored in store.page("", usize::MAX).await? {
            *copies.entry(stored.key).or_default() += 1;
        }
    }
    assert!(before.iter().all(|key| copies[key] >= 2));
    assert!(after.iter().all(|key| copies[key] >= 3));
    println!(
        "{} events are there, those after the kill on three nodes",
        copies.len()
    );
    Ok(())
}
