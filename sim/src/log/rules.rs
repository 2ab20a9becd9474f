//! What must hold, and what is noted to check it. The numbers are those of the protocol's invariants.

mod back;
mod begin;
mod deletion;
mod loss;
mod once;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shardwright_quorum::log::{Durable, Hash, Kind, Level, Point, Record, Write};
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{
    Config, ConfigId, Epoch, Incarnation, Lsn, ReplicaId, ShardRecord, Timestamp,
};

pub(super) use self::begin::gave_way;
use self::{back::Back, loss::Loss, once::Once};
use super::{Content, Logs, Node, node_id, pid, situations, zones};

/// What is known of the whole run, by nobody in it.
#[derive(Default)]
pub(super) struct Rules {
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
    /// The copies that lost what they held, as they were then.
    lost: BTreeMap<ReplicaId, Durable>,
    configs: BTreeMap<Epoch, Config>,
    /// What was active when an attempt began.
    recover_from: BTreeMap<Epoch, Config>,
    active: Option<Config>,
    activated: BTreeSet<ConfigId>,
    loss: Loss,
    back: Back,
    once: Once,
    marks: Vec<&'static str>,
    /// The configuration that was pending before the one that is, and never active.
    replaced: Option<Config>,
    pending: Option<Config>,
    /// Each record that was ever written, by its epoch and number.
    created: HashMap<(Epoch, Lsn), Hash>,
    contents: HashMap<Hash, u64>,
    /// What the content of a write was made from, if it must follow that.
    made_from: HashMap<u64, Point>,
    /// What was ever committed, in the order of the log.
    committed: Vec<Point>,
    /// The last record of which anybody was told, by an acknowledgement or a read.
    floor: Lsn,
    /// Whether anybody was told of a write.
    is_told: bool,
    /// What was the floor when a write or a read began.
    begun: BTreeMap<u64, Lsn>,
    led: BTreeSet<Epoch>,
    /// The primaries that gave way, by what they led, and the epoch that they gave way to.
    gave_way: BTreeSet<(ConfigId, Epoch)>,
}

impl Rules {
    pub(super) fn breaks(&mut self, rule: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(rule);
    }

