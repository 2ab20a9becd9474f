//! The task of a running copy: it feeds the machine, and carries out its actions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use shardwright_registry::Clock;
use shardwright_topology::{
    ConfigId, Lsn, Member, NodeId, Primary, ShardId, ShardRecord, Timestamp,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::yield_now,
};

use super::{
    AppendError, Appended, Condition, Entry, LogOptions, ReadError, Status,
    pace::Timer,
    records::{Activation, Latest},
    remains::Remains,
    threads::{Applied, Work, Worker},
};
use crate::log::{
    Action, Event, Level, Participant, Point, ReadLevel, Record, Request, StateError, StorageError,
    Submission, Ticket, Write,
    peer::{Attached, Back, Encoder, Inbound, SnapshotError},
    snapshot::StoredSnapshot,
};

/// How much of one kind is taken in at once.
const BATCH: usize = 512;

/// How many records may be committed and not applied before no more are appended.
const UNAPPLIED_MAX: u64 = 100_000;

/// How often the data is made durable.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What the driver's own threads and tasks tell it.
#[derive(Debug)]
pub(super) enum Input {
    Persisted(Ticket),
    NotPersisted(StorageError),
    /// Somebody waits for what was applied just now.
    Applied,
    NotApplied(StateError),
    Installed,
    Stored(Result<StoredSnapshot, SnapshotError>),
    Activation(ConfigId, Activation),
    Panicked,
}

/// What users ask.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        entry: Entry,
        level: Level,
        deadline: Timestamp,
        answer: oneshot::Sender<Result<Appended, AppendError>>,
    },
    Read {
        level: ReadLevel,
        answer: Reader<Lsn>,
    },
    ReadFrom {
        after: Lsn,
        answer: Reader<Vec<Arc<Record>>>,
    },
    Learners(BTreeSet<Member>),
    Hold {
        after: Lsn,
        lasting: Duration,
    },
    Fail(StateError),
}

/// Why a copy does not run any more.
#[derive(Debug)]
pub(super) enum Ended {
    Stopped,
    NoRoom(String),
    /// It cannot be opened or announced now.
    Waiting(String),
    SetAside(String),
}

/// What outlives an opening.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) attached: Attached,
    pub(super) records: watch::Receiver<Latest>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) status: watch::Sender<Status>,
}

/// How it stands with a snapshot of another copy.
#[derive(Debug)]
pub(super) enum Aside {
    None,
    /// It is being fetched.
    Fetching,
    /// It is stored, and the machine wants it.
    Stored(StoredSnapshot),
    /// It becomes the data.
    Installing,
}

/// The driver of one opening of a copy.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    pub(super) options: &'a LogOptions,
    pub(super) shard: ShardId,
    pub(super) me: Primary,
    pub(super) directory: std::path::PathBuf,
    pub(super) clock: Clock,
    pub(super) machine: Participant,
    pub(super) remains: Option<Remains>,
    pub(super) encoder: Encoder,
    pub(super) storage: Worker<(Ticket, Vec<Write>)>,
    pub(super) applier: Worker<Work>,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) record: Option<Arc<ShardRecord>>,
    pub(super) waiting: Waiting,
    /// The writes that are handed over together.
    pub(super) writes: (Ticket, Vec<Write>),
    pub(super) aside: Aside,
    /// No snapshot is asked for before then, after one could not be had.
    pub(super) fetch_after: Timestamp,
    /// When the data is made durable next.
    pub(super) save_after: Timestamp,
    /// The last of the writes that were handed over, while they are not known to be durable.
    pub(super) persisting: Option<Ticket>,
    /// Up to where records are to be applied.
    pub(super) due: Lsn,
    /// Up to where records were handed over to be applied.
    pub(super) handed: Lsn,
    /// Up to where they were applied.
    pub(super) applied: Arc<Applied>,
    /// Up to where readers see them.
    pub(super) seen: Lsn,
    /// Up to where that is known to be durable.
    pub(super) saved: Lsn,
    /// The configuration that is being activated.
    pub(super) activating: Option<ConfigId>,
    pub(super) ended: Option<Ended>,
    /// Whether the status is to be shown before the next tick.
    pub(super) has_news: bool,
    /// When the status was shown last.
    pub(super) shown_at: Timestamp,
    /// Whether something has happened since.
    pub(super) is_unshown: bool,
    pub(super) actions: Vec<Action>,
}

/// Where the answer to a read goes.
type Reader<T> = oneshot::Sender<Result<T, ReadError>>;

/// Those who wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) next: u64,
    pub(super) calls: HashMap<u64, Back>,
    pub(super) appends: HashMap<u64, oneshot::Sender<Result<Appended, AppendError>>>,
    pub(super) reads: HashMap<u64, Reader<Lsn>>,
    /// Reads that wait until a record is applied.
    pub(super) unapplied: BTreeMap<(Lsn, u64), Reader<Lsn>>,
    /// Those who wait for records after a place.
    pub(super) tails: Vec<(Lsn, Reader<Vec<Arc<Record>>>)>,
}

