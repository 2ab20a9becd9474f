//! The subcommands.

mod adopt;
mod backup;
mod config;
mod coordinator;
mod demo;
mod dev;
mod doctor;
mod events;
mod export;
mod hash;
mod import;
mod keys;
mod locate;
mod node;
mod op;
mod partition;
mod reassign;
mod rebalance;
mod schema;
mod shard;
pub(crate) mod shards;
mod sql;
mod stats;
mod status;
mod tx;
mod validate;
mod worker;

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use shardwright_sql::{Access, Allocation, LookupForm, Options, ShardedDatabase};

/// What `shardwright` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Arguments),
    Import(import::Arguments),
    Adopt(adopt::Arguments),
    Validate(validate::Arguments),
    Sql(sql::Arguments),
    Shards(shards::Arguments),
    Locate(locate::Arguments),
    #[command(subcommand)]
    Keys(keys::Command),
    Reassign(reassign::Arguments),
    Stats(stats::Arguments),
    Export(export::Arguments),
    Hash(hash::Arguments),
    Dev(Box<dev::Arguments>),
    Coordinator(Box<coordinator::Arguments>),
    Worker(Box<worker::Arguments>),
    Status(Box<status::Arguments>),
    Node(Box<node::Arguments>),
    #[command(subcommand)]
    Shard(shard::Command),
    #[command(subcommand)]
    Op(op::Command),
    #[command(subcommand)]
    Partition(partition::Command),
    #[command(subcommand)]
    Rebalance(rebalance::Command),
    #[command(subcommand)]
    Tx(tx::Command),
    #[command(subcommand)]
    Backup(backup::Command),
    #[command(subcommand)]
    Schema(schema::Command),
    Events(events::Arguments),
    Doctor(doctor::Arguments),
    #[command(subcommand)]
    Config(config::Command),
}

impl Command {
    /// Runs the command, printing what it answers to `out`.
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Demo(arguments) => demo::run(&arguments, out),
            Self::Import(arguments) => import::run(&arguments, out),
            Self::Adopt(arguments) => adopt::run(&arguments, out),
            Self::Validate(arguments) => validate::run(&arguments, out),
            Self::Sql(arguments) => sql::run(&arguments, out),
            Self::Shards(arguments) => shards::run(&arguments, out),
            Self::Locate(arguments) => locate::run(&arguments, out),
            Self::Keys(command) => keys::run(&command, out),
            Self::Reassign(arguments) => reassign::run(&arguments, out),
            Self::Stats(arguments) => stats::run(&arguments, out),
            Self::Export(arguments) => export::run(&arguments, out),
            Self::Hash(arguments) => hash::run(&arguments, out),
            Self::Dev(arguments) => dev::run(&arguments, out),
            Self::Coordinator(arguments) => coordinator::run(&arguments, out),
            Self::Worker(arguments) => worker::run(&arguments, out),
            Self::Status(arguments) => status::run(&arguments, out),
            Self::Node(arguments) => node::run(&arguments, out),
            Self::Shard(command) => shard::run(&command, out),
            Self::Op(command) => op::run(&command, out),
            Self::Partition(command) => partition::run(&command, out),
            Self::Rebalance(command) => rebalance::run(&command, out),
            Self::Tx(command) => tx::run(&command, out),
            Self::Backup(command) => backup::run(&command, out),
            Self::Schema(command) => schema::run(&command, out),
            Self::Events(arguments) => events::run(&arguments, out),
            Self::Doctor(arguments) => doctor::run(&arguments, out),
            Self::Config(command) => config::run(&command, out),
        }
    }
}

/// Opens a database that another process may have open for writing.
pub(crate) fn open_for_reading(directory: &Path) -> anyhow::Result<ShardedDatabase> {
    let options = Options {
        access: Access::ReadOnly,
        ..Options::default()
    };
    Ok(ShardedDatabase::open(directory, &options)?)
}

/// Opens a database for writing, with a directory of keys, which it gets if it has none.
fn open_with_directory(
    directory: &Path,
    lookup_form: LookupForm,
) -> anyhow::Result<ShardedDatabase> {
    let options = Options {
        directory: Some(Allocation::default()),
        lookup_form,
        ..Options::default()
    };
    Ok(ShardedDatabase::open(directory, &options)?)
}
