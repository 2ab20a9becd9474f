//! The subcommands.

mod hash;

use std::io::Write;

use clap::Subcommand;

/// What `shardwright` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Hash(hash::Arguments),
}

impl Command {
    /// Runs the command, printing what it answers to `out`.
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Hash(arguments) => hash::run(&arguments, out),
        }
    }
}
