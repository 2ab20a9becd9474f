//! Nodes: their copies, how those are opened, and how they end.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use shardwright_elastic::workflow::Event as Happened;
use shardwright_quorum::log::{Durable, Event, Participant, Point, Ticket, Write};
use shardwright_registry::Registry;
use shardwright_server::reshaping::{Aside, Local, Making, Standing, end_removals, remove_copy};
use shardwright_server::shard::{CopyGap, Token as Place};
use shardwright_testkit::sim::{Disk, Pid, Sim, Slot};
use shardwright_topology::{
    Incarnation, NodeId, Primary, ReplicaId, ShardId, ShardRecord, Timestamp,
};

use super::{
    Missing, Reshape, TICK, TIMEOUT, Token,
    executor::Executor,
    node_id, settings, situations,
    tasks::Done,
    ways::{CopyHandle, NodeHandle, Shown, SimStore, SimWay},
};
use crate::log::CopyOnDisk;

/// How many parts of a copy wait to be made.
const MAKINGS_MAX: usize = 2;

/// One node.
pub(super) struct Node {
    pub(super) home: PathBuf,
    pub(super) copies: BTreeMap<ShardId, Copy>,
    /// The records that it has seen.
    pub(super) records: BTreeMap<ShardId, ShardRecord>,
    /// What answers requests, while its process runs.
    pub(super) local: Option<Local<NodeHandle>>,
    pub(super) handle: Option<NodeHandle>,
}

/// The copy of a shard on a node.
pub(super) struct Copy {
    pub(super) replica_id: ReplicaId,
    pub(super) disk: Disk<Write>,
    /// What whoever reads the disk after a crash finds at least.
    pub(super) synced: Durable,
    pub(super) data: CopyOnDisk,
    pub(super) applied: Point,
    pub(super) saved: Point,
    /// The place of a snapshot that is stored aside.
    pub(super) arrived: Option<Point>,
    /// Counts how often it was opened.
    pub(super) opening: u32,
    /// Whether it was announced, as it is noted beside it. It holds nothing before.
    pub(super) is_announced: bool,
    pub(super) incarnation: Incarnation,
    pub(super) machine: Option<Participant>,
    pub(super) written: Ticket,
    pub(super) is_syncing: bool,
    pub(super) fetching: Option<Timestamp>,
    /// Who made which call.
    pub(super) calls: BTreeMap<u64, Pid>,
    pub(super) executor: Executor,
    /// The parts that are being made for other shards.
    pub(super) makings: BTreeMap<u64, Making>,
    pub(super) aside: Arc<Aside>,
    pub(super) shown: Arc<Mutex<Shown>>,
    /// Whether it was told to stop.
    pub(super) is_stopped: bool,
}

impl Copy {
    /// Whether it works, as far as its node knows.
    pub(super) fn is_whole(&self) -> bool {
        let replica = self.machine.as_ref().map(Participant::replica);
        replica.is_none_or(|replica| replica.fault().is_none())
    }

    /// Reads the disk back, up to where it is torn.
    fn read_back(&mut self) -> Result<(), String> {
        let mut durable = Durable::new(self.replica_id);
        let mut end = 0;
        for slot in self.disk.read() {
            match slot {
                Slot::Whole(write) if durable.take_in(write).is_ok() => end += 1,
                Slot::Torn => break,
                Slot::Whole(_) | Slot::Damaged => return Err("a record does not follow".into()),
            }
        }
        self.disk.cut(end);
        self.synced = durable;
        Ok(())
    }

    /// Opens the data, and makes up for a crash between the log and the data.
    fn restore(&mut self) -> Result<(), String> {
        let base = self.synced.log.base();
        let (arrived, before) = (self.arrived.take(), self.saved);
        let mut found = self.data.open()?;
        if arrived == Some(base) && found.lsn < base.lsn {
            self.data.install(base)?;
            found = base;
        }
        if found.lsn < before.lsn {
            return Err(format!(
                "{} was durable, and only {} is there",
                before.lsn, found.lsn
            ));
        }
        (self.applied, self.saved) = (found, found);
        Ok(())
    }

    pub(super) fn place(&self) -> Place {
        Place {
            epoch: self.applied.epoch,
            lsn: self.applied.lsn,
        }
    }
}

