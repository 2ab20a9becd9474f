//! Adoption: an existing SQLite file becomes a sharded database.
//!
//! [`inspect`] reads the file and proposes what each of its tables becomes, with the reasons in words. It changes
//! nothing, neither the file nor anything beside it. [`import`] does as proposed: it fills a directory with the rows.
//!
//! [`attach`] copies nothing: several files become the shards of one database, each row where it is, until [`detach`]
//! gives them back. [`validate`] and [`inspect_attach`] say beforehand what is in the way.

mod attach;
mod colocate;
pub(crate) mod columns;
mod import;
mod infer;
mod journal;
mod load;
mod objects;
mod proposal;
pub(crate) mod shadow;
pub(crate) mod source;
mod statistics;
mod target;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::source::Source;
pub use self::{
    attach::{
        AttachOptions, AttachReport, AttachedTable, Problem, ShardSource, attach, detach,
        inspect_attach, is_attached, primary_keys, validate,
    },
    import::{ImportReport, LoadedTable, Progress, Step, import},
    proposal::{Proposal, TableProposal},
};
pub(crate) use self::{import::ANALYZED, journal::sync_directory};
use crate::{database::CreateOptions, error::Error, schema::NullKeys};

/// What the owner of the file wants; it wins over comments in the schema, and these over what is inferred.
///
/// Names ignore ASCII case. A table that is named twice is taken as sharded first, then as reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptOptions {
    /// Tables to be sharded, each with the column to shard it by.
    pub shard_keys: Vec<(String, String)>,
    /// Tables to be copied to every shard.
    pub references: Vec<String>,
    /// Tables to be kept on the catalog shard.
    pub globals: Vec<String>,
    /// What becomes of rows whose key is NULL, in the tables of `shard_keys`.
    pub null_keys: NullKeys,
}

/// Reads a SQLite file and proposes what its tables become on so many shards.
///
/// # Errors
/// [`Error::Io`], [`Error::NotSqlite`] and [`Error::Damaged`] for a file that cannot be adopted;
/// [`Error::UnknownTable`], [`Error::UnknownColumn`], [`Error::NoPrimaryKey`], [`Error::NullKey`],
/// [`Error::GeneratedKey`], [`Error::TriggerNotLocal`] and [`Error::BadShardCount`] for options or declarations that do not fit it.
pub fn inspect(file: &Path, shards: usize, options: &AdoptOptions) -> Result<Proposal, Error> {
    check_shards(shards)?;
    let source = Source::open(file)?;
    source.check()?;
    let proposal = infer::propose(&source, shards, options)?;
    source.check_unchanged()?;
    Ok(proposal)
}

fn check_shards(shards: usize) -> Result<(), Error> {
    let most = CreateOptions::MOST_SHARDS;
    if (1..=most).contains(&shards) {
        Ok(())
    } else {
        Err(Error::BadShardCount { shards, most })
    }
}

#[cfg(test)]
mod tests;
