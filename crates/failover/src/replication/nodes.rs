//! What is known of the nodes, and of the copies on them.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{
    Config, Incarnation, Member, NodeId, NodeRecord, NodeState, Primary, ReplicaId, Role, ShardId,
};

use super::{CopyReport, Health, Registered};
use crate::Verdict;

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<NodeId, Node>,
    /// The registered copies of each shard.
    copies: BTreeMap<ShardId, BTreeMap<NodeId, ReplicaId>>,
    /// Who is to take what a node gives away, or has left behind.
    heirs: BTreeMap<NodeId, NodeId>,
}

#[derive(Debug, Default)]
struct Node {
    record: Option<NodeRecord>,
    /// The process that is up.
    process: Option<Incarnation>,
    is_down: bool,
    /// Whether its record was removed.
    is_removed: bool,
    registered: BTreeMap<ShardId, ReplicaId>,
    reported_by: Option<Incarnation>,
    reports: BTreeMap<ShardId, CopyReport>,
}

impl Node {
    /// Whether the process that is up has said what copies it has open.
    fn speaks(&self) -> bool {
        self.process.is_some() && self.process == self.reported_by
    }

    /// Whether it may be given copies.
    fn accepts(&self) -> bool {
        self.process.is_some() && self.record.as_ref().is_some_and(accepts)
    }
}

/// A zone is told from one of the same name in another region.
type Zone<'a> = (Option<&'a str>, &'a str);

impl Nodes {
    fn node(&mut self, id: &NodeId) -> &mut Node {
        self.nodes.entry(id.clone()).or_default()
    }

    /// Takes in a record. Returns whether it is news.
    pub(super) fn see(&mut self, record: NodeRecord) -> bool {
        let id = record.id.clone();
        let node = self.node(&id);
        let is_news = node.record.as_ref() != Some(&record);
        let before = node.record.replace(record);
        let incarnation = node.record.as_ref().map(|record| record.incarnation);
        node.is_removed = false;
        if before.is_some_and(|before| Some(before.incarnation) != incarnation) {
            // Another process of it keeps what it has.
            self.heirs.remove(&id);
        }
        is_news
    }

    pub(super) fn forget(&mut self, id: &NodeId) {
        let node = self.node(id);
        (node.record, node.process, node.is_down) = (None, None, true);
        node.is_removed = true;
    }

