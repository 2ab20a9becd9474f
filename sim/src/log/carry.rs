//! What the driver of a copy does: it feeds the machine, and carries out its actions.

use std::collections::BTreeSet;

use shardwright_quorum::log::{Action, Answer, Ask, Event, Fault, Point, Report, Request, Write};
use shardwright_registry::Stored;
use shardwright_testkit::sim::{Pid, Sim, Write as Change};
use shardwright_topology::{ConfigId, Lsn, Member, ShardRecord};

use super::{
    Content, Logs, Message, Missing, SYNC_MS, TIMEOUT, Token, node_id, pid, rules::gave_way,
    situations, zones,
};

impl<C: Content> Logs<C> {
    /// Feeds an event to a machine, looks at what it takes for committed, and does what it asks for.
    pub(super) fn feed(&mut self, sim: &mut Sim<Self>, at: Pid, event: Event) {
        let now = sim.now(at);
        let Some(machine) = &mut self.node(at).machine else {
            return;
        };
        let mut actions = Vec::new();
        let led = machine.leads().cloned();
        machine.handle(now, event, &mut actions);
        if let Err(rule) = machine.check_invariants() {
            self.rules.breaks(|| format!("{at}: {rule}"));
        }
        let left = actions.iter().find_map(|action| match action {
            Action::Reply(_, reply) => gave_way(reply),
            _ => None,
        });
        let led = led.filter(|led| left == Some(led.config_id));
        if self.rules.judge(&mut self.nodes, at, led) {
            C::mark(sim, situations::WITHOUT_OWN);
        }
        if C::looks_at_leases(self.missing) {
            self.rules.leases(&self.nodes[&at], at, now);
        }
        self.rules
            .marks()
            .into_iter()
            .for_each(|mark| C::mark(sim, mark));
        for action in actions {
            self.carry_out(sim, at, action);
        }
    }

    pub(super) fn carry_out(&mut self, sim: &mut Sim<Self>, at: Pid, action: Action) {
        sim.trace(|| format!("{at} -> {action:?}"));
        match action {
            Action::Persist(ticket, write) => {
                self.rules.creates(&self.nodes, at, &write);
                self.note_write(sim, at, &write);
                self.persist(sim, at, ticket, write);
            }
            Action::Reply(call, mut reply) => {
                let Some(to) = self.node(at).calls.remove(&call) else {
                    return;
                };
                match reply.answer {
                    Answer::Held(_) => C::mark(sim, situations::HELD),
                    Answer::StaleEpoch(_) => C::mark(sim, situations::STALE_EPOCH),
                    _ => {}
                }
                if self.rules.gives_way(&reply) {
                    C::mark(sim, situations::GAVE_WAY);
                }
                if let Some(missing) = self.missing {
                    missing.reply(self.nodes[&at].last().lsn, &mut reply);
                }
                sim.send(at, to, Message::Reply(reply));
            }
            Action::Send { to, request } => {
                let call = self.name();
                sim.send(at, pid(&to), Message::Request { call, request });
            }
            Action::Apply(lsn) => self.apply(sim, at, lsn),
            Action::FetchSnapshot { from } => self.fetch_snapshot(sim, at, pid(&from)),
            Action::Install(base) => self.install(sim, at, base),
            Action::Activate(config_id) => {
                if self.missing == Some(Missing::ActivateBeforeCommit) {
                    self.feed(sim, at, Event::Activated(config_id));
                }
                sim.get(at, Token::Activate(config_id), self.key.clone());
            }
            Action::Answer { id, outcome } => C::answered(self, sim, at, id, outcome),
            Action::ReadAt { read, applied } => C::read_at(self, sim, at, read, applied),
            Action::Report(report) => self.reported(sim, at, report),
        }
    }

    fn note_write(&mut self, sim: &mut Sim<Self>, at: Pid, write: &Write) {
        if write.truncate_after.is_some() {
            C::mark(sim, situations::TRUNCATED);
        }
        if write.trim.is_some() {
            C::mark(sim, situations::TRIMMED);
        }
        let me = &self.nodes[&at];
        let creates = |epoch| self.rules.is_primary(at, me.life, epoch);
        let mut epochs = write.records.iter().map(|record| record.epoch);
        if write.promised.is_none()
            && epochs.any(|epoch| !creates(epoch))
            && me
                .synced
                .promised
                .is_some_and(|promised| creates(promised.epoch))
        {
            C::mark(sim, situations::ADOPTED);
        }
    }

