//! A world for one operation: two nodes, a journal, writers, and one coordinator or two.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardwright_topology::{
    Decision, KeyRange, KeyspaceName, Lsn, NodeId, OperationId, OperationKind, Phase, ShardId,
    Timestamp,
};

use crate::{
    Entry, Extent, MemoryNode, Pace, Part, Record, Reply, Request, Settings, StoreError, Version,
    Work,
    workflow::{Action, Call, CallId, Event, Owned, Report, Workflow, Written},
};

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    /// The coordinator is replaced at that write of the journal, after it or before it.
    pub(super) crash_at: Option<(usize, bool)>,
    /// Somebody cancels before that write of the journal.
    pub(super) cancel_at: Option<usize>,
    /// Users write.
    pub(super) writes: bool,
    /// How many more of them write with each call.
    pub(super) burst: usize,
    /// Calls are lost, answers too, and some come twice.
    pub(super) chaos: Option<u64>,
    /// No call arrives in that phase.
    pub(super) lose_from: Option<Phase>,
    /// The node is not there any more.
    pub(super) gone: Option<&'static str>,
    /// A page is stored with one wrong row.
    pub(super) corrupt: bool,
    /// Sources keep no changes.
    pub(super) trims: bool,
}

impl Trouble {
    pub(super) fn none() -> Self {
        Self {
            crash_at: None,
            cancel_at: None,
            writes: false,
            burst: 0,
            chaos: None,
            lose_from: None,
            gone: None,
            corrupt: false,
            trims: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    settings: Settings,
    nodes: BTreeMap<NodeId, MemoryNode>,
    stored: Entry,
    coordinator: Workflow,
    queue: VecDeque<Action>,
    now: Timestamp,
    wake: Option<Timestamp>,
    journal_writes: usize,
    /// What users were told is there.
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
    rng: StdRng,
    next_value: u64,
    pub(super) reports: Vec<Report>,
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a name")
}

fn part(shard: u32, on: &str, extent: Extent) -> Part {
    Part {
        shard: ShardId::numbered(shard),
        node: node(on),
        extent,
    }
}

fn work(kind: OperationKind) -> Work {
    let halves: Vec<Extent> = KeyRange::even(2).map(Extent::range).collect();
    let whole = Extent::range(KeyRange::ALL);
    let (low, high) = (halves[0].clone(), halves[1].clone());
    let (sources, targets) = match kind {
        OperationKind::Split => (
            vec![part(0, "n1", whole)],
            vec![part(1, "n1", low), part(2, "n2", high)],
        ),
        OperationKind::Merge => (
            vec![part(0, "n1", low), part(1, "n2", high)],
            vec![part(2, "n2", whole)],
        ),
        OperationKind::Migrate => (
            vec![part(0, "n1", whole.clone())],
            vec![part(1, "n2", whole)],
        ),
    };
    Work {
        kind,
        sources,
        targets,
        reason: "a test".to_owned(),
    }
}

impl World {
    pub(super) fn new(kind: OperationKind, settings: Settings, keys: u32) -> Self {
        let work = work(kind);
        let mut nodes: BTreeMap<NodeId, MemoryNode> = [node("n1"), node("n2")]
            .into_iter()
            .map(|node| (node, MemoryNode::new()))
            .collect();
        for source in &work.sources {
            let held = nodes.get_mut(&source.node).expect("a node");
            held.add(&source.shard, &source.extent);
        }
        let id = OperationId::new("op-1").expect("a name");
        let record = Record::planned(id, KeyspaceName::main(), work).expect("valid");
        let version = Version(1);
        let stored = Entry { record, version };
        let now = Timestamp(Duration::from_secs(1));
        let mut world = Self {
            settings,
            nodes,
            coordinator: Workflow::new(settings, stored.clone(), now),
            stored,
            queue: VecDeque::new(),
            now,
            wake: None,
            journal_writes: 0,
            expected: BTreeMap::new(),
            rng: StdRng::seed_from_u64(7),
            next_value: 0,
            reports: Vec::new(),
        };
        for key in 0..keys {
            world.write(format!("key-{key}").as_bytes());
        }
        world.tell(Event::Admitted);
        world
    }

    pub(super) fn phase(&self) -> Phase {
        self.stored.record.phase()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.stored.record.is_paused()
    }

    pub(super) fn error(&self) -> String {
        self.stored
            .record
            .operation
            .error
            .clone()
            .unwrap_or_default()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.since(Timestamp(Duration::from_secs(1)))
    }

    pub(super) fn bytes(&self) -> u64 {
        let sizes = self
            .expected
            .iter()
            .map(|(key, value)| key.len() + value.len());
        sizes.sum::<usize>() as u64
    }

    pub(super) fn has_sources(&self) -> bool {
        let sources = &self.stored.record.work.sources;
        let has = |part: &Part| self.nodes[&part.node].metrics(&part.shard).is_ok();
        sources.iter().any(has)
    }

    pub(super) fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.coordinator.handle(self.now, event, &mut actions);
        self.queue.extend(actions);
    }

    /// Does what is to be done at this moment.
    pub(super) fn settle(&mut self) {
        self.play(Trouble::none(), |world| world.queue.is_empty());
    }

    /// Goes on until the coordinator wants that phase written, which is not written.
    pub(super) fn next_write(&mut self, phase: Phase) -> (CallId, Record) {
        while let Some(action) = self.queue.pop_front() {
            match action {
                Action::Write { call, record, .. } => {
                    assert_eq!(record.phase(), phase);
                    return (call, *record);
                }
                other => self.act(other, Trouble::none()),
            }
        }
        panic!("nothing is to be written");
    }

    /// The phase that the coordinator knows.
    pub(super) fn believed(&self) -> Phase {
        self.coordinator.phase()
    }

    pub(super) fn settle_until(&mut self, phase: Phase) {
        self.play(Trouble::none(), |world| world.phase() == phase);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Event::Tick);
        self.settle();
    }

