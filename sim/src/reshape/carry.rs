//! What the driver of a copy does: it feeds the machine, and carries out its actions.

use std::{collections::BTreeMap, sync::Arc};

use shardwright_quorum::log::{Action, Event, Fault, Kind, Point, Record, Report, Ticket, Write};
use shardwright_testkit::sim::{Pid, Sim, Slot, Write as Change};
use shardwright_topology::{ConfigId, Lsn, ShardId, ShardRecord};

use super::{
    MAKING, Message, Missing, Reshape, SYNC, TIMEOUT, Token, node_id, situations, tasks::Text,
};

impl Reshape {
    /// Feeds an event to the machine of a copy, and does what it asks for.
    pub(super) fn feed(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, event: Event) {
        let now = sim.now(at);
        let Some(machine) = self.copy(at, shard).and_then(|copy| copy.machine.as_mut()) else {
            return;
        };
        let mut actions = Vec::new();
        machine.handle(now, event, &mut actions);
        if let Err(rule) = machine.check_invariants() {
            self.breaks(|| format!("{at} {shard}: {rule}"));
        }
        self.publish(sim, at, shard);
        for action in actions {
            self.carry_out(sim, at, shard, action);
        }
    }

    fn carry_out(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, action: Action) {
        match action {
            Action::Persist(ticket, write) => self.persist(sim, at, shard, ticket, write),
            Action::Reply(call, reply) => {
                let to = self
                    .copy(at, shard)
                    .and_then(|copy| copy.calls.remove(&call));
                if let Some(to) = to {
                    let shard = shard.clone();
                    let reply = Box::new(reply);
                    sim.send(at, to, Message::LogReply { shard, reply });
                }
            }
            Action::Send { to, request } => {
                let (call, shard) = (self.name(), shard.clone());
                if let Some(to) = Self::pid(&to) {
                    let request = Box::new(request);
                    sim.send(
                        at,
                        to,
                        Message::Log {
                            shard,
                            call,
                            request,
                        },
                    );
                }
            }
            Action::Apply(lsn) => self.apply(sim, at, shard, lsn),
            Action::FetchSnapshot { from } => {
                let now = sim.now(at);
                let Some(copy) = self.copy(at, shard) else {
                    return;
                };
                let is_due = copy.fetching.is_none_or(|since| now.since(since) > TIMEOUT);
                if let Some(from) = Self::pid(&from).filter(|_| is_due) {
                    copy.fetching = Some(now);
                    let shard = shard.clone();
                    sim.send(at, from, Message::AskSnapshot { shard });
                }
            }
            Action::Install(base) => self.install(sim, at, shard, base),
            Action::Activate(config_id) => {
                let key = self.shard_key(shard);
                sim.get(at, Token::Activate(shard.clone(), config_id), key);
            }
            Action::Answer { id, outcome } => self.appended(sim, at, shard, id, outcome),
            Action::ReadAt { read, applied } => self.read_at(sim, at, shard, read, applied),
            Action::Report(report) => self.reported(sim, at, shard, report),
        }
    }

    fn reported(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, report: Report) {
        match report {
            Report::Leading(epoch) => {
                let mut leaders = self.leaders.iter();
                let mut others = leaders.by_ref().filter(|((of, _), _)| of == shard);
                if others.any(|(_, before)| *before != at) {
                    sim.mark(situations::FAILOVER);
                }
                self.leaders.insert((shard.clone(), epoch), at);
            }
            Report::Faulty(Fault::Diverged(lsn)) => {
                self.breaks(|| format!("{at} {shard} is to truncate after {lsn} what must stay"));
            }
            Report::Faulty(Fault::Storage)
            | Report::SteppedDown(_)
            | Report::AcceptsLoss { .. }
            | Report::RegistryWentBack { .. }
            | Report::TwoConfigs(_) => {}
        }
    }

    fn persist(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        ticket: Ticket,
        write: Write,
    ) {
        if write.trim.is_some() {
            sim.mark(situations::TRIMMED);
        }
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if copy.disk.write(write).is_ok() {
            copy.written = ticket;
        }
        self.sync(sim, at, shard);
    }

