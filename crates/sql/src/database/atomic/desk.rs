//! Where the commits of a process meet: one participant for each place, and the transactions that are open there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{
    super::Options,
    clock::{Clock, age},
    notes,
};
use crate::{
    commit::{Action, Answer, CommitId, Event, Participant, Party, Record, Timing},
    shards::{Place, PlaceTransaction, Places},
};

/// An open transaction, which an older commit may take away.
pub(super) type Slot = Arc<Mutex<Option<Box<dyn PlaceTransaction>>>>;

/// For how many commits after all places have one it stays listed.
const LISTED: u64 = 1_000;

/// Where the commits of a process meet.
#[derive(Debug)]
pub(in crate::database) struct Desk {
    pub(super) timing: Timing,
    clock: Clock,
    /// Tells the commits of this process from those of others, in the upper half of their authors.
    life: u64,
    seats: Mutex<Seats>,
    answered: Condvar,
    /// Whether a decided commit is not at all its places.
    is_unfinished: AtomicBool,
}

#[derive(Debug, Default)]
struct Seats {
    participants: BTreeMap<Place, Participant>,
    slots: BTreeMap<Place, (CommitId, Slot)>,
    /// What was said to commits by what other threads did.
    mail: BTreeMap<CommitId, Vec<(Party, Answer)>>,
    begun: u64,
    passing: BTreeMap<Place, Passing>,
}

/// Notes of a place that go with its next commit.
#[derive(Debug, Default)]
struct Passing {
    /// Its decisions that all places have.
    settled: Vec<Settled>,
    /// What is listed there and needs not be for ever, with the count at that time.
    listed: VecDeque<(u64, CommitId)>,
    /// How many commits the place has had.
    count: u64,
}

/// A decision that all places have.
#[derive(Debug)]
struct Settled {
    id: CommitId,
    members: Vec<Place>,
}

/// Notes that are removed with a commit.
#[derive(Debug, Default)]
pub(super) struct Outdated {
    settled: Vec<Settled>,
    listed: Vec<(u64, CommitId)>,
}

impl Outdated {
    pub(super) fn keys(&self) -> impl Iterator<Item = shardwright_store::Value> {
        let settled = self.settled.iter().map(|each| notes::decided_key(each.id));
        settled.chain(self.listed.iter().map(|(_, id)| notes::applied_key(*id)))
    }
}

/// What a thread has to do after it has said something.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) records: VecDeque<(Place, Record)>,
    pub(super) answers: VecDeque<(Party, Answer)>,
}

impl Desk {
    pub(in crate::database) fn new(options: &Options) -> Self {
        Self {
            timing: Timing {
                hold: options.commit_hold,
                wait: options.busy_timeout,
                ..Timing::default()
            },
            clock: Clock::new(),
            life: rand::random(),
            seats: Mutex::default(),
            answered: Condvar::new(),
            is_unfinished: AtomicBool::new(false),
        }
    }

    /// A name for a commit, that keeps the age of one before it which was wounded.
    pub(super) fn name(&self, started: Option<u64>) -> CommitId {
        let mut seats = self.seats.lock();
        seats.begun += 1;
        CommitId {
            started: started.unwrap_or_else(age),
            author: u128::from(self.life) << 64 | u128::from(seats.begun),
        }
    }

    pub(super) fn now(&self) -> shardwright_topology::Timestamp {
        self.clock.now()
    }

    /// Tells a participant something, and others what follows from that. What one's own commit has to do then is returned.
    pub(super) fn tell(
        &self,
        places: &dyn Places,
        own: CommitId,
        to: Place,
        event: Event,
    ) -> Effects {
        let (now, mut effects, mut undone) = (self.clock.now(), Effects::default(), Vec::new());
        let mut seats = self.seats.lock();
        let mut said = VecDeque::from([(to, event)]);
        while let Some((place, event)) = said.pop_front() {
            let mut actions = Vec::new();
            let participant = seats.participant(places, place, self.timing);
            participant.handle(now, event, &mut actions);
            let name = participant.name().clone();
            for action in actions {
                match action {
                    // Whoever hears that it is enlisted begins.
                    Action::Open(..) => {}
                    Action::Undo(id) => undone.extend(seats.take_slot(place, id)),
                    Action::Store(record) => effects.records.push_back((place, record)),
                    Action::Answer(id, answer) if id == own => {
                        effects.answers.push_back((name.clone(), answer));
                    }
                    Action::Answer(id, answer) => {
                        let mail = seats.mail.entry(id).or_default();
                        mail.push((name.clone(), answer));
                        self.answered.notify_all();
                    }
                    Action::Send(party, message) => {
                        if let Some(place) = places.named(party.as_str()) {
                            said.push_back((place, Event::Message(message)));
                        }
                    }
                }
            }
        }
        drop(seats);
        for slot in undone {
            // A statement that runs is waited for; then what it did is undone.
            drop(slot.lock().take());
        }
        effects
    }

