//! Coordinators: each runs all operations that it finds, by the workflow, the journal and the store of production, and none has a lease.

use std::{collections::BTreeMap, sync::Arc};

use shardwright_elastic::{
    Digest, DigestAt, Driver, Entry, Extent, Journal, Nodes, Part, Record, RegistryJournal, Reply,
    Request, ShardStore, Work, Workflow, clear_left,
    workflow::{Action, Event},
};

use shardwright_server::ClusterStore;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{
    KeyRange, Lsn, NodeId, OperationId, OperationKind, Phase, ShardId, Timestamp,
};

use super::{
    COORDINATORS, Missing, NODES, Reshape, TIMEOUT, Token, operations, situations, tasks::Done,
};

/// How many shards there are at most, and at least while there is a choice.
const SHARDS_MAX: usize = 3;

/// A coordinator, while its process runs.
pub(super) struct Coordinator {
    journal: Arc<RegistryJournal>,
    store: Arc<dyn ShardStore>,
    driver: Driver,
    running: BTreeMap<OperationId, Running>,
    /// Since when it knows operations to be over.
    ended: BTreeMap<OperationId, Timestamp>,
}

/// An operation that a coordinator runs.
struct Running {
    session: u64,
    workflow: Workflow,
    wake_at: Option<Timestamp>,
}

/// One store for whatever node is named: it asks whoever has the primary.
#[derive(Debug)]
struct Everywhere(Arc<dyn ShardStore>);

impl Nodes for Everywhere {
    fn store(&self, _: &NodeId) -> Option<Arc<dyn ShardStore>> {
        Some(Arc::clone(&self.0))
    }

    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }
}

impl Coordinator {
    /// Whether it runs an operation.
    pub(super) fn runs(&self, id: &OperationId) -> bool {
        self.running.contains_key(id)
    }
}

impl Reshape {
    pub(super) fn start_coordinator(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let (registry, way) = (self.registry(sim, at), self.way(sim, at));
        let store: Arc<dyn ShardStore> = Arc::new(ClusterStore::through(registry.clone(), way));
        let Ok(journal) = RegistryJournal::new(registry) else {
            return self.breaks(|| "the keyspace has no journal".to_owned());
        };
        let journal = Arc::new(journal.halting(self.gaps.of_coordinator(at)));
        let nodes = Arc::new(Everywhere(Arc::clone(&store)));
        let driver = Driver::new(journal.clone(), nodes, self.settings);
        let coordinator = Coordinator {
            journal,
            store,
            driver,
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
        };
        self.coordinators.insert(at, coordinator);
        self.look(sim, at);
    }

    /// Looks which operations there are, and removes what is left of those that are over.
    pub(super) fn look(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TIMEOUT / 4;
        sim.wake(at, next, Token::Look);
        let Some(coordinator) = self.coordinators.get(&at) else {
            return;
        };
        let journal = Arc::clone(&coordinator.journal);
        self.tasks.spawn(at, async move {
            let found = journal.list().await;
            found.map_or(Done::Nothing, Done::Operations)
        });
        if !sim.dice().chance(20) {
            return;
        }
        let (journal, store) = (
            Arc::clone(&coordinator.journal),
            Arc::clone(&coordinator.store),
        );
        self.tasks.spawn(at, async move {
            let Ok(importing) = store.importing().await else {
                return Done::Nothing;
            };
            for (shard, operation) in importing {
                // It is tried again.
                let _cleared = clear_left(&*journal, &*store, &shard, &operation).await;
            }
            Done::Nothing
        });
        let Some(coordinator) = self.coordinators.get(&at) else {
            return;
        };
        let journal = Arc::clone(&coordinator.journal);
        self.tasks.spawn(at, async move {
            let found = journal.orphans().await;
            found.map_or(Done::Nothing, Done::Orphans)
        });
    }

    /// Forgets what operations were to do that are not there, once that has been so for long enough.
    pub(super) fn forget_orphans(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        orphans: Vec<OperationId>,
    ) {
        let now = sim.now(at);
        let is_kept = self.missing == Some(Missing::OrphansForgotten);
        let Some(coordinator) = self.coordinators.get_mut(&at).filter(|_| !is_kept) else {
            return;
        };
        for id in orphans {
            let since = *coordinator.ended.entry(id.clone()).or_insert(now);
            if now.since(since) < self.settings.retention {
                continue;
            }
            sim.mark(situations::ORPHAN);
            let journal = Arc::clone(&coordinator.journal);
            self.tasks.spawn(at, async move {
                // It is tried again.
                let _forgotten = journal.forget(&id).await;
                Done::Nothing
            });
        }
    }

