//! Rows that are there before an index forbids that rows of several shards agree.

use std::{collections::HashMap, ops::ControlFlow};

use parking_lot::RwLockReadGuard;
use turso_parser::ast::Stmt;

use super::Terms;
use crate::{
    database::{
        ReadLevel, ShardedDatabase,
        state::{PlannedStatement, State},
    },
    error::Error,
    gather::GatherRequest,
    schema::{Schema, Table, UniqueConstraint, quote_identifier},
    shards::FaultKind,
};

/// Asks whether rows agree that an index forbids to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) struct Question {
    /// Has a row if they do.
    sql: String,
    /// `table.column, ...`, for the message.
    columns: String,
}

impl Question {
    /// What has to be asked before a statement makes an index; `None` if each shard can keep it alone, or it makes none.
    ///
    /// # Errors
    /// [`Error::GlobalIndex`] if the terms of the index are not understood.
    pub(in crate::database) fn before(
        statement: &Stmt,
        after: &Schema,
    ) -> Result<Option<Self>, Error> {
        let Stmt::CreateIndex {
            unique: true,
            tbl_name,
            idx_name,
            ..
        } = statement
        else {
            return Ok(None);
        };
        let (table, index) = (tbl_name.as_str(), idx_name.name.as_str());
        let table = after.table(table).ok_or_else(|| Error::UnknownTable {
            table: table.to_owned(),
        })?;
        let is_it = |name: &String| name.eq_ignore_ascii_case(index);
        let Some(unique) = table
            .global_constraints()
            .find(|unique| unique.index.as_ref().is_some_and(is_it))
        else {
            return Ok(None);
        };
        Self::of(after, table, unique).map(Some)
    }

    /// Asks about a constraint that one shard alone cannot keep.
    fn of(schema: &Schema, table: &Table, unique: &UniqueConstraint) -> Result<Self, Error> {
        let terms = Terms::of(schema, table, unique)?;
        let not_null = terms.terms.iter().map(|term| format!("{term} IS NOT NULL"));
        let condition = terms
            .condition
            .iter()
            .map(|condition| format!("({condition})"));
        let groups = terms.terms.iter().zip(&terms.collations);
        let groups: Vec<String> = groups
            .map(|(term, collation)| format!("{term} COLLATE {collation}"))
            .collect();
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
            quote_identifier(&table.name),
            not_null.chain(condition).collect::<Vec<_>>().join(" AND "),
            groups.join(", ")
        );
        Ok(Self {
            sql,
            columns: terms.names,
        })
    }
}

impl ShardedDatabase {
    /// Refuses an index while there are rows that it would forbid.
    ///
    /// # Errors
    /// [`Error::Constraint`], and what a read fails with.
    pub(in crate::database) fn check_existing(
        &self,
        state: &State,
        question: &Question,
    ) -> Result<(), Error> {
        let request = GatherRequest {
            shards: self.snapshots_at(ReadLevel::PerShard)?,
            routing: state.owned_routing(self.has_directory()),
            pins: HashMap::new(),
            limits: self.limits(),
        };
        let mut found = false;
        state
            .gather
            .query(&question.sql, &().into(), request, |_| {
                found = true;
                ControlFlow::Break(())
            })?;
        if found {
            return Err(Error::Constraint {
                message: format!("UNIQUE constraint failed: {}", question.columns),
            });
        }
        Ok(())
    }

    /// Checks that the rows of all shards together keep every constraint that one shard alone cannot keep.
    ///
    /// # Errors
    /// [`Error::Constraint`] for the first that they do not keep, and what a read fails with.
    pub(crate) fn check_constraints(&self) -> Result<(), Error> {
        let state = self.inner.state.load();
        for table in state.schema.tables() {
            for unique in table.global_constraints() {
                let question = Question::of(&state.schema, table, unique)?;
                self.check_existing(&state, &question)?;
            }
        }
        Ok(())
    }

    /// Held by a write that no other shard may forbid, so that no index comes meanwhile by which one may.
    ///
    /// # Errors
    /// [`FaultKind::SchemaChanged`] if such an index has come since the statement was planned.
    pub(in crate::database) fn unconstrained(
        &self,
        state: &State,
        planned: &PlannedStatement,
    ) -> Result<RwLockReadGuard<'_, ()>, Error> {
        // Writes that wait for one another must not wait for an index that waits for them.
        let held = self.inner.shared.unconstrained.read_recursive();
        let now = self.base().inner.state.load();
        if !planned.needs_guard && now.version != state.version && now.guards(&planned.plan) {
            let message = "a constraint has come since the statement was planned";
            return Err(self.fault(FaultKind::SchemaChanged, message));
        }
        Ok(held)
    }
}
