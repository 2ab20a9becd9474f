//! What nodes say of their copies of a log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_topology::{Epoch, Incarnation, Lsn, ReplicaId};

/// What a process says of one copy that it has open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// The copy.
    pub replica_id: ReplicaId,
    /// The number of this opening of it: what a configuration names to make it the primary. A later opening has a higher one.
    pub incarnation: Incarnation,
    /// The epoch of the last record that is durable here.
    pub epoch: Epoch,
    /// The number of that record.
    pub durable: Lsn,
    /// Whether it is of use.
    pub health: Health,
    /// Whether its log begins with a snapshot that its data is not made of yet: it could lead, and serve nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub installs: bool,
    /// What it knows as the primary, once the registry has confirmed that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<Lead>,
}

/// Whether a copy is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It is whole.
    Whole,
    /// It is set aside: something that was durable is missing, damaged, or contradicts what is committed.
    Faulty,
    /// It has seen the registry go back in time. Nothing is decided for its shard until an operator has looked.
    RegistryWentBack,
}

/// What the primary of a shard knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    /// Its epoch, which is active.
    pub epoch: Epoch,
    /// The last record of its log.
    pub last: Lsn,
    /// The highest committed record, once one of this epoch is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Lsn>,
    /// Up to where the logs of the other copies agree with its own, durably, as they have answered in this epoch. Copies that have not
    /// answered are not among them.
    pub followers: BTreeMap<ReplicaId, Lsn>,
}

impl Lead {
    /// Returns by how many records a copy is behind; `None` if it has not answered in this epoch.
    #[must_use]
    pub fn lag(&self, replica_id: ReplicaId) -> Option<u64> {
        let matched = self.followers.get(&replica_id)?;
        Some(self.last.0.saturating_sub(matched.0))
    }
}
