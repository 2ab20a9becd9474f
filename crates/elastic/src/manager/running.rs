//! Operations that run.

use std::{collections::btree_map, sync::Arc};

use shardwright_topology::{Decision, OperationId, Phase, ShardId};
use tokio::sync::{mpsc, watch};

use super::{
    ElasticShardManager, Inner, Notice,
    admission::{Seat, Want},
};
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
    /// Its place among the operations that this process runs: what it knew first is lowest.
    age: u64,
}

type Inbox = mpsc::UnboundedReceiver<Event>;

impl Running {
    /// Whether no other operation may have the shard.
    pub(super) fn holds(&self, shard: &ShardId) -> bool {
        let status = self.status.borrow();
        let phase = status.record.phase();
        let over = phase.is_final() || phase == Phase::CleaningUp;
        !over && status.record.involves(shard)
    }

    /// Returns what the admission has to know of it.
    pub(super) fn seat(&self) -> Seat {
        let status = self.status.borrow();
        let (phase, work) = (status.record.phase(), &status.record.work);
        let is_paused = status.record.is_paused() && phase.decision() == Decision::Open;
        let parts = work.sources.iter().chain(&work.targets);
        Seat {
            age: self.age,
            nodes: parts.map(|part| part.node.clone()).collect(),
            want: match phase {
                Phase::CleaningUp | Phase::Done | Phase::Aborted => Want::Nothing,
                _ if is_paused => Want::Nothing,
                Phase::Planned if !self.admitted => Want::Waits,
                _ => Want::Runs,
            },
        }
    }

    /// Lets it begin.
    pub(super) fn admit(&mut self) {
        self.admitted = self.inbox.send(Event::Admitted).is_ok();
    }
}

impl Inner {
    /// Runs what the journal says is under way.
    pub(super) async fn go_on(self: &Arc<Self>) -> Result<(), Error> {
        let mut entries = self.driver.journal().list().await?;
        // Of those that wait, the lowest version is the oldest: it is of the moment at which they were written down.
        entries.sort_by_key(|entry| entry.version);
        for entry in entries {
            if !entry.record.phase().is_final() {
                self.run(entry);
            }
        }
        Ok(())
    }

    /// Begins to run an operation, unless this process runs it already: whoever is first, of those who wrote it down and those who found it in the journal.
    pub(super) fn run(self: &Arc<Self>, entry: Entry) {
        let id = entry.record.id().clone();
        let Some((told, status)) = self.take(&entry) else {
            return;
        };
        self.admit();
        let (inner, record) = (self.clone(), entry.record.clone());
        // Beside the operation, which does not need it.
        tokio::spawn(async move { inner.measure(&record).await });
        let inner = self.clone();
        let run = async move {
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

    /// Takes note that this process runs an operation; `None` if it does already.
    fn take(&self, entry: &Entry) -> Option<(Inbox, watch::Sender<OperationStatus>)> {
        let mut running = self.running();
        let age = running.values().map(|each| each.age + 1).max().unwrap_or(0);
        let btree_map::Entry::Vacant(place) = running.entry(entry.record.id().clone()) else {
            return None;
        };
        let (status, watched) = watch::channel(OperationStatus {
            record: entry.record.clone(),
            progress: None,
        });
        let (inbox, told) = mpsc::unbounded_channel();
        place.insert(Running {
            inbox,
            status: watched,
            admitted: entry.record.phase() != Phase::Planned,
            age,
        });
        Some((told, status))
    }

    /// Tells an operation how much its sources have, if their stores say so.
    async fn measure(&self, record: &Record) {
        let (mut rows, mut bytes) = (0, 0);
        for part in &record.work.sources {
            let Ok(metrics) = self.metrics(part).await else {
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
        let was_paused = status.borrow().record.is_paused();
        status.send_replace(OperationStatus {
            record: workflow.record().clone(),
            progress: Some(workflow.progress()),
        });
        if workflow.record().is_paused() != was_paused {
            self.admit();
        }
        if before != *phase {
            let (operation, phase) = (id.clone(), *phase);
            self.tell(Notice::Phase { operation, phase });
            if phase == Phase::CleaningUp || phase.is_final() {
                self.admit();
            }
            if phase == Phase::Aborted {
                let sources = workflow.record().work.sources.iter();
                let sources: Vec<_> = sources.map(|part| part.shard.clone()).collect();
                self.rest(&sources);
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
            return;
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
        let paused = |record: &Record| record.is_paused();
        let late = |phase| matches!(phase, Phase::Sealing | Phase::Sealed);
        let asked = self.inner.ask(id, Event::Pause, paused, late);
        asked.await.map(drop)
    }

    /// Has a paused operation go on.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`], or [`Error::TooLate`] once it is decided.
    pub async fn resume(&self, id: &OperationId) -> Result<(), Error> {
        let resumed = |record: &Record| !record.is_paused();
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
