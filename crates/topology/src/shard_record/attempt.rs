//! Attempts: how a shard gets its next configuration.

use std::collections::BTreeSet;

use super::ShardRecord;
use crate::{Config, ConfigId, Epoch, InvalidConfig, Proposal, ReplicaId, ShardId, ShardState};

/// What must hold of a proposed configuration, as its coordinator sees the cluster now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// The copies that are reachable and known to be whole. Only these may become members.
    pub clean: BTreeSet<ReplicaId>,
    /// The least commit width.
    pub w_min: u32,
}

/// An attempt that must not begin, or must not be activated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptRefused {
    /// The proposal contradicts itself.
    #[error("shard {shard}: {reason}")]
    Invalid {
        /// The shard.
        shard: ShardId,
        /// What is wrong with it.
        #[source]
        reason: InvalidConfig,
    },
    /// A proposed member is not known to hold its data whole. Add it as a learner first.
    #[error("shard {shard}: copy {replica_id} is not known to be whole, it cannot be a member")]
    UncleanMember {
        /// The shard.
        shard: ShardId,
        /// The copy.
        replica_id: ReplicaId,
    },
    /// Fewer members must hold a write than the rules ask.
    #[error("shard {shard}: a commit width of {w} is below the least, {w_min}")]
    TooNarrow {
        /// The shard.
        shard: ShardId,
        /// The proposed width.
        w: u32,
        /// The least width.
        w_min: u32,
    },
    /// A committed write may be on none of the copies that are left. Wait for another one, or accept the loss by
    /// [`ShardRecord::begin_attempt_accepting_loss`].
    #[error(
        "shard {shard}: {clean} whole copies of the active configuration are reachable, {needed} are needed"
    )]
    TooFewClean {
        /// The shard.
        shard: ShardId,
        /// How many there are.
        clean: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The shard is retired: nobody owns it again.
    #[error("shard {shard} is retired")]
    Retired {
        /// The shard.
        shard: ShardId,
    },
    /// Another attempt replaced this one. Read the record again.
    #[error("shard {shard}: configuration {config_id} is not the one pending at {epoch}")]
    NotPending {
        /// The shard.
        shard: ShardId,
        /// The configuration that was to be activated.
        config_id: ConfigId,
        /// The highest epoch handed out.
        epoch: Epoch,
    },
}

impl ShardRecord {
    /// Starts to try a configuration at the next epoch, in place of one that is being tried.
    ///
    /// The shard's active configuration stays the one to recover from. A first configuration recovers from nothing.
    ///
    /// # Errors
    /// [`AttemptRefused`], unless all members are clean, the width is enough, and so many clean members of the active
    /// configuration are left that every committed write is on one of them.
    pub fn begin_attempt(
        &self,
        proposal: Proposal,
        conditions: &Conditions,
    ) -> Result<Self, AttemptRefused> {
        if let Some(active) = &self.active {
            let (clean, needed) = (
                active.count_members(&conditions.clean),
                active.recovery_quorum(),
            );
            if clean < needed {
                return Err(AttemptRefused::TooFewClean {
                    shard: self.id.clone(),
                    clean,
                    needed,
                });
            }
        }
        self.attempt(proposal, conditions)
    }

    /// Does as [`ShardRecord::begin_attempt`] without asking how many copies are left, and counts the possible loss.
    ///
    /// The loss is accepted for this attempt alone: one that replaces it needs as many copies as any other, unless it is accepted for that
    /// one as well.
    ///
    /// # Errors
    /// [`AttemptRefused`], but never [`AttemptRefused::TooFewClean`].
    pub fn begin_attempt_accepting_loss(
        &self,
        proposal: Proposal,
        conditions: &Conditions,
    ) -> Result<Self, AttemptRefused> {
        let attempt = self.attempt(proposal, conditions)?;
        Ok(Self {
            data_loss_generation: self.data_loss_generation + 1,
            loss_accepted_at: Some(attempt.epoch),
            ..attempt
        })
    }

    fn attempt(&self, proposal: Proposal, conditions: &Conditions) -> Result<Self, AttemptRefused> {
        let shard = || self.id.clone();
        if self.state == ShardState::Retired {
            return Err(AttemptRefused::Retired { shard: shard() });
        }
        let pending = proposal.at(self.epoch.next());
        pending
            .check_invariants()
            .map_err(|reason| AttemptRefused::Invalid {
                shard: shard(),
                reason,
            })?;
        let unclean = pending
            .members
            .iter()
            .find(|member| !conditions.clean.contains(&member.replica_id));
        if let Some(member) = unclean {
            let replica_id = member.replica_id;
            return Err(AttemptRefused::UncleanMember {
                shard: shard(),
                replica_id,
            });
        }
        if pending.w < conditions.w_min {
            let (w, w_min) = (pending.w, conditions.w_min);
            return Err(AttemptRefused::TooNarrow {
                shard: shard(),
                w,
                w_min,
            });
        }
        Ok(Self {
            epoch: pending.epoch,
            pending: Some(pending),
            ..self.clone()
        })
    }

    /// Makes the pending configuration the one that counts. Activating the active one again changes nothing.
    ///
    /// The caller has seen `w` of its members hold the record that starts its epoch; a shard without a log needs no such proof.
    ///
    /// # Errors
    /// [`AttemptRefused::NotPending`] if another configuration is pending, or none.
    pub fn activate(&self, config_id: ConfigId) -> Result<Self, AttemptRefused> {
        let is = |config: &Option<Config>| {
            config
                .as_ref()
                .is_some_and(|config| config.config_id == config_id)
        };
        if is(&self.pending) {
            return Ok(Self {
                active: self.pending.clone(),
                pending: None,
                ..self.clone()
            });
        }
        if is(&self.active) {
            return Ok(self.clone());
        }
        let (shard, epoch) = (self.id.clone(), self.epoch);
        Err(AttemptRefused::NotPending {
            shard,
            config_id,
            epoch,
        })
    }
}
