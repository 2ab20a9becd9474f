//! One node: its disk, its data, and its machine while it runs.

use std::collections::BTreeMap;

use shardwright_quorum::log::{Durable, Event, Participant, Point, Ticket, Write};
use shardwright_registry::Prefix;
use shardwright_testkit::sim::{Disk, Pid, Sim, Slot};
use shardwright_topology::{Incarnation, Lsn, Member, Primary, ReplicaId, Timestamp};

use super::{
    Content, Ending, Logs, Missing, TICK, TIMEOUT, Token, node_id, rules, settings, situations,
};

/// One node.
pub(super) struct Node {
    /// Which process of the node it is.
    pub(super) life: u32,
    pub(super) machine: Option<Participant>,
    pub(super) replica_id: ReplicaId,
    pub(super) disk: Disk<Write>,
    /// What whoever reads the disk after a crash finds at least.
    pub(super) synced: Durable,
    pub(super) data: Database,
    /// The last write handed to the disk.
    pub(super) written: Ticket,
    pub(super) is_syncing: bool,
    /// How often the disk was opened.
    pub(super) opened: u32,
    /// Whether the disk was full when something was to be written.
    pub(super) is_refused: bool,
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
pub(super) struct Database {
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
            data: Database::default(),
            written: Ticket::default(),
            is_syncing: false,
            opened: 0,
            is_refused: false,
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
        rules::holds(&self.synced, point)
    }

    /// Forgets what the last process knew.
    fn forget(&mut self) {
        self.machine = None;
        self.fetching = None;
        self.calls.clear();
        self.reads.clear();
        self.learners = 0;
    }

    /// Begins to count writes anew.
    fn restore(&mut self) {
        (self.is_syncing, self.is_refused) = (false, false);
        self.opened += 1;
        self.written = Ticket::default();
        self.judged = Lsn(0);
    }

    /// Whether its copy is whole, as far as the node knows.
    pub(super) fn is_whole(&self) -> bool {
        let replica = self.machine.as_ref().map(|machine| machine.replica());
        self.synced.clean && replica.is_none_or(|replica| replica.fault().is_none())
    }

    /// Reads the disk back, up to the first thing on it that is damaged.
    pub(super) fn read_back(&mut self, missing: Option<Missing>) -> Durable {
        let mut durable = Durable::new(self.replica_id);
        let mut end = 0;
        for slot in self.disk.read() {
            match slot {
                Slot::Whole(write) if durable.take_in(write).is_ok() => end += 1,
                Slot::Torn => break,
                Slot::Damaged if missing == Some(Missing::DamageIsNoAbsence) => break,
                Slot::Whole(_) | Slot::Damaged => {
                    durable.clean = false;
                    break;
                }
            }
        }
        if durable.clean {
            self.disk.cut(end);
        }
        self.synced = durable.clone();
        durable
    }
}

impl<C: Content> Logs<C> {
    pub(super) fn start(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let (life, missing) = (sim.life(at), self.missing);
        let node = self.node(at);
        node.forget();
        if life > 1 {
            let wreck = node.disk.crash(sim.dice());
            if wreck.torn {
                C::mark(sim, situations::TORN);
            }
            if wreck.lost > 0 {
                C::mark(sim, situations::LOST_UNSYNCED);
            }
        }
        node.life = life;
        let durable = node.read_back(missing);
        self.restore(
            sim,
            at,
            if life > 1 {
                Ending::Crash
            } else {
                Ending::Close
            },
        );
        if !durable.clean {
            C::mark(sim, situations::DAMAGED);
            // What is left can be fenced until somebody decides to begin anew.
            let next = sim.now(at) + sim.dice().time(&(TIMEOUT..=TIMEOUT * 4));
            sim.wake(at, next, Token::Recreate);
        }
        self.open(sim, at, durable);
        sim.list(at, Token::Follow, Prefix::all());
        self.tick_later(sim, at);
    }

    /// Goes back to what is there of the data.
    pub(super) fn restore(&mut self, sim: &mut Sim<Self>, at: Pid, ending: Ending) {
        let node = self.node(at);
        node.restore();
        let (base, data) = (node.synced.log.base(), node.data);
        let reopened = self.content.reopen(sim, at, data.saved, ending);
        let reopened = reopened.and_then(|saved| {
            // The process ended after the log began anew, and before the data did.
            if data.aside == Some(base) && saved.lsn < base.lsn {
                return self.content.install(at, base).map(|()| base);
            }
            Ok(saved)
        });
        match reopened {
            Ok(saved) => {
                let data = &mut self.node(at).data;
                (data.saved, data.applied) = (saved, saved);
                // It is the data now, or the log did not come to need it.
                data.aside = None;
            }
            Err(rule) => self.rules.breaks(|| format!("{at}: {rule}")),
        }
    }

    /// Begins with an empty copy in place of one that may have lost something (R4).
    pub(super) fn recreate(&mut self, at: Pid) {
        let replica_id = ReplicaId::from_bits(self.name().into());
        let is_known = self.missing == Some(Missing::FreshReplicaId);
        self.rules.loses(&self.nodes[&at]);
        let node = self.node(at);
        let lost = node.replica_id;
        let (is_full, opened) = (node.disk.is_full(), node.opened);
        let (life, replica_id) = (node.life, if is_known { lost } else { replica_id });
        *node = Node::new(replica_id);
        (node.life, node.opened) = (life, opened + 1);
        if is_full {
            node.disk.fill();
        }
        if let Err(rule) = self.content.clear(at) {
            self.rules.breaks(|| format!("{at}: {rule}"));
        }
        let node = node_id(at);
        self.registered.insert(at, Member { node, replica_id });
        self.registrations += 1;
    }

    pub(super) fn open(&mut self, sim: &mut Sim<Self>, at: Pid, durable: Durable) {
        let missing = self.missing;
        let settings = settings(missing, self.lease);
        let node = self.node(at);
        let mut now = sim.now(at);
        if missing == Some(Missing::LeaseAfterRestart) {
            now = Timestamp(now.0.saturating_sub(settings.lease));
        }
        let incarnation = match missing {
            Some(Missing::NewIncarnation) => Incarnation(1),
            _ => Incarnation(node.life.into()),
        };
        let me = Primary {
            node: node_id(at),
            incarnation,
        };
        let opened = Participant::open(now, me, settings, durable, node.data.saved);
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
