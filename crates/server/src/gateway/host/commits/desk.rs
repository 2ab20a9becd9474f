//! One reign of one primary, as commits over several shards see it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::commit::{
    Action, Answer as Told, CommitId, Event, Message, Participant, Party, Record, Ticket, Timing,
};
use shardwright_topology::{Epoch, ShardId};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{Letter, kept};
use crate::{
    gateway::{
        host::{
            begin,
            sessions::{Session, Sessions},
            transaction::{self, Opened, Transaction},
        },
        wire::{Answer, Basis, CommitLevel, Leftover, Notes, Number, Point, Refusal, Said},
    },
    shard::{Begin, Limits, Shard},
};

/// How long a prepared part waits to be told the outcome before it asks: until then its shard takes no writes, if a gateway was lost.
const ASK: Duration = Duration::from_secs(2);

/// How a part begins.
#[derive(Debug, Clone)]
pub(in crate::gateway::host) struct Asked {
    pub(in crate::gateway::host) basis: Basis,
    pub(in crate::gateway::host) number: Number,
    pub(in crate::gateway::host) notes: Notes,
    pub(in crate::gateway::host) level: CommitLevel,
}

/// One reign of one primary.
#[derive(Debug)]
pub(super) struct Desk {
    id: PartitionId,
    pub(super) copy: Shard,
    sessions: Arc<Sessions>,
    letters: UnboundedSender<Letter>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    participant: Participant,
    /// What runs of the commit that has the shard.
    seat: Option<Seat>,
    /// How those begin that wait for the shard.
    asked: HashMap<CommitId, Asked>,
    /// Who waits for an answer.
    waiting: HashMap<(CommitId, Wanted), Vec<oneshot::Sender<Answer>>>,
    is_closed: bool,
    is_over: bool,
}

/// What runs of a commit.
#[derive(Debug)]
struct Seat {
    id: CommitId,
    ticket: Ticket,
    /// Once it has begun: its session, and its transaction.
    open: Option<(u64, Arc<Transaction>)>,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Begin,
    Preparation,
    Decision,
    End,
}

impl Desk {
    /// Begins with what the log says. It is the log that says so: a record shows that this is the primary.
    pub(super) async fn begin(
        (id, copy): (PartitionId, Shard),
        epoch: Epoch,
        sessions: Arc<Sessions>,
        letters: UnboundedSender<Letter>,
        within: Duration,
    ) -> Result<Arc<Self>, Refusal> {
        let kept = kept::read(&copy, epoch, within).await?;
        let name = Party::new(id.shard.as_str());
        // A copy may lead twice at one epoch, as far as this process knows; so that is no term.
        let participant = Participant::new(name, rand::random(), 0, timing());
        let prepared = kept.prepared.into_iter().next();
        let participant = participant.recovered(copy.clock().now(), prepared, kept.decided);
        let desk = Arc::new(Self {
            id,
            copy,
            sessions,
            letters,
            state: Mutex::new(State {
                participant,
                seat: None,
                asked: HashMap::new(),
                waiting: HashMap::new(),
                is_closed: false,
                is_over: false,
            }),
        });
        desk.feed(Event::Tick);
        Ok(desk)
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Ends it. What has not prepared is undone, and who waits is told to ask again.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        for (_, waiting) in state.waiting.drain() {
            for each in waiting {
                let _gone = each.send(Err(Refusal::Later));
            }
        }
        let seat = state.seat.take();
        drop(state);
        undo(seat.and_then(|seat| seat.open));
    }

    /// Looks at the time, at what runs, and whether the shard is to be sealed.
    pub(super) fn look(self: &Arc<Self>) {
        let is_closed = self.copy.is_closed_to_commits();
        let now = self.copy.clock().now();
        let (lost, was_closed, is_due) = {
            let mut state = self.lock();
            // It has ended by itself, or was committed alone. Of what is being prepared or decided the participant knows better.
            let has_ended = |seat: &mut Seat| {
                let open = seat.open.as_ref();
                open.is_some_and(|(_, transaction)| transaction.is_over())
            };
            let lost = state.seat.take_if(has_ended).map(|seat| seat.id);
            let was_closed = std::mem::replace(&mut state.is_closed, is_closed);
            let due = state.participant.next_wake();
            (lost, was_closed, due.is_some_and(|due| due <= now))
        };
        if is_closed != was_closed {
            self.feed(if is_closed {
                Event::Seal
            } else {
                Event::Unseal
            });
        }
        if let Some(id) = lost {
            self.feed(Event::Lost(id));
        }
        if is_due {
            self.feed(Event::Tick);
        }
    }

    /// Lends the shard to a commit, once it is free.
    pub(super) async fn enlist(
        self: &Arc<Self>,
        id: CommitId,
        asked: Asked,
        within: Duration,
    ) -> Answer {
        let answer = self.wait_for(id, Wanted::Begin);
        self.lock().asked.insert(id, asked);
        self.look();
        self.feed(Event::Message(Message::Enlist { id, revision: 0 }));
        answered(answer, within).await
    }