    pub(super) fn timer(&mut self, sim: &mut Sim<Self>, at: Pid, token: Token<C::Ask>) {
        match token {
            Token::Tick => {
                self.save_data(sim, at);
                if self.has_learners && self.nodes[&at].learners < self.registrations {
                    self.node(at).learners = self.registrations;
                    let learners: BTreeSet<Member> = self.registered.values().cloned().collect();
                    self.feed(sim, at, Event::Learners(learners));
                }
                self.feed(sim, at, Event::Tick);
                C::advance(self, sim, at);
                self.tick_later(sim, at);
            }
            Token::Synced(opened, len, ticket) => self.sync_ends(sim, at, opened, len, ticket),
            Token::Stored(point) => self.stored(sim, at, point),
            // It may have been deleted meanwhile, and the one that is there now is another one.
            Token::Recreate if self.nodes[&at].is_whole() => {}
            Token::Recreate => {
                self.recreate(at);
                let durable = self.nodes[&at].synced.clone();
                self.open(sim, at, durable);
            }
            Token::Reopen => self.reopen(sim, at),
            Token::Told(instruction) => self.told(sim, at, instruction),
            Token::Ask(ask) => C::asked(self, sim, at, ask),
            _ => {}
        }
    }

    /// Makes the data durable now and then, as a database writes its pages.
    fn save_data(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let data = &mut self.nodes.get_mut(&at).expect("a node").data;
        if data.saved != data.applied && sim.dice().chance(30) {
            data.saved = data.applied;
            let saved = data.saved.lsn;
            if let Err(rule) = self.content.save(at) {
                self.rules.breaks(|| format!("{at}: {rule}"));
            }
            self.feed(sim, at, Event::Applied(saved));
        }
    }

    /// A snapshot is stored aside, which the machine does without if the log has come so far meanwhile.
    fn stored(&mut self, sim: &mut Sim<Self>, at: Pid, point: Point) {
        // One that was given up for lost comes after the one that was fetched instead: nobody waits for it.
        let is_wanted = self.nodes[&at].fetching.is_some();
        // The copy may have been deleted meanwhile, and the snapshot with it.
        if !is_wanted || !self.content.stores(at, point) {
            return;
        }
        let node = self.node(at);
        node.fetching = None;
        node.data.aside = Some(point);
        self.feed(sim, at, Event::SnapshotStored(point));
        let node = self.node(at);
        let machine = node.machine.as_ref();
        let base = machine.map(|machine| machine.replica().log().base());
        node.data.aside = node.data.aside.filter(|aside| base == Some(*aside));
    }

    fn install(&mut self, sim: &mut Sim<Self>, at: Pid, base: Point) {
        C::mark(sim, situations::INSTALLED);
        if let Err(rule) = self.content.install(at, base) {
            self.rules.breaks(|| format!("{at}: {rule}"));
        }
        let node = self.node(at);
        (node.data.applied, node.data.saved) = (base, base);
        self.rules.applied(&self.nodes[&at], base);
    }

    fn apply(&mut self, sim: &mut Sim<Self>, at: Pid, lsn: Lsn) {
        let node = self.node(at);
        if lsn <= node.data.applied.lsn {
            return;
        }
        let machine = node.machine.as_ref();
        let Some(point) = machine.and_then(|machine| machine.replica().log().point(lsn)) else {
            self.rules
                .breaks(|| format!("{at} is to apply {lsn}, which it does not hold"));
            return;
        };
        let holds = node.holds(point);
        let log = machine.map(|machine| machine.replica().log());
        let records = log.and_then(|log| log.after(node.data.applied.lsn));
        let records = records.into_iter().flatten();
        let records: Vec<_> = records
            .take_while(|record| record.lsn <= lsn)
            .cloned()
            .collect();
        node.data.applied = point;
        if let Err(rule) = self.content.apply(at, &records) {
            self.rules.breaks(|| format!("{at} applies {lsn}: {rule}"));
        }
        if !holds && self.missing != Some(Missing::SyncFirst) {
            self.rules
                .breaks(|| format!("{at} applies {lsn} before it is durable here"));
        }
        self.rules.applied(&self.nodes[&at], point);
        C::advance(self, sim, at);
    }

    fn fetch_snapshot(&mut self, sim: &mut Sim<Self>, at: Pid, from: Pid) {
        let now = sim.now(at);
        let node = self.node(at);
        let aside = node.data.aside;
        if aside.is_some_and(|aside| aside.lsn > node.data.applied.lsn) {
            return;
        }
        if node.fetching.is_none_or(|since| now.since(since) > TIMEOUT) {
            node.fetching = Some(now);
            sim.send(at, from, Message::AskSnapshot);
        }
    }

