//! Operations that run.

use std::{collections::BTreeMap, sync::Arc};

use shardwright_topology::{Decision, NodeId, OperationId, Phase, ShardId};
use tokio::sync::{mpsc, watch};

use super::{ElasticShardManager, Inner, Notice};
use crate::{
    Entry, Error, Part, Progress, Record, Work,
    driver::Seen,
    workflow::{Event, Report},
};

/// An operation, and how far it is.
#[derive(Debug, Clone)]
pub struct OperationStatus {
    /// Its record.
    pub record: Record,
    /// How far it is, if this process runs it.
    pub progress: Option<Progress>,
}

/// An operation that this process runs.
#[derive(Debug)]
pub(super) struct Running {
    inbox: mpsc::UnboundedSender<Event>,
    status: watch::Receiver<OperationStatus>,
    admitted: bool,
}

impl Running {
    /// Whether no other operation may have the shard.
    pub(super) fn holds(&self, shard: &ShardId) -> bool {
        let status = self.status.borrow();
        let phase = status.record.phase();
        let over = phase.is_final() || phase == Phase::CleaningUp;
        !over && status.record.involves(shard)
    }

    /// Whether it counts among those that run at once.
    fn is_busy(&self) -> bool {
        let phase = self.status.borrow().record.phase();
        self.admitted && !phase.is_final() && phase != Phase::CleaningUp
    }

