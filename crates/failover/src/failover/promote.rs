//! Promotions: of the shards of a node that is down, and of those that somebody asks for.

use shardwright_registry::{Key, Stored};
use shardwright_topology::{ConfigId, Epoch, NodeId, Primary, ShardId, ShardRecord, Timestamp};

use super::Failover;
use crate::{
    Action, Candidate, Eligible, Event, Mode, PromotionError, PromotionRefused, Written, choose,
    promotion::{is_in_sync, promoted},
};

/// A promotion whose outcome is awaited.
#[derive(Debug)]
pub(super) struct Promoting {
    record: ShardRecord,
    config_id: ConfigId,
    from: NodeId,
    to: NodeId,
    lossless: bool,
    /// Who asked for it.
    tickets: Vec<u64>,
    /// Whether the answer was that nobody knows, and until when it is waited for what is seen.
    unknown_until: Option<Timestamp>,
}

impl Failover {
    /// Has a shard of a fenced node taken over, if there is somebody.
    pub(super) fn take_over(
        &mut self,
        now: Timestamp,
        from: &NodeId,
        key: &Key,
        actions: &mut Vec<Action>,
    ) {
        if let Some(promoting) = self.promoting.get(key) {
            match promoting.unknown_until {
                Some(until) if until <= now => self.give_up(key, actions),
                Some(_) | None => return,
            }
        }
        let Some(stored) = self.shards.get(key) else {
            return;
        };
        let (id, epoch) = (stored.value.id.clone(), stored.value.active_epoch());
        let candidates = self.candidates(&stored.value, from);
        let manual = self.config.mode == Mode::Manual;
        // Whom a user's handler forces is its own affair, but nobody at all is news.
        let eligible = if manual {
            Eligible::Any
        } else {
            self.config.eligible
        };
        let chosen = match choose(&id, epoch, &candidates, eligible) {
            Ok(_) if manual => return,
            chosen => chosen.cloned(),
        };
        let begun = chosen.and_then(|candidate| self.begin(key, &candidate, Vec::new(), actions));
        if let Err(reason) = begun
            && self.complained.insert(key.clone(), epoch) != Some(epoch)
        {
            actions.push(Action::Emit(Event::NoReplica { shard: id, reason }));
        }
    }

    /// The replicas of a shard that are alive, with what they said of their copies.
    fn candidates(&self, record: &ShardRecord, primary: &NodeId) -> Vec<Candidate> {
        let active = record.active.iter();
        let others = active
            .flat_map(|config| &config.members)
            .map(|member| &member.node);
        let others = others.filter(|node| *node != primary);
        others
            .filter_map(|node| self.candidate(node, &record.id))
            .collect()
    }

    fn candidate(&self, node: &NodeId, shard: &ShardId) -> Option<Candidate> {
        let holder = self.nodes.get(node)?.holder()?;
        let copies = self.copies.get(node);
        self.detector.is_up(node).then(|| Candidate {
            primary: Primary {
                node: node.clone(),
                incarnation: holder.incarnation,
            },
            copy: copies.and_then(|copies| copies.copies.get(shard).copied()),
        })
    }

    fn begin(
        &mut self,
        key: &Key,
        candidate: &Candidate,
        tickets: Vec<u64>,
        actions: &mut Vec<Action>,
    ) -> Result<(), PromotionRefused> {
        let Some(stored) = self.shards.get(key) else {
            return Ok(());
        };
        let config_id = ConfigId::random(&mut self.rng);
        let lossless = is_in_sync(candidate, stored.value.active_epoch());
        let record = promoted(&stored.value, &candidate.primary, lossless, config_id)?;
        actions.push(Action::WriteShard {
            key: key.clone(),
            expected: stored.revision,
            record: Box::new(record.clone()),
        });
        let from = stored.value.primary().cloned();
        let promoting = Promoting {
            record,
            config_id,
            from: from.unwrap_or_else(|| candidate.primary.node.clone()),
            to: candidate.primary.node.clone(),
            lossless,
            tickets,
            unknown_until: None,
        };
        self.promoting.insert(key.clone(), promoting);
        Ok(())
    }

    /// Does what somebody asks for, if the rules allow it.
    pub(super) fn promote(
        &mut self,
        now: Timestamp,
        ticket: u64,
        shard: &ShardId,
        to: &NodeId,
        forced: bool,
        actions: &mut Vec<Action>,
    ) {
        let answer = match self.check_promotion(now, shard, to, forced) {
            Ok(Checked::Primary(epoch)) => Ok(epoch),
            Ok(Checked::May(key, candidate)) => match self.promoting.get_mut(&key) {
                Some(promoting) if promoting.to == *to => return promoting.tickets.push(ticket),
                Some(_) => Err(PromotionError::Overtaken {
                    shard: shard.clone(),
                }),
                None => match self.begin(&key, &candidate, vec![ticket], actions) {
                    Ok(()) => return,
                    Err(refused) => Err(refused.into()),
                },
            },
            Err(error) => Err(error),
        };
        actions.push(Action::Answer { ticket, answer });
    }

