//! What a coordinator remembers of one shard, besides its record.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_registry::Stored;
use shardwright_topology::{
    Config, ConfigId, Epoch, Member, NodeId, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::{Action, Condition, Event, Lead, Move, Purpose, Settings, join::Join, nodes::Nodes};

/// What a coordinator remembers of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) stored: Stored<ShardRecord>,
    pub(super) condition: Condition,
    /// The attempt that this coordinator has begun, until it is known what became of it.
    pub(super) own: Option<Own>,
    /// Since when it has no primary that says so.
    pub(super) unserved_since: Option<Timestamp>,
    /// Since when it cannot commit.
    pub(super) stuck_since: Option<Timestamp>,
    /// When another configuration became pending, or active.
    pub(super) changed_at: Timestamp,
    /// How many attempts have failed since it was served.
    pub(super) failed: u32,
    /// The last one that did, as far as it matters.
    pub(super) given_up: Option<GivenUp>,
    /// Who was to be primary in them.
    pub(super) tried: BTreeSet<NodeId>,
    /// The members that cannot be reached, since when.
    pub(super) absent: BTreeMap<ReplicaId, Timestamp>,
    /// The copies that are to become members.
    pub(super) joins: BTreeMap<NodeId, Join>,
    /// The nodes that did not make a copy in time.
    pub(super) avoided: BTreeSet<NodeId>,
    /// The member that is to give its place to a copy somewhere else.
    pub(super) moving: Option<Move>,
    /// What the primary was told to keep up to date, and when.
    pub(super) followed: Option<(Epoch, BTreeSet<Member>, Timestamp)>,
    /// The copies that are of no use, since when, and when the node was told.
    pub(super) unused: BTreeMap<ReplicaId, (Timestamp, Option<Timestamp>)>,
}

/// An attempt that has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenUp {
    epoch: Epoch,
    at: Timestamp,
    /// Whether the primary was to stay, and others were not up to it.
    is_of_members: bool,
}

/// An attempt of this coordinator.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) config_id: ConfigId,
    /// What is written.
    pub(super) record: ShardRecord,
    pub(super) writing: Writing,
    /// What to tell once it is known to be pending.
    pub(super) news: Vec<Event>,
    /// Who waits for it.
    pub(super) tickets: Vec<u64>,
}

/// How far the write of an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    UnderWay,
    /// It is not known whether it happened; the record is read again at that moment.
    Unknown(Timestamp),
    Done,
}

impl Shard {
    pub(super) fn new(stored: Stored<ShardRecord>, now: Timestamp) -> Self {
        Self {
            stored,
            condition: Condition::Unknown,
            own: None,
            unserved_since: None,
            stuck_since: None,
            changed_at: now,
            failed: 0,
            given_up: None,
            tried: BTreeSet::new(),
            absent: BTreeMap::new(),
            joins: BTreeMap::new(),
            avoided: BTreeSet::new(),
            moving: None,
            followed: None,
            unused: BTreeMap::new(),
        }
    }

    pub(super) fn id(&self) -> &ShardId {
        &self.stored.value.id
    }

    /// The node that is to have a copy besides these, whether or not anybody leaves.
    pub(super) fn wanted(&self, holders: &BTreeSet<NodeId>) -> Option<NodeId> {
        let wanted = self.moving.as_ref().and_then(Move::wanted);
        wanted.filter(|node| !holders.contains(*node)).cloned()
    }

    /// Whether a copy on this node gives its place to another one.
    pub(super) fn is_given_up(&self, node: &NodeId) -> bool {
        let moving = self.moving.as_ref();
        moving.is_some_and(|moving| moving.is_given_by(node))
    }

    /// Begins to count all times anew: what was not seen meanwhile says nothing.
    pub(super) fn restart(&mut self, now: Timestamp) {
        (self.unserved_since, self.stuck_since) = (None, None);
        self.changed_at = now;
        self.absent.clear();
        self.unused.clear();
        for join in self.joins.values_mut() {
            join.ordered_at = now;
            join.begin_anew();
        }
    }

    /// Notes how the members of a configuration are.
    pub(super) fn observe(&mut self, now: Timestamp, nodes: &Nodes, config: &Config) {
        let id = &self.stored.value.id;
        let is_absent = |member: &&Member| !nodes.is_whole(id, member);
        let absent: BTreeSet<ReplicaId> = config
            .members
            .iter()
            .filter(is_absent)
            .map(|member| member.replica_id)
            .collect();
        self.absent.retain(|copy, _| absent.contains(copy));
        for copy in absent {
            self.absent.entry(copy).or_insert(now);
        }
    }

