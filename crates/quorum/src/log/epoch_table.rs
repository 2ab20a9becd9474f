//! The epoch table: where each epoch ends in a log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::{Epoch, Lsn};

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

    /// Notes that a log ends with `point` now.
    pub(super) fn reach(&mut self, point: Point) {
        self.0.insert(point.epoch, point);
    }

    /// Notes that a log was cut off after `last`.
    pub(super) fn cut_after(&mut self, last: Point) {
        self.0.retain(|_, end| end.lsn < last.lsn);
        self.reach(last);
    }

    /// Notes that a log begins after `base` now.
    pub(super) fn cut_before(&mut self, base: Lsn) {
        self.0.retain(|_, end| end.lsn >= base);
    }
}
