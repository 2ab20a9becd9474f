//! Copying the rows of one table to the places where they live.

use shardwright_hashing::Position;

use super::{
    columns::{Columns, copy},
    source::Source,
    target::Target,
};
use crate::{
    error::Error,
    schema::{Table, TableKind},
};

/// After so many rows the transactions are committed, which bounds the write-ahead logs.
const ROWS_PER_TRANSACTION: u64 = 65_536;

/// How often progress is reported.
const ROWS_PER_REPORT: u64 = 4096;

/// The files to fill: the shards in the order of their ranges, then the catalog.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) shards: Vec<Target>,
    pub(super) catalog: Target,
}

impl Targets {
    pub(super) fn all(&self) -> impl Iterator<Item = &Target> {
        self.shards.iter().chain(std::iter::once(&self.catalog))
    }

    /// The places where rows of the table may be.
    pub(super) fn of(&self, table: &Table) -> Vec<&Target> {
        match &table.kind {
            TableKind::Sharded(_) => self.shards.iter().collect(),
            TableKind::Reference => self.all().collect(),
            TableKind::Global => vec![&self.catalog],
        }
    }

    /// Copies the rows of a table and returns how many each of its places got. `report` hears how many were copied.
    pub(super) fn load(
        &self,
        source: &Source,
        table: &Table,
        shard_of: &dyn Fn(Position) -> usize,
        report: &mut dyn FnMut(u64),
    ) -> Result<Vec<u64>, Error> {
        let places = self.of(table);
        let columns = Columns::of(table);
        let insert = columns.insert(table);
        let mut inserts = places
            .iter()
            .map(|target| {
                let statement = target.connection().prepare(&insert);
                statement.map_err(|error| target.error(error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let sql = columns.select(table);
        let failed = |error| source.error(error);
        let mut select = source.connection().prepare(&sql).map_err(failed)?;
        let mut rows = select.query(()).map_err(failed)?;
        let mut counts = vec![0; places.len()];
        let mut copied = 0;
        places.iter().try_for_each(|target| target.begin())?;
        while let Some(row) = rows.next().map_err(failed)? {
            let chosen = match columns.key(table, row).map_err(failed)? {
                Some(position) => {
                    let shard = shard_of(position);
                    shard..shard + 1
                }
                None => 0..places.len(),
            };
            for place in chosen {
                copy(row, &mut inserts[place]).map_err(|error| places[place].error(error))?;
                counts[place] += 1;
            }
            copied += 1;
            if copied % ROWS_PER_REPORT == 0 {
                report(copied);
            }
            if copied % ROWS_PER_TRANSACTION == 0 {
                places.iter().try_for_each(|target| target.commit())?;
                places.iter().try_for_each(|target| target.begin())?;
            }
        }
        places.iter().try_for_each(|target| target.commit())?;
        Ok(counts)
    }
}
