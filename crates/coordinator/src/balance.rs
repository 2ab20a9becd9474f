//! The balance of the shards that commit on several members: plans from what is measured, plans that are carried out, and what the leader does by
//! itself.
//!
//! ```text
//! nodes ── measurements ──┐
//!                         v
//! view ── picture ── policy ── proposal ── asked for, or decided ── record in the registry
//!                                                                        │
//!                     leader: Execution ── hand-overs and moves ── core  v
//! ```
//! One place decides: what is planned here is of such shards alone, and what the planner of the core does is of all others. Whatever has begun is in the
//! registry, so the next leader goes on with it. Where nothing is under way and the leader does nothing by itself, nothing runs, but that the record is
//! read every few seconds: who led before may have answered a command a moment too late.

mod automatic;
mod carry;
mod leading;
mod options;
mod picture;
mod pins;
mod propose;
mod record;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use shardwright_elastic::ShardMetrics;
use shardwright_rebalancer::{
    Cluster, MapRevision, Move, Proposal, StalePlan, execution::Execution,
};
use shardwright_registry::{Error as RegistryError, Store};
use shardwright_topology::{NodeId, ShardId, Timestamp};
use tokio::sync::Notify;

pub(crate) use self::leading::Leading;
use self::record::Kept;
pub use self::{
    options::{By, Options},
    propose::{NodeLoad, Proposed, RebalanceImpact},
    record::{Automatic, Carried, UnknownMode},
    settings::Settings,
};
use crate::{Handle, core::View};

/// How many moves one plan has at most: it is one value of the registry while it is carried out.
pub const MOVES_MAX: usize = 500;

/// Where a coordinator is asked for the balance. A clone asks the same one.
#[derive(Debug, Clone)]
pub struct Balance {
    kept: record::Keeper,
    /// Told when the record has changed.
    changed: Arc<Notify>,
    settings: Settings,
}

/// What there is to say of the balance.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What the leader does by itself.
    pub automatic: Automatic,
    /// The shards that stay where they are.
    pub pins: Vec<ShardId>,
    /// What is being carried out, or was last.
    pub execution: Option<Carried>,
}

/// Returns the shards that people have pinned: they stay where they are unless somebody moves them by name.
///
/// # Errors
/// [`Refused::Registry`].
pub(crate) async fn pinned(handle: &Handle) -> Result<BTreeSet<ShardId>, Refused> {
    match handle.balance() {
        Some(balance) => balance.pins(&handle.view()).await,
        None => Ok(BTreeSet::new()),
    }
}

/// Why something about the balance was refused. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Check the name.
    #[error("node {node} is not registered, or keeps no copies of shards")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// Check the name.
    #[error("there is no shard {shard} that commits on several members")]
    UnknownShard {
        /// The shard.
        shard: ShardId,
    },
    /// Start nodes, or give one a weight.
    #[error("no node may be given anything: each is down, draining, or of weight 0")]
    NoCapacity,
    /// Plan again.
    #[error(transparent)]
    Stale(#[from] StalePlan),
    /// Wait until it is over, or cancel it.
    #[error("plan {id} is being carried out")]
    InProgress {
        /// Its name.
        id: String,
    },
    /// A saved plan can be cut, and not become longer.
    #[error("the plan has {moves} moves, {MOVES_MAX} are allowed")]
    TooLong {
        /// How many it has.
        moves: usize,
    },
    /// There is nothing to cancel.
    #[error("no plan is being carried out")]
    NotInProgress,
    /// The registry did not answer, or does not say what became of it.
    #[error("the registry does not keep it")]
    Registry(#[from] RegistryError),
}

impl Refused {
    /// Returns the name of the error for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownNode { .. } => "UNKNOWN_NODE",
            Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::NoCapacity => "NO_CAPACITY",
            Self::Stale(stale) => stale.code(),
            Self::InProgress { .. } => "IN_PROGRESS",
            Self::TooLong { .. } => "TOO_LONG",
            Self::NotInProgress => "NOT_IN_PROGRESS",
            Self::Registry(_) => "REGISTRY",
        }
    }
}

