//! After a crash: what was decided and is not at all its places. The participants find out by themselves; this carries out
//! what they ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    desk::Effects,
    notes::{self, DecidedNote, Notes},
};
use crate::{
    commit::{CommitId, Event, Message, Participant, Party, Prepared, Record, Ticket, Verdict},
    database::ShardedDatabase,
    error::Error,
    shards::{Fault, FaultKind, Place, Watching},
};

/// A commit over several places that is decided and not at all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// Its name.
    pub id: CommitId,
    /// The place that has decided it.
    pub first: String,
    /// All its places.
    pub participants: Vec<String>,
    /// Those that do not have it yet.
    pub missing: Vec<String>,
}

impl ShardedDatabase {
    /// The commits over several places that are decided and not at all of them: a crash, or a place that failed, has
    /// interrupted them. Whoever opens the database for writing finishes them; a process that writes now has some for a
    /// moment.
    ///
    /// # Errors
    /// When a place cannot be read.
    pub fn unresolved_commits(&self) -> Result<Vec<Unresolved>, Error> {
        let notes = self.all_notes()?;
        let mut unresolved = Vec::new();
        for own in notes.values() {
            for (&id, decision) in &own.decided {
                let missing: Vec<String> = self
                    .missing(&notes, id, decision)
                    .map(|party| party.as_str().to_owned())
                    .collect();
                if !missing.is_empty() {
                    let members = decision.members.iter();
                    unresolved.push(Unresolved {
                        id,
                        first: decision.first.as_str().to_owned(),
                        participants: members.map(|party| party.as_str().to_owned()).collect(),
                        missing,
                    });
                }
            }
        }
        Ok(unresolved)
    }

    /// Finishes the commits that were interrupted, and returns how many there were.
    ///
    /// # Errors
    /// [`Error::CannotFinish`] if a place refuses its part for good, and failures of places. It may be called again then.
    pub fn resolve_commits(&self) -> Result<usize, Error> {
        self.refuse_read_only()?;
        if !self.commits_on_files() {
            return Ok(0);
        }
        let desk = &self.inner.shared.desk;
        self.resolve_all().inspect_err(|_| desk.leave_unfinished())
    }

    fn resolve_all(&self) -> Result<usize, Error> {
        let desk = &self.inner.shared.desk;
        let notes = self.all_notes()?;
        let (participants, parts) = self.recovered(&notes);
        desk.start_over(participants);
        for place in self.inner.places.all() {
            self.carry_on(&parts, place, Event::Tick)?;
        }
        for (place, own) in &notes {
            for &id in own.decided.keys() {
                // Its caller is no more.
                self.carry_on(&parts, *place, Event::Message(Message::Heard { id }))?;
            }
        }
        let listed = notes.iter().map(|(&place, own)| {
            let redone = parts.keys().filter(|(at, _)| *at == place);
            let redone = redone.map(|(_, id)| *id);
            let ids: Vec<CommitId> = own.applied.keys().copied().chain(redone).collect();
            (place, own.count + 1, ids)
        });
        desk.finished(listed);
        let finished: BTreeSet<CommitId> = parts.keys().map(|(_, id)| *id).collect();
        Ok(finished.len())
    }

    /// Finishes what a place has left over, before anything else is written.
    pub(in crate::database) fn finish_commits(&self) -> Result<(), Error> {
        let desk = &self.inner.shared.desk;
        if !desk.is_unfinished() {
            return Ok(());
        }
        let _one = self.inner.shared.recovery.lock();
        if desk.is_unfinished() {
            self.resolve_commits()?;
        }
        Ok(())
    }

    fn all_notes(&self) -> Result<BTreeMap<Place, Notes>, Error> {
        let places = &*self.inner.places;
        let all = places.all();
        all.map(|place| Ok((place, Notes::read(places, place)?)))
            .collect()
    }