    fn nodes(&self) -> Vec<NodeId> {
        let status = self.status.borrow();
        let Work {
            sources, targets, ..
        } = &status.record.work;
        let mut nodes: Vec<NodeId> = sources
            .iter()
            .chain(targets)
            .map(|part| part.node.clone())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

impl Inner {
    /// Writes an operation down, and begins to run it.
    pub(super) async fn begin(
        self: &Arc<Self>,
        id: OperationId,
        work: Work,
    ) -> Result<OperationId, Error> {
        let _alone = self.beginning.lock().await;
        if self.is_stopped() {
            return Err(Error::Closed);
        }
        let layout = self.layout();
        for part in &work.sources {
            if let Some(operation) = self.operation_of(&part.shard) {
                let shard = part.shard.clone();
                return Err(Error::InOperation { shard, operation });
            }
            // Where it is says nothing of whether it is the same: a replicated shard may have another primary.
            let now = layout.part(part.shard.as_str());
            if now.is_none_or(|now| now.extent != part.extent) {
                let shard = part.shard.clone();
                return Err(Error::StalePlan { shard });
            }
        }
        let record = Record::planned(id.clone(), self.keyspace.clone(), work)?;
        let version = self.driver.journal().put(&record, None).await?;
        self.tell(Notice::Begun {
            operation: id.clone(),
            kind: record.work.kind,
            reason: record.work.reason.clone(),
        });
        self.run(Entry { record, version });
        Ok(id)
    }

    /// Runs what the journal says is under way.
    pub(super) async fn go_on(self: &Arc<Self>) -> Result<(), Error> {
        for entry in self.driver.journal().list().await? {
            let known = self.running().contains_key(entry.record.id());
            if !known && !entry.record.phase().is_final() {
                self.run(entry);
            }
        }
        Ok(())
    }

    fn run(self: &Arc<Self>, entry: Entry) {
        let id = entry.record.id().clone();
        let first = OperationStatus {
            record: entry.record.clone(),
            progress: None,
        };
        let (status, watched) = watch::channel(first);
        let (inbox, told) = mpsc::unbounded_channel();
        let running = Running {
            inbox,
            status: watched,
            admitted: entry.record.phase() != Phase::Planned,
        };
        self.running().insert(id.clone(), running);
        self.admit();
        let inner = self.clone();
        let run = async move {
            inner.measure(&entry.record).await;
            let driver = inner.driver.clone();
            let mut phase = entry.record.phase();
            if phase.decision() == Decision::Commit {
                // The layout may have been read before.
                inner.switch(&entry.record);
            }
            let seen = |seen: Seen<'_>| inner.saw(&id, &mut phase, &status, &seen);
            let left = driver.run(entry, told, seen).await;
            if !left.phase().is_final() {
                // Others have ended it and removed its record: nothing is known of how.
                inner.running().remove(&id);
                drop(inner.reload().await);
            }
            inner.admit();
        };
        let inner = self.clone();
        // Nobody who stops waiting ends it.
        tokio::spawn(async move {
            tokio::select! {
                () = run => {}
                () = inner.stopped() => {}
            }
        });
    }

    /// Tells an operation how much its sources have.
    async fn measure(&self, record: &Record) {
        let (mut rows, mut bytes) = (0, 0);
        for part in &record.work.sources {
            let Ok(store) = self.store(&part.node) else {
                return;
            };
            let Ok(metrics) = store.metrics(&part.shard).await else {
                return;
            };
            rows += metrics.key_count as u64;
            bytes += metrics.storage_bytes;
        }
        self.send(record.id(), Event::Measured { rows, bytes });
    }

    fn send(&self, id: &OperationId, event: Event) -> bool {
        let running = self.running();
        running
            .get(id)
            .is_some_and(|each| each.inbox.send(event).is_ok())
    }

    /// Looks at an operation after each of its steps.
    fn saw(
        self: &Arc<Self>,
        id: &OperationId,
        phase: &mut Phase,
        status: &watch::Sender<OperationStatus>,
        seen: &Seen<'_>,
    ) {
        let workflow = match seen {
            Seen::Report(Report::Phase(_)) => return,
            Seen::Report(report) => {
                let (operation, report) = (id.clone(), (*report).clone());
                return self.tell(Notice::Report { operation, report });
            }
            Seen::Step(workflow) => workflow,
        };
        let before = std::mem::replace(phase, workflow.phase());
        if before.decision() == Decision::Open && phase.decision() == Decision::Commit {
            self.switch(workflow.record());
        }
        status.send_replace(OperationStatus {
            record: workflow.record().clone(),
            progress: Some(workflow.progress()),
        });
        if before != *phase {
            let (operation, phase) = (id.clone(), *phase);
            self.tell(Notice::Phase { operation, phase });
            if phase == Phase::CleaningUp || phase.is_final() {
                self.admit();
            }
        }
    }

    /// Routes keys to the targets of an operation that has committed.
    fn switch(self: &Arc<Self>, record: &Record) {
        let Work {
            sources, targets, ..
        } = &record.work;
        if !self.replace(sources, targets) {
            // Others have changed more than this process knows.
            let inner = self.clone();
            tokio::spawn(async move { drop(inner.reload().await) });
        }
        let now = self.clock.now();
        let mut patience = self.patience();
        for part in targets {
            patience.made(now, part.shard.clone());
        }
    }

    /// Replaces shards by others in one step, so that no other replacement is lost; returns whether the layout fits.
    fn replace(&self, sources: &[Part], targets: &[Part]) -> bool {
        let mut routes = self.routes();
        let has = |part: &Part| routes.layout.part(part.shard.as_str()) == Some(part);
        if targets.iter().all(has) {
            return true;
        }
        match routes.layout.replaced(sources, targets) {
            Ok(layout) => {
                routes.layout = Arc::new(layout);
                routes.replaced += 1;
                true
            }
            Err(_) => false,
        }
    }

    /// Lets operations begin, the oldest first, as long as there is room for them.
    pub(super) fn admit(&self) {
        let settings = self.driver.settings();
        let mut running = self.running();
        let mut busy = 0;
        let mut per_node: BTreeMap<NodeId, usize> = BTreeMap::new();
        for each in running.values().filter(|each| each.is_busy()) {
            busy += 1;
            for node in each.nodes() {
                *per_node.entry(node).or_default() += 1;
            }
        }
        for each in running.values_mut().filter(|each| !each.admitted) {
            let nodes = each.nodes();
            let most = settings.operations_per_node_max;
            let has_room = |node: &NodeId| per_node.get(node).is_none_or(|count| *count < most);
            if busy >= settings.operations_max || !nodes.iter().all(has_room) {
                continue;
            }
            each.admitted = each.inbox.send(Event::Admitted).is_ok();
            busy += 1;
            for node in nodes {
                *per_node.entry(node).or_default() += 1;
            }
        }
    }

    /// Waits until an operation has committed and its targets are open, or for its end if the sources are removed at once and can be.
    pub(super) async fn committed(&self, id: &OperationId) -> Result<Record, Error> {
        let settings = self.driver.settings();
        let is_open = |status: &OperationStatus| {
            let phase = status.record.phase();
            phase == Phase::CleaningUp || phase.is_final()
        };
        let mut record = self.wait(id, is_open).await?;
        if settings.grace.is_zero() {
            // A source whose node is gone keeps nobody waiting.
            let is_over = |status: &OperationStatus| status.record.phase().is_final();
            let ended = tokio::time::timeout(settings.seal_max, self.wait(id, is_over)).await;
            if let Ok(Ok(ended)) = ended {
                record = ended;
            }
        }
        if record.phase().decision() == Decision::Commit {
            return Ok(record);
        }
        let reason = record.operation.error.unwrap_or_default();
        Err(Error::Aborted {
            operation: id.clone(),
            reason,
        })
    }

    async fn wait(
        &self,
        id: &OperationId,
        done: impl FnMut(&OperationStatus) -> bool,
    ) -> Result<Record, Error> {
        let status = self.running().get(id).map(|each| each.status.clone());
        let unknown = || Error::UnknownOperation {
            operation: id.clone(),
        };
        let mut status = status.ok_or_else(unknown)?;
        match status.wait_for(done).await {
            Ok(found) => Ok(found.record.clone()),
            Err(_) if !self.running().contains_key(id) => Err(unknown()),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Tells an operation something that only helps before its decision and before a phase that is `late`, and waits until it has happened.
    async fn ask(
        &self,
        id: &OperationId,
        event: Event,
        done: impl Fn(&Record) -> bool,
        late: impl Fn(Phase) -> bool,
    ) -> Result<Record, Error> {
        let too_late = |record: &Record| Error::TooLate {
            operation: id.clone(),
            phase: record.phase(),
        };
        let status = self.running().get(id).map(|each| each.status.clone());
        let Some(status) = status else {
            let found = self.driver.journal().get(id).await?;
            let unknown = || Error::UnknownOperation {
                operation: id.clone(),
            };
            return Err(too_late(&found.ok_or_else(unknown)?.record));
        };
        let record = status.borrow().record.clone();
        let is_late = |phase: Phase| phase.decision() == Decision::Commit || late(phase);
        if is_late(record.phase()) && !done(&record) {
            return Err(too_late(&record));
        }
        self.send(id, event);
        let over = |record: &Record| {
            let phase = record.phase();
            done(record) || phase.is_final() || is_late(phase)
        };
        let record = self.wait(id, |status| over(&status.record)).await?;
        if done(&record) {
            Ok(record)
        } else {
            Err(too_late(&record))
        }
    }
}

impl ElasticShardManager {
    /// Returns the operations that the journal knows, in the order of their names, with their progress if this process runs them.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub async fn operations(&self) -> Result<Vec<OperationStatus>, Error> {
        let entries = self.inner.driver.journal().list().await?;
        let running = self.inner.running();
        let status = |entry: Entry| match running.get(entry.record.id()) {
            Some(each) => each.status.borrow().clone(),
            None => OperationStatus {
                record: entry.record,
                progress: None,
            },
        };
        Ok(entries.into_iter().map(status).collect())
    }

    /// Returns how an operation is, and every change of that.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`] if this process does not run it.
    pub fn watch(&self, id: &OperationId) -> Result<watch::Receiver<OperationStatus>, Error> {
        let running = self.inner.running();
        let status = running.get(id).map(|each| each.status.clone());
        status.ok_or_else(|| Error::UnknownOperation {
            operation: id.clone(),
        })
    }

    /// Has an operation wait where it is, until it is resumed. It is written down, so it outlives the process.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`], or [`Error::TooLate`] once its sources are being sealed.
    pub async fn pause(&self, id: &OperationId) -> Result<(), Error> {
        let paused = |record: &Record| record.paused;
        let late = |phase| matches!(phase, Phase::Sealing | Phase::Sealed);
        let asked = self.inner.ask(id, Event::Pause, paused, late);
        asked.await.map(drop)
    }

    /// Has a paused operation go on.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`], or [`Error::TooLate`] once it is decided.
    pub async fn resume(&self, id: &OperationId) -> Result<(), Error> {
        let resumed = |record: &Record| !record.paused;
        self.inner
            .ask(id, Event::Resume, resumed, |_| false)
            .await
            .map(drop)
    }

    /// Ends an operation without effect, and returns when nothing of it is left. Again changes nothing.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`], or [`Error::TooLate`] once it has committed: [reverse](ElasticShardManager::reverse) it.
    pub async fn cancel(&self, id: &OperationId) -> Result<(), Error> {
        let event = Event::Cancel {
            reason: "cancelled".to_owned(),
        };
        let aborted = |record: &Record| record.phase() == Phase::Aborted;
        self.inner
            .ask(id, event, aborted, |_| false)
            .await
            .map(drop)
    }

    /// Waits until an operation has committed, and returns its record.
    ///
    /// # Errors
    /// [`Error::Aborted`] if it ended without effect, or [`Error::UnknownOperation`].
    pub async fn committed(&self, id: &OperationId) -> Result<Record, Error> {
        self.inner.committed(id).await
    }
}