    fn check_promotion(
        &self,
        now: Timestamp,
        shard: &ShardId,
        to: &NodeId,
        forced: bool,
    ) -> Result<Checked, PromotionError> {
        if !self.leads_at(now) {
            let leader = self.leader().cloned();
            return Err(PromotionError::NotLeader { leader });
        }
        let id = || shard.clone();
        let key = Key::new(format!("{}{shard}", self.shard_prefix));
        let stored = key.ok().and_then(|key| self.shards.get(&key));
        let stored = stored.ok_or_else(|| PromotionError::UnknownShard { shard: id() })?;
        let active = stored.value.active.as_ref();
        let active = active.ok_or_else(|| PromotionRefused::Unassigned { shard: id() })?;
        let primary = &active.primary.node;
        if primary == to {
            return Ok(Checked::Primary(active.epoch));
        }
        if active.member(to).is_none() {
            let node = to.clone();
            return Err(PromotionRefused::NotReplica { shard: id(), node }.into());
        }
        let known = self.nodes.get(primary);
        if !known.is_some_and(|known| known.is_fenced_for(stored.revision)) {
            let primary = primary.clone();
            let shard = id();
            return Err(PromotionRefused::PrimaryAlive { shard, primary }.into());
        }
        let node = to.clone();
        let candidate = self
            .candidate(to, shard)
            .ok_or_else(|| PromotionRefused::NotUp { shard: id(), node })?;
        let eligible = if forced {
            Eligible::Any
        } else {
            self.config.eligible
        };
        choose(
            shard,
            active.epoch,
            std::slice::from_ref(&candidate),
            eligible,
        )?;
        Ok(Checked::May(stored.key.clone(), candidate))
    }

    pub(super) fn promotion_written(
        &mut self,
        now: Timestamp,
        key: Key,
        written: Written,
        actions: &mut Vec<Action>,
    ) {
        let Some(promoting) = self.promoting.get_mut(&key) else {
            return;
        };
        let shard = promoting.record.id.clone();
        match written {
            Written::Done(revision) => {
                let stored = Stored {
                    key,
                    value: promoting.record.clone(),
                    revision,
                };
                self.shard_seen(now, stored, actions);
            }
            Written::Unknown => {
                promoting.unknown_until = Some(now + self.timing.renew_every());
                actions.push(Action::Read { key });
            }
            Written::Refused => {
                let error = PromotionError::Overtaken { shard };
                self.refuse(&key, &error, actions);
                actions.push(Action::Read { key });
            }
            Written::Failed => {
                let error = PromotionError::Unavailable { shard };
                self.refuse(&key, &error, actions);
            }
        }
    }

    /// Ends a promotion that a newer record of its shard decides.
    pub(super) fn settle(&mut self, stored: &Stored<ShardRecord>, actions: &mut Vec<Action>) {
        let active = stored.value.active.as_ref();
        let Some(promoting) = self.promoting.get(&stored.key) else {
            return;
        };
        let (shard, epoch) = (stored.value.id.clone(), stored.value.active_epoch());
        if active.is_none_or(|active| active.config_id != promoting.config_id) {
            let error = PromotionError::Overtaken { shard };
            return self.refuse(&stored.key, &error, actions);
        }
        let Some(promoting) = self.promoting.remove(&stored.key) else {
            return;
        };
        self.complained.remove(&stored.key);
        let Promoting {
            from,
            to,
            lossless,
            tickets,
            ..
        } = promoting;
        actions.push(Action::Emit(Event::Promoted {
            shard,
            from,
            to,
            epoch,
            lossless,
        }));
        let answers = tickets.into_iter().map(|ticket| Action::Answer {
            ticket,
            answer: Ok(epoch),
        });
        actions.extend(answers);
    }

    fn give_up(&mut self, key: &Key, actions: &mut Vec<Action>) {
        if let Some(promoting) = self.promoting.get(key) {
            let shard = promoting.record.id.clone();
            self.refuse(key, &PromotionError::Unknown { shard }, actions);
        }
    }

    fn refuse(&mut self, key: &Key, error: &PromotionError, actions: &mut Vec<Action>) {
        let tickets = self
            .promoting
            .remove(key)
            .map(|promoting| promoting.tickets);
        let answers = tickets.into_iter().flatten().map(|ticket| Action::Answer {
            ticket,
            answer: Err(error.clone()),
        });
        actions.extend(answers);
    }
}

/// What a promotion that somebody asks for comes to.
enum Checked {
    /// The node is the primary already.
    Primary(Epoch),
    /// It may begin.
    May(Key, Candidate),
}
