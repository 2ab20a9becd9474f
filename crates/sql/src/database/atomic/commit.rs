//! A commit of this process: the caller of production, and what its actions mean on files.

use std::collections::{BTreeMap, VecDeque};

use super::{
    CommitGap,
    desk::{Desk, Effects, Slot},
    notes::{self, DecidedNote},
};
use crate::{
    commit::{
        Answer, Caller, CallerAction, CallerEvent, CommitId, Event, Outcome, Party, Prepared,
        Record, Refusal, Verdict,
    },
    database::{ShardedDatabase, Shared, journal::Step},
    error::Error,
    shards::{Fault, FaultKind, Place, PlaceTransaction, Ran, Watching},
};

/// A commit on the files of one directory, with an open transaction at each of its places. Dropping it undoes it.
#[derive(Debug)]
pub(super) struct FileCommit {
    database: ShardedDatabase,
    id: CommitId,
    caller: Caller,
    parts: BTreeMap<Place, Held>,
    /// Why a place refused, as it said itself.
    failure: Option<Error>,
}

/// What a commit has at one place.
#[derive(Debug)]
struct Held {
    slot: Slot,
    /// What has run there, to run again after a crash.
    steps: Vec<Step>,
}

impl FileCommit {
    /// A commit without places. One that was wounded hands its age on.
    pub(super) fn new(database: &ShardedDatabase, started: Option<u64>) -> Self {
        let desk = &database.inner.shared.desk;
        let id = desk.name(started);
        Self {
            database: database.clone(),
            id,
            caller: Caller::new(id, 0, desk.timing),
            parts: BTreeMap::new(),
            failure: None,
        }
    }

    fn shared(&self) -> &Shared {
        &self.database.inner.shared
    }

    fn desk(&self) -> &Desk {
        &self.shared().desk
    }

    fn name(&self, place: Place) -> Party {
        Party::new(self.database.inner.places.name(place))
    }

    fn place(&self, party: &Party) -> Option<Place> {
        self.database.inner.places.named(party.as_str())
    }