    pub(super) fn message(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        from: Pid,
        message: Message<C::Image>,
    ) {
        match message {
            Message::Request { call, request } => self.request(sim, at, from, call, request),
            Message::Reply(mut reply) => {
                if let (Some(missing), Some(machine)) = (self.missing, &self.nodes[&at].machine) {
                    let now = sim.now(at);
                    missing.answer(now, machine, &self.rules, &node_id(from), &mut reply);
                }
                let from = node_id(from);
                self.feed(sim, at, Event::Reply { from, reply });
            }
            Message::AskSnapshot => {
                let applied: Point = self.nodes[&at].data.applied;
                match self.content.image(at, applied) {
                    Ok(image) => sim.send(at, from, Message::Snapshot(applied, image)),
                    Err(rule) => self.rules.breaks(|| format!("{at}: {rule}")),
                }
            }
            Message::Snapshot(point, image) => {
                if self.nodes[&at].fetching.is_some() {
                    self.content.receives(at, point, image);
                    let next = sim.now(at) + sim.dice().time(&SYNC_MS);
                    sim.wake(at, next, Token::Stored(point));
                }
            }
        }
    }

    fn request(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        from: Pid,
        call: u64,
        mut request: Request,
    ) {
        let is_fence = matches!(request.ask, Ask::Fence | Ask::Fetch(_));
        if request.lease.is_zero() && !is_fence {
            C::mark(sim, situations::LEASE_GIVEN_UP);
        }
        if let (Some(missing), Some(machine)) = (self.missing, &self.nodes[&at].machine)
            && let Some(reply) = missing.request(machine, &mut request)
        {
            self.rules.gives_way(&reply);
            sim.send(at, from, Message::Reply(reply));
            return;
        }
        self.node(at).calls.insert(call, from);
        let from = node_id(from);
        self.feed(
            sim,
            at,
            Event::Request {
                from,
                call,
                request,
            },
        );
    }

    /// Shows a machine the shard's record.
    pub(super) fn show(&mut self, sim: &mut Sim<Self>, at: Pid, mut record: ShardRecord) {
        if let Some(missing) = self.missing {
            missing.record(&mut record, self.rules.replaced());
        }
        if self.missing == Some(Missing::ActivateAtQuorum)
            && let Some(pending) = &record.pending
            && pending.primary.node == node_id(at)
        {
            sim.get(at, Token::Activate(pending.config_id), self.key.clone());
        }
        let record = Box::new(record);
        let zones = zones();
        self.feed(sim, at, Event::Shard { record, zones });
    }

    /// Makes a configuration the active one, given a record of the shard that may be an old one.
    pub(super) fn activate(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        config_id: ConfigId,
        found: Stored<ShardRecord>,
    ) {
        let record = found.value;
        match record.activate(config_id) {
            Ok(next) if next == record => self.feed(sim, at, Event::Activated(config_id)),
            Ok(next) => {
                let revision = match self.missing {
                    Some(Missing::CompareAndSet) => {
                        sim.store().get(&self.key).map(|stored| stored.revision)
                    }
                    _ => Some(found.revision),
                };
                let write = Change {
                    key: self.key.clone(),
                    expected: revision,
                    value: Some(next),
                };
                sim.write(at, Token::Activating(config_id), write);
            }
            Err(_) if self.rules.is_superseded(config_id, record.epoch) => {
                C::mark(sim, situations::SUPERSEDED);
                self.feed(sim, at, Event::Superseded(config_id));
            }
            // The record is older than the attempt: it is asked for again.
            Err(_) => {}
        }
    }

    fn reported(&mut self, sim: &mut Sim<Self>, at: Pid, report: Report) {
        match report {
            Report::Leading(epoch) => {
                self.rules.leads(&self.nodes[&at], at, epoch);
                if self.is_looked_at && !self.rules.is_back() {
                    C::mark(sim, situations::CAME_FORWARD);
                }
                self.is_handed_over(sim, epoch);
            }
            Report::SteppedDown(_) => {}
            Report::AcceptsLoss { .. } => C::mark(sim, situations::LOSS_ACCEPTED),
            Report::Faulty(Fault::Storage) if self.nodes[&at].is_refused => {
                let next = sim.now(at) + TIMEOUT / 4;
                sim.wake(at, next, Token::Reopen);
            }
            Report::Faulty(Fault::Diverged(_)) if self.rules.may_diverge(&self.nodes[&at]) => {
                C::mark(sim, situations::GIVEN_UP);
                self.rules.loses(&self.nodes[&at]);
                let next = sim.now(at) + TIMEOUT;
                sim.wake(at, next, Token::Recreate);
            }
            Report::Faulty(Fault::Storage) => {
                // Somebody looks at it, and lets it begin anew.
                let next = sim.now(at) + TIMEOUT;
                sim.wake(at, next, Token::Recreate);
            }
            Report::Faulty(Fault::Diverged(lsn)) => self
                .rules
                .breaks(|| format!("{at} is to truncate after {lsn} what must stay (I9, I3)")),
            Report::RegistryWentBack { .. } | Report::TwoConfigs(_) => {
                self.alarmed(sim, at, report);
            }
        }
    }
}