impl Waiting {
    pub(super) fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Driver<'_> {
    /// Runs the copy until it fails or is stopped.
    pub(super) async fn run(
        mut self,
        channels: &mut Channels,
        mut inputs: mpsc::UnboundedReceiver<Input>,
    ) -> Ended {
        let mut timer = Timer::new(self.clock.now());
        let (mut told, mut inbound, mut commands) = (Vec::new(), Vec::new(), Vec::new());
        channels.records.mark_changed();
        self.show(&channels.status);
        let ended = loop {
            let (mut ticked, mut gathers) = (false, false);
            tokio::select! {
                _ = channels.stop.wait_for(|stop| *stop) => break Ended::Stopped,
                _ = inputs.recv_many(&mut told, BATCH) => {}
                count = channels.attached.inbound.recv_many(&mut inbound, BATCH) => {
                    if count == 0 {
                        break Ended::Stopped;
                    }
                }
                count = channels.commands.recv_many(&mut commands, BATCH) => {
                    if count == 0 {
                        break Ended::Stopped;
                    }
                    gathers = true;
                }
                Ok(()) = channels.records.changed() => {
                    let latest = channels.records.borrow_and_update().clone();
                    self.shown(latest);
                }
                () = timer.ended() => ticked = true,
            }
            if gathers {
                // The first of many that were answered together wakes this task: the others are to share its write.
                yield_now().await;
                while commands.len() < BATCH
                    && let Ok(command) = channels.commands.try_recv()
                {
                    commands.push(command);
                }
            }
            let now = self.clock.now();
            self.note_applied(now);
            told.drain(..).for_each(|input| self.told(now, input));
            inbound
                .drain(..)
                .for_each(|inbound| self.came(now, inbound));
            self.asked(now, &mut commands);
            if ticked {
                self.tick(now);
            }
            self.settle();
            let is_due = now.since(self.shown_at) >= self.options.tick;
            self.is_unshown = !(ticked || is_due || self.has_news);
            if !self.is_unshown {
                self.shown_at = now;
                self.show(&channels.status);
            }
            if let Some(ended) = self.ended.take() {
                break ended;
            }
            if let Some(at) = self.next_tick(now) {
                timer.arm(now, at);
            }
        };
        self.end(&ended).await;
        ended
    }

    /// Hands an event to the machine, and carries out what it asks for.
    pub(super) fn feed(&mut self, now: Timestamp, event: Event) {
        if self.ended.is_some() {
            return;
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.machine.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            self.carry_out(now, action);
        }
        self.actions = actions;
    }

