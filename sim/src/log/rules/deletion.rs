//! What must hold of a copy whose data is deleted: nobody needs it (I15).

use shardwright_testkit::sim::Pid;
use shardwright_topology::{Config, Epoch};

use super::Rules;
use crate::log::Node;

impl Rules {
    /// Looks at a copy that is deleted because somebody decided so at an epoch of the shard.
    ///
    /// A configuration of a later epoch may name it, if it has not promised to obey that one: it has acknowledged nothing there.
    pub(in crate::log) fn deletes(&mut self, node: &Node, at: Pid, decided: Epoch) {
        let promised = node.synced.promised.map(|promised| promised.epoch);
        let needs = |config: &&Config| {
            let mut members = config.members.iter();
            let is_member = members.any(|member| member.replica_id == node.replica_id);
            is_member && (config.epoch <= decided || promised >= Some(config.epoch))
        };
        // What a registry that went back says to be tried is not tried.
        let pending = self.pending.iter().filter(|_| !self.is_back());
        let needed = self.active.iter().chain(pending).find(needs);
        if let Some(epoch) = needed.map(|config| config.epoch) {
            self.breaks(|| format!("{at} deletes a copy that {epoch} needs (I15)"));
        }
    }
}
