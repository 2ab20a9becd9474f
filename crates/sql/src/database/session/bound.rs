//! A transaction that may be on one place, because its places cannot commit together.

use shardwright_store::Params;

use super::{
    super::state::{PlannedStatement, State},
    Session, Transaction,
};
use crate::{
    answer::{Answer, Tier},
    error::Error,
    plan::{Plan, ReadTarget},
    schema::TableKind,
    shards::{Call, Place, PlaceTransaction, Watching},
};

/// A transaction at the one place where it may be.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) place: Place,
    pub(super) held: Box<dyn PlaceTransaction>,
}

impl Session {
    pub(super) fn in_bound(
        &mut self,
        state: &State,
        planned: &PlannedStatement,
        params: &Params<'_>,
    ) -> Result<Answer, Error> {
        let wanted = self.place_of(state, &planned.plan, params)?;
        let database = self.database.clone();
        let is_read = matches!(planned.plan, Plan::Read(_) | Plan::Explain(_));
        let _held = match is_read {
            true => None,
            false => Some(database.unconstrained(state, planned)?),
        };
        let held = self.bind(wanted)?;
        let ran = held.execute(Call::new(&planned.statement, *params));
        if !held.is_open() {
            self.transaction = Transaction::None;
        }
        let ran = ran?;
        let name = database.inner.places.name(wanted).to_owned();
        let mut answer = Answer::of_changes(vec![name], Tier::Single, "the transaction is there");
        answer.columns.clone_from(&planned.columns);
        answer.rows = ran.rows;
        if !is_read {
            answer.changes = ran.outcome.changes;
            answer.last_insert_rowid = ran.outcome.last_insert_rowid;
        }
        Ok(answer)
    }

    fn bind(&mut self, wanted: Place) -> Result<&mut dyn PlaceTransaction, Error> {
        let places = &self.database.inner.places;
        if let Transaction::Begun = self.transaction {
            self.database.check_writable()?;
            self.transaction = Transaction::Bound(Bound {
                place: wanted,
                held: places.begin(wanted, Watching::Any)?,
            });
        }
        let Transaction::Bound(bound) = &mut self.transaction else {
            unreachable!("the transaction was bound above")
        };
        if bound.place == wanted {
            return Ok(&mut *bound.held);
        }
        Err(Error::CrossShardTransaction {
            bound: places.name(bound.place).to_owned(),
            wanted: places.name(wanted).to_owned(),
        })
    }

    /// The one place on which a statement of the transaction runs. There is no directory of keys where places cannot commit together.
    fn place_of(&self, state: &State, plan: &Plan, params: &Params<'_>) -> Result<Place, Error> {
        let routing = state.routing();
        let bound = match &self.transaction {
            Transaction::Bound(bound) => Some(bound.place),
            _ => None,
        };
        let several = |wanted: &str| Error::CrossShardTransaction {
            bound: self
                .places()
                .pop()
                .unwrap_or_else(|| "no shard yet".to_owned()),
            wanted: wanted.to_owned(),
        };
        let (table, shard) = match plan {
            Plan::Read(plan) | Plan::Explain(plan) => {
                return match plan.target(params, routing)? {
                    ReadTarget::One(place) if plan.refs().is_empty() => Ok(bound.unwrap_or(place)),
                    ReadTarget::One(place) => Ok(place),
                    ReadTarget::SchemaCopy
                    | ReadTarget::Scatter { .. }
                    | ReadTarget::Gather { .. } => Err(several("several shards")),
                };
            }
            Plan::Insert(plan) if plan.reads() => return Err(several("several shards")),
            Plan::Insert(plan) => (state.table(&plan.table)?, plan.shard(params, routing)?),
            Plan::Change(plan) => {
                let table = state.table(&plan.table)?;
                let shard = match table.kind {
                    TableKind::Sharded(_) => match plan.shards(params, routing)?[..] {
                        [shard] => Some(shard),
                        _ => None,
                    },
                    TableKind::Global => {
                        plan.check_unsharded(&state.schema)?;
                        None
                    }
                    TableKind::Reference => None,
                };
                (table, shard)
            }
            Plan::Ddl(_) | Plan::Pragma(_) | Plan::Transaction(_) | Plan::Shards(_) => {
                return Err(several("every shard"));
            }
        };
        match (&table.kind, shard) {
            _ if state.needs_guard(table) => Err(several("all shards, to keep a constraint")),
            (TableKind::Sharded(_), Some(shard)) => Ok(Place::Shard(shard)),
            (TableKind::Sharded(_), None) => Err(several("several shards")),
            (TableKind::Global, _) => Ok(Place::Catalog),
            (TableKind::Reference, _) => Err(several("every shard")),
        }
    }
}