impl Reshape {
    pub(super) fn copy(&mut self, at: Pid, shard: &ShardId) -> Option<&mut Copy> {
        self.nodes.get_mut(&at)?.copies.get_mut(shard)
    }

    pub(super) fn registry(&mut self, sim: &mut Sim<Self>, at: Pid) -> Registry {
        let store = Arc::new(SimStore(self.tasks.port(at)));
        Registry::seeded(store, self.keyspace.clone(), sim.dice().bits())
    }

    pub(super) fn way(&mut self, sim: &mut Sim<Self>, at: Pid) -> Arc<SimWay> {
        let (port, seed) = (self.tasks.port(at), sim.dice().bits());
        Arc::new(SimWay { port, seed })
    }

    /// The process of a node starts.
    pub(super) fn start_node(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let is_crash = sim.life(at) > 1;
        let registry = self.registry(sim, at);
        let handle = NodeHandle {
            node: node_id(at),
            port: self.tasks.port(at),
            registry: registry.clone(),
            copies: Arc::default(),
            halts: self.gaps.of_node(at),
            missing: self.missing,
        };
        let way = self.way(sim, at);
        let local = Local::through(node_id(at), handle.clone(), registry, way);
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        (node.local, node.handle) = (Some(local), Some(handle));
        let is_ended = self.missing != Some(Missing::RemovalsEnded);
        if is_crash
            && is_ended
            && node.home.exists()
            && let Err(error) = end_removals(&node.home)
        {
            self.breaks(|| format!("{at} cannot end what it was removing: {error}"));
            return;
        }
        node.records.clear();
        let shards: Vec<_> = node.copies.keys().cloned().collect();
        for shard in shards {
            if is_crash && let Err(rule) = self.crash_copy(sim, at, &shard) {
                self.breaks(|| format!("{at} {shard}: {rule}"));
            }
            self.open_copy(sim, at, &shard);
        }
        let prefix = self.shards.clone();
        sim.list(at, Token::Follow, prefix);
        self.tick_later(sim, at);
    }

    pub(super) fn tick_later(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TICK;
        sim.wake(at, next, Token::Tick);
    }

    /// What was not on the disk is gone.
    fn crash_copy(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) -> Result<(), String> {
        let Some(copy) = self.copy(at, shard) else {
            return Ok(());
        };
        if !std::mem::take(&mut copy.makings).is_empty() {
            let left = copy.aside.home().join(format!("making-{shard}-0.db"));
            fs::write(left, b"a part of it").map_err(|error| error.to_string())?;
            sim.mark(situations::PART_LOST);
        }
        if let Ok(mut shown) = copy.shown.lock() {
            *shown = Shown::default();
        }
        copy.machine = None;
        copy.disk.crash(sim.dice());
        if copy.data.crash(sim.dice())? {
            sim.mark(situations::POWER_FAILURE);
        }
        Ok(())
    }

    /// Makes an empty copy of a shard, unless there is one.
    pub(super) fn create_copy(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let replica_id = ReplicaId::from_bits(self.name().into());
        let (config, halts) = (self.config.clone(), self.gaps.of_node(at));
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        if node.copies.contains_key(shard) {
            return;
        }
        let home = node.home.join(shard.as_str());
        let copy = Copy {
            replica_id,
            disk: Disk::default(),
            synced: Durable::new(replica_id),
            data: CopyOnDisk::new(home.join("copy"), shard.clone(), config),
            applied: Point::default(),
            saved: Point::default(),
            arrived: None,
            opening: 0,
            is_announced: false,
            incarnation: Incarnation(0),
            machine: None,
            written: Ticket::default(),
            is_syncing: false,
            fetching: None,
            calls: BTreeMap::new(),
            executor: Executor::default(),
            makings: BTreeMap::new(),
            aside: Arc::new(Aside::halting(home, halts)),
            shown: Arc::default(),
            is_stopped: false,
        };
        node.copies.insert(shard.clone(), copy);
        self.open_copy(sim, at, shard);
    }

