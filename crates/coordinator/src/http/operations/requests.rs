//! What the commands about operations take.

use serde::Deserialize;
use shardwright_elastic::{Cut, ElasticShardManager, Error, Gating, SplitAt, Work};
use shardwright_topology::{NodeId, OperationId, OperationKind, Position, ShardId};

use crate::http::{Problem, balance::Pinning};

/// How many shards a merge takes at most.
const SHARDS_MAX: usize = 1_000;

/// A split, a merge or a move that is to begin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    kind: OperationKind,
    shards: Vec<ShardId>,
    from: Option<NodeId>,
    to: Option<NodeId>,
    at: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
    /// Whether a shard that moves stays there, whatever plans would do. It does, unless told otherwise.
    pin: Option<bool>,
}

/// What is to begin, as far as that can be told without looking at the shards.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) shards: Vec<ShardId>,
    pub(super) dry_run: bool,
    pub(super) pinning: Pinning,
    gating: Gating,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Split(SplitAt),
    Merge,
    Migrate { from: Option<NodeId>, to: NodeId },
}

impl Begin {
    /// Returns what is asked for, if nothing of it contradicts the rest.
    pub(super) fn checked(self) -> Result<Asked, Problem> {
        let Self {
            kind,
            shards,
            from,
            to,
            at,
            force,
            dry_run,
            pin,
        } = self;
        let is_one = shards.len() == 1;
        let refused = match kind {
            OperationKind::Split if !is_one => Some("a split takes one shard"),
            OperationKind::Migrate if !is_one => Some("a move takes one shard"),
            OperationKind::Merge if shards.len() < 2 => Some("a merge takes two shards or more"),
            OperationKind::Merge if SHARDS_MAX < shards.len() => {
                Some("a merge takes 1,000 shards at most")
            }
            OperationKind::Split | OperationKind::Merge if to.is_some() || from.is_some() => Some(
                "from and to are for a move: the copies of what a split or a merge makes stay there",
            ),
            OperationKind::Merge | OperationKind::Migrate if at.is_some() => {
                Some("at says where a shard is split")
            }
            OperationKind::Split | OperationKind::Merge | OperationKind::Migrate => None,
        };
        if let Some(refused) = refused {
            return Err(Problem::bad_request(refused));
        }
        let change = match (kind, to) {
            (OperationKind::Split, _) => Change::Split(split_at(at.as_deref())?),
            (OperationKind::Merge, _) => Change::Merge,
            (OperationKind::Migrate, Some(to)) => Change::Migrate { from, to },
            (OperationKind::Migrate, None) => {
                return Err(Problem::bad_request("to names the node of a move"));
            }
        };
        Ok(Asked {
            shards,
            dry_run,
            pinning: Pinning::of(pin),
            gating: match force || change.is_to_be_empty() {
                true => Gating::Force,
                false => Gating::Sizes,
            },
            change,
        })
    }
}

/// Where a shard is split: at its median row, at the middle of its range, or at a position.
fn split_at(at: Option<&str>) -> Result<SplitAt, Problem> {
    match at {
        None | Some("median") => Ok(SplitAt::Median),
        Some("middle") => Ok(SplitAt::Middle),
        Some(text) => match text.parse::<Position>() {
            Ok(at) => Ok(SplitAt::Cut(Cut::Position { at })),
            Err(_) => {
                let message = format!("at is {text:?}, and no position");
                let hint = "write median, middle, or a position of 16 hexadecimal digits";
                Err(Problem::bad_request(message).hint(hint))
            }
        },
    }
}

impl Change {
    /// Whether shards may be empty: whoever names the place of a cut may divide a shard for rows that are yet to come.
    fn is_to_be_empty(&self) -> bool {
        matches!(self, Self::Split(SplitAt::Middle | SplitAt::Cut(_)))
    }
}

impl Asked {
    /// What it is called where requests are counted.
    pub(super) fn method(&self) -> &'static str {
        match self.change {
            Change::Split(_) => "split",
            Change::Merge => "merge",
            Change::Migrate { .. } => "migrate",
        }
    }

    /// Returns from where to where a shard is to move, if one is.
    pub(super) fn migration(&self) -> Option<(Option<&NodeId>, &NodeId)> {
        match &self.change {
            Change::Migrate { from, to } => Some((from.as_ref(), to)),
            Change::Split(_) | Change::Merge => None,
        }
    }

    /// Whether shards are to become one.
    pub(super) fn is_merge(&self) -> bool {
        matches!(self.change, Change::Merge)
    }

    fn names(&self) -> Vec<&str> {
        self.shards.iter().map(ShardId::as_str).collect()
    }

    /// Begins it.
    pub(super) async fn begin(&self, manager: &ElasticShardManager) -> Result<OperationId, Error> {
        let (names, gating) = (self.names(), self.gating);
        match &self.change {
            Change::Split(at) => manager.begin_split(names[0], at.clone(), gating).await,
            Change::Merge => manager.begin_merge(&names, gating).await,
            Change::Migrate { to, .. } => {
                manager.begin_migrate(names[0], to.as_str(), gating).await
            }
        }
    }

    /// Returns what it would do, and does nothing.
    pub(super) async fn plan(&self, manager: &ElasticShardManager) -> Result<Work, Error> {
        let (names, gating) = (self.names(), self.gating);
        match &self.change {
            Change::Split(at) => manager.plan_split(names[0], at.clone(), gating).await,
            Change::Merge => manager.plan_merge(&names, gating).await,
            Change::Migrate { to, .. } => manager.plan_migrate(names[0], to.as_str(), gating).await,
        }
    }
}
