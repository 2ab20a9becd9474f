//! Statements that are tried again, where another try would write something else, or elsewhere.
//!
//! A unit of writes that a place has made once is answered from its memory when it comes again. That helps only if it
//! comes to the same place. Where keys are drawn, or computed from what differs from try to try, all places are asked
//! first what the statement has done.

use shardwright_store::Value;

use super::{ShardedDatabase, WriteMode, state::PlannedStatement};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    shards::{Fault, FaultKind, Fragment, Place, Ran},
};

impl ShardedDatabase {
    /// The answer to a statement that has been made before, wherever that was. The writer has to ask, which runs one try
    /// of a statement at a time. With several shards each unit ended with a [roll call](ShardedDatabase::roll_call).
    pub(super) fn made_before(
        &self,
        planned: &PlannedStatement,
        mode: WriteMode,
    ) -> Result<Option<Answer>, Error> {
        let mut known = self.known()?;
        if known.is_empty() {
            return Ok(None);
        }
        let mut intended = Vec::new();
        if mode == WriteMode::BestEffort {
            for (_, ran) in &mut known {
                intended.extend(ran.pop().map(names_in));
            }
        }
        let tier = match known.len() {
            1 => Tier::Single,
            _ => Tier::Broadcast,
        };
        let reason = "the statement was made before, under the same number";
        let mut answer = Answer::of_changes(Vec::new(), tier, reason);
        answer.columns.clone_from(&planned.columns);
        for (place, ran) in known {
            answer.add(self.inner.places.name(place), Ran::all(ran));
        }
        let missed = |name: &String| !answer.places.contains(name);
        if let Some(failed) = intended.into_iter().flatten().find(missed) {
            let message = "the statement was not made there when it was tried first";
            return Err(Error::PartialWrite {
                committed: answer.places,
                source: Box::new(Fault::new(FaultKind::Interrupted, message).at(&failed)),
                failed,
            });
        }
        Ok(Some(answer))
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

    /// A statement that changes nothing and gives the names of places. As the last one of each unit of a statement it
    /// lets another try see which units there were to be.
    pub(super) fn roll_call(&self, places: &[Place]) -> Fragment {
        let name = |place: &Place| Value::from(self.inner.places.name(*place));
        let marks = vec!["(?)"; places.len()].join(",");
        Fragment::new(
            format!("VALUES {marks}"),
            places.iter().map(name).collect::<Vec<_>>(),
        )
    }
}

/// What a [roll call](ShardedDatabase::roll_call) gave.
fn names_in(ran: Ran) -> Vec<String> {
    let rows = ran.rows.into_iter().flatten();
    let name = |value: Value| value.as_str().map(str::to_owned);
    rows.filter_map(name).collect()
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