    pub(super) fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Up { node, incarnation } => {
                let node = self.node(&node);
                (node.process, node.is_down) = (Some(incarnation), false);
            }
            Verdict::Down { node, incarnation } => {
                let node = self.node(&node);
                if node.process.is_none_or(|process| process <= incarnation) {
                    (node.process, node.is_down) = (None, true);
                }
            }
            Verdict::Suspect { .. } => {}
        }
    }

    /// Takes in what a node has registered. Returns the shards of which it has another copy than before, or none.
    pub(super) fn register(&mut self, registered: Registered) -> BTreeSet<ShardId> {
        let Registered {
            node: id, copies, ..
        } = registered;
        let before = std::mem::replace(&mut self.node(&id).registered, copies.clone());
        let mut changed = BTreeSet::new();
        for shard in before.keys().chain(copies.keys()) {
            let after = copies.get(shard);
            if before.get(shard) == after {
                continue;
            }
            changed.insert(shard.clone());
            let known = self.copies.entry(shard.clone()).or_default();
            match after {
                Some(replica_id) => drop(known.insert(id.clone(), *replica_id)),
                None => drop(known.remove(&id)),
            }
            if known.is_empty() {
                self.copies.remove(shard);
            }
        }
        changed
    }

    pub(super) fn report(
        &mut self,
        id: &NodeId,
        incarnation: Incarnation,
        copies: BTreeMap<ShardId, CopyReport>,
    ) {
        let node = self.node(id);
        if node.reported_by <= Some(incarnation) {
            (node.reported_by, node.reports) = (Some(incarnation), copies);
        }
    }

    /// Whether a node may be given copies.
    pub(super) fn accepts(&self, id: &NodeId) -> bool {
        self.nodes.get(id).is_some_and(Node::accepts)
    }

    /// Whether a process of a node is up.
    pub(super) fn is_up(&self, id: &NodeId) -> bool {
        self.nodes
            .get(id)
            .is_some_and(|node| node.process.is_some())
    }

    /// What a configuration names to make the copy on a node the primary, as its process that is up has opened it.
    pub(super) fn opening(&self, shard: &ShardId, id: &NodeId) -> Option<Primary> {
        let report = self.report_of(shard, id)?;
        Some(Primary {
            node: id.clone(),
            incarnation: report.incarnation,
        })
    }

    /// All nodes but these.
    pub(super) fn besides(&self, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let others = self.nodes.keys().filter(|id| !nodes.contains(*id));
        others.cloned().collect()
    }

    /// Whether an opening of a copy has ended, as far as is known.
    pub(super) fn is_gone(&self, shard: &ShardId, opening: &Primary) -> bool {
        self.nodes.get(&opening.node).is_some_and(|node| {
            let report = node.reports.get(shard);
            let is_over = report.is_none_or(|report| opening.incarnation < report.incarnation);
            node.is_down || node.speaks() && is_over
        })
    }

    /// What the process that is up says of its copy of a shard.
    pub(super) fn report_of(&self, shard: &ShardId, id: &NodeId) -> Option<&CopyReport> {
        let node = self.nodes.get(id)?;
        node.reports.get(shard).filter(|_| node.speaks())
    }

    /// Whether its node vouches for a copy.
    pub(super) fn is_listed(&self, shard: &ShardId, member: &Member) -> bool {
        let listed = self.copies.get(shard);
        let listed = listed.and_then(|copies| copies.get(&member.node));
        listed == Some(&member.replica_id)
    }

    /// Whether a copy can be reached, and is known to be whole.
    pub(super) fn is_whole(&self, shard: &ShardId, member: &Member) -> bool {
        let report = self.report_of(shard, &member.node);
        let is_whole = report.is_some_and(|report| {
            report.replica_id == member.replica_id && report.health == Health::Whole
        });
        is_whole && self.is_listed(shard, member)
    }

    /// Whether the copy on a node could serve whoever it leads, as far as is known.
    pub(super) fn has_data(&self, shard: &ShardId, id: &NodeId) -> bool {
        let report = self.report_of(shard, id);
        report.is_some_and(|report| !report.installs)
    }

    /// Whether a copy will never be of use again.
    pub(super) fn is_lost(&self, shard: &ShardId, member: &Member) -> bool {
        let report = self.report_of(shard, &member.node);
        let is_faulty = report.is_some_and(|report| {
            report.replica_id == member.replica_id && report.health == Health::Faulty
        });
        is_faulty || !self.is_listed(shard, member)
    }

    /// The whole ones of these copies.
    pub(super) fn whole<'a>(
        &self,
        shard: &ShardId,
        members: impl IntoIterator<Item = &'a Member>,
    ) -> BTreeSet<Member> {
        let members = members.into_iter();
        let whole = members.filter(|member| self.is_whole(shard, member));
        whole.cloned().collect()
    }

    /// All registered copies of a shard.
    pub(super) fn copies(&self, shard: &ShardId) -> impl Iterator<Item = Member> {
        let copies = self.copies.get(shard).into_iter().flatten();
        copies.map(|(node, replica_id)| Member {
            node: node.clone(),
            replica_id: *replica_id,
        })
    }

    /// The registered copy of a shard on a node.
    pub(super) fn copy_on(&self, shard: &ShardId, node: &NodeId) -> Option<Member> {
        let replica_id = *self.copies.get(shard)?.get(node)?;
        Some(Member {
            node: node.clone(),
            replica_id,
        })
    }

    /// Whether any member of a configuration has seen the registry go back in time.
    pub(super) fn saw_registry_go_back(&self, shard: &ShardId, config: &Config) -> bool {
        let mut reports = config.members.iter();
        reports.any(|member| {
            let report = self.report_of(shard, &member.node);
            report.is_some_and(|report| report.health == Health::RegistryWentBack)
        })
    }

    /// Whether a node gives away what it has.
    pub(super) fn is_leaving(&self, id: &NodeId) -> bool {
        let node = self.nodes.get(id);
        let record = node.and_then(|node| node.record.as_ref());
        record.is_some_and(|record| record.state == NodeState::Draining)
    }

    /// Has another node take what one gives away, or has left behind.
    pub(super) fn bequeath(&mut self, node: NodeId, heir: NodeId) {
        self.heirs.insert(node, heir);
    }

    /// Whether nobody waits for a node to come back: it was removed, or it is down and another one takes its place.
    pub(super) fn is_abandoned(&self, id: &NodeId) -> bool {
        let node = self.nodes.get(id);
        node.is_some_and(|node| node.is_removed || node.is_down && self.heirs.contains_key(id))
    }

    /// Who is to take what these copies' nodes give away, or have left behind, and is up and free to take it.
    pub(super) fn heir<'a>(
        &self,
        copies: impl IntoIterator<Item = &'a Member>,
        may_take: impl Fn(&NodeId) -> bool,
    ) -> Option<NodeId> {
        let mut heirs = copies.into_iter().filter_map(|copy| {
            let id = &copy.node;
            let is_left = self.is_leaving(id) || self.is_abandoned(id);
            self.heirs.get(id).filter(|_| is_left)
        });
        let heir = heirs.find(|heir| self.accepts(heir) && may_take(heir));
        heir.cloned()
    }

    /// In how many zones these copies are, as far as that is known.
    pub(super) fn count_zones<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> u32 {
        self.zones_of(members.into_iter().map(|member| &member.node))
    }

    /// In how many zones these nodes are, as far as that is known.
    pub(super) fn zones_of<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> u32 {
        let zones = nodes.into_iter().filter_map(|node| self.zone(node));
        u32::try_from(zones.collect::<BTreeSet<_>>().len()).unwrap_or(u32::MAX)
    }

    /// So many of these copies, in as many zones as there are.
    pub(super) fn spread(&self, copies: BTreeSet<Member>, count: usize) -> BTreeSet<Member> {
        let mut zones = BTreeSet::new();
        let (first, others): (Vec<_>, Vec<_>) = copies
            .into_iter()
            .partition(|copy| self.zone(&copy.node).is_none_or(|zone| zones.insert(zone)));
        first.into_iter().chain(others).take(count).collect()
    }

    pub(super) fn zone(&self, id: &NodeId) -> Option<Zone<'_>> {
        let location = &self.nodes.get(id)?.record.as_ref()?.location;
        Some((location.region.as_deref(), location.zone.as_deref()?))
    }

    /// Whether so many nodes are down that it may be this coordinator which is cut off.
    pub(super) fn are_too_many_down(&self, percent_max: usize) -> bool {
        let known = self.nodes.values().filter(|node| node.record.is_some());
        let (all, down) = known.fold((0, 0), |(all, down), node| {
            (all + 1, down + usize::from(node.process.is_none()))
        });
        all * percent_max < down * 100
    }

    /// Whether a node that is up has more than twice its share of all primaries.
    pub(super) fn is_overloaded(&self, id: &NodeId, primaries: &BTreeMap<NodeId, usize>) -> bool {
        let all: usize = primaries.values().sum();
        let up = self.nodes.values().filter(|node| node.process.is_some());
        let share = all / up.count().max(1);
        primaries.get(id).copied().unwrap_or_default() > share * 2 + 1
    }

    /// The node for a new copy: in a zone that has none if there is such a one, then the one with the fewest copies for its weight. Among
    /// equals the first by name.
    pub(super) fn place(
        &self,
        holders: &BTreeSet<NodeId>,
        ordered: &BTreeMap<NodeId, usize>,
        may_take: impl Fn(&NodeId) -> bool,
    ) -> Option<NodeId> {
        let taken: BTreeSet<_> = holders.iter().filter_map(|id| self.zone(id)).collect();
        let mut best: Option<((bool, u64), &NodeId)> = None;
        for (id, node) in &self.nodes {
            if !node.accepts() || holders.contains(id) || !may_take(id) {
                continue;
            }
            let is_same_zone = self.zone(id).is_some_and(|zone| taken.contains(&zone));
            let copies = node.registered.len() + ordered.get(id).copied().unwrap_or_default();
            let weight = node.record.as_ref().map_or(1, |record| record.weight);
            let load = copies as u64 * 1_000_000 / u64::from(weight.max(1));
            let cost = (is_same_zone, load);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, id));
            }
        }
        best.map(|(_, id)| id.clone())
    }
}

/// Whether a node may be given copies.
fn accepts(record: &NodeRecord) -> bool {
    let may = matches!(record.state, NodeState::Joining | NodeState::Up);
    may && record.weight > 0 && record.role != Role::Proxy
}
