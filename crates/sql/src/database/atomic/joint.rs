//! A commit over several places, whoever makes it: this process on the files of a directory, or the places among themselves.

use std::collections::BTreeSet;

use super::{clock::age, commit::FileCommit};
use crate::{
    commit::Refusal,
    database::{ShardedDatabase, journal::Step},
    error::Error,
    shards::{Call, Enlisted, Fragment, JointTransaction, Place, PlaceTransaction, Ran, Watching},
};

/// A commit that is under way. Dropping it undoes it.
#[derive(Debug)]
pub(in crate::database) struct Commit {
    database: ShardedDatabase,
    made: Made,
}

/// Who makes it.
#[derive(Debug)]
enum Made {
    /// This process, which writes to the files alone.
    Here(Box<FileCommit>),
    /// The places, each of which keeps its own part.
    There {
        joint: Box<dyn JointTransaction>,
        places: BTreeSet<Place>,
    },
}

impl Commit {
    /// A commit without places. One that was wounded hands its age on.
    pub(in crate::database) fn new(database: &ShardedDatabase, started: Option<u64>) -> Self {
        let made = match database.inner.places.join(started.unwrap_or_else(age)) {
            Some(joint) => Made::There {
                joint,
                places: BTreeSet::new(),
            },
            None => Made::Here(Box::new(FileCommit::new(database, started))),
        };
        Self {
            database: database.clone(),
            made,
        }
    }

    /// The places that it has, in their order.
    pub(in crate::database) fn places(&self) -> Vec<Place> {
        match &self.made {
            Made::Here(commit) => commit.places().collect(),
            Made::There { places, .. } => places.iter().copied().collect(),
        }
    }

    /// Whether it has begun at a place.
    pub(in crate::database) fn has(&self, place: Place) -> bool {
        match &self.made {
            Made::Here(commit) => commit.has(place),
            Made::There { places, .. } => places.contains(&place),
        }
    }

    /// Whether it has neither ended nor been ended.
    pub(in crate::database) fn is_open(&self) -> bool {
        match &self.made {
            Made::Here(commit) => commit.is_open(),
            Made::There { joint, .. } => joint.is_open(),
        }
    }

    /// Begins at a place, unless it has begun there. It waits for other commits and for writes there.
    ///
    /// # Errors
    /// [`Error::Aborted`], and what the place says. The commit has ended then, and changed nothing.
    pub(in crate::database) fn enlist(
        &mut self,
        place: Place,
        watching: Watching<'_>,
    ) -> Result<Enlisted, Error> {
        match &mut self.made {
            Made::Here(commit) => {
                commit.enlist(place, watching)?;
                Ok(Enlisted::Open)
            }
            Made::There { places, .. } if places.contains(&place) => Ok(Enlisted::Open),
            Made::There { joint, places } => {
                let enlisted = joint.enlist(place, watching)?;
                if enlisted == Enlisted::Open {
                    places.insert(place);
                }
                Ok(enlisted)
            }
        }
    }

    /// Shows the open transaction at a place.
    ///
    /// # Errors
    /// [`Error::Aborted`] if an older commit has taken the place, and what `work` fails with.
    pub(in crate::database) fn within<T>(
        &mut self,
        place: Place,
        work: impl FnOnce(&mut dyn PlaceTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let joint = match &mut self.made {
            Made::Here(commit) => return commit.within(place, work),
            Made::There { joint, .. } => joint,
        };
        let Some(open) = joint.at(place) else {
            return Err(joint.lost(place));
        };
        let done = work(open);
        match (open.is_open(), done) {
            (true, done) => done,
            // What the place said of it is why the others end, unless that was only that it has ended.
            (false, Err(error)) if !error.is_retryable() => {
                let _others = joint.lost(place);
                Err(error)
            }
            (false, _) => Err(joint.lost(place)),
        }
    }

    /// Runs a statement at a place.
    pub(in crate::database) fn run(&mut self, place: Place, step: Step) -> Result<Ran, Error> {
        match &mut self.made {
            Made::Here(commit) => commit.run(place, step),
            Made::There { .. } => self.within(place, |open| step.run(open)),
        }
    }

    /// Runs a statement at a place that follows from another one: what it did is not told to who asks again what was done.
    pub(in crate::database) fn follow(
        &mut self,
        place: Place,
        statement: &Fragment,
    ) -> Result<(), Error> {
        match &mut self.made {
            Made::Here(commit) => commit.run(place, Step::bound(statement)).map(drop),
            Made::There { .. } => self
                .within(place, |open| statement.with_call(|call| open.aside(call)))
                .map(drop),
        }
    }

    /// Whether a row of a place answers a question, as this commit sees it.
    pub(in crate::database) fn finds(
        &mut self,
        place: Place,
        call: Call<'_>,
    ) -> Result<bool, Error> {
        if self.has(place) {
            let found = self.within(place, |transaction| transaction.aside(call))?;
            return Ok(!found.rows.is_empty());
        }
        self.database.finds(place, call)
    }

    /// Commits at all places, or at none.
    ///
    /// # Errors
    /// [`Error::Aborted`] and what a place says of its own part: nothing has happened then. [`Error::Unfinished`] if it is
    /// decided and a place fails.
    pub(in crate::database) fn finish(self) -> Result<(), Error> {
        match self.made {
            Made::Here(commit) => commit.finish(),
            Made::There { mut joint, .. } => joint.commit(),
        }
    }
}

/// Whether what ended a commit has nothing to do with what it does, so that this process may run it again at once.
pub(super) fn may_begin_again(error: &Error) -> Option<u64> {
    match error {
        Error::Aborted {
            refusal: Refusal::Wounded | Refusal::Gone | Refusal::Recovered,
            started,
            ..
        } => Some(*started),
        _ => None,
    }
}
