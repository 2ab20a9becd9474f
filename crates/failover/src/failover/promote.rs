//! Promotions: of the shards of a node that is down, and of those that somebody asks for.

use shardwright_registry::{Key, Revision, Stored};
use shardwright_topology::{ConfigId, Epoch, NodeId, Primary, ShardId, ShardRecord, Timestamp};

use super::{Failover, reading::Request};
use crate::{
    Action, Candidate, Eligible, Event, PromotionError, PromotionRefused, Reports, Written, choose,
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
    /// Has a shard of a fenced node taken over, if there is somebody. Returns whether the reports were read after the fence.
    pub(super) fn take_over(
        &mut self,
        key: &Key,
        reports: &Reports,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some((stored, fenced_at)) = self.orphan(key) else {
            self.wanting.remove(key);
            return true;
        };
        if reports.revision < fenced_at {
            return false;
        }
        let (id, epoch) = (stored.value.id.clone(), stored.value.active_epoch());
        let candidates = self.candidates(&stored.value, Some(reports));
        let chosen = choose(&id, epoch, &candidates, self.config.eligible).cloned();
        let begun = chosen.and_then(|candidate| self.begin(key, &candidate, Vec::new(), actions));
        if let Err(reason) = begun {
            self.tell_of_orphan(key, reason, actions);
        }
        true
    }

    /// Tells of the shards for which nobody is left, whatever replicas report: whom a user's handler forces is its own affair.
    pub(super) fn tell_of_orphans(&mut self, actions: &mut Vec<Action>) {
        let wanting: Vec<Key> = self.wanting.iter().cloned().collect();
        for key in wanting {
            let Some((stored, _)) = self.orphan(&key) else {
                self.wanting.remove(&key);
                continue;
            };
            let (id, epoch) = (&stored.value.id, stored.value.active_epoch());
            let candidates = self.candidates(&stored.value, None);
            if let Err(reason) = choose(id, epoch, &candidates, Eligible::Any).map(|_| ()) {
                self.tell_of_orphan(&key, reason, actions);
            }
        }
    }

    /// The record of a shard whose primary is down and fenced, and the fence. None while a promotion of it is under way.
    fn orphan(&self, key: &Key) -> Option<(&Stored<ShardRecord>, Revision)> {
        let stored = self.shards.get(key)?;
        let primary = stored.value.primary()?;
        let fenced_at = self.nodes.get(primary)?.fence_of(stored.revision)?;
        let wants = self.detector.is_down(primary) && !self.promoting.contains_key(key);
        wants.then_some((stored, fenced_at))
    }

    fn tell_of_orphan(&mut self, key: &Key, reason: PromotionRefused, actions: &mut Vec<Action>) {
        let Some(stored) = self.shards.get(key) else {
            return;
        };
        let (shard, epoch) = (stored.value.id.clone(), stored.value.active_epoch());
        match reason {
            PromotionRefused::NoReplica { .. } | PromotionRefused::NotReported { .. } => {}
            // Only another record of it can help.
            _ => drop(self.wanting.remove(key)),
        }
        if self.complained.insert(key.clone(), epoch) != Some(epoch) {
            actions.push(Action::Emit(Event::NoReplica { shard, reason }));
        }
    }

    /// The replicas of a shard that are alive, with what they said of their copies.
    fn candidates(&self, record: &ShardRecord, reports: Option<&Reports>) -> Vec<Candidate> {
        let (primary, active) = (record.primary(), record.active.iter());
        let others = active
            .flat_map(|config| &config.members)
            .map(|member| &member.node);
        let others = others.filter(|node| Some(*node) != primary);
        others
            .filter_map(|node| self.candidate(node, &record.id, reports))
            .collect()
    }

    fn candidate(
        &self,
        node: &NodeId,
        shard: &ShardId,
        reports: Option<&Reports>,
    ) -> Option<Candidate> {
        let incarnation = self.nodes.get(node)?.holder()?.incarnation;
        self.detector.is_up(node).then(|| Candidate {
            primary: Primary {
                node: node.clone(),
                incarnation,
            },
            copy: reports.and_then(|reports| reports.of(node, incarnation, shard)),
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
        self.wanting.remove(key);
        self.promoting.insert(key.clone(), promoting);
        Ok(())
    }

    /// Takes in that somebody asks for a promotion: answers what is clear, and has the rest wait for the reports.
    pub(super) fn promote(&mut self, now: Timestamp, request: Request, actions: &mut Vec<Action>) {
        match self.check_promotion(now, &request) {
            Ok(Checked::May { .. }) => self.reading.ask(request),
            Ok(Checked::Primary(epoch)) => answer(request, Ok(epoch), actions),
            Err(error) => answer(request, Err(error), actions),
        }
    }

    /// Does what somebody asks for, if the rules allow it by what is reported.
    pub(super) fn promote_on(
        &mut self,
        now: Timestamp,
        request: Request,
        reports: Option<&Reports>,
        actions: &mut Vec<Action>,
    ) {
        let (key, fenced_at) = match self.check_promotion(now, &request) {
            Ok(Checked::May { key, fenced_at }) => (key, fenced_at),
            Ok(Checked::Primary(epoch)) => return answer(request, Ok(epoch), actions),
            Err(error) => return answer(request, Err(error), actions),
        };
        let shard = request.shard.clone();
        let Some(reports) = reports.filter(|reports| fenced_at <= reports.revision) else {
            return answer(request, Err(PromotionError::Unavailable { shard }), actions);
        };
        if let Some(promoting) = self.promoting.get_mut(&key) {
            if promoting.to == request.to {
                return promoting.tickets.push(request.ticket);
            }
            return answer(request, Err(PromotionError::Overtaken { shard }), actions);
        }
        let candidate = self.chosen(&key, &request, reports);
        let begun = candidate
            .and_then(|candidate| self.begin(&key, &candidate, vec![request.ticket], actions));
        if let Err(refused) = begun {
            answer(request, Err(refused.into()), actions);
        }
    }

    /// The replica that somebody names, if it may take over.
    fn chosen(
        &self,
        key: &Key,
        request: &Request,
        reports: &Reports,
    ) -> Result<Candidate, PromotionRefused> {
        let candidate = self.candidate(&request.to, &request.shard, Some(reports));
        let candidate = candidate.ok_or_else(|| PromotionRefused::NotUp {
            shard: request.shard.clone(),
            node: request.to.clone(),
        })?;
        let stored = self.shards.get(key);
        let epoch = stored.map_or(Epoch::default(), |stored| stored.value.active_epoch());
        let eligible = if request.forced {
            Eligible::Any
        } else {
            self.config.eligible
        };
        let candidates = std::slice::from_ref(&candidate);
        choose(&request.shard, epoch, candidates, eligible).cloned()
    }

    fn check_promotion(
        &self,
        now: Timestamp,
        request: &Request,
    ) -> Result<Checked, PromotionError> {
        if !self.leads_at(now) {
            let leader = self.leader().cloned();
            return Err(PromotionError::NotLeader { leader });
        }
        let (shard, to) = (&request.shard, &request.to);
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
        let fenced_at = known.and_then(|known| known.fence_of(stored.revision));
        let fenced_at = fenced_at.ok_or_else(|| PromotionRefused::PrimaryAlive {
            shard: id(),
            primary: primary.clone(),
        })?;
        if self.candidate(to, shard, None).is_none() {
            let node = to.clone();
            return Err(PromotionRefused::NotUp { shard: id(), node }.into());
        }
        let key = stored.key.clone();
        Ok(Checked::May { key, fenced_at })
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
                self.reading.want(now + self.timing.renew_every() / 4);
                actions.push(Action::Read { key });
            }
            Written::Failed => {
                let error = PromotionError::Unavailable { shard };
                self.refuse(&key, &error, actions);
                self.reading.want(now + self.timing.renew_every() / 4);
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

    /// Ends the promotions of which nobody came to know what became of them.
    pub(super) fn give_up(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let is_over = |promoting: &Promoting| promoting.unknown_until.is_some_and(|at| at <= now);
        let over = self
            .promoting
            .iter()
            .filter(|(_, promoting)| is_over(promoting));
        let over: Vec<(Key, ShardId)> = over
            .map(|(key, promoting)| (key.clone(), promoting.record.id.clone()))
            .collect();
        for (key, shard) in over {
            self.refuse(&key, &PromotionError::Unknown { shard }, actions);
            self.reading.want(now);
        }
    }

    /// Ends a promotion that did not happen: the shard still wants a successor, unless its record says otherwise.
    fn refuse(&mut self, key: &Key, error: &PromotionError, actions: &mut Vec<Action>) {
        self.wanting.insert(key.clone());
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
    /// It may begin if the reports allow it, which are read after the fence.
    May { key: Key, fenced_at: Revision },
}

fn answer(request: Request, answer: Result<Epoch, PromotionError>, actions: &mut Vec<Action>) {
    let ticket = request.ticket;
    actions.push(Action::Answer { ticket, answer });
}