    fn sync(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let next = sim.now(at) + sim.dice().time(&SYNC);
        let Some(copy) = self.copy(at, shard).filter(|copy| !copy.is_syncing) else {
            return;
        };
        copy.is_syncing = true;
        let (opening, len, ticket) = (copy.opening, copy.disk.len(), copy.written);
        sim.wake(at, next, Token::Synced(shard.clone(), opening, len, ticket));
    }

    /// A sync ends.
    pub(super) fn synced(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (opening, len, ticket): (u32, usize, Ticket),
    ) {
        let Some(copy) = self.copy(at, shard).filter(|copy| copy.opening == opening) else {
            return;
        };
        copy.is_syncing = false;
        for place in copy.disk.sync(len) {
            let Some(Slot::Whole(write)) = copy.disk.get(place) else {
                continue;
            };
            if copy.synced.take_in(write).is_err() {
                return self.breaks(|| format!("{at} {shard} writes what does not follow"));
            }
        }
        let is_behind = copy.written > ticket;
        self.feed(sim, at, shard, Event::Persisted(ticket));
        if is_behind {
            self.sync(sim, at, shard);
        }
    }

    fn apply(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, lsn: Lsn) {
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let Some(machine) = copy.machine.as_ref().filter(|_| lsn > copy.applied.lsn) else {
            return;
        };
        let records = machine.replica().log().after(copy.applied.lsn);
        let records: Vec<Arc<Record>> = records
            .into_iter()
            .flatten()
            .take_while(|record| record.lsn <= lsn)
            .cloned()
            .collect();
        for record in records {
            if !self.apply_one(sim, at, shard, &record) {
                return self.set_aside(sim, at, shard);
            }
        }
        self.publish(sim, at, shard);
        self.advance(sim, at, shard);
    }

    /// Applies a record. `false` if the copy cannot go on.
    fn apply_one(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        record: &Record,
    ) -> bool {
        let late = self.missing == Some(Missing::BaseAtItsRecord);
        let mutated = self.mutated(shard, record);
        let record = mutated.as_ref().unwrap_or(record);
        let Some(copy) = self.copy(at, shard) else {
            return false;
        };
        copy.applied = record.point();
        if record.kind == Kind::SplitBase {
            let home = copy.aside.home().to_owned();
            match copy.data.take(record, &home) {
                Ok(()) => copy.saved = record.point(),
                Err(error) if error.contains("has not kept aside") => {
                    sim.trace(|| format!("{at} {shard} cannot begin: {error}"));
                    sim.mark(situations::NOT_KEPT);
                    return false;
                }
                Err(error) => {
                    self.breaks(|| format!("{at} {shard} cannot begin: {error}"));
                    return false;
                }
            }
            return true;
        }
        let came = match copy.data.apply(record) {
            Ok(came) => came,
            Err(error) => {
                self.breaks(|| format!("{at} {shard} applies {}: {error}", record.lsn));
                return false;
            }
        };
        copy.executor.came(came);
        if record.kind == Kind::Cut {
            if late {
                let next = sim.now(at) + TIMEOUT / 8;
                sim.wake(
                    at,
                    next,
                    Token::CutLate(shard.clone(), Box::new(record.clone())),
                );
            } else {
                self.cut(sim, at, shard, record);
            }
        }
        true
    }

    /// Begins to keep aside what other shards are to begin with.
    pub(super) fn cut(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, record: &Record) {
        let name = self.name();
        let next = sim.now(at) + sim.dice().time(&MAKING);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let Ok(data) = copy.data.data() else {
            return;
        };
        match copy.aside.cut(record, data.file()) {
            Ok(Some(making)) => {
                copy.makings.insert(name, making);
                sim.wake(at, next, Token::Made(shard.clone(), name));
            }
            Ok(None) => self.breaks(|| format!("{at} {shard} is not cut")),
            Err(error) => self.breaks(|| format!("{at} {shard} is not cut: {error}")),
        }
    }

    fn install(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, base: Point) {
        sim.mark(situations::INSTALLED);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let installed = copy.data.install(base);
        (copy.applied, copy.saved, copy.arrived) = (base, base, None);
        if let Err(rule) = installed {
            self.breaks(|| format!("{at} {shard}: {rule}"));
        }
        self.publish(sim, at, shard);
        self.advance(sim, at, shard);
    }

