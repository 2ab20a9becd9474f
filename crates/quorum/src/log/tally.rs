//! The commit rule: what enough members of a configuration hold, under its epoch.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{Config, Epoch, Lsn, NodeId, ReplicaId};

/// What the members of one configuration have acknowledged to its primary.
#[derive(Debug, Clone)]
pub struct Tally {
    epoch: Epoch,
    w: usize,
    zones: usize,
    start: Lsn,
    is_active: bool,
    acked: Vec<Acked>,
}

/// What one member has acknowledged.
#[derive(Debug, Clone)]
struct Acked {
    replica_id: ReplicaId,
    zone: Option<String>,
    lsn: Lsn,
}

impl Tally {
    /// Returns the tally of a configuration whose epoch begins with the record `start`.
    ///
    /// A member of whose node `zones` says nothing counts for no zone.
    #[must_use]
    pub fn new(config: &Config, zones: &BTreeMap<NodeId, String>, start: Lsn) -> Self {
        let members = config.members.iter().map(|member| Acked {
            replica_id: member.replica_id,
            zone: zones.get(&member.node).cloned(),
            lsn: Lsn(0),
        });
        Self {
            epoch: config.epoch,
            w: config.w as usize,
            zones: config.zones as usize,
            start,
            is_active: false,
            acked: members.collect(),
        }
    }

    /// Counts an acknowledgement, unless it is of another epoch or of a copy that is no member.
    pub fn acknowledge(&mut self, epoch: Epoch, replica_id: ReplicaId, durable: Lsn) {
        let mut acked = self.acked.iter_mut();
        let member = acked.find(|acked| acked.replica_id == replica_id);
        if let Some(member) = member.filter(|_| epoch == self.epoch) {
            member.lsn = member.lsn.max(durable);
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

    /// Returns whether the registry has confirmed the activation.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Returns the highest committed record; none before the activation, or before the epoch's own first record is.
    #[must_use]
    pub fn commit(&self) -> Option<Lsn> {
        let acked = self.acked.iter().map(|acked| acked.lsn);
        let reached = acked.filter(|lsn| *lsn >= self.start && self.suffices(*lsn));
        reached.max().filter(|_| self.is_active)
    }

    /// Returns up to where every member holds all records.
    #[must_use]
    pub fn all(&self) -> Lsn {
        let acked = self.acked.iter().map(|acked| acked.lsn);
        acked.min().unwrap_or_default()
    }

    fn suffices(&self, lsn: Lsn) -> bool {
        let holders = || self.acked.iter().filter(|acked| acked.lsn >= lsn);
        if holders().count() < self.w {
            return false;
        }
        // One zone is no demand: then the members' zones need not be known.
        let zones = || holders().filter_map(|acked| acked.zone.as_ref());
        self.zones <= 1 || zones().collect::<BTreeSet<_>>().len() >= self.zones
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{ConfigId, Incarnation, Member, Primary, Proposal};

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
        let zone = |(bits, zone): (u128, &str)| (node(bits), zone.to_owned());
        let zones = [(1, "a"), (2, "a"), (3, "b")].map(zone).into();
        Tally::new(&config.at(Epoch(2)), &zones, Lsn(5))
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