    /// Who does not have a commit.
    fn missing<'n>(
        &self,
        notes: &'n BTreeMap<Place, Notes>,
        id: CommitId,
        decision: &'n DecidedNote,
    ) -> impl Iterator<Item = &'n Party> {
        let places = self.inner.places.clone();
        decision.parts.keys().filter(move |party| {
            let place = places.named(party.as_str());
            let own = place.and_then(|place| notes.get(&place));
            own.is_none_or(|own| !own.applied.contains_key(&id))
        })
    }

    /// The participants as the files say, and what those are to do that wait.
    fn recovered<'n>(&self, notes: &'n BTreeMap<Place, Notes>) -> (Participants, Waiting<'n>) {
        let places = &*self.inner.places;
        let desk = &self.inner.shared.desk;
        let mut parts = Waiting::new();
        for own in notes.values() {
            for (&id, decision) in &own.decided {
                for party in self.missing(notes, id, decision) {
                    if let Some(place) = places.named(party.as_str()) {
                        parts.insert((place, id), decision);
                    }
                }
            }
        }
        let participants = notes.iter().map(|(&place, own)| {
            let mut waiting = parts.range((place, CommitId::OLDEST)..);
            let next = waiting.next().filter(|((at, _), _)| *at == place);
            let prepared = next.map(|((_, id), decision)| Prepared {
                id: *id,
                first: decision.first.clone(),
                // A ticket of a process that is no more.
                first_ticket: Ticket { term: 0, number: 0 },
                participants: decision.members.clone(),
            });
            let decided = own.decided.iter();
            let decided = decided.map(|(id, decision)| {
                let missing = self.missing(notes, *id, decision).cloned();
                (*id, missing.collect())
            });
            let name = Party::new(places.name(place));
            let participant = Participant::new(name, 1, 0, desk.timing);
            (place, participant.recovered(desk.now(), prepared, decided))
        });
        (participants.collect(), parts)
    }

    /// Tells a participant something, and does all that follows.
    fn carry_on(&self, parts: &Waiting<'_>, place: Place, event: Event) -> Result<(), Error> {
        let desk = &self.inner.shared.desk;
        let mut events = VecDeque::from([(place, event)]);
        while let Some((place, event)) = events.pop_front() {
            let places = &*self.inner.places;
            let Effects { records, .. } = desk.tell(places, CommitId::OLDEST, place, event);
            for (place, record) in records {
                match &record {
                    Record::Resolved {
                        id,
                        verdict: Verdict::Commit,
                    } => self.redo(parts, place, *id)?,
                    Record::Forgotten { id } => self.forget_decision(place, *id)?,
                    Record::Resolved { .. } | Record::Prepared(_) | Record::Decided { .. } => {
                        let message = "what the files say of commits contradicts itself";
                        let fault = Fault::new(FaultKind::Corrupt, message);
                        return Err(fault.at(places.name(place)));
                    }
                }
                events.push_back((place, Event::Stored(record)));
            }
        }
        Ok(())
    }

    /// Runs the statements of a commit at a place that does not have it.
    fn redo(&self, parts: &Waiting<'_>, place: Place, id: CommitId) -> Result<(), Error> {
        let places = &self.inner.places;
        let Some(decision) = parts.get(&(place, id)) else {
            return Ok(());
        };
        let party = Party::new(places.name(place));
        let mut transaction = places.begin(place, Watching::Any)?;
        // Whoever made it may have been about to end it here.
        if notes::is_listed(id, &mut *transaction)? {
            return transaction.rollback();
        }
        for step in decision.parts.get(&party).into_iter().flatten() {
            step.run_again(&mut *transaction).map_err(cannot_finish)?;
        }
        notes::list(id, &decision.first, &decision.members, &mut *transaction)?;
        transaction.commit().map_err(cannot_finish)
    }

    fn forget_decision(&self, place: Place, id: CommitId) -> Result<(), Error> {
        let mut transaction = self.inner.places.begin(place, Watching::Any)?;
        notes::remove([notes::decided_key(id)], &mut *transaction)?;
        transaction.commit()
    }
}

type Participants = BTreeMap<Place, Participant>;

/// What each place is to do that does not have a commit.
type Waiting<'n> = BTreeMap<(Place, CommitId), &'n DecidedNote>;

/// A place that refuses what it has taken before.
fn cannot_finish(error: Error) -> Error {
    match error {
        Error::Sql { .. } | Error::Constraint { .. } => Error::CannotFinish {
            source: Box::new(error),
        },
        error => error,
    }
}