    /// Makes the data durable now and then.
    pub(super) fn save(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let is_due = sim.dice().chance(30);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if copy.machine.is_none() || copy.saved == copy.applied || !is_due {
            return;
        }
        let (applied, saved) = (copy.applied, copy.data.save());
        copy.saved = applied;
        if let Err(rule) = saved {
            return self.breaks(|| format!("{at} {shard}: {rule}"));
        }
        self.feed(sim, at, shard, Event::Applied(applied.lsn));
    }

    /// A node asks for the data of a copy, or gets it.
    pub(super) fn snapshot(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid, message: Message) {
        match message {
            Message::AskSnapshot { shard } => {
                let Some(copy) = self.copy(at, &shard).filter(|copy| copy.machine.is_some()) else {
                    return;
                };
                let point = copy.applied;
                match copy.data.image(point) {
                    Ok(image) => sim.send(
                        at,
                        from,
                        Message::Snapshot {
                            shard,
                            point,
                            image,
                        },
                    ),
                    Err(rule) => self.breaks(|| format!("{at} {shard}: {rule}")),
                }
            }
            Message::Snapshot {
                shard,
                point,
                image,
            } => {
                let next = sim.now(at) + sim.dice().time(&SYNC);
                if let Some(copy) = self.copy(at, &shard)
                    && copy.fetching.is_some()
                {
                    copy.data.receives(point, image);
                    let token = Token::Stored(shard, copy.opening, point);
                    sim.wake(at, next, token);
                }
            }
            _ => {}
        }
    }

    /// A snapshot is stored aside.
    pub(super) fn stored(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        (opening, point): (u32, Point),
    ) {
        let Some(copy) = self.copy(at, shard).filter(|copy| copy.opening == opening) else {
            return;
        };
        if copy.fetching.take().is_none() || !copy.data.stores(point) {
            return;
        }
        copy.arrived = Some(point);
        self.feed(sim, at, shard, Event::SnapshotStored(point));
        if let Some(copy) = self.copy(at, shard) {
            let machine = copy.machine.as_ref();
            let base = machine.map(|machine| machine.replica().log().base());
            copy.arrived = copy.arrived.filter(|arrived| base == Some(*arrived));
        }
    }

    /// Makes a configuration the active one, given a record of the shard that may be an old one.
    pub(super) fn activate(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        (shard, config_id): (&ShardId, ConfigId),
        found: Option<(ShardRecord, shardwright_registry::Revision)>,
    ) {
        let Some((record, revision)) = found else {
            return;
        };
        match record.activate(config_id) {
            Ok(next) if next == record => {
                self.feed(sim, at, shard, Event::Activated(config_id));
            }
            Ok(next) => {
                let write = Change {
                    key: self.shard_key(shard),
                    expected: Some(revision),
                    value: shardwright_registry::encode(&next).ok().map(Text),
                };
                sim.write(at, Token::Activating(shard.clone(), config_id), write);
            }
            Err(_) => {
                let own = self.copy(at, shard).and_then(|copy| copy.machine.as_ref());
                let promised = own.and_then(|machine| machine.replica().promised());
                // A record that is older than the attempt says nothing.
                if promised.is_some_and(|promised| promised.epoch < record.epoch) {
                    self.feed(sim, at, shard, Event::Superseded(config_id));
                }
            }
        }
    }

    /// A request of another copy has come.
    pub(super) fn requested(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        from: Pid,
        (shard, call, request): (&ShardId, u64, shardwright_quorum::log::Request),
    ) {
        if let Some(copy) = self.copy(at, shard).filter(|copy| copy.machine.is_some()) {
            copy.calls.insert(call, from);
            let from = node_id(from);
            let event = Event::Request {
                from,
                call,
                request,
            };
            self.feed(sim, at, shard, event);
        }
    }

    /// Which copies run on a node.
    pub(super) fn running_on(&self, at: Pid) -> Vec<ShardId> {
        let copies = self.nodes.get(&at).map(|node| &node.copies);
        let copies = copies.into_iter().flatten();
        let running = copies.filter(|(_, copy)| copy.machine.is_some());
        let running: BTreeMap<_, _> = running.collect();
        running.into_keys().cloned().collect()
    }
}
