//! The commit rule: what enough members of a configuration hold, under its epoch.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{Config, Epoch, Lsn, ReplicaId};

/// What the members of one configuration have acknowledged to its primary.
#[derive(Debug, Clone)]
pub struct Tally {
    config: Config,
    zones: BTreeMap<ReplicaId, String>,
    start: Lsn,
    is_active: bool,
    acked: BTreeMap<ReplicaId, Lsn>,
}

impl Tally {
    /// Returns the tally of a configuration whose epoch begins with the record `start`.
    ///
    /// A member of which `zones` says nothing counts for no zone.
    #[must_use]
    pub fn new(config: Config, zones: BTreeMap<ReplicaId, String>, start: Lsn) -> Self {
        Self {
            config,
            zones,
            start,
            is_active: false,
            acked: BTreeMap::new(),
        }
    }

    /// Counts an acknowledgement, unless it is of another epoch or of a copy that is no member.
    pub fn acknowledge(&mut self, epoch: Epoch, replica_id: ReplicaId, durable: Lsn) {
        let mut members = self.config.members.iter();
        let is_member = members.any(|member| member.replica_id == replica_id);
        if epoch == self.config.epoch && is_member {
            let acked = self.acked.entry(replica_id).or_default();
            *acked = durable.max(*acked);
        }
    }

    /// Returns whether enough members hold the start of the epoch, so that the registry may be asked to activate it.
    #[must_use]
    pub fn may_activate(&self) -> bool {
        self.suffices(self.start)
    }

    /// Notes that the registry has confirmed the activation: records may be committed from now on.
    pub fn activated(&mut self) {
        self.is_active = true;
    }

    /// Returns the highest committed record; none before the activation, or before the epoch's own first record is.
    #[must_use]
    pub fn commit(&self) -> Option<Lsn> {
        let acked = self.acked.values().copied();
        let reached = acked.filter(|lsn| *lsn >= self.start && self.suffices(*lsn));
        reached.max().filter(|_| self.is_active)
    }

    fn suffices(&self, lsn: Lsn) -> bool {
        let holders = self.acked.iter().filter(|(_, acked)| **acked >= lsn);
        let holders: BTreeSet<_> = holders.map(|(replica_id, _)| *replica_id).collect();
        let zones: BTreeSet<_> = holders.iter().filter_map(|id| self.zones.get(id)).collect();
        // One zone is no demand: then the members' zones need not be known.
        let spread = self.config.zones <= 1 || zones.len() >= self.config.zones as usize;
        holders.len() >= self.config.w as usize && spread
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{ConfigId, Incarnation, Member, NodeId, Primary, Proposal};

    use super::*;

    fn tally(zones: u32) -> Tally {
        let node = |bits: u128| NodeId::new(format!("n{bits}")).expect("a name");
        let config = Proposal {
            config_id: ConfigId::from_bits(1),
            primary: Primary {
                node: node(1),
                incarnation: Incarnation(1),
            },
            members: [1, 2, 3]
                .map(|bits| Member {
                    node: node(bits),
                    replica_id: ReplicaId::from_bits(bits),
                })
                .into(),
            w: 2,
            zones,
        };
        let zone = |(bits, zone): (u128, &str)| (ReplicaId::from_bits(bits), zone.to_owned());
        let zones = [(1, "a"), (2, "a"), (3, "b")].map(zone).into();
        Tally::new(config.at(Epoch(2)), zones, Lsn(5))
    }

    #[test]
    fn only_an_active_epoch_commits_and_only_by_its_own_records() {
        let mut tally = tally(1);
        for bits in [1, 2] {
            tally.acknowledge(Epoch(2), ReplicaId::from_bits(bits), Lsn(4));
        }
        tally.activated();
        assert_eq!(
            tally.commit(),
            None,
            "records of older epochs do not commit by count"
        );
        let mut tally = self::tally(1);
        tally.acknowledge(Epoch(2), ReplicaId::from_bits(1), Lsn(6));
        tally.acknowledge(Epoch(1), ReplicaId::from_bits(2), Lsn(6));
        tally.acknowledge(Epoch(2), ReplicaId::from_bits(9), Lsn(6));
        assert!(
            !tally.may_activate(),
            "neither another epoch nor another copy counts"
        );
        tally.acknowledge(Epoch(2), ReplicaId::from_bits(2), Lsn(5));
        assert!(tally.may_activate());
        assert_eq!(
            tally.commit(),
            None,
            "nothing commits before the activation"
        );
        tally.activated();
        assert_eq!(tally.commit(), Some(Lsn(5)));
    }

    #[test]
    fn a_commit_needs_as_many_zones_as_asked() {
        let mut tally = tally(2);
        tally.activated();
        for (bits, committed) in [(1, None), (2, None), (3, Some(Lsn(6)))] {
            tally.acknowledge(Epoch(2), ReplicaId::from_bits(bits), Lsn(6));
            assert_eq!(tally.commit(), committed);
        }
    }
}