    /// Opens a copy, from what is on the disk, and has it registered.
    pub(super) fn open_copy(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        sim.trace(|| format!("{at} opens {shard}"));
        let (port, process) = (self.tasks.port(at), sim.life(at));
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        let (Some(handle), Some(copy)) = (node.handle.clone(), node.copies.get_mut(shard)) else {
            return;
        };
        copy.opening += 1;
        copy.machine = None;
        copy.is_stopped = false;
        copy.written = Ticket::default();
        copy.is_syncing = false;
        copy.fetching = None;
        copy.calls.clear();
        let opened = copy.read_back().and_then(|()| copy.restore());
        if handle.lock().get(shard).is_none() {
            // A new process: what the one before was about to do is over.
            copy.executor = Executor::default();
            let home = copy.aside.home().to_owned();
            copy.aside = Arc::new(Aside::halting(home, handle.halts.clone()));
        }
        if let Ok(data) = copy.data.data() {
            copy.aside.opened(data.file());
        }
        let copy_handle = CopyHandle {
            shard: shard.clone(),
            port,
            shown: Arc::clone(&copy.shown),
            aside: Arc::clone(&copy.aside),
        };
        handle.lock().insert(shard.clone(), copy_handle);
        let (opening, replica_id) = (copy.opening, copy.replica_id);
        let is_announced = copy.is_announced;
        if let Err(rule) = opened {
            self.breaks(|| format!("{at} {shard}: {rule}"));
            return;
        }
        sim.trace(|| format!("{at} has {shard} as {replica_id}, process {process}"));
        let registering = handle.register(shard.clone(), replica_id, opening, is_announced);
        self.tasks.spawn(at, registering);
    }

    /// A copy is registered, and takes part from now on.
    pub(super) fn opened(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        (shard, opening): (&ShardId, u32),
        incarnation: Incarnation,
    ) {
        let now = sim.now(at);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if copy.opening != opening || copy.is_stopped {
            return;
        }
        let me = Primary {
            node: node_id(at),
            incarnation,
        };
        (copy.incarnation, copy.is_announced) = (incarnation, true);
        let opened = Participant::open(now, me, settings(), copy.synced.clone(), copy.saved);
        match opened {
            Ok(machine) => copy.machine = Some(machine),
            Err(unclean) => return self.breaks(|| format!("{at} {shard}: {unclean}")),
        }
        let record = self.nodes.get(&at).and_then(|node| node.records.get(shard));
        if let Some(record) = record.cloned() {
            self.show(sim, at, record);
        }
        self.feed(sim, at, shard, Event::Tick);
    }

    /// Shows a copy the record of its shard.
    pub(super) fn show(&mut self, sim: &mut Sim<Self>, at: Pid, record: ShardRecord) {
        let shard = record.id.clone();
        if let Some(node) = self.nodes.get_mut(&at) {
            node.records.insert(shard.clone(), record.clone());
        }
        let event = Event::Shard {
            record: Box::new(record),
            zones: BTreeMap::new(),
        };
        self.feed(sim, at, &shard, event);
    }

    /// Stops a copy, and returns which it is.
    pub(super) fn stop_copy(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
    ) -> Option<ReplicaId> {
        if let Some(handle) = self.nodes.get(&at).and_then(|node| node.handle.as_ref()) {
            handle.lock().remove(shard);
        }
        let copy = self.copy(at, shard)?;
        let replica_id = copy.replica_id;
        copy.is_stopped = true;
        copy.machine = None;
        copy.makings.clear();
        if let Ok(mut shown) = copy.shown.lock() {
            *shown = Shown::default();
        }
        self.let_go(sim, at, shard);
        Some(replica_id)
    }