    /// Users write, and another coordinator of a migration applies all of it and says so to the source, which keeps none of it then.
    pub(super) fn overtake(&mut self, writes: u32) {
        for key in 0..writes {
            self.write(format!("key-{key}").as_bytes());
        }
        let (work, id) = (
            self.stored.record.work.clone(),
            self.stored.record.id().clone(),
        );
        let (from, to) = (&work.sources[0], &work.targets[0]);
        let (source, target) = (from.shard.clone(), to.shard.clone());
        let mut ask = |node: &NodeId, request| {
            let held = self.nodes.get_mut(node).expect("a node");
            held.handle(self.now, &id, request).expect("it is held")
        };
        let request = Request::Imported {
            target: target.clone(),
            source: source.clone(),
            from: Lsn(0),
        };
        let Reply::Import(import) = ask(&to.node, request) else {
            panic!("no import");
        };
        let request = Request::Changes {
            shard: source.clone(),
            extent: from.extent.clone(),
            after: import.applied,
            up_to: None,
            batch: Settings::local().batch,
        };
        let Reply::Changes(changes) = ask(&from.node, request) else {
            panic!("no changes");
        };
        let pace = Pace {
            acknowledged: changes.through,
            ahead: None,
        };
        let (shard, paced) = (source.clone(), from.node.clone());
        let request = Request::Apply {
            target,
            source,
            changes,
        };
        ask(&to.node, request);
        ask(&paced, Request::Pace { shard, pace });
    }

    pub(super) fn run(&mut self, trouble: Trouble) {
        if let Some(seed) = trouble.chaos {
            self.rng = StdRng::seed_from_u64(seed);
        }
        self.play(trouble, |world| world.coordinator.is_over());
    }