impl Balance {
    pub(crate) fn new(store: &Arc<dyn Store>, settings: Settings) -> Self {
        Self {
            kept: record::Keeper::new(store),
            changed: Arc::default(),
            settings,
        }
    }

    /// Returns its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns what the leader does by itself: what somebody has said, or else what the settings say.
    fn mode(&self, said: Option<Automatic>) -> Automatic {
        said.unwrap_or(self.settings.automatic)
    }

    /// Returns what there is to say of it.
    ///
    /// # Errors
    /// [`Refused::Registry`].
    pub async fn status(&self, view: &View) -> Result<Status, Refused> {
        let Kept {
            automatic,
            mut pins,
            execution,
            ..
        } = self.kept.load().await?;
        pins::pass_on(&mut pins, &view.operations);
        Ok(Status {
            automatic: self.mode(automatic),
            pins: pins.into_iter().collect(),
            execution,
        })
    }

    /// Returns the shards that stay where they are, also those that were made of such shards.
    async fn pins(&self, view: &View) -> Result<BTreeSet<ShardId>, Refused> {
        let mut pins = self.kept.load().await?.pins;
        pins::pass_on(&mut pins, &view.operations);
        Ok(pins)
    }

    /// Has the registry keep the pins of what was made of pinned shards: the operations that say what that is are forgotten after a while.
    ///
    /// # Errors
    /// [`Refused::Registry`].
    async fn pass_pins_on(&self, view: &View, known: &mut Kept) -> Result<(), Refused> {
        let mut pins = known.pins.clone();
        pins::pass_on(&mut pins, &view.operations);
        if pins == known.pins {
            return Ok(());
        }
        known.pins = pins;
        let changed = self.kept.change(|kept| {
            pins::pass_on(&mut kept.pins, &view.operations);
            Ok(())
        });
        changed.await
    }

