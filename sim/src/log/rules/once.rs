//! A write that comes again happens at most once (I17), if whoever runs it looks at the data first, and has it appended next to that.

use std::collections::HashMap;

use shardwright_quorum::log::Point;
use shardwright_topology::Lsn;

use super::Rules;
use crate::log::Node;

/// Where each write is committed.
#[derive(Default)]
pub(super) struct Once(HashMap<u64, Lsn>);

impl Rules {
    /// Notes what is newly committed.
    pub(super) fn happens(&mut self, fresh: &[Point]) {
        for point in fresh {
            let Some(id) = self.contents.get(&point.hash).copied() else {
                continue;
            };
            if let Some(before) = self.once.0.insert(id, point.lsn) {
                let again = point.lsn;
                self.breaks(|| format!("{id} is committed at {before} and at {again} (I17)"));
            }
        }
    }

    /// Notes that a record is gone with a loss that was accepted.
    pub(super) fn is_gone(&mut self, point: Point) {
        if let Some(id) = self.contents.get(&point.hash) {
            self.once.0.remove(id);
        }
    }

    /// Whether the data of a copy shows that a write has happened.
    pub(in crate::log) fn has_happened(&self, node: &Node, id: u64) -> bool {
        let committed = self.once.0.get(&id);
        committed.is_some_and(|lsn| *lsn <= node.data.applied.lsn)
    }
}
