//! What operators ask for: a planned hand-over, and to go on without a recovery quorum.

use std::collections::BTreeSet;

use shardwright_topology::{Epoch, Member, NodeId, ShardId, Timestamp};

use super::{Action, Command, Purpose, Refused, Replication, Shard, shard::Writing};

/// What becomes of a command at once.
enum Begun {
    /// It is so already.
    Is(Epoch),
    /// Its attempt is being written, and answers later.
    Attempt,
}

impl Replication {
    pub(super) fn command(
        &mut self,
        now: Timestamp,
        ticket: u64,
        command: Command,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_leading {
            let answer = Err(Refused::NotLeading);
            return actions.push(Action::Answer { ticket, answer });
        }
        let id = match &command {
            Command::HandOver { shard, .. } | Command::Force { shard, .. } => shard.clone(),
        };
        let begun = match self.shards.remove(&id) {
            None => Err(Refused::UnknownShard { shard: id }),
            Some(mut shard) => {
                let begun = self.begin(now, &mut shard, ticket, command, actions);
                self.shards.insert(id, shard);
                begun
            }
        };
        let answer = match begun {
            Ok(Begun::Attempt) => return,
            Ok(Begun::Is(epoch)) => Ok(epoch),
            Err(refused) => Err(refused),
        };
        actions.push(Action::Answer { ticket, answer });
    }

    fn begin(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        ticket: u64,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Result<Begun, Refused> {
        let id = shard.id().clone();
        if let Some(own) = &shard.own
            && own.writing != Writing::Done
        {
            let epoch = shard.stored.value.epoch.next();
            return Err(Refused::Changing { shard: id, epoch });
        }
        let config = shard.stored.value.active.as_ref();
        if config.is_some_and(|config| self.nodes.saw_registry_go_back(&id, config)) {
            return Err(Refused::Frozen { shard: id });
        }
        match command {
            Command::HandOver { to, .. } => self.hand_over(now, shard, ticket, &to, actions),
            Command::Force {
                to,
                accepting_loss_of,
                by,
                ..
            } => {
                check_name(&id, accepting_loss_of)?;
                self.force(shard, ticket, &to, by, actions)
            }
        }
    }

    fn hand_over(
        &mut self,
        now: Timestamp,
        shard: &mut Shard,
        ticket: u64,
        to: &NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<Begun, Refused> {
        let (record, id) = (shard.stored.value.clone(), shard.id().clone());
        let active = record
            .active
            .ok_or_else(|| Refused::Unassigned { shard: id.clone() })?;
        if shard.lead(&self.nodes, &active).is_none() {
            // Nobody knows who is in sync; the logs find out.
            self.check_quorum(shard)?;
        }
        if let Some(pending) = record.pending {
            let epoch = pending.epoch;
            return Err(Refused::Changing { shard: id, epoch });
        }
        let node = to.clone();
        let Some(member) = active.member(to) else {
            return Err(Refused::NotMember { shard: id, node });
        };
        let is_whole = self.nodes.is_whole(&id, member);
        let Some(primary) = self.nodes.opening(&id, to).filter(|_| is_whole) else {
            return Err(Refused::NotUp { shard: id, node });
        };
        match shard.lead(&self.nodes, &active) {
            Some(_) if active.primary == primary => return Ok(Begun::Is(active.epoch)),
            Some(lead) => {
                let lag = lead.lag(member.replica_id);
                let is_close = lag.is_some_and(|lag| lag <= self.settings.lag_max);
                if !is_close || !self.nodes.has_data(&id, to) {
                    return Err(Refused::NotInSync {
                        shard: id,
                        node,
                        lag,
                    });
                }
            }
            None => {}
        }
        let shape = self.shape_of(now, shard, &active);
        let shape = shape.map_err(|_| too_few(&id, 0, self.settings.w_min))?;
        if !shape.members.contains(member) {
            return Err(Refused::NotMember { shard: id, node });
        }
        let purpose = Purpose::HandOver;
        self.attempt(shard, shape, primary, purpose, vec![ticket], actions)?;
        Ok(Begun::Attempt)
    }

    /// Whether a shard can recover without a loss.
    fn check_quorum(&self, shard: &Shard) -> Result<(), Refused> {
        let Some(active) = &shard.stored.value.active else {
            return Ok(());
        };
        let whole = self.nodes.whole(shard.id(), &active.members).len();
        let needed = active.recovery_quorum();
        if needed <= whole {
            return Ok(());
        }
        Err(Refused::NoRecoveryQuorum {
            shard: shard.id().clone(),
            needed,
            whole,
            members: active.members.len(),
        })
    }

    fn force(
        &mut self,
        shard: &mut Shard,
        ticket: u64,
        to: &NodeId,
        by: String,
        actions: &mut Vec<Action>,
    ) -> Result<Begun, Refused> {
        let id = shard.id().clone();
        let active = shard.stored.value.active.clone();
        let active = active.ok_or_else(|| Refused::Unassigned { shard: id.clone() })?;
        if self.check_quorum(shard).is_ok() {
            return Err(Refused::NoLossNeeded { shard: id });
        }
        let copy = self.nodes.copy_on(&id, to);
        let copy = copy.filter(|copy| self.nodes.is_whole(&id, copy));
        let (Some(copy), Some(primary)) = (copy, self.nodes.opening(&id, to)) else {
            let node = to.clone();
            return Err(Refused::NotUp { shard: id, node });
        };
        let mut members: BTreeSet<Member> = self.nodes.whole(&id, &active.members);
        members.insert(copy);
        for spare in self.spares(shard, &active) {
            if self.settings.width.of(members.len()) < self.settings.w_min {
                members.insert(spare);
            }
        }
        let count = members.len();
        let shape = self.shape(&id, members, self.settings.w_min);
        let shape = shape.map_err(|_| too_few(&id, count, self.settings.w_min))?;
        let purpose = Purpose::Forced { by };
        self.attempt(shard, shape, primary, purpose, vec![ticket], actions)?;
        Ok(Begun::Attempt)
    }
}

/// Whether the shard that is to be forced is the one that was named.
fn check_name(shard: &ShardId, accepted: ShardId) -> Result<(), Refused> {
    if *shard == accepted {
        return Ok(());
    }
    Err(Refused::OtherShard {
        shard: shard.clone(),
        accepted,
    })
}

fn too_few(shard: &ShardId, copies: usize, w_min: u32) -> Refused {
    Refused::TooFewCopies {
        shard: shard.clone(),
        copies,
        w_min,
    }
}