    fn play(&mut self, trouble: Trouble, until: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if until(self) {
                return;
            }
            if trouble.writes {
                for _ in 0..=trouble.burst {
                    let key = format!("key-{}", self.rng.random_range(0..150));
                    self.write(key.as_bytes());
                }
            }
            self.check_owners();
            match self.queue.pop_front() {
                Some(action) => self.act(action, trouble),
                None => {
                    self.now = self
                        .wake
                        .take()
                        .expect("somebody wants to be woken")
                        .max(self.now);
                    self.tell(Event::Tick);
                }
            }
        }
        panic!("no end: {:?}, {:?}", self.coordinator, self.reports);
    }

    fn act(&mut self, action: Action, trouble: Trouble) {
        // What is done takes time.
        self.now = self.now + Duration::from_micros(200);
        match action {
            Action::WakeAt(at) => self.wake = Some(at),
            Action::Tell(report) => self.reports.push(report),
            Action::Write {
                call,
                expected,
                record,
            } => self.journal(call, expected, *record, trouble),
            Action::Read => {
                let found = Some(Box::new(self.stored.clone()));
                self.tell(Event::Read(found));
            }
            Action::Hold { call, .. } | Action::Resolve { call, .. } => {
                let outcome = Owned::Done;
                self.tell(Event::Owned { call, outcome });
            }
            Action::Call(call) => self.call(call, trouble),
        }
    }

    fn journal(&mut self, call: CallId, expected: Version, record: Record, trouble: Trouble) {
        self.journal_writes += 1;
        let here = self.journal_writes;
        if trouble.cancel_at == Some(here) {
            let reason = "not wanted".to_owned();
            self.tell(Event::Cancel { reason });
        }
        if trouble.crash_at == Some((here, false)) {
            return self.replace_coordinator();
        }
        if trouble.chaos.is_some() && self.rng.random_ratio(1, 10) {
            let outcome = Written::Unknown;
            return self.tell(Event::Wrote { call, outcome });
        }
        let outcome = if expected == self.stored.version {
            let (before, after) = (self.phase(), record.phase());
            assert!(
                before == after || before.allows(after),
                "{before} -> {after}"
            );
            let version = Version(expected.0 + 1);
            self.stored = Entry { record, version };
            Written::Done(version)
        } else {
            Written::Conflict(Some(Box::new(self.stored.clone())))
        };
        if trouble.crash_at == Some((here, true)) {
            return self.replace_coordinator();
        }
        self.tell(Event::Wrote { call, outcome });
    }

    /// A coordinator that knows nothing but the journal, and meets the calls that the one before has sent.
    fn replace_coordinator(&mut self) {
        let calls: Vec<Action> = self.queue.drain(..).collect();
        let late = calls
            .into_iter()
            .filter(|action| matches!(action, Action::Call(_)));
        let late: Vec<Action> = late.collect();
        self.coordinator = Workflow::new(self.settings, self.stored.clone(), self.now);
        self.tell(Event::Admitted);
        for action in late {
            if let Action::Call(call) = action {
                let held = self.nodes.get_mut(&call.node).expect("a node");
                // Nobody hears the answer.
                drop(held.handle(self.now, &call.operation, call.request));
            }
        }
    }

    fn call(&mut self, call: Call, trouble: Trouble) {
        if trouble.lose_from == Some(self.phase()) {
            return;
        }
        if trouble.gone == Some(call.node.as_str()) {
            let outcome = Err(StoreError::Unavailable(Arc::new("gone".into())));
            return self.tell(Event::Replied {
                call: call.id,
                outcome,
            });
        }
        if trouble.trims
            && let Request::Changes { shard, after, .. } = &call.request
        {
            let (shard, after) = (shard.clone(), *after);
            let outcome = Err(StoreError::Trimmed { shard, after });
            return self.tell(Event::Replied {
                call: call.id,
                outcome,
            });
        }
        let chaos = trouble.chaos.is_some();
        if chaos && self.rng.random_ratio(1, 20) {
            return;
        }
        let Call {
            id,
            node,
            operation,
            mut request,
        } = call;
        if trouble.corrupt
            && let Request::Import { page, .. } = &mut request
            && let Some(row) = page.rows.first_mut()
        {
            row.value.push(0);
        }
        let held = self.nodes.get_mut(&node).expect("a node");
        let again = request.clone();
        let outcome = held.handle(self.now, &operation, request);
        if chaos && self.rng.random_ratio(1, 20) {
            drop(held.handle(self.now, &operation, again));
        }
        if chaos && self.rng.random_ratio(1, 20) {
            return;
        }
        self.tell(Event::Replied { call: id, outcome });
    }

    fn owners(&self) -> &[Part] {
        let work = &self.stored.record.work;
        match self.phase().decision() {
            Decision::Commit => &work.targets,
            Decision::Open | Decision::Abort => &work.sources,
        }
    }

    /// A user writes, and knows that it is written only if nobody refuses.
    fn write(&mut self, key: &[u8]) {
        let parts = self.owners().iter();
        let mut owner = parts.filter(|part| part.extent.contains(key)).cloned();
        let owner = owner.next().expect("every key has an owner");
        let held = self.nodes.get_mut(&owner.node).expect("a node");
        self.next_value += 1;
        let value = self.next_value.to_string().into_bytes();
        let value = (!self.next_value.is_multiple_of(7)).then_some(value);
        match held.write(self.now, &owner.shard, key, value.as_deref()) {
            Ok(_) => {
                match value {
                    Some(value) => self.expected.insert(key.to_vec(), value),
                    None => self.expected.remove(key),
                };
            }
            Err(
                StoreError::Sealed { .. } | StoreError::Importing { .. } | StoreError::Busy { .. },
            ) => {}
            Err(other) => panic!("a write is refused: {other}"),
        }
    }

    /// Only shards of the side that was decided for take writes.
    fn check_owners(&self) {
        let owners = self.owners();
        let work = &self.stored.record.work;
        for part in work.sources.iter().chain(&work.targets) {
            let serving = self.nodes[&part.node]
                .shards()
                .any(|(shard, serving)| *shard == part.shard && serving);
            let owns = owners.contains(part);
            assert!(owns || !serving, "{part:?} takes writes and owns nothing");
        }
    }

    /// The owners have what users were told, and nobody else has anything.
    pub(super) fn check_end(&self) {
        let mut found = BTreeMap::new();
        for part in self.owners() {
            for (key, value) in self.nodes[&part.node].rows(&part.shard) {
                assert!(part.extent.contains(key), "{part:?} has a foreign row");
                let twice = found.insert(key.to_vec(), value.to_vec());
                assert_eq!(twice, None, "two shards have a row");
            }
        }
        assert_eq!(found, self.expected);
        let shards: usize = self.nodes.values().map(|node| node.shards().count()).sum();
        assert_eq!(shards, self.owners().len(), "something is left over");
        for node in self.nodes.values() {
            assert!(node.shards().all(|(_, serving)| serving));
        }
    }
}
