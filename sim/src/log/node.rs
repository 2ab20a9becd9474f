//! One node: its disk, its data, and its machine while it runs.

use std::collections::BTreeMap;

use shardwright_quorum::log::{Durable, Event, Participant, Point, Ticket, Write};
use shardwright_registry::Prefix;
use shardwright_testkit::sim::{Disk, Pid, Sim, Slot};
use shardwright_topology::{Incarnation, Lsn, Member, Primary, ReplicaId, Timestamp};

use super::{Logs, Missing, TICK, Token, lease, node_id, settings, situations};

/// One node.
pub(super) struct Node {
    /// Which process of the node it is.
    pub(super) life: u32,
    pub(super) machine: Option<Participant>,
    pub(super) replica_id: ReplicaId,
    pub(super) disk: Disk<Write>,
    /// What whoever reads the disk after a crash finds at least.
    pub(super) synced: Durable,
    pub(super) data: Data,
    /// The last write handed to the disk.
    pub(super) written: Ticket,
    pub(super) is_syncing: bool,
    /// Since when a snapshot is being fetched.
    pub(super) fetching: Option<Timestamp>,
    /// Who made which call.
    pub(super) calls: BTreeMap<u64, Pid>,
    /// The reads that wait until something is applied.
    pub(super) reads: Vec<(u64, Lsn)>,
    /// Up to where the rules have looked at what this process takes for committed.
    pub(super) judged: Lsn,
    /// Which registrations of copies its machine knows.
    pub(super) learners: u64,
}

/// The data of a copy: the last record that it has applied stands for all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Data {
    pub(super) applied: Point,
    /// What is durable of it.
    pub(super) saved: Point,
    /// A snapshot stored aside.
    pub(super) aside: Option<Point>,
}

impl Node {
    pub(super) fn new(replica_id: ReplicaId) -> Self {
        Self {
            life: 0,
            machine: None,
            replica_id,
            disk: Disk::default(),
            synced: Durable::new(replica_id),
            data: Data::default(),
            written: Ticket::default(),
            is_syncing: false,
            fetching: None,
            calls: BTreeMap::new(),
            reads: Vec::new(),
            judged: Lsn(0),
            learners: 0,
        }
    }

    /// Where the log of its machine ends.
    pub(super) fn last(&self) -> Point {
        let machine = self.machine.as_ref();
        machine.map_or(Point::default(), |machine| machine.replica().log().last())
    }

    /// Whether its disk has a record for certain, or a snapshot that reaches it.
    pub(super) fn holds(&self, point: Point) -> bool {
        let log = &self.synced.log;
        log.base().lsn >= point.lsn || log.point(point.lsn) == Some(point)
    }

    /// Forgets what the last process knew.
    fn forget(&mut self) {
        self.machine = None;
        self.is_syncing = false;
        self.fetching = None;
        self.calls.clear();
        self.reads.clear();
        self.judged = Lsn(0);
        self.learners = 0;
    }

    /// Reads the disk back; none if something on it is damaged.
    fn read_back(&mut self, missing: Option<Missing>) -> Option<Durable> {
        let mut durable = Durable::new(self.replica_id);
        let mut end = 0;
        for slot in self.disk.read() {
            match slot {
                Slot::Whole(write) => durable.take_in(write).ok()?,
                Slot::Torn => break,
                Slot::Damaged if missing == Some(Missing::DamageIsNoAbsence) => break,
                Slot::Damaged => return None,
            }
            end += 1;
        }
        self.disk.cut(end);
        self.synced = durable.clone();
        Some(durable)
    }
}

impl Logs {
    pub(super) fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let (life, missing) = (sim.life(at), self.missing);
        let node = self.node(at);
        node.forget();
        if life > 1 {
            let wreck = node.disk.crash(sim.dice());
            if wreck.torn {
                sim.mark(situations::TORN);
            }
            if wreck.lost > 0 {
                sim.mark(situations::LOST_UNSYNCED);
            }
        }
        node.life = life;
        let durable = node.read_back(missing);
        if durable.is_none() {
            sim.mark(situations::DAMAGED);
            self.recreate(at);
        }
        let mut durable = durable.unwrap_or_else(|| self.nodes[&at].synced.clone());
        let held = self.rules.config(durable.log.last().epoch);
        if missing == Some(Missing::DurablePromise)
            && let (Some(promised), Some(held)) = (&mut durable.promised, held)
        {
            (promised.epoch, promised.config_id) = (held.epoch, held.config_id);
        }
        let node = self.node(at);
        let base = durable.log.base();
        // The process ended after the log began anew, and before the data did.
        if node.data.aside == Some(base) && node.data.saved.lsn < base.lsn {
            node.data.saved = base;
        }
        node.data.applied = node.data.saved;
        self.open(sim, at, durable);
        sim.list(at, Token::Follow, Prefix::all());
        self.tick_later(sim, at);
    }

    /// Begins with an empty copy in place of one that may have lost something (R4).
    pub(super) fn recreate(&mut self, at: Pid) {
        let replica_id = ReplicaId::from_bits(self.name().into());
        let is_known = self.missing == Some(Missing::FreshReplicaId);
        let node = self.node(at);
        let lost = node.replica_id;
        let (life, replica_id) = (node.life, if is_known { lost } else { replica_id });
        *node = Node::new(replica_id);
        node.life = life;
        self.rules.lost.insert(lost);
        let node = node_id(at);
        self.registered.insert(at, Member { node, replica_id });
        self.registrations += 1;
    }

    pub(super) fn open(&mut self, sim: &mut Sim<Self>, at: Pid, durable: Durable) {
        let missing = self.missing;
        let node = self.node(at);
        let mut now = sim.now(at);
        if missing == Some(Missing::LeaseAfterRestart) {
            now = Timestamp(now.0.saturating_sub(lease(missing)));
        }
        let incarnation = match missing {
            Some(Missing::NewIncarnation) => Incarnation(1),
            _ => Incarnation(node.life.into()),
        };
        let me = Primary {
            node: node_id(at),
            incarnation,
        };
        node.written = Ticket::default();
        let opened = Participant::open(now, me, settings(missing), durable, node.data.saved);
        match opened {
            Ok(machine) => {
                node.machine = Some(machine);
                self.feed(sim, at, Event::Tick);
            }
            Err(unclean) => self
                .rules
                .breaks(|| format!("{at} is not clean: {unclean}")),
        }
    }

    pub(super) fn tick_later(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TICK;
        sim.wake(at, next, Token::Tick);
    }
}
