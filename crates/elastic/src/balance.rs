//! Plans: which shards to split, merge and move, and what that would change. The one place that decides.

mod patience;
mod planner;
mod thresholds;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use shardwright_topology::{NodeId, ShardId};

pub use self::patience::{Patience, Resting};
pub use self::planner::plan;
pub use self::thresholds::{InvalidPolicy, Metric};
use crate::{Hot, MergeCriteria, Part, ShardMetrics, SplitCriteria};

/// What a plan does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A hot shard is divided at its median key.
    Split {
        /// The shard.
        shard: ShardId,
    },
    /// Cold neighbours become one shard.
    Merge {
        /// The shards.
        shards: Vec<ShardId>,
        /// Where the new shard is.
        to: NodeId,
    },
    /// A shard goes to a node that has less.
    Migrate {
        /// The shard.
        shard: ShardId,
        /// Where it goes.
        to: NodeId,
    },
}

/// A step with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// Why.
    pub reason: String,
}

/// What a plan would change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RebalanceImpact {
    /// How many bytes are copied.
    pub data_movement_bytes: u64,
    /// How many shards end.
    pub shards_affected: usize,
    /// How long it takes, going by the rate at which was copied before.
    pub estimated_duration_secs: u64,
    /// How much lower the load of the most loaded shard or node is afterwards, from 0 to 1, as a part of what it is.
    pub load_improvement: f64,
}

/// Steps that may be carried out at the same time, in their order of urgency: no shard is in two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RebalancePlan {
    /// The steps.
    pub steps: Vec<Planned>,
    /// What they would change.
    pub impact: RebalanceImpact,
    /// The shards as they were when it was made.
    pub(crate) made_for: Vec<Part>,
}

impl RebalancePlan {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Step {
    /// Returns the shards that end.
    #[must_use]
    pub fn sources(&self) -> &[ShardId] {
        match self {
            Self::Split { shard } | Self::Migrate { shard, .. } => std::slice::from_ref(shard),
            Self::Merge { shards, .. } => shards,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split { shard } => write!(f, "split {shard}"),
            Self::Merge { shards, to } => {
                f.write_str("merge")?;
                shards.iter().try_for_each(|shard| write!(f, " {shard}"))?;
                write!(f, " on {to}")
            }
            Self::Migrate { shard, to } => write!(f, "migrate {shard} to {to}"),
        }
    }
}

/// What plans follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BalancePolicy {
    /// When shards are split.
    pub split: SplitCriteria,
    /// Above how many keys a shard is split, whatever else it does; `None` is no bound. Default none.
    pub split_keys: Option<usize>,
    /// When shards are merged.
    pub merge: MergeCriteria,
    /// How much more than the mean a node may have before shards leave it, as a part of the mean. Default 0.2.
    pub tolerance: f64,
    /// How many steps a plan has at most. Default 8.
    pub steps_max: usize,
    /// Bytes copied in a second, for the estimate of the duration. Default 50 MB.
    pub bytes_per_second: u64,
    /// How many bytes a node may have; `None` is no bound. Default none.
    pub node_bytes_max: Option<u64>,
    /// How long what makes a shard hot or cold must have lasted. Default 30 s; a plan that is asked for does not wait.
    pub lasting: Duration,
    /// How long a shard that an operation made stays as it is. Default 10 min; a plan that is asked for does not wait.
    pub cool_down: Duration,
}

impl Default for BalancePolicy {
    fn default() -> Self {
        Self {
            split: SplitCriteria::default(),
            split_keys: None,
            merge: MergeCriteria::default(),
            tolerance: 0.2,
            steps_max: 8,
            bytes_per_second: 50_000_000,
            node_bytes_max: None,
            lasting: Duration::from_secs(30),
            cool_down: Duration::from_secs(600),
        }
    }
}

impl BalancePolicy {
    /// Returns what makes a shard hot; `None` if nothing does, or it has too few keys to be divided.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number that is shown")]
    pub fn hot(&self, metrics: &ShardMetrics) -> Option<Hot> {
        let keys = metrics.key_count;
        let most = self.split_keys.filter(|most| *most < keys);
        let by_keys = most.map(|most| Hot {
            metric: "keys",
            value: keys as f64,
            threshold: most as f64,
        });
        let by_keys = by_keys.filter(|_| self.split.min_keys <= keys);
        self.split.hot(metrics).or(by_keys)
    }
}

/// The shards that own keys, and what they are used for.
#[derive(Debug, Clone, Default)]
pub struct Situation {
    /// The shards.
    pub parts: Vec<Part>,
    /// What each does; one that is missing is left alone.
    pub metrics: BTreeMap<ShardId, ShardMetrics>,
    /// The nodes that may have shards.
    pub nodes: Vec<NodeId>,
    /// The shards that take part in an operation: they are left alone.
    pub busy: Vec<ShardId>,
    /// The shards that stay where they are: they are split, and neither merged nor moved.
    pub staying: BTreeSet<ShardId>,
}