    /// Has the leader act by itself, or not.
    ///
    /// # Errors
    /// [`Refused::Registry`].
    pub async fn set_automatic(&self, automatic: Automatic) -> Result<(), Refused> {
        let changed = self.kept.change(|kept| {
            kept.automatic = Some(automatic);
            Ok(())
        });
        changed.await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Has no plan move a shard, or lets plans move it again. Shards that are no more are let go of.
    ///
    /// # Errors
    /// [`Refused::UnknownShard`], [`Refused::Registry`].
    pub async fn set_pinned(
        &self,
        view: &View,
        shard: &ShardId,
        to: Pinned,
    ) -> Result<(), Refused> {
        let exists = |shard: &ShardId| picture::exists(view, shard);
        if !exists(shard) {
            let shard = shard.clone();
            return Err(Refused::UnknownShard { shard });
        }
        let changed = self.kept.change(|kept| {
            pins::pass_on(&mut kept.pins, &view.operations);
            kept.pins.retain(exists);
            match to {
                Pinned::Stays => drop(kept.pins.insert(shard.clone())),
                Pinned::Free => drop(kept.pins.remove(shard)),
            }
            Ok(())
        });
        changed.await?;
        // What is being carried out may have moves of it that wait.
        self.changed.notify_one();
        Ok(())
    }

    /// Plans, and does nothing.
    ///
    /// # Errors
    /// [`Refused::UnknownNode`], [`Refused::UnknownShard`], [`Refused::NoCapacity`], [`Refused::Registry`].
    pub async fn propose(
        &self,
        view: &View,
        metrics: &BTreeMap<ShardId, ShardMetrics>,
        options: &Options,
    ) -> Result<Proposed, Refused> {
        let known = propose::Known {
            view: view.clone(),
            metrics: metrics.clone(),
            pins: self.pins(view).await?,
        };
        propose::propose_apart(known, options.clone(), self.settings.clone()).await
    }

    /// Returns what a plan that was made before means now, without what it has of other shards, and of those that are pinned.
    ///
    /// # Errors
    /// [`Refused::Stale`] if the shards are not as they were, [`Refused::Registry`].
    pub async fn consider(
        &self,
        view: &View,
        metrics: &BTreeMap<ShardId, ShardMetrics>,
        (revision, moves): (MapRevision, Vec<Move>),
    ) -> Result<Proposed, Refused> {
        let mut proposal = propose::of_moves(revision, moves);
        proposal.check(picture::revision(view))?;
        let pins = self.pins(view).await?;
        let moves = &mut proposal.plan.moves;
        moves.retain(|planned| !pins.contains(&planned.partition.shard));
        Ok(propose::considered(view, metrics, proposal, &self.settings))
    }

    /// Begins to carry a plan out, which goes on whoever leads; `None` if there is nothing to do. Moves of shards that do not commit on several members are
    /// passed over, and those of shards that are pinned.
    ///
    /// # Errors
    /// [`Refused::Stale`] if the shards are not as they were when the plan was made, [`Refused::InProgress`], [`Refused::TooLong`],
    /// [`Refused::Registry`].
    pub async fn apply(
        &self,
        view: &View,
        metrics: &BTreeMap<ShardId, ShardMetrics>,
        (revision, moves): (MapRevision, Vec<Move>),
        asked: Asked,
    ) -> Result<Option<Carried>, Refused> {
        let cluster = picture::cluster(view, metrics, &Options::default(), &[].into());
        let mut proposal = propose::of_moves(revision, moves);
        let moves = &mut proposal.plan.moves;
        moves.retain(|planned| cluster.partition(&planned.partition).is_some());
        if moves.len() > MOVES_MAX {
            let moves = moves.len();
            return Err(Refused::TooLong { moves });
        }
        if moves.is_empty() {
            // Nothing of it depends on what the shards are like.
            return Ok(None);
        }
        proposal.check(picture::revision(view))?;
        let begun = self.kept.change(|kept| {
            if asked == Asked::Automatically && self.mode(kept.automatic) != Automatic::On {
                // Somebody has said so while it was planned.
                return Ok(None);
            }
            let running = kept.execution.as_ref();
            if let Some(running) = running.filter(|running| !running.execution.is_finished()) {
                let id = running.id.clone();
                return Err(Refused::InProgress { id });
            }
            pins::pass_on(&mut kept.pins, &view.operations);
            let execution = self.execution(&proposal, &cluster, &kept.pins)?;
            let carried = execution.map(|execution| Carried::new(asked, execution, view.term));
            if carried.is_some() {
                kept.execution.clone_from(&carried);
            }
            Ok(carried)
        });
        let begun = begun.await?;
        self.changed.notify_one();
        Ok(begun)
    }

    /// Returns what carries a plan out, without the moves of shards that were pinned since it was made; `None` if that leaves none.
    fn execution(
        &self,
        proposal: &Proposal,
        cluster: &Cluster,
        pins: &BTreeSet<ShardId>,
    ) -> Result<Option<Execution>, StalePlan> {
        let mut proposal = proposal.clone();
        let moves = &mut proposal.plan.moves;
        moves.retain(|planned| !pins.contains(&planned.partition.shard));
        if moves.is_empty() {
            return Ok(None);
        }
        *moves = propose::with_roles(std::mem::take(moves), cluster);
        // Nothing rests yet, and no time of this process means anything to the next one.
        let now = Timestamp::default();
        let (at, mut actions) = (proposal.revision, Vec::new());
        let pace = self.settings.pace;
        Execution::begin(now, &proposal, cluster, at, pace, &mut actions).map(Some)
    }

    /// Begins no further move of what is being carried out. Those that run go on to their ends.
    ///
    /// # Errors
    /// [`Refused::NotInProgress`], [`Refused::Registry`].
    pub async fn cancel(&self) -> Result<(), Refused> {
        let cancelled = self.kept.change(|kept| {
            let running = kept.execution.as_mut();
            let running = running.filter(|running| !running.execution.is_finished());
            running.ok_or(Refused::NotInProgress)?.is_cancelled = true;
            Ok(())
        });
        cancelled.await?;
        self.changed.notify_one();
        Ok(())
    }
}

/// Whether a shard is balanced here.
pub(crate) fn has(view: &View, shard: &ShardId) -> bool {
    picture::shards(view).any(|record| record.id == *shard)
}

/// Whether a shard may be moved by plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It stays where it is.
    Stays,
    /// It goes where plans want it.
    Free,
}

/// Who wanted a plan carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Somebody.
    ByHand,
    /// The leader.
    Automatically,
}