    /// Hears what is said about a commit.
    pub(super) async fn hear(self: &Arc<Self>, message: Message, within: Duration) -> Answer {
        let id = message.id();
        let wanted = match message {
            Message::Prepare { .. } => Wanted::Preparation,
            Message::Decide { .. } => Wanted::Decision,
            Message::Resolve { .. } => Wanted::End,
            Message::Enlist { .. }
            | Message::Abandon { .. }
            | Message::Release { .. }
            | Message::Heard { .. }
            | Message::Inquire { .. }
            | Message::Acknowledge { .. } => {
                self.feed(Event::Message(message));
                return Ok(Said::Done);
            }
        };
        let answer = self.wait_for(id, wanted);
        self.feed(Event::Message(message));
        if wanted == Wanted::End && !self.holds(id) {
            return self.resolved();
        }
        answered(answer, within).await
    }

    /// Returns what is left of commits here.
    pub(super) fn leftovers(&self) -> Vec<Leftover> {
        let state = self.lock();
        let participant = &state.participant;
        let prepared = participant.prepared().map(|part| Leftover {
            id: part.id,
            first: part.first.clone(),
            participants: part.participants.clone(),
            missing: None,
        });
        let decided = participant.undelivered().map(|(id, missing)| {
            let missing: Vec<Party> = missing.cloned().collect();
            let first = participant.name().clone();
            let participants = std::iter::once(first.clone()).chain(missing.iter().cloned());
            Leftover {
                id,
                participants: participants.collect(),
                first,
                missing: Some(missing),
            }
        });
        prepared.into_iter().chain(decided).collect()
    }

    /// Tells the participant something, and begins to do what follows.
    pub(super) fn feed(self: &Arc<Self>, event: Event) {
        let mut actions = Vec::new();
        let mut undone = None;
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        let now = self.copy.clock().now();
        state.participant.handle(now, event, &mut actions);
        for action in actions {
            match action {
                Action::Open(id, ticket) => self.open(&mut state, id, ticket),
                Action::Undo(id) => {
                    if let Some(seat) = state.seat.take_if(|seat| seat.id == id) {
                        undone = seat.open;
                    }
                }
                Action::Store(record) => {
                    let desk = Arc::clone(self);
                    tokio::spawn(async move { desk.store(record).await });
                }
                Action::Answer(id, told) => {
                    if let (Told::Refused { refusal, .. }, Some((_, transaction))) =
                        (&told, &undone)
                    {
                        transaction.refuse(*refusal);
                    }
                    self.answer(&mut state, id, told);
                }
                Action::Send(to, message) => self.send(&to, message),
            }
        }
        drop(state);
        undo(undone);
    }

