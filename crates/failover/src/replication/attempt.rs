//! Attempts: a configuration is proposed, written, and its outcome found out.

use std::collections::BTreeSet;

use shardwright_topology::{Conditions, Config, ConfigId, Member, Primary, Proposal, ShardId};

use super::{
    Action, Condition, Purpose, Refused, Replication,
    shard::{Own, Shard, Writing},
};

/// A set of members, and what a commit asks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) members: BTreeSet<Member>,
    pub(super) w: u32,
    pub(super) zones: u32,
}

impl Replication {
    /// Gives a set of copies the width that the settings ask for, without those that cannot be reached if a commit would fail for them.
    pub(super) fn shape(
        &self,
        shard: &ShardId,
        members: BTreeSet<Member>,
        w_min: u32,
    ) -> Result<Shape, Condition> {
        let whole = self.nodes.whole(shard, &members);
        let width = self.settings.width;
        let (count, zones) = (whole.len(), self.nodes.count_zones(&whole).max(1));
        let members = if width.of(members.len()) as usize <= count {
            members
        } else {
            whole
        };
        let w = width.of(members.len());
        let zones = self.settings.zones.min(w).min(zones);
        if members.is_empty() || w < w_min || zones < self.settings.zones_min {
            return Err(Condition::TooFewCopies {
                whole: count,
                w_min,
            });
        }
        Ok(Shape { members, w, zones })
    }

    /// Begins to try a configuration.
    pub(super) fn attempt(
        &mut self,
        shard: &mut Shard,
        shape: Shape,
        primary: Primary,
        purpose: Purpose,
        tickets: Vec<u64>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let record = &shard.stored.value;
        let config_id = ConfigId::random(&mut self.rng);
        let Shape { members, w, zones } = shape;
        let is_forced = matches!(purpose, Purpose::Forced { .. });
        let active = record.active.iter().flat_map(|active| &active.members);
        let known = active.chain(&members).filter(|member| {
            if is_forced {
                self.nodes.is_whole(&record.id, member)
            } else {
                !self.nodes.is_lost(&record.id, member)
            }
        });
        let conditions = Conditions {
            clean: known.map(|member| member.replica_id).collect(),
            w_min: self.settings.w_min,
        };
        let proposal = Proposal {
            config_id,
            primary,
            members,
            w,
            zones,
        };
        let next = if is_forced {
            record.begin_attempt_accepting_loss(proposal, &conditions)?
        } else {
            record.begin_attempt(proposal, &conditions)?
        };
        let epoch = next.epoch;
        let news = shard.news_of(&next, &self.nodes, purpose);
        answer_own(
            shard,
            &Refused::Overtaken {
                shard: next.id.clone(),
            },
            actions,
        );
        shard.own = Some(Own {
            config_id,
            record: next.clone(),
            writing: Writing::UnderWay,
            news,
            tickets,
        });
        shard.set_condition(Condition::Changing { epoch }, actions);
        actions.push(Action::Write {
            key: shard.stored.key.clone(),
            expected: shard.stored.revision,
            record: Box::new(next),
        });
        Ok(())
    }
}

/// Finds out from a newer record what became of an attempt.
pub(super) fn settle(shard: &mut Shard, is_leading: bool, actions: &mut Vec<Action>) {
    let record = &shard.stored.value;
    let Some(own) = &mut shard.own else {
        return;
    };
    let is_own = |config: &Option<Config>| {
        let config = config.as_ref();
        config.is_some_and(|config| config.config_id == own.config_id)
    };
    let (is_active, is_pending) = (is_own(&record.active), is_own(&record.pending));
    if is_active || is_pending {
        own.writing = Writing::Done;
        let news = std::mem::take(&mut own.news);
        actions.extend(news.into_iter().filter(|_| is_leading).map(Action::Emit));
    }
    if is_active {
        let epoch = record.active_epoch();
        let tickets = shard.own.take().map(|own| own.tickets);
        let answers = tickets.into_iter().flatten().map(|ticket| Action::Answer {
            ticket,
            answer: Ok(epoch),
        });
        actions.extend(answers);
    } else if !is_pending {
        let shard_id = record.id.clone();
        answer_own(shard, &Refused::Overtaken { shard: shard_id }, actions);
    }
}

/// Ends an attempt of which nothing more is expected.
pub(super) fn answer_own(shard: &mut Shard, refused: &Refused, actions: &mut Vec<Action>) {
    let tickets = shard.own.take().map(|own| own.tickets);
    let answers = tickets.into_iter().flatten().map(|ticket| Action::Answer {
        ticket,
        answer: Err(refused.clone()),
    });
    actions.extend(answers);
}