    /// The situations that were noticed since the last time.
    pub(super) fn marks(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.marks)
    }

    /// Notes that a copy loses what it holds.
    pub(super) fn loses(&mut self, node: &Node) {
        let lost = self.lost.entry(node.replica_id);
        lost.or_insert_with(|| node.synced.clone());
    }

    pub(super) fn is_lost(&self, replica_id: ReplicaId) -> bool {
        self.lost.contains_key(&replica_id)
    }

    /// Whether anybody was told of anything.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.floor > Lsn(0)
    }

    /// The last pending configuration that another one replaced.
    pub(super) fn replaced(&self) -> Option<&Config> {
        self.replaced.as_ref()
    }

    /// The configuration of an epoch.
    pub(super) fn config(&self, epoch: Epoch) -> Option<&Config> {
        self.configs.get(&epoch)
    }

    /// Whether the registry has moved on from a configuration.
    pub(super) fn is_superseded(&self, config_id: ConfigId, epoch: Epoch) -> bool {
        let mut configs = self.configs.values();
        configs.any(|config| config.config_id == config_id && config.epoch < epoch)
    }

    pub(super) fn is_primary(&self, at: Pid, life: u32, epoch: Epoch) -> bool {
        self.configs.get(&epoch).is_some_and(|config| {
            config.primary.node == node_id(at)
                && config.primary.incarnation == Incarnation(life.into())
        })
    }

    /// Looks at a change of the shard's record.
    pub(super) fn recorded(
        &mut self,
        nodes: &BTreeMap<Pid, Node>,
        record: &ShardRecord,
    ) -> Result<(), String> {
        self.back.says(record);
        if let Some(pending) = &record.pending {
            let (known, is_back) = (self.configs.last_key_value(), self.is_back());
            let known = known.map(|(epoch, _)| *epoch);
            if self.configs.get(&pending.epoch) != Some(pending)
                && !self.back.is_void(pending, is_back)
            {
                if known >= Some(pending.epoch) {
                    return Err(format!("{} is handed out twice (I1)", pending.epoch));
                }
                self.begins_attempt(nodes, record, pending)?;
            }
        }
        self.pending = record.pending.clone();
        let Some(active) = &record.active else {
            return Ok(());
        };
        if self.activated.insert(active.config_id) {
            self.activates(nodes, active)?;
        }
        Ok(())
    }

    fn begins_attempt(
        &mut self,
        nodes: &BTreeMap<Pid, Node>,
        record: &ShardRecord,
        pending: &Config,
    ) -> Result<(), String> {
        self.replaced = self.pending.take();
        self.configs.insert(pending.epoch, pending.clone());
        if pending.members.len() >= 2 && pending.w < 2 {
            return Err(format!("{} commits with one copy (I13)", pending.epoch));
        }
        if record.accepts_loss() {
            self.loss.accepted.insert(pending.epoch);
        } else if let Some(active) = &record.active {
            let listed = active.members.iter().filter(|member| {
                let node = &nodes[&pid(&member.node)];
                node.replica_id == member.replica_id
            });
            if listed.count() < active.recovery_quorum() {
                return Err(format!("{} begins without a quorum (I14)", pending.epoch));
            }
        }
        if let Some(active) = &record.active {
            self.recover_from.insert(pending.epoch, active.clone());
        }
        Ok(())
    }

    fn activates(&mut self, nodes: &BTreeMap<Pid, Node>, active: &Config) -> Result<(), String> {
        let epoch = active.epoch;
        if self.back.is_void(active, false) {
            return Err(format!(
                "{epoch} is active after the registry went back (I21)"
            ));
        }
        let begun = |copy: &Durable| copy.log.last().epoch == epoch;
        let count = self.holders(nodes, active, begun);
        if count < active.w as usize {
            return Err(format!(
                "{epoch} is active, and {count} copies hold its begin (I12)"
            ));
        }
        self.active = Some(active.clone());
        if self.loss.accepted.contains(&active.epoch) {
            let holds = |node: &&Node| node.synced.log.last().epoch == active.epoch;
            if let Some(node) = nodes.values().find(holds) {
                self.went_on(active, &node.synced.log);
            }
        }
        Ok(())
    }

    /// How many members hold something, or held it when they lost all.
    fn holders(
        &self,
        nodes: &BTreeMap<Pid, Node>,
        config: &Config,
        holds: impl Fn(&Durable) -> bool,
    ) -> usize {
        let members = config.members.iter();
        let held = members.filter(|member| {
            let node = &nodes[&pid(&member.node)];
            let is_it = node.replica_id == member.replica_id;
            is_it && holds(&node.synced) || self.lost.get(&member.replica_id).is_some_and(&holds)
        });
        held.count()
    }

    /// Looks at whether a copy would answer a read by its lease, although somebody else is the primary.
    pub(super) fn leases(&mut self, node: &Node, at: Pid, now: Timestamp) {
        if let (Some(machine), Some(active)) = (&node.machine, &self.active)
            && let Some(config) = machine.leads()
            && config.epoch < active.epoch
            && config.primary != active.primary
            && !self.is_before_loss(config.epoch)
            && machine.has_lease(now)
        {
            let (mine, theirs) = (config.epoch, active.epoch);
            self.breaks(|| format!("{at} has a lease for {mine}, and {theirs} is active"));
        }
    }

    /// Looks at all leases: another configuration is active now.
    pub(super) fn all_leases<C: Content>(
        &mut self,
        sim: &Sim<Logs<C>>,
        nodes: &BTreeMap<Pid, Node>,
    ) {
        for (at, node) in nodes.iter().filter(|(at, _)| sim.is_up(**at)) {
            self.leases(node, *at, sim.now(*at));
        }
    }

    /// Looks at records before they are written: who creates one is the primary of its epoch, and there is one record for each
    /// number of an epoch.
    pub(super) fn creates(&mut self, nodes: &BTreeMap<Pid, Node>, at: Pid, write: &Write) {
        let node = &nodes[&at];
        self.begins_nothing_void(node, at, write);
        for record in &write.records {
            let place = (record.epoch, record.lsn);
            match self.created.get(&place) {
                Some(hash) if *hash == record.hash => {}
                Some(_) => self.breaks(|| format!("{at} has another record at {place:?} (I8)")),
                None => {
                    if !self.is_primary(at, node.life, record.epoch) {
                        self.breaks(|| format!("{at} creates a record at {place:?} (I3)"));
                    }
                    self.created.insert(place, record.hash);
                    if record.kind == Kind::Epoch {
                        self.begins_epoch(nodes, at, record.epoch);
                    }
                    if let Ok(id) = record.payload.as_slice().try_into() {
                        let id = u64::from_be_bytes(id);
                        self.contents.insert(record.hash, id);
                        self.follows(at, id, record);
                    }
                }
            }
        }
    }

    /// Looks at a new record: nothing is between it and what its content was made from.
    fn follows(&mut self, at: Pid, id: u64, record: &Record) {
        let made_from = self.made_from.get(&id);
        if made_from.is_some_and(|point| point.hash != record.prev_hash) {
            self.breaks(|| format!("{at} appends {id} after something else than it was made from"));
        }
    }

    /// Notes what the content of a write is made from.
    pub(super) fn makes(&mut self, id: u64, from: Point) {
        self.made_from.insert(id, from);
    }

    /// Looks at what a machine newly takes for committed, which may have given way with what it led just before. Returns whether that includes
    /// a record that is not durable on its own node.
    pub(super) fn judge(
        &mut self,
        nodes: &mut BTreeMap<Pid, Node>,
        at: Pid,
        led: Option<Config>,
    ) -> bool {
        let Some((machine, judged)) = nodes
            .get(&at)
            .and_then(|node| node.machine.as_ref().map(|machine| (machine, node.judged)))
        else {
            return false;
        };
        let (known, log) = (machine.replica().known_commit(), machine.replica().log());
        if known <= judged || self.is_past(&nodes[&at]) {
            return false;
        }
        let mut fresh = Vec::new();
        for lsn in judged.0.max(log.base().lsn.0.saturating_sub(1)) + 1..=known.0 {
            let Some(point) = log.point(Lsn(lsn)) else {
                return self.fails(|| format!("{at} does not hold {lsn}, which is committed"));
            };
            let place = usize::try_from(lsn - 1).unwrap_or(usize::MAX);
            match self.committed.get(place) {
                Some(committed) if *committed == point => {}
                Some(_) => return self.fails(|| format!("{at} commits another {lsn} (I7)")),
                None => fresh.push(point),
            }
        }
        let mut without_own = false;
        if let Some(last) = fresh.last() {
            let Some(config) = machine.leads().cloned().or(led) else {
                return self.fails(|| format!("{at} commits {} as a member (I4)", last.lsn));
            };
            without_own = !nodes[&at].holds(*last);
            if let Err(rule) = self.is_committed(nodes, &config, *last) {
                return self.fails(|| format!("{at} commits {}: {rule}", last.lsn));
            }
        }
        self.happens(&fresh);
        self.committed.extend(fresh);
        if let Some(node) = nodes.get_mut(&at) {
            node.judged = known;
        }
        without_own
    }

    fn fails(&mut self, rule: impl FnOnce() -> String) -> bool {
        self.breaks(rule);
        false
    }

    fn is_committed(
        &self,
        nodes: &BTreeMap<Pid, Node>,
        config: &Config,
        last: Point,
    ) -> Result<(), String> {
        if !self.activated.contains(&config.config_id) {
            return Err(format!("{} is not active (I6)", config.epoch));
        }
        let acknowledged = |copy: &Durable| {
            let promised = copy.promised.map(|promised| promised.epoch);
            holds(copy, last) && promised >= Some(config.epoch)
        };
        let count = self.holders(nodes, config, acknowledged);
        if count < config.w as usize {
            return Err(format!("{count} members of {} hold it (I4)", config.epoch));
        }
        let zones = zones();
        let holders = config.members.iter().filter(|member| {
            let node = &nodes[&pid(&member.node)];
            self.is_lost(member.replica_id) || node.holds(last)
        });
        let spread: BTreeSet<_> = holders.map(|member| &zones[&member.node]).collect();
        if spread.len() < config.zones as usize {
            return Err(format!("it is in {} zones (I20)", spread.len()));
        }
        Ok(())
    }

    /// Looks at a copy that is the primary from now on: it has all that was committed in earlier epochs. It may have been told late.
    pub(super) fn leads(&mut self, node: &Node, at: Pid, epoch: Epoch) {
        if self.is_before_loss(epoch) {
            return;
        }
        let log = node.machine.as_ref().map(|machine| machine.replica().log());
        let earlier = self.committed.partition_point(|point| point.epoch < epoch);
        let last = self.committed[..earlier].last().copied();
        let last = last.unwrap_or_default();
        let holds =
            log.is_some_and(|log| log.base().lsn > last.lsn || log.point(last.lsn) == Some(last));
        if !holds {
            self.breaks(|| format!("{at} leads {epoch} without {last:?} (I7)"));
        }
        let before = self.led.last().and_then(|epoch| self.configs.get(epoch));
        let config = &self.configs[&epoch];
        if let Some(before) = before {
            let is_same = before.primary == config.primary;
            self.marks.push(if is_same {
                situations::SAME_PRIMARY
            } else {
                situations::FAILOVER
            });
            let joined = config.members.difference(&before.members);
            for member in joined {
                self.marks.push(situations::JOINED);
                if before.member(&member.node).is_some() {
                    self.marks.push(situations::REPLACED);
                }
            }
        }
        if config.members.len() == 1 {
            self.marks.push(situations::ALONE);
        }
        self.led.insert(epoch);
    }

    /// Looks at what a copy has applied.
    pub(super) fn applied(&mut self, node: &Node, point: Point) {
        if self.is_past(node) {
            return;
        }
        let place = usize::try_from(point.lsn.0).unwrap_or(usize::MAX);
        if point.lsn > Lsn(0) && self.committed.get(place - 1) != Some(&point) {
            self.breaks(|| format!("{point:?} is applied and not committed (I10)"));
        }
    }

    pub(super) fn begins(&mut self, name: u64) {
        self.begun.insert(name, self.floor);
    }

    pub(super) fn forgets(&mut self, name: u64) {
        self.begun.remove(&name);
    }

    /// Looks at an acknowledgement.
    pub(super) fn acknowledged(
        &mut self,
        nodes: &BTreeMap<Pid, Node>,
        at: Pid,
        id: u64,
        lsn: Lsn,
        level: Level,
    ) {
        let begun = self.begun.remove(&id);
        if self.is_past(&nodes[&at]) {
            return;
        }
        let place = usize::try_from(lsn.0 - 1).unwrap_or(usize::MAX);
        self.is_told = true;
        if level == Level::One {
            let log = &nodes[&at].synced.log;
            let record = log.get(lsn).map(|record| record.hash);
            let is_here = record.and_then(|hash| self.contents.get(&hash)) == Some(&id);
            if !is_here && log.base().lsn < lsn {
                self.breaks(|| format!("{id} is acknowledged and not durable here"));
            }
            return;
        }
        let point = self.committed.get(place).copied();
        let content = point.and_then(|point| self.contents.get(&point.hash));
        if content != Some(&id) {
            self.breaks(|| format!("{id} is acknowledged and not committed (I16)"));
        }
        if begun.is_none_or(|begun| lsn <= begun) {
            self.breaks(|| format!("{id} is committed before what was acknowledged earlier"));
        }
        if level == Level::All
            && let (Some(machine), Some(point)) = (&nodes[&at].machine, point)
            && let Some(config) = machine.leads()
            && self.holders(nodes, config, |copy| holds(copy, point)) < config.members.len()
        {
            self.breaks(|| format!("{id} is not on every member (I16)"));
        }
        self.floor = self.floor.max(lsn);
    }

    /// Looks at what a read shows: all that anybody had been told of when it began, and nothing that is not committed.
    pub(super) fn read(&mut self, node: &Node, at: Pid, read: u64, applied: Lsn) {
        let begun = self.begun.remove(&read).unwrap_or_default();
        if self.is_past(node) {
            return;
        }
        if applied < begun {
            self.breaks(|| format!("a read at {at} shows {applied}, and {begun} was known"));
        }
        self.floor = self.floor.max(applied);
    }

    /// Notes that somebody is told of a record, whose content is judged elsewhere.
    pub(super) fn tells(&mut self, lsn: Lsn) {
        self.is_told = true;
        self.floor = self.floor.max(lsn);
    }

    /// Looks at the end of the primary's log.
    pub(super) fn ended(&self, last: Point) -> Result<(), String> {
        if self.committed.last() != Some(&last) {
            return Err(format!(
                "the log ends with {last:?}, which is not committed"
            ));
        }
        if !self.is_told {
            return Err("nothing was ever acknowledged".to_owned());
        }
        Ok(())
    }
}

/// Whether a copy has a record, or a snapshot that reaches it.
pub(super) fn holds(copy: &Durable, point: Point) -> bool {
    copy.log.base().lsn >= point.lsn || copy.log.point(point.lsn) == Some(point)
}