    pub(super) fn coordinator_sees(&mut self, sim: &mut Sim<Self>, at: Pid, found: Vec<Entry>) {
        for entry in found {
            let Some(coordinator) = self.coordinators.get_mut(&at) else {
                return;
            };
            let id = entry.record.id().clone();
            match coordinator.running.get(&id) {
                Some(running) if running.workflow.version() < entry.version => {
                    // Often it finds out by itself, late.
                    let session = running.session;
                    if sim.dice().chance(30) {
                        self.drive(sim, at, session, Event::Read(Some(Box::new(entry))));
                    }
                }
                Some(_) => {}
                None if entry.record.phase().is_final() => self.trim(sim, at, &entry),
                None => self.run(sim, at, entry),
            }
        }
    }

    /// Removes the record of an operation that has been over for long enough.
    fn trim(&mut self, sim: &Sim<Self>, at: Pid, entry: &Entry) {
        let now = sim.now(at);
        let Some(coordinator) = self.coordinators.get_mut(&at) else {
            return;
        };
        let (id, version) = (entry.record.id().clone(), entry.version);
        let since = *coordinator.ended.entry(id.clone()).or_insert(now);
        if now.since(since) >= self.settings.retention {
            let journal = Arc::clone(&coordinator.journal);
            self.tasks.spawn(at, async move {
                // It is tried again.
                let _removed = journal.remove(&id, version).await;
                Done::Nothing
            });
        }
    }

    fn run(&mut self, sim: &mut Sim<Self>, at: Pid, entry: Entry) {
        if entry.record.phase() != Phase::Planned {
            sim.mark(situations::TAKEN_OVER);
        }
        let (session, id) = (self.name(), entry.record.id().clone());
        let running = Running {
            session,
            workflow: Workflow::new(self.settings, entry, sim.now(at)),
            wake_at: None,
        };
        if let Some(coordinator) = self.coordinators.get_mut(&at) {
            coordinator.running.insert(id, running);
        }
        self.drive(sim, at, session, Event::Admitted);
    }

    /// Tells a workflow what happened, and has carried out what it wants.
    pub(super) fn drive(&mut self, sim: &mut Sim<Self>, at: Pid, session: u64, event: Event) {
        let (now, missing) = (sim.now(at), self.missing);
        let Some(coordinator) = self.coordinators.get_mut(&at) else {
            return;
        };
        let mut of_all = coordinator.running.iter_mut();
        let Some((id, running)) = of_all.find(|(_, running)| running.session == session) else {
            return;
        };
        let (id, mut actions) = (id.clone(), Vec::new());
        running
            .workflow
            .handle(now, heard(missing, event), &mut actions);
        for action in actions {
            match action {
                Action::WakeAt(moment) => {
                    if running.wake_at.is_none_or(|before| moment < before) {
                        running.wake_at = Some(moment);
                        sim.wake(at, moment, Token::Wake(session, moment));
                    }
                }
                Action::Tell(report) => sim.trace(|| format!("{at} {id}: {report:?}")),
                action => {
                    let action = wanted(missing, action);
                    let carried = coordinator.driver.carry_out(&id, action);
                    self.tasks.spawn(at, async move {
                        let event = carried.await;
                        Done::Event { session, event }
                    });
                }
            }
        }
        if running.workflow.is_over() {
            coordinator.running.remove(&id);
        }
    }

    pub(super) fn woken(&mut self, sim: &mut Sim<Self>, at: Pid, session: u64, moment: Timestamp) {
        let Some(coordinator) = self.coordinators.get_mut(&at) else {
            return;
        };
        let mut running = coordinator.running.values_mut();
        let running = running.find(|running| running.session == session);
        if let Some(running) = running.filter(|running| running.wake_at == Some(moment)) {
            running.wake_at = None;
            self.drive(sim, at, session, Event::Tick);
        }
    }

    /// Somebody asks a coordinator for something about an operation that it runs.
    pub(super) fn steer(&mut self, sim: &mut Sim<Self>, event: &Event) {
        let at = Pid(NODES + sim.dice().index(COORDINATORS));
        let Some(coordinator) = self.coordinators.get(&at) else {
            return;
        };
        let running = coordinator.running.values();
        let sessions: Vec<u64> = running.map(|running| running.session).collect();
        if sim.is_up(at) && !sim.is_paused(at) {
            for session in sessions {
                self.drive(sim, at, session, event.clone());
            }
        }
    }

