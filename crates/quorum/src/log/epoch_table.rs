//! The epoch table: where each epoch ends in a log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::Epoch;

use super::{Log, Point};

/// The last record of each epoch in a log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochTable(pub BTreeMap<Epoch, Point>);

impl EpochTable {
    /// Returns the highest place at which `log` is known to agree with the log of this table, if it still holds one.
    ///
    /// The other member truncates after it. It may agree further, up to the end of an epoch that one of them left early.
    #[must_use]
    pub fn last_common(&self, log: &Log) -> Option<Point> {
        let ends = self.0.values().rev();
        let mut common = ends.filter(|end| log.point(end.lsn) == Some(**end));
        let start = log.point(Point::default().lsn);
        common.next().copied().or(start)
    }
}
