//! Configurations: which copies of a shard count, at one epoch.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{ConfigId, Epoch, Incarnation, NodeId, ReplicaId};

/// One copy of a shard, on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node that holds the copy.
    pub node: NodeId,
    /// The copy.
    pub replica_id: ReplicaId,
}

/// The one process that may take writes at an epoch: a restarted node is another process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primary {
    /// Its node.
    pub node: NodeId,
    /// Which process of the node.
    pub incarnation: Incarnation,
}

/// The members of a shard at one epoch, who of them is primary, and how many must hold a write before it counts.
///
/// A shard without replication is a configuration of one member with `w` 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The epoch; one configuration has it, ever.
    pub epoch: Epoch,
    /// Tells this configuration from another that was proposed for the same epoch.
    pub config_id: ConfigId,
    /// Who may write. Its node is a member.
    pub primary: Primary,
    /// The copies, at most one on a node.
    pub members: BTreeSet<Member>,
    /// How many members must hold a record durably before it is committed: 1 to all.
    pub w: u32,
    /// In how many different zones they must be: 1 to `w`.
    pub zones: u32,
}

/// A configuration that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// The primary holds no copy.
    #[error("primary {primary} is not among the members")]
    PrimaryNotMember {
        /// The node named as primary.
        primary: NodeId,
    },
    /// A node is listed with two copies.
    #[error("node {node} is a member twice")]
    TwiceOnNode {
        /// The node.
        node: NodeId,
    },
    /// The commit width is 0 or above the number of members.
    #[error("a commit width of {w} does not fit {members} members")]
    Width {
        /// The width.
        w: u32,
        /// The number of members.
        members: usize,
    },
    /// The number of zones is 0 or above the commit width.
    #[error("{zones} zones do not fit a commit width of {w}")]
    Zones {
        /// The number of zones.
        zones: u32,
        /// The commit width.
        w: u32,
    },
}

impl Config {
    /// Returns how many members of this configuration the next primary must hear before it may begin: so many that
    /// every committed record is on one of them. `R = members - w + 1`.
    #[must_use]
    pub fn recovery_quorum(&self) -> usize {
        (self.members.len() + 1).saturating_sub(self.w as usize)
    }

    /// Returns the smallest commit width of which any two sets of members share one.
    #[must_use]
    pub fn majority(members: usize) -> u32 {
        u32::try_from(members / 2 + 1).unwrap_or(u32::MAX)
    }

    /// Returns the copy on a node.
    #[must_use]
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == *node)
    }

    /// Returns the members other than the primary, in the order of their nodes.
    pub fn replicas(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| member.node != self.primary.node)
    }

    /// Returns how many of `copies` are members.
    #[must_use]
    pub fn count_members(&self, copies: &BTreeSet<ReplicaId>) -> usize {
        self.members
            .iter()
            .filter(|member| copies.contains(&member.replica_id))
            .count()
    }

    /// Checks what holds of every configuration.
    ///
    /// # Errors
    /// [`InvalidConfig`] with the first rule that is broken.
    pub fn check_invariants(&self) -> Result<(), InvalidConfig> {
        let mut nodes = BTreeSet::new();
        for member in &self.members {
            if !nodes.insert(&member.node) {
                return Err(InvalidConfig::TwiceOnNode {
                    node: member.node.clone(),
                });
            }
        }
        if !nodes.contains(&self.primary.node) {
            return Err(InvalidConfig::PrimaryNotMember {
                primary: self.primary.node.clone(),
            });
        }
        if self.w == 0 || self.w as usize > self.members.len() {
            return Err(InvalidConfig::Width {
                w: self.w,
                members: self.members.len(),
            });
        }
        if self.zones == 0 || self.zones > self.w {
            return Err(InvalidConfig::Zones {
                zones: self.zones,
                w: self.w,
            });
        }
        Ok(())
    }
}

/// A configuration before it has an epoch: what a coordinator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Drawn for this proposal alone.
    pub config_id: ConfigId,
    /// Who is to write.
    pub primary: Primary,
    /// The copies.
    pub members: BTreeSet<Member>,
    /// The commit width.
    pub w: u32,
    /// The number of zones that a commit needs.
    pub zones: u32,
}

impl Proposal {
    /// Proposes one member, which is its own primary: a shard without replication.
    #[must_use]
    pub fn single(config_id: ConfigId, primary: Primary, replica_id: ReplicaId) -> Self {
        let members = BTreeSet::from([Member {
            node: primary.node.clone(),
            replica_id,
        }]);
        Self {
            config_id,
            primary,
            members,
            w: 1,
            zones: 1,
        }
    }

    /// Gives the proposal its epoch.
    #[must_use]
    pub fn at(self, epoch: Epoch) -> Config {
        let Self {
            config_id,
            primary,
            members,
            w,
            zones,
        } = self;
        Config {
            epoch,
            config_id,
            primary,
            members,
            w,
            zones,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a valid name")
    }

    fn config(nodes: &[&str], w: u32) -> Config {
        let member = |(bits, name): (u128, &&str)| Member {
            node: node(name),
            replica_id: ReplicaId::from_bits(bits),
        };
        Proposal {
            config_id: ConfigId::from_bits(1),
            primary: Primary {
                node: node("n1"),
                incarnation: Incarnation(1),
            },
            members: (1..).zip(nodes).map(member).collect(),
            w,
            zones: 1,
        }
        .at(Epoch::INITIAL)
    }

    #[test]
    fn a_recovery_quorum_meets_every_commit_quorum() {
        for (members, w, r) in [
            (1, 1, 1),
            (2, 2, 1),
            (3, 2, 2),
            (3, 3, 1),
            (5, 3, 3),
            (4, 3, 2),
        ] {
            let names = ["n1", "n2", "n3", "n4", "n5"];
            assert_eq!(
                config(&names[..members], w).recovery_quorum(),
                r,
                "{members} members, w {w}"
            );
        }
        assert_eq!([1, 2, 3, 4, 5].map(Config::majority), [1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_configuration_that_contradicts_itself_is_named() {
        assert_eq!(config(&["n1", "n2"], 1).check_invariants(), Ok(()));
        let primary = InvalidConfig::PrimaryNotMember {
            primary: node("n1"),
        };
        assert_eq!(config(&["n2"], 1).check_invariants(), Err(primary));
        let twice = InvalidConfig::TwiceOnNode { node: node("n1") };
        assert_eq!(config(&["n1", "n1"], 1).check_invariants(), Err(twice));
        for w in [0, 2] {
            let width = InvalidConfig::Width { w, members: 1 };
            assert_eq!(config(&["n1"], w).check_invariants(), Err(width));
        }
        let zones = Config {
            zones: 2,
            ..config(&["n1"], 1)
        };
        assert_eq!(
            zones.check_invariants(),
            Err(InvalidConfig::Zones { zones: 2, w: 1 })
        );
    }

    #[test]
    fn the_replicas_are_the_members_that_are_not_primary() {
        let config = config(&["n3", "n1", "n2"], 2);
        let replicas: Vec<_> = config
            .replicas()
            .map(|member| member.node.as_str())
            .collect();
        assert_eq!(replicas, ["n2", "n3"]);
    }
}