    /// Somebody wants an operation.
    pub(super) fn begin_operation(&mut self, sim: &mut Sim<Self>) {
        let is_busy = operations(sim, self).iter().any(|it| !it.phase.is_final());
        let at = Pid(NODES + sim.dice().index(COORDINATORS));
        if is_busy && !sim.dice().chance(5) || !sim.is_up(at) {
            return;
        }
        let number = self.name();
        let Some(work) = self.draw(sim, number) else {
            return;
        };
        let Ok(id) = OperationId::new(format!("op-{number}")) else {
            return;
        };
        let Ok(record) = Record::planned(id, self.keyspace.clone(), work) else {
            return self.breaks(|| "work that does not fit".to_owned());
        };
        sim.trace(|| format!("begins {:?}", record.work));
        let work = record.work.clone();
        self.works.insert(record.id().clone(), work);
        let Some(coordinator) = self.coordinators.get(&at) else {
            return;
        };
        let journal = Arc::clone(&coordinator.journal);
        self.tasks.spawn(at, async move {
            // If nobody knows whether it is there, somebody finds it, or it is not.
            let _written = journal.put(&record, None).await;
            Done::Nothing
        });
    }

    /// Draws a split, a merge, or what undoes the last one.
    fn draw(&mut self, sim: &mut Sim<Self>, number: u64) -> Option<Work> {
        let map = self.map(sim).ok()?;
        let part = |shard: &shardwright_topology::Shard| {
            let nowhere = || NodeId::new(RegistryJournal::NOWHERE).expect("a name");
            Part {
                shard: shard.id().clone(),
                node: shard.primary().cloned().unwrap_or_else(nowhere),
                extent: Extent::range(shard.range()),
            }
        };
        let parts: Vec<Part> = map.shards().iter().map(part).collect();
        let name = |place: usize| ShardId::new(format!("s{number}-{place}")).expect("a name");
        if sim.dice().chance(25)
            && let Some(work) = self.last_committed.take()
        {
            let names: Vec<_> = (0..work.sources.len()).map(name).collect();
            let reversed = work.reversed(&names);
            let is_there = |part: &Part| parts.iter().any(|it| it.shard == part.shard);
            if let Some(work) = reversed.filter(|work| work.sources.iter().all(is_there)) {
                sim.mark(situations::REVERSED);
                return Some(work);
            }
        }
        let source = sim.dice().pick(&parts).clone();
        let target = |place: usize, range: KeyRange| Part {
            shard: name(place),
            node: source.node.clone(),
            extent: Extent::range(range),
        };
        let range = source.extent.as_range()?;
        let reason = "a simulation".to_owned();
        if parts.len() < 2 || parts.len() < SHARDS_MAX && sim.dice().chance(35) {
            let (low, high) = range.halve()?;
            let targets = vec![target(0, low), target(1, high)];
            return Some(Work {
                kind: OperationKind::Split,
                sources: vec![source],
                targets,
                reason,
            });
        }
        let joins = |other: &&Part| other.extent.adjoins(&source.extent);
        let other = parts.iter().find(joins)?.clone();
        let mut sources = vec![source.clone(), other];
        sources.sort_by_key(|part| part.extent.as_range().map(|range| range.start()));
        let whole = range.join(
            &sources
                .iter()
                .find_map(|it| it.extent.as_range().filter(|it| *it != range))?,
        )?;
        Some(Work {
            kind: OperationKind::Merge,
            sources,
            targets: vec![target(0, whole)],
            reason,
        })
    }
}

/// What is carried out, if a rule is missing.
fn wanted(missing: Option<Missing>, mut action: Action) -> Action {
    if let Action::Call(call) = &mut action
        && let Request::Changes { extent, .. } = &mut call.request
        && missing == Some(Missing::RecordsOfItsOwn)
    {
        *extent = Extent::range(KeyRange::ALL);
    }
    action
}

/// What a workflow hears, if a rule is missing.
fn heard(missing: Option<Missing>, event: Event) -> Event {
    match event {
        Event::Replied {
            call,
            outcome: Ok(Reply::Position(_)),
        } if missing == Some(Missing::DrainedFirst) => Event::Replied {
            call,
            outcome: Ok(Reply::Position(Lsn(0))),
        },
        // Who compares the rows would end it in time.
        Event::Replied {
            call,
            outcome: Ok(Reply::Digest(found)),
        } if missing == Some(Missing::RecordsOfItsOwn) => Event::Replied {
            call,
            outcome: Ok(Reply::Digest(DigestAt {
                digest: Digest::default(),
                ..found
            })),
        },
        event => event,
    }
}
