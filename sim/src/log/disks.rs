//! The disks of the nodes: what is written and synced, what goes wrong with that, and how a node goes on.

use shardwright_quorum::log::{Event, Ticket, Write};
use shardwright_testkit::sim::{Pid, Sim, Slot};

use super::{
    Content, Ending, Logs, Missing, NODES, SLOW_SYNC_MS, SYNC_MS, TIMEOUT, Token, node_id,
    situations,
};

/// How often a sync fails, out of 10,000.
const SYNC_FAILS: u32 = 15;

impl<C: Content> Logs<C> {
    /// Writes, and begins a sync unless one goes on.
    pub(super) fn persist(&mut self, sim: &mut Sim<Self>, at: Pid, ticket: Ticket, write: Write) {
        let is_too_early = match self.missing {
            Some(Missing::SyncFirst) => true,
            Some(Missing::DurablePromise) => write.promised.is_some(),
            _ => false,
        };
        let node = self.node(at);
        if node.disk.write(write).is_err() {
            node.is_refused = true;
        } else if !node.is_refused {
            node.written = ticket;
        }
        if is_too_early {
            self.feed(sim, at, Event::Persisted(ticket));
        }
        self.sync(sim, at);
    }

    /// Begins to make durable what has been written, unless that goes on already.
    fn sync(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let node = self.node(at);
        if node.is_syncing {
            return;
        }
        node.is_syncing = true;
        let token = Token::Synced(node.opened, node.disk.len(), node.written);
        let is_slow = sim.dice().chance(5);
        let takes = if is_slow { SLOW_SYNC_MS } else { SYNC_MS };
        let next = sim.now(at) + sim.dice().time(&takes);
        sim.wake(at, next, token);
    }

    /// A sync ends.
    pub(super) fn sync_ends(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        opened: u32,
        len: usize,
        ticket: Ticket,
    ) {
        // The copy has begun anew since.
        if opened != self.nodes[&at].opened {
            return;
        }
        if self.has_damage && sim.dice().rarely(SYNC_FAILS) && self.may_damage(sim, at) {
            C::mark(sim, situations::SYNC_FAILED);
            let node = self.node(at);
            node.disk.fail_sync();
            if self.missing != Some(Missing::FailedSync) {
                self.rules.loses(&self.nodes[&at]);
                self.feed(sim, at, Event::PersistFailed);
                return;
            }
        }
        self.synced(sim, at, len);
        self.feed(sim, at, Event::Persisted(ticket));
        let node = &self.nodes[&at];
        if node.is_refused {
            C::mark(sim, situations::FULL);
            self.feed(sim, at, Event::PersistFailed);
        } else if node.written > ticket {
            self.sync(sim, at);
        }
    }

    /// Notes what has become durable.
    fn synced(&mut self, sim: &mut Sim<Self>, at: Pid, len: usize) {
        let node = self.node(at);
        node.is_syncing = false;
        let fresh = node.disk.sync(len);
        if fresh.len() > 1 {
            C::mark(sim, situations::SEVERAL_AT_ONCE);
        }
        for place in fresh {
            let Some(Slot::Whole(write)) = node.disk.get(place) else {
                continue;
            };
            let before = node.synced.promised.map(|promised| promised.epoch);
            let after = write.promised.map(|promised| promised.epoch);
            let falls = after.is_some_and(|after| before > Some(after));
            if node.synced.take_in(write).is_err() || falls {
                self.rules
                    .breaks(|| format!("{at} writes what does not follow (I2, I8)"));
                return;
            }
        }
    }

    /// Goes on with a copy whose disk was full, once there is room.
    pub(super) fn reopen(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let now = sim.now(at);
        if !self.nodes[&at].is_refused {
            return;
        }
        if self.nodes[&at].disk.is_full() {
            return sim.wake(at, now + TIMEOUT / 4, Token::Reopen);
        }
        C::mark(sim, situations::ROOM_AGAIN);
        let node = self.node(at);
        node.disk.crash(sim.dice());
        let durable = node.read_back(None);
        node.calls.clear();
        node.reads.clear();
        self.restore(sim, at, Ending::Close);
        let node = self.node(at);
        let saved = node.data.saved;
        let Some(machine) = &mut node.machine else {
            return;
        };
        let mut actions = Vec::new();
        let opened = machine.reopen(now, durable, saved, &mut actions);
        if let Err(unclean) = opened {
            self.rules
                .breaks(|| format!("{at} is not clean after its disk was full: {unclean}"));
        }
        for action in actions {
            self.carry_out(sim, at, action);
        }
        self.feed(sim, at, Event::Tick);
    }

    /// Whether a copy may lose what it holds: no more than the width of a commit is made for.
    fn may_damage(&self, sim: &Sim<Self>, at: Pid) -> bool {
        // Which copies count is not known to a registry that went back.
        let is_possible = sim.is_faulty() && !self.rules.is_back();
        let Some(record) = self.record(sim).filter(|_| is_possible) else {
            return false;
        };
        let configs = || record.active.iter().chain(&record.pending);
        let mut members = configs().flat_map(|config| &config.members);
        let is_first = record.active.is_none();
        let others_are_whole = members.all(|member| !self.rules.is_lost(member.replica_id));
        let node = node_id(at);
        let survives = configs().all(|config| config.w >= 2 || config.member(&node).is_none());
        !is_first && others_are_whole && survives
    }

    /// A medium damages what a node holds, which then starts again and finds out; or a disk is full for a while.
    pub(super) fn damage(&mut self, sim: &mut Sim<Self>) {
        let pause = sim.dice().time(&(TIMEOUT..=TIMEOUT * 5));
        sim.plan(pause, Token::Damage);
        let at = Pid(sim.dice().index(NODES));
        if sim.dice().chance(40) {
            if sim.is_faulty() {
                self.node(at).disk.fill();
                let lasting = sim.dice().time(&(TIMEOUT / 2..=TIMEOUT * 3));
                sim.plan(lasting, Token::MakeRoom(at));
            }
        } else if sim.is_up(at) && self.may_damage(sim, at) {
            self.destroy(sim, at);
        }
    }

    fn destroy(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let node = self.node(at);
        if node.disk.damage(sim.dice()) {
            self.rules.loses(&self.nodes[&at]);
            sim.crash(at);
            sim.plan(TIMEOUT / 4, Token::Restart(at));
        }
    }

    /// So many copies are damaged at once that no quorum of the active configuration is left.
    pub(super) fn catastrophe(&mut self, sim: &mut Sim<Self>) {
        let active = self.record(sim).and_then(|record| record.active.clone());
        let Some(active) = active.filter(|_| sim.is_faulty()) else {
            return;
        };
        if self.rules.is_acknowledged() {
            let mut nodes: Vec<Pid> = active
                .members
                .iter()
                .map(|each| super::pid(&each.node))
                .collect();
            sim.dice().shuffle(&mut nodes);
            let are_away = sim.dice().chance(50);
            let lost = nodes.len() + 1 - active.recovery_quorum();
            for at in &nodes[..lost] {
                self.destroy(sim, *at);
            }
            // Who is left may be away for long, too.
            for at in nodes[lost..].iter().copied().filter(|_| are_away) {
                sim.crash(at);
                sim.plan(TIMEOUT * 8, Token::Restart(at));
            }
        } else {
            sim.plan(TIMEOUT, Token::Catastrophe);
        }
    }
}
