//! What an epoch begins from.

use std::collections::BTreeMap;

use shardwright_quorum::log::{Answer, Durable, Reply};
use shardwright_testkit::sim::Pid;
use shardwright_topology::{ConfigId, Epoch};

use super::Rules;
use crate::log::Node;

/// What the copy that answers says that it has ceased to lead.
pub(in crate::log) fn gave_way(reply: &Reply) -> Option<ConfigId> {
    match &reply.answer {
        Answer::Fenced(ack) => ack.gave_way,
        _ => None,
    }
}

impl Rules {
    /// The configuration that the attempt of an epoch recovers from.
    pub(in crate::log) fn recovers_from(&self, epoch: Epoch) -> Option<ConfigId> {
        let active = self.recover_from.get(&epoch);
        active.map(|active| active.config_id)
    }

    /// Notes that a primary gives way: whether the answer says so.
    pub(in crate::log) fn gives_way(&mut self, reply: &Reply) -> bool {
        let left = gave_way(reply).map(|led| (led, reply.ballot.epoch));
        self.gave_way.extend(left);
        left.is_some()
    }

    /// Looks at the begin of an epoch: enough members of the last active configuration have promised it, or its
    /// primary has given way to it.
    pub(super) fn begins_epoch(&mut self, nodes: &BTreeMap<Pid, Node>, at: Pid, epoch: Epoch) {
        let Some(before) = self.recover_from.get(&epoch) else {
            return;
        };
        let config = &self.configs[&epoch];
        if before.primary == config.primary || self.loss.accepted.contains(&epoch) {
            return;
        }
        let promised = |copy: &Durable| copy.promised.is_some_and(|it| it.epoch >= epoch);
        let (count, needed) = (
            self.holders(nodes, before, promised),
            before.recovery_quorum(),
        );
        let is_left = self.gave_way.contains(&(before.config_id, epoch));
        if count < needed && !is_left {
            self.breaks(|| format!("{at} begins {epoch} with {count} of {needed} promises (I5)"));
        }
    }
}
