//! Running a statement, whatever it is.

use std::fmt;

use shardwright_store::{Params, Value};

use super::{
    ShardedDatabase, WriteMode,
    state::{PlannedStatement, State},
};
use crate::{
    answer::{Answer, Outcome, Tier},
    error::Error,
    plan::{Homes, InsertPlan, Plan, Purpose, ReadTarget},
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

impl ShardedDatabase {
    /// Runs one statement of any kind, wherever its rows are.
    ///
    /// # Errors
    /// What SQLite says of it, or why it is refused. A statement that fails has changed nothing, except where
    /// [`Error::PartialWrite`] says so.
    pub fn execute<'p>(&self, sql: &str, params: impl Into<Params<'p>>) -> Result<Answer, Error> {
        self.execute_with(sql, params, self.inner.shared.options.write_mode)
    }

    /// Runs one statement, and says what a write to several shards does.
    ///
    /// # Errors
    /// As [`ShardedDatabase::execute`].
    pub fn execute_with<'p>(
        &self,
        sql: &str,
        params: impl Into<Params<'p>>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        let state = self.inner.state.load();
        let planned = state.plan(sql)?;
        let params = params.into();
        let pass = self.enter();
        let ran = self.run_planned(&state, &planned, &params, mode);
        drop(pass);
        match ran {
            Err(error) if error.is_schema_change() => {
                self.run_again(&state, sql, &params, mode, error)
            }
            ran => ran,
        }
    }

    /// Plans a statement again that was refused because the schema has changed, unless this handle has no newer one.
    #[cold]
    pub(super) fn run_again(
        &self,
        before: &State,
        sql: &str,
        params: &Params<'_>,
        mode: WriteMode,
        refusal: Error,
    ) -> Result<Answer, Error> {
        if self.inner.state.load().version == before.version {
            return Err(refusal);
        }
        self.execute_with(sql, *params, mode)
    }

    pub(super) fn run_planned(
        &self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
        mode: WriteMode,
    ) -> Result<Answer, Error> {
        match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => self.read(state, planned, plan, params),
            Plan::Insert(plan) => self.insert(state, planned, plan, params, mode),
            Plan::Change(plan) => self.change(state, planned, plan, params, mode),
            Plan::Ddl(statement) => self.define(statement, planned.statement.sql()),
            Plan::Pragma(statement) => self.pragma(state, statement, planned.statement.sql()),
            Plan::Transaction(_) => Err(Error::Unsupported {
                what: "BEGIN or COMMIT outside a session".to_owned(),
                hint: "run the statements of a transaction in one Session",
            }),
        }
    }

    /// Whether a statement changes nothing, whatever its values are.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn only_reads(&self, sql: &str) -> Result<bool, Error> {
        let planned = self.inner.state.load().plan(sql)?;
        Ok(matches!(planned.plan, Plan::Read(_) | Plan::Explain(_)))
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
        let name = |place| self.inner.places.name(place).to_owned();
        let single = |place, reason: &str| Explanation {
            tier: Tier::Single,
            places: vec![name(place)],
            reason: reason.to_owned(),
        };
        Ok(match &planned.plan {
            Plan::Read(plan) | Plan::Explain(plan) => {
                match self.find_route(&state, |routing| plan.target(&params, routing))? {
                    ReadTarget::One(place) => single(place, self.why_single(plan, place)),
                    ReadTarget::SchemaCopy => Explanation {
                        tier: Tier::Schema,
                        places: Vec::new(),
                        reason: "it reads the schema alone".to_owned(),
                    },
                    ReadTarget::Scatter { shards, reason, .. } => Explanation {
                        tier: Tier::Scatter,
                        places: shards.into_iter().map(Place::Shard).map(name).collect(),
                        reason: reason.to_string(),
                    },
                    ReadTarget::Gather {
                        reason,
                        unscattered,
                    } => Explanation {
                        tier: Tier::Gather,
                        places: self.inner.places.all().map(name).collect(),
                        reason: format!("{reason}, and {unscattered}"),
                    },
                }
            }
            Plan::Insert(plan) => match self.shard_of_insert(&state, plan, &params)? {
                InsertShard::One(shard) => {
                    single(Place::Shard(shard), "all rows have keys of this shard")
                }
                InsertShard::New => Explanation {
                    tier: Tier::Single,
                    places: self.shard_names(),
                    reason: "a new key gets its home with its first row".to_owned(),
                },
                InsertShard::Several => Explanation {
                    tier: Tier::Broadcast,
                    places: self.inner.places.all().map(name).collect(),
                    reason: "the rows are grouped by the shards of their keys".to_owned(),
                },
            },
            Plan::Change(plan) => {
                let shards = self.find_route(&state, |routing| plan.shards(&params, routing))?;
                Explanation {
                    tier: if shards.len() <= 1 {
                        Tier::Single
                    } else {
                        Tier::Broadcast
                    },
                    places: shards
                        .into_iter()
                        .map(|shard| name(Place::Shard(shard)))
                        .collect(),
                    reason: "the shards whose rows it can reach".to_owned(),
                }
            }
            Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) => Explanation {
                tier: Tier::Broadcast,
                places: self.inner.places.all().map(name).collect(),
                reason: "it concerns the whole database".to_owned(),
            },
        })
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

impl Answer {
    pub(super) fn of_changes(places: Vec<String>, tier: Tier, reason: impl Into<String>) -> Self {
        Self {
            columns: Vec::new(),
            rows: Vec::new(),
            changes: 0,
            last_insert_rowid: None,
            places,
            tier,
            reason: reason.into(),
        }
    }

    /// What a write did.
    pub(super) fn outcome(&self) -> Outcome {
        Outcome {
            changes: self.changes,
            last_insert_rowid: self.last_insert_rowid,
        }
    }

    /// The first value of the first row.
    #[must_use]
    pub fn first_value(&self) -> Option<&Value> {
        self.rows.first()?.first()
    }
}