    /// The places that it has, in their order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.parts.keys().copied()
    }

    /// Whether it has begun at a place.
    pub(super) fn has(&self, place: Place) -> bool {
        self.parts.contains_key(&place)
    }

    /// Whether it has neither ended nor been ended.
    pub(super) fn is_open(&self) -> bool {
        self.caller.outcome().is_none()
    }

    /// Begins at a place, unless it has begun there. It waits for other commits and for writes there.
    ///
    /// # Errors
    /// [`Error::Aborted`], and what the place says. The commit has ended then, and changed nothing.
    pub(super) fn enlist(&mut self, place: Place, watching: Watching<'_>) -> Result<(), Error> {
        if self.parts.contains_key(&place) {
            return Ok(());
        }
        let party = self.name(place);
        let mut is_ready = self.drive(CallerEvent::Enlist(party.clone()), &party)?;
        while !is_ready {
            let desk = self.desk();
            let mail = desk.wait(self.id, desk.until_due(place));
            for (from, answer) in mail {
                is_ready |= self.drive(CallerEvent::Answer(from, answer), &party)?;
            }
            if !is_ready {
                is_ready = self.say(place, Event::Tick)?;
                for (from, answer) in self.desk().mail(self.id) {
                    is_ready |= self.drive(CallerEvent::Answer(from, answer), &party)?;
                }
            }
        }
        let begun = self.database.inner.places.begin(place, watching);
        let transaction = begun.map_err(|error| self.lose(place, error))?;
        let slot = Slot::new(parking_lot::Mutex::new(Some(transaction)));
        if !self.desk().seat(place, self.id, &slot) {
            return Err(self.taken(place));
        }
        let steps = Vec::new();
        self.parts.insert(place, Held { slot, steps });
        Ok(())
    }

    /// The place has ended what ran there.
    fn lose(&mut self, place: Place, error: Error) -> Error {
        self.failure = Some(error);
        let lost = self.say(place, Event::Lost(self.id));
        lost.err().unwrap_or_else(|| self.taken(place))
    }

    /// Somebody has ended what ran at a place.
    fn taken(&mut self, place: Place) -> Error {
        let party = self.name(place);
        for (from, answer) in self.desk().mail(self.id) {
            if let Err(error) = self.drive(CallerEvent::Answer(from, answer), &party) {
                return error;
            }
        }
        self.aborted(Some(&party), Refusal::Gone)
    }

    /// Shows the open transaction at a place.
    ///
    /// # Errors
    /// [`Error::Aborted`] if an older commit has taken the place, and what `work` fails with.
    pub(super) fn within<T>(
        &mut self,
        place: Place,
        work: impl FnOnce(&mut dyn PlaceTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let slot = self.parts.get(&place).map(|held| Slot::clone(&held.slot));
        let Some(slot) = slot else {
            return Err(self.aborted(None, Refusal::Gone));
        };
        let mut open = slot.lock();
        let Some(transaction) = &mut *open else {
            drop(open);
            return Err(self.taken(place));
        };
        let done = work(&mut **transaction);
        if transaction.is_open() {
            return done;
        }
        *open = None;
        drop(open);
        match done {
            Err(error) => Err(self.lose(place, error)),
            Ok(_) => Err(self.taken(place)),
        }
    }

    /// Runs a statement at a place, and keeps it to be run again after a crash.
    pub(super) fn run(&mut self, place: Place, step: Step) -> Result<Ran, Error> {
        let ran = self.within(place, |transaction| step.run(transaction));
        if let Some(held) = self.parts.get_mut(&place) {
            held.steps
                .push(if ran.is_ok() { step } else { step.or_fail() });
        }
        ran
    }

    /// Commits at all places, or at none.
    ///
    /// # Errors
    /// [`Error::Aborted`] and what a place says of its own part: nothing has happened then. [`Error::Unfinished`] if it is
    /// decided and a place fails; the next write finishes it.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let Some(first) = self.parts.keys().next().copied() else {
            return Ok(());
        };
        let party = self.name(first);
        self.drive(CallerEvent::Commit, &party)?;
        match self.caller.outcome() {
            Some(Outcome::Committed) => match self.failure.take() {
                None => Ok(()),
                Some(source) => Err(Error::Unfinished {
                    source: Box::new(source),
                }),
            },
            // A wound that came last.
            _ => Err(self.taken(first)),
        }
    }

    /// Feeds the caller, and does all that follows here. Returns whether `party` is ready for statements.
    fn drive(&mut self, event: CallerEvent, party: &Party) -> Result<bool, Error> {
        let mut is_ready = false;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut actions = Vec::new();
            self.caller.handle(self.desk().now(), event, &mut actions);
            for action in actions {
                match action {
                    CallerAction::Send(to, message) => {
                        if let Some(place) = self.place(&to) {
                            let answers = self.deliver(place, Event::Message(message));
                            events.extend(answers.into_iter().map(answered));
                        }
                    }
                    CallerAction::Ready(ready, _) => is_ready |= ready == *party,
                    CallerAction::End(Outcome::Aborted { by, refusal }) => {
                        let failure = self.failure.take();
                        return Err(failure.unwrap_or_else(|| self.aborted(by.as_ref(), refusal)));
                    }
                    CallerAction::End(Outcome::Committed | Outcome::Unknown) => {}
                }
            }
        }
        Ok(is_ready)
    }

    /// Tells a participant something that it hears from nobody. Returns whether that made it ready for statements.
    fn say(&mut self, place: Place, event: Event) -> Result<bool, Error> {
        let party = self.name(place);
        let mut is_ready = false;
        for (from, answer) in self.deliver(place, event) {
            is_ready |= self.drive(CallerEvent::Answer(from, answer), &party)?;
        }
        Ok(is_ready)
    }

    /// Tells a participant something and stores what follows, until nothing does. Returns what the caller is told.
    fn deliver(&mut self, place: Place, event: Event) -> Vec<(Party, Answer)> {
        let mut answers = Vec::new();
        let mut events = VecDeque::from([(place, event)]);
        while let Some((place, event)) = events.pop_front() {
            let places = &*self.database.inner.places;
            let effects = self.desk().tell(places, self.id, place, event);
            let Effects {
                records,
                answers: told,
            } = effects;
            answers.extend(told);
            for (place, record) in records {
                let stored = self.store(place, &record);
                events.push_back((
                    place,
                    match stored {
                        Ok(()) => Event::Stored(record),
                        Err(error) => {
                            self.failure.get_or_insert(error);
                            // Whoever writes next reads the files, and finishes it.
                            if matches!(record, Record::Resolved { .. }) {
                                self.desk().leave_unfinished();
                                continue;
                            }
                            Event::NotStored(record)
                        }
                    },
                ));
            }
        }
        answers
    }

    /// Makes a record lasting, as far as that is needed here.
    fn store(&mut self, place: Place, record: &Record) -> Result<(), Error> {
        match record {
            // It is lasting with the decision.
            Record::Prepared(Prepared { .. }) => {
                self.check_open(place)?;
                self.reached(CommitGap::Prepared);
                Ok(())
            }
            Record::Decided { participants, .. } => self.decide(place, participants),
            Record::Resolved {
                verdict: Verdict::Abort,
                ..
            } => {
                if let Some(held) = self.parts.get(&place) {
                    drop(held.slot.lock().take());
                }
                Ok(())
            }
            Record::Resolved {
                verdict: Verdict::Commit,
                ..
            } => self.resolve(place),
            Record::Forgotten { .. } => {
                let members: Vec<Place> = self.places().collect();
                if members.len() > 1 {
                    self.reached(CommitGap::Ended);
                    self.desk().settled(place, self.id, members);
                }
                Ok(())
            }
        }
    }

    fn check_open(&self, place: Place) -> Result<(), Error> {
        let held = self.parts.get(&place);
        let is_open = held.is_some_and(|held| held.slot.lock().is_some());
        if is_open {
            Ok(())
        } else {
            Err(self.aborted(None, Refusal::Gone))
        }
    }

    /// The commit point: the first place commits its own part, and what the others are to do.
    fn decide(&mut self, place: Place, participants: &[Party]) -> Result<(), Error> {
        let first = self.name(place);
        let others = self.parts.iter().filter(|(other, _)| **other != place);
        let steps = others.map(|(other, held)| (self.name(*other), held.steps.clone()));
        let note = DecidedNote::new(first, participants.to_vec(), steps.collect());
        if participants.len() > 1 {
            self.reached(CommitGap::Undecided);
        }
        let id = self.id;
        self.commit_part(place, participants, |transaction| {
            note.write(id, transaction)
        })?;
        if participants.len() > 1 {
            self.reached(CommitGap::Decided);
        }
        Ok(())
    }

    fn resolve(&mut self, place: Place) -> Result<(), Error> {
        let members: Vec<Party> = self.places().map(|place| self.name(place)).collect();
        self.commit_part(place, &members, |_| Ok(()))?;
        self.reached(CommitGap::Resolved);
        Ok(())
    }

    /// Commits the transaction at a place, with what that notes of it.
    fn commit_part(
        &mut self,
        place: Place,
        members: &[Party],
        write: impl FnOnce(&mut dyn PlaceTransaction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(held) = self.parts.get(&place) else {
            return Err(self.aborted(None, Refusal::Gone));
        };
        let slot = Slot::clone(&held.slot);
        let Some(mut transaction) = slot.lock().take() else {
            return Err(self.aborted(None, Refusal::Gone));
        };
        let first = self.caller.first().cloned();
        let (true, Some(first)) = (members.len() > 1, first) else {
            return transaction.commit();
        };
        let number = notes::list(self.id, &first, members, &mut *transaction)?;
        let outdated = self.desk().outdated(place, number);
        let done = notes::remove(outdated.keys(), &mut *transaction)
            .and_then(|()| write(&mut *transaction))
            .and_then(|()| transaction.commit());
        match &done {
            Ok(()) => self.desk().removed(place, number, outdated),
            Err(_) => self.desk().kept(place, outdated),
        }
        done
    }

    fn reached(&self, gap: CommitGap) {
        self.shared().options.commit_halts.reached(gap);
    }

    fn aborted(&self, by: Option<&Party>, refusal: Refusal) -> Error {
        let catalog = || self.name(Place::Catalog).to_string();
        let place = by.map_or_else(catalog, Party::to_string);
        match refusal {
            Refusal::Busy => Fault::new(FaultKind::Busy, refusal.to_string()).at(&place),
            refusal => Error::Aborted {
                place,
                refusal,
                started: self.id.started,
            },
        }
    }
}

fn answered((from, answer): (Party, Answer)) -> CallerEvent {
    CallerEvent::Answer(from, answer)
}

impl Drop for FileCommit {
    fn drop(&mut self) {
        let first = self.parts.keys().next().copied();
        if self.caller.outcome().is_none()
            && let Some(first) = first
        {
            let party = self.name(first);
            // It ends as it was asked to.
            let _ended = self.drive(CallerEvent::Abandon, &party);
        }
        self.desk().leave(self.id);
    }
}