    /// Begins the transaction of a commit, and tells it once that is open.
    fn open(self: &Arc<Self>, state: &mut State, id: CommitId, ticket: Ticket) {
        let asked = state.asked.remove(&id);
        state.seat = Some(Seat {
            id,
            ticket,
            open: None,
        });
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            let opened = match asked {
                Some(asked) => transaction::open(&desk.copy, asked.begin(), asked.basis).await,
                None => Err(Refusal::Later),
            };
            let answer = match opened {
                Ok(Opened::Begun(transaction)) => return desk.seat(id, ticket, transaction),
                Ok(Opened::Known(said)) => Ok(said),
                Err(refusal) => Err(refusal),
            };
            let has_it = {
                let mut state = desk.lock();
                let has_it = state.seat_of(id, ticket).is_some();
                if has_it {
                    state.tell(id, Wanted::Begin, &answer);
                    state.seat = None;
                }
                has_it
            };
            if has_it {
                desk.feed(Event::Lost(id));
            }
        });
    }

    /// Shows the open transaction of a commit, unless the shard was taken from it meanwhile.
    fn seat(&self, id: CommitId, ticket: Ticket, transaction: Arc<Transaction>) {
        let mut state = self.lock();
        let is_over = state.is_over;
        let Some(seat) = state.seat_of(id, ticket).filter(|_| !is_over) else {
            // It ends with the last who knows it.
            return;
        };
        let shown = Session::Transaction(Arc::clone(&transaction));
        let session = self.sessions.insert(shown);
        seat.open = Some((session, transaction));
        state.asked.remove(&id);
        let answer = Ok(Said::Enlisted { ticket, session });
        state.tell(id, Wanted::Begin, &answer);
    }

    fn answer(&self, state: &mut State, id: CommitId, told: Told) {
        match told {
            Told::Enlisted(ticket) => {
                let seat = state.seat_of(id, ticket);
                // Whoever opens it tells.
                if let Some((session, _)) = seat.and_then(|seat| seat.open.as_ref()) {
                    let session = *session;
                    state.asked.remove(&id);
                    let answer = Ok(Said::Enlisted { ticket, session });
                    state.tell(id, Wanted::Begin, &answer);
                }
            }
            Told::Prepared => state.tell(id, Wanted::Preparation, &Ok(Said::Prepared)),
            Told::Committed => {
                let answer = self.place().map(|at| Said::Decided { at });
                state.tell(id, Wanted::Decision, &answer);
            }
            Told::Refused { ticket, refusal } => {
                state.asked.remove(&id);
                let answer = Ok(Said::Refused { ticket, refusal });
                for wanted in [Wanted::Begin, Wanted::Preparation, Wanted::Decision] {
                    state.tell(id, wanted, &answer);
                }
            }
        }
    }

    fn send(&self, to: &Party, message: Message) {
        let Ok(shard) = ShardId::new(to.as_str()) else {
            return;
        };
        let to = PartitionId {
            keyspace: self.id.keyspace.clone(),
            shard,
        };
        // The node stops if nobody carries it.
        let _carried = self.letters.send(Letter { to, message });
    }

    /// Takes in that a record is stored, and tells those who wait for the end of a part.
    pub(super) fn stored(self: &Arc<Self>, record: Record) {
        let resolved = match &record {
            Record::Resolved { id, .. } => Some(*id),
            Record::Prepared(_) | Record::Decided { .. } => {
                self.lock().seat = None;
                None
            }
            Record::Forgotten { .. } => None,
        };
        self.feed(Event::Stored(record));
        if let Some(id) = resolved {
            self.tell(id, Wanted::End, &self.resolved());
        }
    }

    /// Takes in that a record is not stored, and tells why.
    pub(super) fn not_stored(self: &Arc<Self>, record: Record, why: Refusal) {
        if let Record::Prepared(_) | Record::Decided { .. } = &record {
            let mut state = self.lock();
            state.seat = None;
            let answer = Err(why);
            let id = match &record {
                Record::Prepared(part) => part.id,
                Record::Decided { id, .. }
                | Record::Resolved { id, .. }
                | Record::Forgotten { id } => *id,
            };
            for wanted in [Wanted::Preparation, Wanted::Decision] {
                state.tell(id, wanted, &answer);
            }
        }
        self.feed(Event::NotStored(record));
    }

    /// Returns the open transaction of a commit.
    pub(super) fn transaction(&self, id: CommitId) -> Option<Arc<Transaction>> {
        let state = self.lock();
        let seat = state.seat.as_ref().filter(|seat| seat.id == id)?;
        let (_, transaction) = seat.open.as_ref()?;
        Some(Arc::clone(transaction))
    }

    /// Returns its name.
    pub(super) fn name(&self) -> Party {
        self.lock().participant.name().clone()
    }

    fn tell(&self, id: CommitId, wanted: Wanted, answer: &Answer) {
        self.lock().tell(id, wanted, answer);
    }

    fn holds(&self, id: CommitId) -> bool {
        let held = self.lock().participant.held();
        held.is_some_and(|(holder, _)| holder == id)
    }

    fn resolved(&self) -> Answer {
        self.place().map(|at| Said::Resolved { at })
    }

    /// Returns how far the data here is.
    fn place(&self) -> Result<Point, Refusal> {
        let place = self.copy.place().ok_or(Refusal::Later)?;
        Ok(place.into())
    }

    fn wait_for(&self, id: CommitId, wanted: Wanted) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        let waiting = state.waiting.entry((id, wanted)).or_default();
        waiting.retain(|each| !each.is_closed());
        waiting.push(sender);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seat_of(&mut self, id: CommitId, ticket: Ticket) -> Option<&mut Seat> {
        let is_its = |seat: &&mut Seat| seat.id == id && seat.ticket == ticket;
        self.seat.as_mut().filter(is_its)
    }

    fn tell(&mut self, id: CommitId, wanted: Wanted, answer: &Answer) {
        for each in self.waiting.remove(&(id, wanted)).into_iter().flatten() {
            // Whoever asked may have gone.
            let _gone = each.send(answer.clone());
        }
    }
}

impl Asked {
    fn begin(&self) -> Begin {
        let (timing, usual) = (timing(), Limits::default());
        let limits = Limits {
            begin: timing.wait,
            ..usual
        };
        begin(self.number, self.notes.clone(), self.level, limits)
    }
}

/// How long everybody waits.
fn timing() -> Timing {
    Timing {
        // As long as any transaction. A shard whose gateway is lost is free sooner.
        hold: Limits::default().total,
        ask: ASK,
        ..Timing::default()
    }
}

/// Waits for an answer, for so long.
async fn answered(answer: oneshot::Receiver<Answer>, within: Duration) -> Answer {
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(Refusal::Later),
    }
}

/// Undoes what runs of a commit, once no statement of it does.
fn undo(open: Option<(u64, Arc<Transaction>)>) {
    if let Some((_, transaction)) = open {
        tokio::spawn(async move { drop(transaction.take().await) });
    }
}
