//! Telling how a statement would run.

use std::fmt;

use shardwright_store::{Params, Value};

use super::{
    ShardedDatabase,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, ResultColumn, Tier},
    error::Error,
    plan::{Homes, InsertPlan, Plan, Purpose, ReadPlan, ReadTarget},
    shards::Place,
};

/// How a statement would run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// How it runs.
    pub tier: Tier,
    /// The places that it may touch, by name.
    pub places: Vec<String>,
    /// Why.
    pub reason: String,
    /// What the places are sent, where that is one statement for all.
    pub sent: Option<String>,
    /// The statement that makes the answer of what the places give, where it is not their rows as they are.
    pub combined: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {}: {}",
            self.tier,
            self.places.join(", "),
            self.reason
        )
    }
}

/// The columns of EXPLAIN SHARDS.
pub(super) fn explained_columns() -> Vec<ResultColumn> {
    let columns = ["tier", "shards", "statement", "reason"].into_iter();
    let named = columns.map(|name| ResultColumn {
        name: name.to_owned(),
        declared_type: None,
    });
    named.collect()
}

impl ShardedDatabase {
    /// Answers EXPLAIN SHARDS: a row with the way, the places, what they are sent and why; and one for the statement that makes the
    /// answer of theirs, if there is one.
    pub(super) fn explain_shards(
        &self,
        planned: &PlannedStatement,
        explained: &str,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let explained = self.explain(explained, *params)?;
        let text = |text: Option<String>| text.map_or(Value::Null, Value::from);
        let tier = explained.tier.to_string();
        let mut rows = vec![vec![
            Value::from(tier.clone()),
            Value::from(explained.places.join(", ")),
            text(explained.sent),
            Value::from(explained.reason),
        ]];
        if let Some(combined) = explained.combined {
            rows.push(vec![
                Value::from(tier),
                Value::Null,
                Value::from(combined),
                Value::from("it makes the answer of the rows that the shards give"),
            ]);
        }
        Ok(Answer {
            columns: planned.columns.clone(),
            rows,
            changes: 0,
            last_insert_rowid: None,
            places: Vec::new(),
            tier: Tier::Schema,
            reason: "it asks how another statement would run".to_owned(),
        })
    }

    /// Tells how a statement would run.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn explain<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
    ) -> Result<Explanation, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let params = params.into();
        let of = |tier, places: Vec<String>, reason: &str| Explanation {
            tier,
            places,
            reason: reason.to_owned(),
            sent: Some(sql.trim().to_owned()),
            combined: None,
        };
        let all = || {
            self.inner
                .places
                .all()
                .map(|place| self.name_of(place))
                .collect()
        };
        Ok(match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => {
                self.explain_read(&state, plan, sql, &params)?
            }
            Plan::Insert(plan) => match self.shard_of_insert(&state, plan, &params)? {
                InsertShard::One(shard) => {
                    let place = self.name_of(Place::Shard(shard));
                    of(
                        Tier::Single,
                        vec![place],
                        "all rows have keys of this shard",
                    )
                }
                InsertShard::New => {
                    let reason = "a new key gets its home with its first row";
                    of(Tier::Single, self.shard_names(), reason)
                }
                InsertShard::Several => {
                    let reason = "the rows are grouped by the shards of their keys";
                    of(Tier::Broadcast, all(), reason)
                }
            },
            Plan::Change(plan) => {
                let shards = self.find_route(&state, |routing| plan.shards(&params, routing))?;
                let tier = if shards.len() <= 1 {
                    Tier::Single
                } else {
                    Tier::Broadcast
                };
                let places = shards
                    .into_iter()
                    .map(|shard| self.name_of(Place::Shard(shard)));
                of(tier, places.collect(), "the shards whose rows it can reach")
            }
            Plan::Shards(_) => Explanation {
                sent: None,
                ..of(
                    Tier::Schema,
                    Vec::new(),
                    "it asks how another statement would run",
                )
            },
            Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) => {
                of(Tier::Broadcast, all(), "it concerns the whole database")
            }
        })
    }

    fn explain_read(
        &self,
        state: &State,
        plan: &ReadPlan,
        sql: &str,
        params: &Params<'_>,
    ) -> Result<Explanation, Error> {
        let explained = |tier, places, reason| Explanation {
            tier,
            places,
            reason,
            sent: None,
            combined: None,
        };
        Ok(
            match self.find_route(state, |routing| plan.target(params, routing))? {
                ReadTarget::One(place) => {
                    let reason = self.why_single(plan, place).to_owned();
                    Explanation {
                        sent: Some(sql.trim().to_owned()),
                        ..explained(Tier::Single, vec![self.name_of(place)], reason)
                    }
                }
                ReadTarget::SchemaCopy => {
                    let reason = "it reads the schema alone".to_owned();
                    explained(Tier::Schema, Vec::new(), reason)
                }
                ReadTarget::Scatter { shards, reason, .. } => {
                    let places = shards
                        .into_iter()
                        .map(|shard| self.name_of(Place::Shard(shard)));
                    let scatter = plan.scatter();
                    Explanation {
                        sent: scatter.map(|scatter| scatter.fragment.to_string()),
                        combined: scatter
                            .and_then(|scatter| scatter.combine.as_ref())
                            .map(|combine| combine.sql.to_string()),
                        ..explained(Tier::Scatter, places.collect(), reason.to_string())
                    }
                }
                ReadTarget::Gather {
                    reason,
                    unscattered,
                } => {
                    let places = self.inner.places.all().map(|place| self.name_of(place));
                    let reason = format!("{reason}, and {unscattered}");
                    Explanation {
                        combined: Some(plan.gather_sql.to_string()),
                        ..explained(Tier::Gather, places.collect(), reason)
                    }
                }
            },
        )
    }

    fn name_of(&self, place: Place) -> String {
        self.inner.places.name(place).to_owned()
    }
}

/// Where the rows of an INSERT go.
enum InsertShard {
    One(usize),
    /// To one of the shards, as the directory's strategy chooses.
    New,
    Several,
}

impl ShardedDatabase {
    fn shard_of_insert(
        &self,
        state: &State,
        plan: &InsertPlan,
        params: &Params<'_>,
    ) -> Result<InsertShard, Error> {
        let homes = Homes::new(self.purpose(Purpose::Find));
        let shard = self.route(state, &homes, |routing| plan.shard(params, routing))?;
        Ok(match shard {
            Some(_) if homes.has_unlisted() && self.makes_entries() => InsertShard::New,
            Some(shard) => InsertShard::One(shard),
            None => InsertShard::Several,
        })
    }
}
