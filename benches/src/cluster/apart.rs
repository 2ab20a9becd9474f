//! Nodes in processes of their own.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use shardwright_registry::{SqliteStore, Store};
use shardwright_topology::NodeId;
use tokio::runtime::Builder;

use super::start_node;
use crate::subprocess::Subprocess;

/// Tells a process to run a node: its name, where the coordinator is, and the directory of the cluster.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_NODE";

/// Returns the file of the registry.
pub(super) fn registry(directory: &Path) -> PathBuf {
    directory.join("registry.db")
}

/// Starts a node, and returns where it is asked.
pub(super) fn start(
    id: &NodeId,
    directory: &Path,
    coordinator: &str,
) -> anyhow::Result<(Subprocess, String)> {
    let value = format!("{id} {coordinator} {}", directory.display());
    let (process, url) = Subprocess::start(VARIABLE, value)?;
    anyhow::ensure!(!url.is_empty(), "a node has not started");
    Ok((process, url))
}

/// Runs a node, if this process is to do so, until it is killed.
pub(crate) fn hold() -> Option<anyhow::Result<()>> {
    let value = env::var(VARIABLE).ok()?;
    let hold = || {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(&value))
    };
    Some(hold())
}

#[expect(
    clippy::print_stdout,
    reason = "whoever has started it reads where it is"
)]
async fn run(value: &str) -> anyhow::Result<()> {
    let mut words = value.splitn(3, ' ');
    let mut word = || words.next().context("three words");
    let (id, coordinator, directory) = (NodeId::new(word()?)?, word()?, Path::new(word()?));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(registry(directory))?);
    let (_node, url, server) = start_node(&store, &id, directory, coordinator).await?;
    println!("{url}");
    Ok(server.await?)
}
