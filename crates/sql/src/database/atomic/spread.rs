//! Statements whose rows are on several places, as one commit.

use std::collections::BTreeMap;

use super::Commit;
use crate::{
    answer::{Answer, Tier},
    commit::Refusal,
    database::{
        ShardedDatabase,
        journal::Step,
        state::{PlannedStatement, State},
        unique::Checks,
    },
    error::Error,
    schema::Table,
    shards::{Fragment, Place, Ran},
};

/// What one place is to do.
pub(in crate::database) type Part = Vec<Fragment>;

/// What several places are to do, in the order in which each commit asks for them.
pub(in crate::database) type Parts = BTreeMap<Place, Part>;

impl ShardedDatabase {
    /// Whether a write to several places can be all or nothing here.
    pub(in crate::database) fn commits_everywhere(&self) -> bool {
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
        let none = state.checks.without_watch();
        let checks = if planned.needs_guard {
            &*state.checks
        } else {
            &none
        };
        for (place, ran) in self.run_parts(checks, rule, parts)? {
            answer.add(self.inner.places.name(place), ran);
        }
        Ok(answer)
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
        let none = state.checks.without_watch();
        let checks = if state.needs_guard(table) {
            &*state.checks
        } else {
            &none
        };
        let all = self.inner.places.all();
        let parts = all.map(|place| (place, statements.to_vec())).collect();
        let ran = self.run_parts(checks, None, &parts)?;
        Ok(ran
            .into_iter()
            .next()
            .map(|(_, ran)| ran)
            .unwrap_or_default())
    }

    fn run_parts(
        &self,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
    ) -> Result<Vec<(Place, Ran)>, Error> {
        self.check_writable()?;
        let mut started = None;
        loop {
            let mut commit = Commit::new(self, started);
            let ran = self.run_in(&mut commit, checks, rule, parts);
            match ran.and_then(|ran| commit.finish().map(|()| ran)) {
                // Nobody has seen anything of it, and with its age its turn comes.
                Err(Error::Aborted {
                    refusal: Refusal::Wounded | Refusal::Gone,
                    started: age,
                    ..
                }) => started = Some(age),
                done => return done,
            }
        }
    }

    /// Runs what each place is to do in a commit.
    pub(in crate::database) fn run_in(
        &self,
        commit: &mut Commit,
        checks: &Checks,
        rule: Option<&'static str>,
        parts: &Parts,
    ) -> Result<Vec<(Place, Ran)>, Error> {
        let mut all = Vec::new();
        for (&place, part) in parts {
            commit.enlist(place, checks.watching(place))?;
            let deferred = checks.deferred();
            let before = commit.within(place, |open| deferred.violations(place, open))?;
            let mut ran = Vec::new();
            for statement in part {
                ran.push(commit.run(place, Step::bound(statement))?);
            }
            let after = commit.within(place, |open| deferred.violations(place, open))?;
            if before < after {
                return Err(Error::Constraint {
                    message: "FOREIGN KEY constraint failed".to_owned(),
                });
            }
            self.check_notes_of(checks, place, commit, rule)?;
            all.push((place, Ran::all(ran)));
        }
        Ok(all)
    }
}
