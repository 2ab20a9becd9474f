//! What the driver does for the machine.

use std::{mem, time::Duration};

use shardwright_topology::{ConfigId, Lsn, NodeId, Timestamp};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    AppendError, Appended, ReadError,
    driver::{Aside, Driver, Ended, Input},
    threads::Work,
};
use crate::log::{
    Action, Event, Fault, Outcome, Point, Report, Request, peer::SnapshotError, replica,
    snapshot::StoredSnapshot,
};

/// How long to wait after a snapshot could not be had.
const PAUSE: Duration = Duration::from_millis(500);

impl Driver<'_> {
    pub(super) fn carry_out(&mut self, now: Timestamp, action: Action) {
        match action {
            Action::Persist(ticket, write) => {
                self.writes.0 = ticket;
                self.writes.1.push(write);
            }
            Action::Reply(call, reply) => {
                if let Some(back) = self.waiting.calls.remove(&call) {
                    back.reply(reply);
                }
            }
            Action::Send { to, request } => self.send(&to, request),
            Action::Apply(lsn) => self.due = lsn.max(self.due),
            Action::FetchSnapshot { from } => self.fetch(now, from),
            Action::Install(base) => self.install(base),
            Action::Activate(config_id) => self.activate(config_id),
            Action::Answer { id, outcome } => self.answer(id, outcome),
            Action::ReadAt { read, applied } => self.read_at(read, applied),
            Action::Report(report) => self.report(report),
        }
    }

    fn send(&mut self, to: &NodeId, request: Request) {
        match self.encoder.request(&self.shard, request) {
            Ok(frame) => self.options.peers.send(to, frame),
            Err(error) => {
                tracing::error!(shard = %self.shard, %error, "a request cannot be encoded")
            }
        }
    }

    /// Hands over the records that are to be applied.
    pub(super) fn hand_over(&mut self) {
        if self.due <= self.handed {
            return;
        }
        let log = self.machine.replica().log();
        let Some(records) = log.after(self.handed) else {
            // A snapshot has taken the place of these records, and is installed next.
            return;
        };
        let records: Vec<_> = records
            .take_while(|record| record.lsn <= self.due)
            .cloned()
            .collect();
        self.handed = self.due;
        self.applier.give(Work::Apply(records));
    }

    fn fetch(&mut self, now: Timestamp, from: NodeId) {
        if !matches!(self.aside, Aside::None) || now < self.fetch_after {
            return;
        }
        self.aside = Aside::Fetching;
        let (peers, inputs) = (self.options.peers.clone(), self.inputs.clone());
        let (shard, directory) = (self.shard.clone(), self.directory.clone());
        tracing::info!(%shard, node = %from, "fetches a snapshot");
        tokio::spawn(async move {
            tell_stored(
                &inputs,
                peers.fetch_snapshot(&from, &shard, &directory).await,
            );
        });
    }

    pub(super) fn stored(
        &mut self,
        now: Timestamp,
        outcome: Result<StoredSnapshot, SnapshotError>,
    ) {
        let stored = match outcome {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(shard = %self.shard, %error, "a snapshot could not be had");
                self.aside = Aside::None;
                self.fetch_after = now + PAUSE;
                return;
            }
        };
        let base = stored.base();
        self.aside = Aside::Stored(stored);
        self.feed(now, Event::SnapshotStored(base));
        // The machine does without it, if the log has come so far meanwhile.
        let is_wanted = self.log_base() == base && self.handed < base.lsn;
        if !is_wanted && let Aside::Stored(stored) = mem::replace(&mut self.aside, Aside::None) {
            self.forget(stored);
        }
    }

    fn forget(&self, stored: StoredSnapshot) {
        if let Err(error) = stored.remove() {
            tracing::warn!(shard = %self.shard, %error, "a snapshot that nobody needs cannot be removed");
        }
    }

    fn install(&mut self, base: Point) {
        match mem::replace(&mut self.aside, Aside::Installing) {
            Aside::Stored(stored) if stored.base() == base => {
                self.handed = base.lsn;
                self.applier.give(Work::Install(stored));
            }
            _ => self.end_with(Ended::SetAside(format!(
                "the snapshot at {} is gone",
                base.lsn
            ))),
        }
    }

    fn activate(&mut self, config_id: ConfigId) {
        if self.activating == Some(config_id) {
            return;
        }
        self.activating = Some(config_id);
        let Some(promised) = self.machine.replica().promised() else {
            return;
        };
        let (records, inputs) = (self.options.records.clone(), self.inputs.clone());
        let shard = self.shard.clone();
        tokio::spawn(async move {
            let outcome = records.activate(&shard, config_id, promised.epoch).await;
            // A driver that has ended needs to know nothing.
            let _told = inputs.send(Input::Activation(config_id, outcome));
        });
    }

    fn answer(&mut self, id: u64, outcome: Outcome) {
        let Some(answer) = self.waiting.appends.remove(&id) else {
            return;
        };
        let told = match outcome {
            Outcome::Reached { lsn, epoch, level } => Ok(Appended {
                lsn,
                epoch,
                level,
                data_loss_generation: self.data_loss_generation(),
            }),
            Outcome::NotPrimary => Err(AppendError::NotPrimary { hint: self.hint() }),
            Outcome::Overloaded => Err(AppendError::Overloaded),
            Outcome::Outrun { last } => Err(AppendError::Outrun { last }),
            Outcome::Indeterminate => Err(AppendError::Indeterminate),
        };
        // Whoever asked may have gone, here and below.
        let _told = answer.send(told);
    }

    /// What the machine leads with, or what the registry said last if this is answered while it steps down.
    fn data_loss_generation(&self) -> u64 {
        let record = self.record.as_ref();
        let shown = record.map_or(0, |record| record.data_loss_generation);
        self.machine.data_loss_generation().unwrap_or(shown)
    }

    /// Returns the node of the primary, if it is another one: of the next one, once that has asked for itself or the registry names it.
    fn hint(&self) -> Option<NodeId> {
        let record = self.record.as_ref()?;
        let next = record.pending.as_ref().map(|next| &next.primary.node);
        let heir = self.machine.heir();
        let heir = heir.filter(|(epoch, _)| record.epoch < *epoch);
        let heir = heir.map(|(_, node)| node);
        let node = heir.or(next).or_else(|| record.primary())?;
        (*node != self.me.node).then(|| node.clone())
    }

    fn read_at(&mut self, read: u64, applied: Option<Lsn>) {
        let Some(answer) = self.waiting.reads.remove(&read) else {
            return;
        };
        let refusal = match applied {
            Some(lsn) if lsn <= self.seen => Ok(self.seen),
            Some(lsn) if self.waiting.unapplied.len() < self.options.settings.waiting_max => {
                self.waiting.unapplied.insert((lsn, read), answer);
                return;
            }
            Some(_) => Err(ReadError::Overloaded),
            None if self.machine.leads().is_some() => Err(ReadError::Overloaded),
            None => Err(ReadError::NotPrimary { hint: self.hint() }),
        };
        let _told = answer.send(refusal);
    }

    fn report(&mut self, report: Report) {
        let shard = &self.shard;
        self.has_news = true;
        match report {
            Report::Leading(epoch) => {
                tracing::info!(%shard, %epoch, "leads");
                metrics::counter!("shardwright_quorum_leading_total").increment(1);
            }
            Report::SteppedDown(epoch) => tracing::info!(%shard, %epoch, "stepped down"),
            Report::Faulty(Fault::Storage) => {}
            Report::Faulty(Fault::Diverged(lsn)) => {
                self.end_with(Ended::SetAside(format!(
                    "the log was to be taken back to {lsn}, which is committed"
                )));
            }
            Report::AcceptsLoss {
                epoch,
                copies,
                last,
            } => {
                tracing::warn!(%shard, %epoch, copies, %last, "an operator accepted a loss: what comes after may be lost");
                metrics::counter!("shardwright_quorum_losses_accepted_total").increment(1);
            }
            Report::RegistryWentBack { registry, seen } => {
                tracing::error!(%shard, %registry, %seen, "the registry went back in time: an operator has to look");
                metrics::counter!("shardwright_quorum_alarms_total").increment(1);
            }
            Report::TwoConfigs(epoch) => {
                tracing::error!(%shard, %epoch, "two configurations claim an epoch: an operator has to look");
                metrics::counter!("shardwright_quorum_alarms_total").increment(1);
            }
        }
    }

    /// Hands over what has gathered, and answers those whose record has come.
    pub(super) fn settle(&mut self) {
        if !self.writes.1.is_empty() {
            let ticket = self.writes.0;
            self.storage.give((ticket, mem::take(&mut self.writes.1)));
            self.persisting = Some(ticket);
        }
        // Somebody waits for what a member makes durable, and nobody for what it applies: that takes no processor away from it.
        if self.persisting.is_none() || self.machine.leads().is_some() {
            self.hand_over();
        }
        if !self.waiting.unapplied.is_empty() {
            self.applied.want();
            // It may have been applied before that was said.
            self.seen = self.applied.get().0;
        }
        while let Some(due) = self.waiting.unapplied.first_entry()
            && due.key().0 <= self.seen
        {
            let _told = due.remove().send(Ok(self.seen));
        }
        self.settle_tails();
    }

    /// Shows records to those who wait for them.
    fn settle_tails(&mut self) {
        let replica = self.machine.replica();
        let end = replica.known_commit().min(replica.durable_lsn());
        let (log, base) = (replica.log(), replica.log().base().lsn);
        for (after, answer) in self
            .waiting
            .tails
            .extract_if(.., |(after, _)| *after < end || *after < base)
        {
            let told = if after < base {
                Err(ReadError::Trimmed { base })
            } else {
                let mut records = replica::some_after(log, after);
                records.retain(|record| record.lsn <= end);
                Ok(records)
            };
            let _told = answer.send(told);
        }
    }
}

fn tell_stored(inputs: &UnboundedSender<Input>, outcome: Result<StoredSnapshot, SnapshotError>) {
    if let Err(unheard) = inputs.send(Input::Stored(outcome))
        && let Input::Stored(Ok(stored)) = unheard.0
        && let Err(error) = stored.remove()
    {
        tracing::warn!(%error, "a snapshot that nobody needs cannot be removed");
    }
}
