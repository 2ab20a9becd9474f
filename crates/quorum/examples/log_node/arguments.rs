//! What the process is told.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Parser;
use shardwright_quorum::{log::BoxError, topology::NodeId};

/// One node of a replicated log.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The name of this node.
    #[arg(long)]
    pub(crate) node: String,
    /// Where it listens for its peers.
    #[arg(long)]
    pub(crate) listen: String,
    /// Where all nodes are, as NAME=HOST:PORT, with commas in between.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Where it answers commands, one on a line.
    #[arg(long)]
    pub(crate) port: String,
    /// The registry, a SQLite file that all nodes share.
    #[arg(long)]
    pub(crate) registry: PathBuf,
    /// Where the copy is kept.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// What the nodes share.
    #[arg(long, env = "LOG_NODE_TOKEN")]
    pub(crate) token: Option<String>,
    /// For how long a promise holds, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) lease_ms: u64,
    /// How many applied records are kept.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) retain: u64,
    /// How many messages with records are under way to one member.
    #[arg(long, default_value_t = 8)]
    pub(crate) window: usize,
}

impl Arguments {
    /// Returns where all nodes are.
    pub(crate) fn addresses(&self) -> Result<BTreeMap<NodeId, String>, BoxError> {
        let address = |peer: &String| {
            let (name, address) = peer.split_once('=').ok_or("a peer is NAME=HOST:PORT")?;
            Ok((NodeId::new(name)?, address.to_owned()))
        };
        self.peers.iter().map(address).collect()
    }
}