    /// Removes all of a copy that has stopped.
    pub(super) fn erase_copy(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        let home = node.home.join(shard.as_str());
        node.copies.remove(shard);
        if !home.exists() {
            return;
        }
        let doomed = Self::doom(sim, &[CopyGap::Renamed]);
        let halts = self.gaps.of_node(at);
        match self.gaps.run(doomed, || remove_copy(&home, &halts)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.breaks(|| format!("{at} {shard} cannot be removed: {error}"));
            }
            None => self.died(sim, at, CopyGap::Renamed),
        }
    }

    /// Makes some of what is kept aside for other shards, if that is much: each part that waits keeps a reader of the file.
    pub(super) fn make_oldest(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        let copy = self.copy(at, shard);
        let makings = copy.map(|copy| &mut copy.makings);
        let oldest = makings.filter(|makings| makings.len() >= MAKINGS_MAX);
        if let Some((_, making)) = oldest.and_then(BTreeMap::pop_first) {
            self.make(sim, at, making);
        }
    }

    /// Makes what is kept aside for other shards.
    pub(super) fn make(&mut self, sim: &mut Sim<Self>, at: Pid, making: Making) {
        let doomed = Self::doom(sim, &[CopyGap::Part, CopyGap::Kept]);
        if self.gaps.run(doomed, || making.run()).is_none()
            && let Some(gap) = doomed
        {
            self.died(sim, at, gap);
        }
    }

    /// Sets a copy aside that cannot go on, and begins anew after a while.
    pub(super) fn set_aside(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId) {
        self.feed(sim, at, shard, Event::PersistFailed);
        if let Some(copy) = self.copy(at, shard) {
            copy.machine = None;
            let token = Token::Recreate(shard.clone(), copy.opening);
            let next = sim.now(at) + TIMEOUT / 2;
            sim.wake(at, next, token);
        }
        self.let_go(sim, at, shard);
    }

    /// Begins anew with an empty copy under another id.
    pub(super) fn recreate(&mut self, sim: &mut Sim<Self>, at: Pid, shard: &ShardId, opening: u32) {
        let replica_id = ReplicaId::from_bits(self.name().into());
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        if copy.opening != opening || copy.machine.is_some() {
            return;
        }
        copy.replica_id = replica_id;
        copy.disk = Disk::default();
        copy.synced = Durable::new(replica_id);
        (copy.applied, copy.saved, copy.arrived) = (Point::default(), Point::default(), None);
        copy.makings.clear();
        if let Ok(mut shown) = copy.shown.lock() {
            *shown = Shown::default();
        }
        if let Err(rule) = copy.data.clear() {
            self.breaks(|| format!("{at} {shard}: {rule}"));
        }
        sim.mark(situations::MADE_ANEW);
        self.open_copy(sim, at, shard);
    }

    /// Shows tasks how a copy is.
    pub(super) fn publish(&mut self, sim: &Sim<Self>, at: Pid, shard: &ShardId) {
        let now = sim.now(at);
        let Some(copy) = self.copy(at, shard) else {
            return;
        };
        let machine = copy.machine.as_ref();
        let standing = machine.map(|machine| Standing {
            last: machine.replica().log().last().lsn,
            known_commit: machine.replica().known_commit(),
            leads: machine.leads().cloned(),
        });
        let place = Some(copy.place());
        let file = copy.data.data().ok().map(|data| Arc::clone(data.file()));
        let shown = Shown {
            file: file.filter(|_| standing.is_some()),
            standing: standing.unwrap_or_default(),
            now,
            place,
        };
        if let Ok(mut before) = copy.shown.lock() {
            *before = shown;
        }
    }

    /// A task has come to its end.
    pub(super) fn done(&mut self, sim: &mut Sim<Self>, at: Pid, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Answer { to, call, body } => {
                sim.send(at, to, super::Message::Answer { call, body });
            }
            Done::Event { session, event } => {
                let event: Happened = event;
                self.drive(sim, at, session, event);
            }
            Done::Operations(found) => self.coordinator_sees(sim, at, found),
            Done::Orphans(found) => self.forget_orphans(sim, at, found),
            Done::Opened {
                shard,
                opening,
                incarnation,
            } => self.opened(sim, at, (&shard, opening), incarnation),
        }
    }

    /// Returns who has the primary of a shard and knows it.
    pub(super) fn leader(&self, shard: &ShardId) -> Option<Pid> {
        let leads = |copy: &Copy| Some(copy.machine.as_ref()?.leads()?.epoch);
        let nodes = self.nodes.iter();
        let leading = nodes.filter_map(|(at, node)| Some((leads(node.copies.get(shard)?)?, *at)));
        leading.max().map(|(_, at)| at)
    }

    pub(super) fn pid(node: &NodeId) -> Option<Pid> {
        let number = node.as_str().strip_prefix('p')?;
        number.parse().ok().map(Pid)
    }
}