    fn told(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Persisted(ticket) => {
                self.feed(now, Event::Persisted(ticket));
                self.persisting.take_if(|last| *last <= ticket);
                self.hand_over();
            }
            Input::NotPersisted(StorageError::NoRoom(error)) => {
                self.end_with(Ended::NoRoom(error.to_string()));
            }
            Input::NotPersisted(error) => {
                self.feed(now, Event::PersistFailed);
                self.end_with(Ended::SetAside(error.to_string()));
            }
            Input::Applied => self.note_applied(now),
            Input::NotApplied(StateError::NoRoom(error)) => {
                self.end_with(Ended::NoRoom(error.to_string()));
            }
            Input::NotApplied(error @ StateError::Unusable(_)) => {
                self.end_with(Ended::Waiting(super::text_of(&error)));
            }
            Input::NotApplied(error) => {
                self.feed(now, Event::PersistFailed);
                self.end_with(Ended::SetAside(super::text_of(&error)));
            }
            Input::Panicked => {
                self.feed(now, Event::PersistFailed);
                self.end_with(Ended::SetAside("a thread of the copy panicked".to_owned()));
            }
            Input::Installed => self.aside = Aside::None,
            Input::Stored(outcome) => self.stored(now, outcome),
            Input::Activation(config_id, outcome) => {
                self.activating = None;
                match outcome {
                    Activation::Done => self.feed(now, Event::Activated(config_id)),
                    Activation::Superseded => self.feed(now, Event::Superseded(config_id)),
                    Activation::Unknown => {}
                }
            }
        }
    }

    /// Learns what was applied meanwhile.
    fn note_applied(&mut self, now: Timestamp) {
        let (seen, saved) = self.applied.get();
        self.seen = seen;
        if saved > self.saved {
            self.saved = saved;
            self.feed(now, Event::Applied(saved));
        }
    }

    fn came(&mut self, now: Timestamp, inbound: Inbound) {
        match inbound {
            Inbound::Request {
                from,
                request,
                back,
            } => self.request(now, from, request, back),
            Inbound::Reply { from, reply } => self.feed(now, Event::Reply { from, reply }),
            Inbound::Snapshot(answer) => self.applier.give(Work::Snapshot(answer)),
        }
    }

    fn request(&mut self, now: Timestamp, from: NodeId, request: Request, back: Back) {
        // A disk that stands still must not let questions pile up.
        if self.waiting.calls.len() >= self.options.settings.waiting_max {
            return;
        }
        if let Some(remains) = &mut self.remains {
            remains.show(now, &from, &request, &back);
        }
        let call = self.waiting.name();
        self.waiting.calls.insert(call, back);
        self.feed(
            now,
            Event::Request {
                from,
                call,
                request,
            },
        );
    }

    fn asked(&mut self, now: Timestamp, commands: &mut Vec<Command>) {
        let mut submissions = Vec::new();
        for command in commands.drain(..) {
            match command {
                Command::Append {
                    entry,
                    level,
                    deadline,
                    answer,
                } => {
                    let Entry {
                        kind,
                        members,
                        payload,
                        after,
                    } = entry;
                    let committed = self.machine.replica().known_commit();
                    if committed.0.saturating_sub(self.seen.0) > UNAPPLIED_MAX {
                        // Whoever asked may have gone, here and below.
                        let _told = answer.send(Err(AppendError::Overloaded));
                        continue;
                    }
                    let id = self.waiting.name();
                    self.waiting.appends.insert(id, answer);
                    submissions.push(Submission {
                        id,
                        kind,
                        members,
                        payload,
                        after,
                        level,
                        deadline,
                    });
                }
                Command::Read { level, answer } => {
                    let read = self.waiting.name();
                    self.waiting.reads.insert(read, answer);
                    self.feed(now, Event::Read { read, level });
                }
                Command::ReadFrom { after, answer } => self.waiting.tails.push((after, answer)),
                Command::Learners(learners) => self.feed(now, Event::Learners(learners)),
                Command::Hold { after, lasting } => {
                    self.feed(now, Event::Hold { after, lasting });
                }
                Command::Fail(error) => self.told(now, Input::NotApplied(error)),
            }
        }
        if !submissions.is_empty() {
            self.feed(now, Event::Submit(submissions));
        }
    }

    fn shown(&mut self, latest: Latest) {
        let Some((_, record)) = latest else {
            return;
        };
        self.record = Some(Arc::clone(&record));
        let zones = self.options.zones.borrow().clone();
        let record = Box::new((*record).clone());
        let now = self.clock.now();
        self.has_news = true;
        self.feed(now, Event::Shard { record, zones });
    }

    fn tick(&mut self, now: Timestamp) {
        self.feed(now, Event::Tick);
        self.waiting.tails.retain(|(_, answer)| !answer.is_closed());
        if self.saved < self.seen && self.save_after <= now {
            self.save_after = now + SAVE_EVERY;
            self.applier.give(Work::Save);
        }
    }

    pub(super) fn end_with(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }

    /// Shows how it stands.
    fn show(&mut self, status: &watch::Sender<Status>) {
        self.has_news = false;
        let replica = self.machine.replica();
        let log = replica.log();
        let (leads, promised) = (self.machine.leads(), replica.promised());
        let next = |status: &Status| Status {
            condition: Condition::Running,
            replica_id: Some(replica.replica_id()),
            me: Some(self.me.clone()),
            leads: leads.cloned(),
            aspires: self.machine.aspires(),
            promised,
            last: log.last(),
            base: log.base(),
            durable: replica.durable_lsn(),
            known_commit: replica.known_commit(),
            applied: self.seen,
            followers: self.machine.followers().collect(),
            openings: status.openings,
            registry_went_back: self.machine.saw_registry_go_back(),
            trouble: status.trouble.clone(),
        };
        let is_member = self.is_member();
        status.send_if_modified(|status| {
            let mut next = next(status);
            if is_member && next.is_recovered() {
                next.trouble = None;
            }
            let is_new = *status != next;
            *status = next;
            is_new
        });
    }

    /// Whether the registry said last that this copy counts.
    fn is_member(&self) -> bool {
        let active = self
            .record
            .as_ref()
            .and_then(|record| record.active.as_ref());
        let replica_id = self.machine.replica().replica_id();
        active.is_some_and(|active| {
            let mut members = active.members.iter();
            members.any(|member| member.replica_id == replica_id)
        })
    }

    /// Hands over all writes, refuses whoever waits, and waits for the threads.
    async fn end(mut self, ended: &Ended) {
        self.settle();
        self.hand_over();
        for (_, answer) in self.waiting.appends.drain() {
            let _told = answer.send(Err(AppendError::Indeterminate));
        }
        let unapplied = std::mem::take(&mut self.waiting.unapplied);
        let reads = self.waiting.reads.drain().map(|(_, answer)| answer);
        for answer in reads.chain(unapplied.into_values()) {
            let _told = answer.send(Err(ReadError::NotRunning));
        }
        tracing::info!(shard = %self.shard, ?ended, "a copy runs no more");
        self.storage.end().await;
        self.applier.end().await;
    }

    /// The place of a record that is held.
    pub(super) fn log_base(&self) -> Point {
        self.machine.replica().log().base()
    }
}
