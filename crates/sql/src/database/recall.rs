//! Statements that are tried again, where another try would write something else, or elsewhere.
//!
//! A unit of writes that a place has made once is answered from its memory when it comes again. That helps only if it
//! comes to the same place, or to one that has taken that one's rows over. Where keys are drawn, or computed from what
//! differs from try to try, all places are asked first what the statement has done.

use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
    write::missed_at,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    schema::Table,
    shards::{Fragment, Parts, Place, Ran, roll_call},
};

impl ShardedDatabase {
    /// The answer to a statement that has been made before, wherever that was. The writer has to ask, which runs one try
    /// of a statement at a time.
    pub(super) fn made_before(
        &self,
        state: &State,
        planned: &PlannedStatement,
    ) -> Result<Option<Answer>, Error> {
        self.made(state, planned, self.known()?)
    }

    /// The answer to a statement for one shard whose rows are on several now: what it did when they were on one, if it was
    /// tried then. Nobody can make it any more.
    pub(super) fn made_or_refused(
        &self,
        state: &State,
        planned: &PlannedStatement,
        table: &Table,
        shards: usize,
    ) -> Result<Answer, Error> {
        let places = &self.inner.places;
        if places.may_recur()
            && let Some(made) = self.made(state, planned, places.recall()?)?
        {
            return Ok(made);
        }
        Err(Error::MultiShardWrite {
            table: table.name.clone(),
            shards,
        })
    }

    /// What places know of a statement, as its answer. With several shards each unit ended with a [roll
    /// call](ShardedDatabase::roll_call).
    pub(super) fn made(
        &self,
        state: &State,
        planned: &PlannedStatement,
        known: Vec<(Place, Vec<Ran>)>,
    ) -> Result<Option<Answer>, Error> {
        if known.is_empty() {
            return Ok(None);
        }
        let places = &self.inner.places;
        let reason = "the statement was made before, under the same number";
        let mut answer = Answer::of_changes(Vec::new(), Tier::Single, reason);
        answer.columns.clone_from(&planned.columns);
        let mut parts = Parts::default();
        for (place, mut ran) in known {
            parts.add(Parts::take_out_of(&mut ran));
            if ran.is_empty() || !ran.iter().all(Ran::is_elsewhere) {
                answer.add(places.name(place), Ran::all(ran));
            }
        }
        if answer.places.len() > 1 {
            answer.tier = Tier::Broadcast;
        }
        match parts.missing() {
            Some(at) => {
                let failed = Place::Shard(state.map.index_at(at));
                Err(missed_at(places.name(failed), answer.places))
            }
            None => Ok(Some(answer)),
        }
    }

    /// What the statement did at other places than these, of which one only knows that it did it: others that have taken
    /// over rows of the same shard tell the rest.
    pub(super) fn told_elsewhere(&self, asked: &[Place]) -> Result<Vec<(Place, Ran)>, Error> {
        let mut told = Vec::new();
        for (place, mut ran) in self.inner.places.recall()? {
            Parts::take_out_of(&mut ran);
            if !asked.contains(&place) && !ran.iter().all(Ran::is_elsewhere) {
                told.push((place, Ran::all(ran)));
            }
        }
        Ok(told)
    }

    /// What the statement has done before, by place.
    pub(super) fn known(&self) -> Result<Vec<(Place, Vec<Ran>)>, Error> {
        let places = &self.inner.places;
        if !places.may_recur() {
            return Ok(Vec::new());
        }
        self.check_writer()?;
        places.recall()
    }

    /// A statement that changes nothing, as the last one of a unit of a statement with a number that has others at other
    /// places: it lets another try see which units there were to be, and who has made this one.
    pub(super) fn roll_call(
        &self,
        state: &State,
        place: Place,
        places: &[Place],
    ) -> Option<Fragment> {
        if places.len() <= 1 || self.inner.places.statement().is_none() {
            return None;
        }
        let range = |place: &Place| match place {
            Place::Shard(index) => Some(state.map.shards()[*index].range()),
            Place::Catalog => None,
        };
        Some(roll_call(range(&place)?, places.iter().filter_map(range)))
    }
}

impl Parts {
    /// Whether a place has taken over a unit that was made without some of its rows.
    pub(super) fn is_missing_at(&self, state: &State, place: Place) -> bool {
        match place {
            Place::Shard(index) => {
                let range = state.map.shards()[index].range();
                self.missing_in(range).is_some()
            }
            Place::Catalog => false,
        }
    }
}

impl Answer {
    /// Adds what a unit did at a place.
    pub(super) fn add(&mut self, place: &str, ran: Ran) {
        self.changes += ran.outcome.changes;
        self.last_insert_rowid = ran.outcome.last_insert_rowid.or(self.last_insert_rowid);
        self.rows.extend(ran.rows);
        self.places.push(place.to_owned());
    }
}
