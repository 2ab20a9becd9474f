//! Statements whose rows are on several places, as one commit.

use std::collections::BTreeMap;

use super::{Commit, joint::may_begin_again};
use crate::{
    answer::{Answer, Tier},
    database::{
        ShardedDatabase,
        journal::Step,
        state::{PlannedStatement, State},
        unique::Checks,
    },
    error::Error,
    schema::Table,
    shards::{Enlisted, FaultKind, Fragment, Place, Ran},
};

/// What one place is to do.
pub(in crate::database) type Part = Vec<Fragment>;

/// What several places are to do, in the order in which each commit asks for them.
pub(in crate::database) type Parts = BTreeMap<Place, Part>;

impl ShardedDatabase {
    /// Whether a write to several places can be all or nothing here.
    pub(in crate::database) fn commits_everywhere(&self) -> bool {
        self.within().is_some() || self.commits_on_files() || self.inner.places.join(0).is_some()
    }

    /// Whether this process makes such writes itself, alone on the files of a directory.
    pub(in crate::database) fn commits_on_files(&self) -> bool {
        self.inner.places.is_exclusive()
    }

    /// Makes a write at several places, or at none. The caller holds the lock of constrained writes if this is one.
    pub(in crate::database) fn write_atomic(
        &self,
        state: &State,
        planned: &PlannedStatement,
        rule: Option<&'static str>,
        parts: &Parts,
    ) -> Result<Answer, Error> {
        let reason = "the shards that the rows are on, all or none";
        let mut answer = Answer::of_changes(Vec::new(), Tier::Broadcast, reason);
        answer.columns.clone_from(&planned.columns);
        let _held = self.unconstrained(state, planned)?;
        if self.inner.places.may_recur()
            && let Some(made) = self.made_as_a_whole(state, planned)?
        {
            return Ok(made);
        }
        match self.run_parts(state, planned.needs_guard, rule, parts)? {
            Some(ran) => {
                for (place, ran) in ran {
                    answer.add(self.inner.places.name(place), ran);
                }
                Ok(answer)
            }
            None => self.made_meanwhile(state, planned),
        }
    }

    /// The answer to a statement that a place has turned out to know.
    pub(super) fn made_meanwhile(
        &self,
        state: &State,
        planned: &PlannedStatement,
    ) -> Result<Answer, Error> {
        let made = self.made_as_a_whole(state, planned)?;
        made.ok_or_else(|| self.fault(FaultKind::Interrupted, "the statement was made meanwhile"))
    }

    /// The answer to a statement that has been made before at all its places. Nobody has to be the writer to ask: it was
    /// made everywhere or nowhere, so whoever knows of a part can wait for the others to tell theirs.
    pub(super) fn made_as_a_whole(
        &self,
        state: &State,
        planned: &PlannedStatement,
    ) -> Result<Option<Answer>, Error> {
        let places = &self.inner.places;
        if places.statement().is_none() {
            return Ok(None);
        }
        // Where one knows it, it is decided; a place that was asked before that is asked again.
        match places.recall()?.is_empty() {
            true => Ok(None),
            false => self.made(state, planned, places.recall()?),
        }
    }

    /// Writes to a reference table at every place, or at none; the caller has begun the broadcast. Returns what it did at
    /// one of them.
    pub(in crate::database) fn write_everywhere(
        &self,
        state: &State,
        table: &Table,
        statements: &[Fragment],
    ) -> Result<Ran, Error> {
        let _guard = self.guard(state, table)?;
        // A foreign key may carry the change to rows that other shards have a say in.
        let all = self.inner.places.all();
        let parts = all.map(|place| (place, statements.to_vec())).collect();
        let ran = self.run_parts(state, state.needs_guard(table), None, &parts)?;
        Ok(ran
            .into_iter()
            .flatten()
            .next()
            .map(|(_, ran)| ran)
            .unwrap_or_default())
    }

    /// Returns what each place did; `None` if the statement turns out to have been made before.
    fn run_parts(
        &self,
        state: &State,
        needs_guard: bool,
        rule: Option<&'static str>,
        parts: &Parts,
    ) -> Result<Option<Vec<(Place, Ran)>>, Error> {
        let checks = state.checks_of(needs_guard);
        match self.within() {
            Some(transaction) => {
                let mut transaction = transaction.lock();
                transaction.run(state, &checks, rule, parts, &[]).map(Some)
            }
            None => self.repeatedly(|commit| self.run_in(commit, &checks, rule, parts)),
        }
    }

    /// Does work in a commit of its own, and again after an older one took a place from it. `None` of the work is no commit.
    pub(super) fn repeatedly<T>(
        &self,
        work: impl Fn(&mut Commit) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        self.check_writable()?;
        let mut started = None;
        loop {
            let mut commit = Commit::new(self, started);
            let done = match work(&mut commit) {
                Ok(Some(ran)) => commit.finish().map(|()| Some(ran)),
                ran => ran,
            };
            // Nobody has seen anything of it, and with its age its turn comes.
            match done.as_ref().err().and_then(may_begin_again) {
                Some(age) if self.has_time() => started = Some(age),
                Some(_) | None => return done,
            }
        }
    }

    /// Makes a commit of what `work` runs in it, which may be run again: nobody has seen anything of it then.
    pub(in crate::database) fn commit_with<T>(
        &self,
        work: impl Fn(&mut Commit) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut started = None;
        loop {
            let mut commit = Commit::new(self, started);
            let done = work(&mut commit).and_then(|ran| commit.finish().map(|()| ran));
            match done.as_ref().err().and_then(may_begin_again) {
                Some(age) if self.has_time() => started = Some(age),
                Some(_) | None => return done,
            }
        }
    }

    fn has_time(&self) -> bool {
        let left = self.inner.places.time_left();
        left.is_none_or(|left| !left.is_zero())
    }

    /// Runs what each place is to do in a commit. `None` if the statement turns out to have been made before.
    pub(in crate::database) fn run_in(
        &self,
        commit: &mut Commit,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
    ) -> Result<Option<Vec<(Place, Ran)>>, Error> {
        let mut all = Vec::new();
        for (&place, part) in parts {
            if commit.enlist(place, checks.watching(place))? == Enlisted::Known {
                return Ok(None);
            }
            let deferred = checks.deferred();
            let before = deferred.violations_of(commit, &[place])?;
            all.push((place, run_part(commit, place, part)?));
            deferred.check(commit, &before)?;
            self.check_notes_of(checks, place, commit, rule)?;
        }
        Ok(Some(all))
    }

    /// Asks about all rows that a commit has written, wherever that was.
    pub(in crate::database) fn check_all_notes(
        &self,
        checks: &Checks,
        commit: &mut Commit,
        rule: Option<&'static str>,
    ) -> Result<(), Error> {
        for place in commit.places() {
            self.check_notes_of(checks, place, commit, rule)?;
        }
        Ok(())
    }
}

/// Runs what each place is to do, where the commit has begun.
pub(in crate::database) fn run_parts(
    commit: &mut Commit,
    parts: &Parts,
) -> Result<Vec<(Place, Ran)>, Error> {
    let mut parts = parts.iter();
    let run = |(place, part): (&Place, &Part)| Ok((*place, run_part(commit, *place, part)?));
    parts.by_ref().map(run).collect()
}

fn run_part(commit: &mut Commit, place: Place, part: &Part) -> Result<Ran, Error> {
    let run = |statement| commit.run(place, Step::bound(statement));
    let ran = part.iter().map(run).collect::<Result<_, _>>()?;
    Ok(Ran::all(ran))
}
