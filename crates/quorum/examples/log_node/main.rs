//! One node of a replicated log: a copy with a state machine that keeps lines, and a port to append, read and ask. Without arguments it
//! starts three of them, and shows that a line is on a majority.
//!
//! ```text
//! log_node --node n1 --listen 127.0.0.1:7001 --peers n1=127.0.0.1:7001,n2=127.0.0.1:7002,n3=127.0.0.1:7003 \
//!          --port 127.0.0.1:8001 --registry registry.sqlite --dir n1
//! ```
//!
//! Whoever finds all nodes announced and no record of the shard makes itself the first primary. Later configurations are the affair of a
//! coordinator; whoever leads keeps all announced copies up to date, so that it can take them in.

#![expect(
    clippy::print_stdout,
    reason = "whoever starts it reads there where it listens"
)]

mod announce;
mod arguments;
mod begin;
mod bench;
mod demo;
mod file;
mod format;
mod lines;
mod port;
mod shown;
mod status;

use std::{env, sync::Arc, time::Duration};

use clap::Parser;
use shardwright_quorum::{
    log::{
        BoxError, Settings, ShardLog,
        peer::{Limits, PeerOptions, Peers, Token},
        segments::Options,
        shard_log::{InDirectory, LogOptions, ShardRecords},
    },
    topology::{KeyspaceName, NodeId, ShardId},
};
use shardwright_registry::{Registry, SqliteStore};
#[cfg(unix)]
use tokio::signal::unix::SignalKind;

use crate::{announce::Announcements, arguments::Arguments, lines::Lines, shown::Shown};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxError> {
    // A log that cannot be written, because the disk is full, is no reason to end.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .init();
    if env::args_os().len() == 1 {
        return demo::run().await;
    }
    let arguments = Arguments::parse();
    let node = NodeId::new(&arguments.node)?;
    let peers = arguments.addresses()?;
    let nodes: Vec<NodeId> = peers.keys().cloned().collect();
    let options = PeerOptions {
        node: node.clone(),
        listen: arguments.listen,
        token: arguments.token.as_deref().map(Token::new).transpose()?,
        limits: Limits::default(),
    };
    let peers = Peers::bind(options, Arc::new(peers)).await?;
    println!("listening on {}", peers.address());
    let store = Arc::new(SqliteStore::open(&arguments.registry)?);
    let registry = Registry::new(store, KeyspaceName::main());
    let prefix = registry.shards().prefix().clone();
    let records = ShardRecords::follow(registry.store().clone(), prefix, Duration::from_secs(1));
    let announcements = Arc::new(Announcements::new(registry));
    let options = LogOptions {
        settings: Settings {
            lease: Duration::from_millis(arguments.lease_ms),
            retain: arguments.retain,
            window: arguments.window,
            ..Settings::default()
        },
        ..LogOptions::new(peers, records, Arc::<Announcements>::clone(&announcements))
    };
    let shown = Shown::default();
    let home = InDirectory::new(arguments.dir, Options::default(), {
        let shown = shown.clone();
        move |path| Lines::open(path, shown.clone())
    });
    #[cfg(unix)]
    let _outlived = outlive_size_limits()?;
    let (log, _task) = ShardLog::start(ShardId::numbered(0), home, options);
    tokio::spawn(begin::follow(announcements, log.clone(), node, nodes));
    port::serve(&arguments.port, log, shown).await
}

/// Lets a file that may not grow be an error of the copy, and not the end of the process.
#[cfg(unix)]
fn outlive_size_limits() -> std::io::Result<tokio::signal::unix::Signal> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    tokio::signal::unix::signal(kind)
}
