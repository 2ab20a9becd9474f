//! What is excused once an operator has accepted a loss: nobody else may lose anything.

use std::collections::BTreeSet;

use shardwright_quorum::log::{Log, Point};
use shardwright_topology::{Config, Epoch};

use super::{Rules, situations};
use crate::log::Node;

/// What was lost with the acceptance of an operator.
#[derive(Default)]
pub(super) struct Loss {
    /// The attempts for which it was accepted.
    pub(super) accepted: BTreeSet<Epoch>,
    /// The last of them that became active.
    since: Option<Epoch>,
    /// The committed records that are gone.
    points: BTreeSet<(Epoch, u64)>,
}

impl Rules {
    /// Notes that a configuration is active whose primary went on with what was left.
    pub(super) fn went_on(&mut self, active: &Config, log: &Log) {
        let is_kept =
            |point: &Point| point.lsn <= log.base().lsn || log.point(point.lsn) == Some(*point);
        while let Some(last) = self.committed.pop_if(|point| !is_kept(point)) {
            self.loss.points.insert((last.epoch, last.lsn.0));
            self.is_gone(last);
            self.marks.push(situations::LOST);
        }
        self.loss.since = Some(active.epoch);
        let last = self.committed.last().copied().unwrap_or_default().lsn;
        self.floor = self.floor.min(last);
        for begun in self.begun.values_mut() {
            *begun = last.min(*begun);
        }
    }

    /// Whether an epoch was over before the last loss.
    pub(super) fn is_before_loss(&self, epoch: Epoch) -> bool {
        self.loss.since.is_some_and(|since| epoch < since)
    }

    /// Whether a copy may have committed records that its primary has not: that one went on with what was left, or tries to.
    pub(in crate::log) fn may_diverge(&self, node: &Node) -> bool {
        let machine = node.machine.as_ref();
        let promised = machine.and_then(|machine| machine.replica().promised());
        promised.is_some_and(|promised| self.loss.accepted.contains(&promised.epoch))
            || self.is_past(node)
    }

    /// Whether a copy has not heard of the last loss, or has what was lost.
    pub(in crate::log) fn is_past(&self, node: &Node) -> bool {
        if self.loss.since.is_none() {
            return false;
        }
        let Some(machine) = &node.machine else {
            return true;
        };
        let (replica, is_lost) = (machine.replica(), |point: Point| {
            self.loss.points.contains(&(point.epoch, point.lsn.0))
        });
        let promised = replica.promised().map(|promised| promised.epoch);
        let known = replica.log().point(replica.known_commit());
        promised < self.loss.since || known.is_some_and(is_lost) || is_lost(node.data.applied)
    }
}