    /// Waits until something was said to a commit, no longer than `limit`.
    pub(super) fn wait(&self, id: CommitId, limit: Duration) -> Vec<(Party, Answer)> {
        let mut seats = self.seats.lock();
        if !seats.mail.contains_key(&id) {
            self.answered.wait_for(&mut seats, limit);
        }
        seats.mail.remove(&id).unwrap_or_default()
    }

    /// What was said to a commit meanwhile.
    pub(super) fn mail(&self, id: CommitId) -> Vec<(Party, Answer)> {
        self.seats.lock().mail.remove(&id).unwrap_or_default()
    }

    /// How long until a participant has to look at who waits for it.
    pub(super) fn until_due(&self, place: Place) -> Duration {
        let seats = self.seats.lock();
        let due = seats
            .participants
            .get(&place)
            .and_then(Participant::next_wake);
        due.map_or(self.timing.retry, |due| due.since(self.clock.now()))
            .min(self.timing.retry)
    }

    /// Shows the open transaction of a commit at a place, unless that was taken from it meanwhile.
    pub(super) fn seat(&self, place: Place, id: CommitId, slot: &Slot) -> bool {
        let mut seats = self.seats.lock();
        let participant = seats.participants.get(&place);
        let has_it = participant
            .and_then(Participant::held)
            .is_some_and(|(holder, _)| holder == id);
        if has_it {
            seats.slots.insert(place, (id, Arc::clone(slot)));
        }
        has_it
    }

    /// Forgets a commit that has ended.
    pub(super) fn leave(&self, id: CommitId) {
        let mut seats = self.seats.lock();
        seats.mail.remove(&id);
        seats.slots.retain(|_, (holder, _)| *holder != id);
    }

    /// The notes that a place needs no more when it has had `number` commits.
    pub(super) fn outdated(&self, place: Place, number: u64) -> Outdated {
        let mut seats = self.seats.lock();
        let passing = seats.passing.entry(place).or_default();
        let mut outdated = Outdated {
            settled: std::mem::take(&mut passing.settled),
            listed: Vec::new(),
        };
        while passing
            .listed
            .front()
            .is_some_and(|(at, _)| at + LISTED <= number)
        {
            outdated.listed.extend(passing.listed.pop_front());
        }
        outdated
    }

    /// Notes are removed, durably, with the commit of that number. What the decision says that is gone now, nobody runs
    /// again; so its commit need not be listed for ever.
    pub(super) fn removed(&self, place: Place, number: u64, outdated: Outdated) {
        let mut seats = self.seats.lock();
        seats.passing.entry(place).or_default().count = number;
        for Settled { id, members } in outdated.settled {
            for member in members {
                let passing = seats.passing.entry(member).or_default();
                passing.listed.push_back((passing.count, id));
            }
        }
    }

    /// Notes were not removed.
    pub(super) fn kept(&self, place: Place, outdated: Outdated) {
        let mut seats = self.seats.lock();
        let passing = seats.passing.entry(place).or_default();
        passing.settled.extend(outdated.settled);
        for listed in outdated.listed.into_iter().rev() {
            passing.listed.push_front(listed);
        }
    }

    /// All places have a commit. Its decision may go with the next commit of the first place. Nothing is lost by a crash
    /// before that: what is applied everywhere is found to be so.
    pub(super) fn settled(&self, first: Place, id: CommitId, members: Vec<Place>) {
        let mut seats = self.seats.lock();
        let passing = seats.passing.entry(first).or_default();
        passing.settled.push(Settled { id, members });
    }

    /// A decided commit is not at all its places, and what could be done at once was done.
    pub(super) fn leave_unfinished(&self) {
        self.is_unfinished.store(true, Ordering::Release);
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished.load(Ordering::Acquire)
    }

    /// Starts anew with participants as the files say. Commits that are open find their tickets gone.
    pub(super) fn start_over(&self, participants: BTreeMap<Place, Participant>) {
        let mut seats = self.seats.lock();
        seats.participants = participants;
        seats.slots.clear();
        seats.passing.clear();
    }

    /// Nothing is left over. What each place lists, with how many commits it has had, need not stay there for ever.
    pub(super) fn finished(&self, listed: impl IntoIterator<Item = (Place, u64, Vec<CommitId>)>) {
        let mut seats = self.seats.lock();
        seats.participants.clear();
        self.is_unfinished.store(false, Ordering::Release);
        for (place, count, ids) in listed {
            let passing = seats.passing.entry(place).or_default();
            passing.count = count;
            passing.listed.extend(ids.into_iter().map(|id| (count, id)));
        }
    }
}

impl Seats {
    fn participant(
        &mut self,
        places: &dyn Places,
        place: Place,
        timing: Timing,
    ) -> &mut Participant {
        self.participants.entry(place).or_insert_with(|| {
            // Tickets end with the process, and so does whoever has one.
            Participant::new(Party::new(places.name(place)), 1, 0, timing)
        })
    }

    fn take_slot(&mut self, place: Place, id: CommitId) -> Option<Slot> {
        match self.slots.get(&place) {
            Some((holder, _)) if *holder == id => self.slots.remove(&place).map(|(_, slot)| slot),
            Some(_) | None => None,
        }
    }
}
