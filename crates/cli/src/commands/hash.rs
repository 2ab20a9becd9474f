//! `hash`: the shard index of a key, for scripts and other languages to agree with.

use std::io::Write;
use std::num::NonZeroU32;

use shardwright_hashing::{Position, hash_to_shard};

/// Print the shard index of a key.
///
/// The key's position is the first 8 bytes, big-endian, of the SHA-256 of its UTF-8 text. The index
/// is the position modulo the number of shards, or with --ranges the number of the equal range of
/// positions that holds it. (A table's rows are placed by their typed key: see `locate`.)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright hash tenant-123 --shards 10            prints 3
  shardwright hash tenant-123 --shards 10 --ranges   by equal ranges of positions")]
pub(crate) struct Arguments {
    /// The key, as text.
    key: String,

    /// The number of shards.
    #[arg(long, value_name = "N")]
    shards: NonZeroU32,

    /// Use N equal ranges of positions instead of the position modulo N.
    #[arg(long)]
    ranges: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let shards = arguments.shards.get();
    let index = if arguments.ranges {
        Position::of(&arguments.key).equal_range(shards)
    } else {
        hash_to_shard(&arguments.key, shards)
    };
    Ok(writeln!(out, "{index}")?)
}
