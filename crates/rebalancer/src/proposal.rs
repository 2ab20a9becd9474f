//! Proposals: a plan, the revision of the map that it was made from, and what it costs.

use serde::{Deserialize, Serialize};
use shardwright_topology::ShardMap;

use crate::{Cluster, DoesNotFit, Impact, PartitionId, Plan};

/// A revision of what a plan is made from: of the shard map, or of the registry that it is read from.
///
/// Two are compared only for being equal: a plan that was made from another revision is not carried out, whichever is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MapRevision(pub u64);

impl From<&ShardMap> for MapRevision {
    fn from(map: &ShardMap) -> Self {
        Self(map.revision())
    }
}

impl std::fmt::Display for MapRevision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The map is no longer the one that the plan was made from. Nothing has changed; plan again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the plan was made from revision {planned} of the map, which is now {current}: plan again")]
pub struct StalePlan {
    /// What the plan was made from.
    pub planned: MapRevision,
    /// What the map is at.
    pub current: MapRevision,
}

impl StalePlan {
    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "STALE_PLAN"
    }
}

/// Why a proposal was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// Nothing has changed; plan again.
    #[error(transparent)]
    Stale(#[from] StalePlan),
    /// The cluster is not the one that the plan was made from, though its revision is. Nothing has changed.
    #[error(transparent)]
    DoesNotFit(#[from] DoesNotFit),
}

/// A plan that is bound to the revision of the map that it was made from.
///
/// As JSON it has the fields of the [`Plan`], `moves` among them, beside its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What it was made from.
    pub revision: MapRevision,
    /// What is to be done.
    #[serde(flatten)]
    pub plan: Plan,
    /// How many moves the [budget](crate::Budget) left for a later plan.
    pub deferred: usize,
    /// What the moves cost, and what they lead to.
    pub impact: Impact,
    /// What stays where it is put, until it is moved by hand again or let go.
    pub pins: Vec<PartitionId>,
}

impl Proposal {
    /// Checks that the map is still the one that the plan was made from.
    ///
    /// # Errors
    /// [`StalePlan`] if it is not.
    pub fn check(&self, current: MapRevision) -> Result<(), StalePlan> {
        if current == self.revision {
            return Ok(());
        }
        Err(StalePlan {
            planned: self.revision,
            current,
        })
    }

    /// Does everything at once to a cluster at this revision: its moves, and then its pins.
    ///
    /// # Errors
    /// [`NotApplied`]; the cluster is as it was.
    pub fn apply(&self, cluster: &mut Cluster, current: MapRevision) -> Result<(), NotApplied> {
        self.check(current)?;
        let mut changed = cluster.clone();
        changed.apply_all(&self.plan)?;
        for id in &self.pins {
            changed.pin(id);
        }
        *cluster = changed;
        Ok(())
    }
}
