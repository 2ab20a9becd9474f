//! `dev`: a whole cluster in one process, for trying things out.

mod cluster;
mod home;

use std::io::{self, Write};

use self::{
    cluster::{Cluster, Limits},
    home::Home,
};
use crate::{
    automatic,
    listening::{self, Listening},
    process,
    settings::{
        AUTOMATIC, DATA_OF_DEV, Family, Given, LISTEN, LOG_OF_DEV, SHARDS, STREAM_IDLE, Setting,
        Settings, TRANSACTION_IDLE,
    },
    signals::{self, Ending},
    streams,
};

/// Run a whole cluster in one process, for trying things out.
///
/// A coordinator and some nodes, with a registry in an SQLite file, on this machine only. One address answers everything: SQL at
/// `/v1/sql`, clients of libSQL, the admin API at `/api/v1`, health and metrics. All data stays in the directory: run it again there, and it goes on.
///
/// Prints `listening on http://...` once it takes requests, and `ready` with what to try once every shard takes writes. Ctrl-C or SIGTERM
/// ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright dev
  shardwright dev --data trial --nodes 5 --listen 127.0.0.1:8080")]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Given<Developing>,

    /// How many nodes there are; by default as many as the directory has, or 3. Three copies of each shard are kept if there are as many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32))]
    nodes: Option<u32>,
}

/// The settings of a cluster in one process.
#[derive(Debug)]
struct Developing;

impl Family for Developing {
    const SETTINGS: &'static [&'static Setting] = &[
        &DATA_OF_DEV,
        &LISTEN,
        &SHARDS,
        &STREAM_IDLE,
        &TRANSACTION_IDLE,
        &LOG_OF_DEV,
    ];

    const MORE: (&'static str, &'static [&'static Setting]) = AUTOMATIC;
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    process::run(&arguments.settings, async |settings| {
        develop(settings, arguments.nodes, out).await
    })
}

async fn develop(
    settings: &Settings,
    nodes: Option<u32>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let ending = Ending::catch()?;
    signals::outlive_size_limits()?;
    let home = Home::open(settings.required(&DATA_OF_DEV)?, nodes)?;
    let shards = settings.required(&SHARDS)?;
    let limits = Limits {
        shards,
        balance: automatic::balance(settings, shards)?,
        streams: streams::of(settings)?,
    };
    let listening = Listening::open(settings, cluster::DEFAULT_ADDRESS).await?;
    let address = listening.address();
    let cluster = Cluster::start(&home, limits, listening).await?;
    listening::announce(address, out)?;
    let asked = ending.asked();
    tokio::pin!(asked);
    tokio::select! {
        () = cluster.until_ready() => {
            introduce(&home, &cluster, out)?;
            asked.await;
        }
        () = &mut asked => {}
    }
    cluster.stop().await;
    Ok(())
}

/// Says what is there, and what can be done with it.
fn introduce(home: &Home, cluster: &Cluster, out: &mut dyn Write) -> io::Result<()> {
    let (url, directory) = (cluster.url(), home.path().display());
    let shards = crate::output::count(cluster.shards() as u64, "shard");
    writeln!(
        out,
        "ready: {shards} on {}",
        crate::output::count(cluster.addresses().len() as u64, "node")
    )?;
    for (name, address) in cluster.addresses() {
        writeln!(out, "  {name}  {address}")?;
    }
    writeln!(
        out,
        "\nTry:
  shardwright sql --node {url}
  curl {url}/v1/sql -d '{{\"sql\": \"SELECT 1\"}}'
  shardwright status --coordinator {url}

Ctrl-C ends it. The data stays in {directory}."
    )?;
    out.flush()
}