    /// Whether a member is of no use any more, has been away for too long, or is not waited for.
    pub(super) fn is_over(
        &self,
        now: Timestamp,
        nodes: &Nodes,
        grace: Duration,
        member: &Member,
    ) -> bool {
        let since = self.absent.get(&member.replica_id);
        let is_late = since.is_some_and(|since| grace <= now.since(*since));
        is_late || nodes.is_abandoned(&member.node) || nodes.is_lost(self.id(), member)
    }

    /// What the primary of the active configuration says, if it leads.
    pub(super) fn lead<'a>(&self, nodes: &'a Nodes, active: &Config) -> Option<&'a Lead> {
        let primary = &active.primary;
        let member = active.member(&primary.node)?;
        let is_up = nodes.opening(self.id(), &primary.node).as_ref() == Some(primary);
        if !is_up || !nodes.is_whole(self.id(), member) {
            return None;
        }
        let lead = nodes.report_of(self.id(), &primary.node)?.lead.as_ref()?;
        (lead.epoch == active.epoch).then_some(lead)
    }

    /// Notes that it is served, and how far the copies are that are to join.
    pub(super) fn is_served(
        &mut self,
        now: Timestamp,
        nodes: &Nodes,
        lead: &Lead,
        settings: &Settings,
    ) {
        (self.unserved_since, self.failed) = (None, 0);
        self.tried.clear();
        let id = &self.stored.value.id;
        for (node, join) in &mut self.joins {
            let has_data = nodes.has_data(id, node);
            join.observe(now, lead, has_data, settings);
        }
    }

    /// For how long it has had no primary.
    pub(super) fn unserved_for(&mut self, now: Timestamp) -> Duration {
        now.since(*self.unserved_since.get_or_insert(now))
    }

    pub(super) fn has_given_up(&self, pending: &Config) -> bool {
        self.given_up
            .is_some_and(|given_up| given_up.epoch == pending.epoch)
    }

    /// Whether no attempt has failed for so long.
    pub(super) fn is_calm(&self, now: Timestamp, time: Duration) -> bool {
        let failed = self.given_up.map(|given_up| now.since(given_up.at));
        failed.is_none_or(|since| time <= since)
    }

    /// Whether nothing has changed for a while, nor failed to: then what can wait is done.
    pub(super) fn is_settled(&self, now: Timestamp, settings: &Settings) -> bool {
        self.is_calm(now, settings.patience_max) && settings.steady <= now.since(self.changed_at)
    }

    /// Notes that what is pending has failed.
    pub(super) fn fails(&mut self, now: Timestamp, pending: &Config) {
        if self.has_given_up(pending) {
            return;
        }
        let active = self.stored.value.active.as_ref();
        // A change of members may fail for the others' sake.
        let is_of_members = active.is_some_and(|active| active.primary == pending.primary);
        self.given_up = Some(GivenUp {
            epoch: pending.epoch,
            at: now,
            is_of_members,
        });
        self.failed = self.failed.saturating_add(1);
        if !is_of_members || self.failed > 1 {
            self.tried.insert(pending.primary.node.clone());
        }
    }

    /// Notes that another configuration is active: that somebody else could not be the primary before says nothing any more.
    pub(super) fn succeeds(&mut self) {
        self.given_up.take_if(|given_up| !given_up.is_of_members);
    }

    pub(super) fn set_condition(&mut self, to: Condition, actions: &mut Vec<Action>) {
        if self.condition != to {
            let from = std::mem::replace(&mut self.condition, to);
            let shard = self.id().clone();
            actions.push(Action::Emit(Event::Condition { shard, from, to }));
        }
    }

    /// What to tell of an attempt once it is pending.
    pub(super) fn news_of(
        &self,
        next: &ShardRecord,
        nodes: &Nodes,
        purpose: Purpose,
    ) -> Vec<Event> {
        let Some(pending) = &next.pending else {
            return Vec::new();
        };
        let mut news = Vec::new();
        if let Purpose::Forced { by } = &purpose {
            let members = next.active.iter().flat_map(|active| &active.members);
            let is_left = |member: &Member| nodes.is_whole(&next.id, member);
            let (left, given_up) = members.cloned().partition(is_left);
            news.push(Event::LossAccepted {
                shard: next.id.clone(),
                epoch: pending.epoch,
                generation: next.data_loss_generation,
                by: by.clone(),
                primary: pending.primary.node.clone(),
                left,
                given_up,
            });
        }
        news.push(Event::Attempt {
            shard: next.id.clone(),
            epoch: pending.epoch,
            config_id: pending.config_id,
            primary: pending.primary.node.clone(),
            purpose,
        });
        news
    }
}
