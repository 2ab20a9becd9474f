//! Whether what a plan rests on is so, at a shard.

use std::ops::ControlFlow;

use shardwright_sql::shards::{ANNOUNCED_KEY, BROADCAST_KEY, is_announced};
use shardwright_store::{Error as StoreError, Member, Row, Snapshot};

use super::{Reason, note};
use crate::gateway::wire::{Basis, Refusal};
use crate::shard::split::SEALED;

/// The key under which a shard keeps the epoch of the latest writer of the keyspace.
pub(in crate::gateway) const WRITER: &str = "gateway.writer";

const LOOK: &str = "SELECT key, value FROM main._meta
    WHERE key IN ('sql.broadcast', 'gateway.writer', 'elastic.sealed')";

/// What a write looks for as well: whether a change is announced.
const LOOK_TO_WRITE: &str = "SELECT key, value FROM main._meta
    WHERE key IN ('sql.broadcast', 'gateway.writer', 'elastic.sealed', 'sql.announced')";

/// What a shard knows.
#[derive(Debug, Default)]
struct Known {
    schema: u64,
    writer: u64,
    announced: u64,
    is_sealed: bool,
}

impl Known {
    /// Looks in a transaction that writes.
    fn of(member: &mut Member<'_>) -> Result<Self, StoreError> {
        let mut known = Self::default();
        let _ = member.query(LOOK_TO_WRITE, (), |row| {
            known.take(row);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(known)
    }

    /// Looks in a snapshot that is read.
    fn shown_by(snapshot: &Snapshot) -> Result<Self, StoreError> {
        let mut known = Self::default();
        let _ = snapshot.query(LOOK, (), |row| {
            known.take(row);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(known)
    }

    fn take(&mut self, row: &Row<'_>) {
        let number = row.get(1).as_i64().and_then(|n| u64::try_from(n).ok());
        match row.get(0).as_str() {
            Some(BROADCAST_KEY) => self.schema = number.unwrap_or(0),
            Some(ANNOUNCED_KEY) => self.announced = number.unwrap_or(0),
            Some(WRITER) => self.writer = number.unwrap_or(0),
            Some(SEALED) => self.is_sealed = true,
            _ => {}
        }
    }
}

impl Basis {
    /// Looks in a transaction that writes.
    pub(super) fn check(self, member: &mut Member<'_>, reason: &Reason) -> Result<(), StoreError> {
        let known = Known::of(member)?;
        let compared = self.compare(&known);
        let allowed = compared.and_then(|()| match self.schema {
            Some(_) if is_announced(known.announced) => Err(Refusal::Announced),
            Some(_) | None => Ok(()),
        });
        allowed.map_err(|refusal| {
            note(reason, refusal);
            StoreError::Interrupted
        })
    }

    /// Looks in the snapshot that is read.
    pub(super) fn check_snapshot(self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let known = Known::shown_by(snapshot);
        let known = known.map_err(|error| super::fault(&error, false))?;
        match self.schema {
            Some(_) => self.compare(&known),
            None => Self::default().compare(&known),
        }
    }

    fn compare(self, known: &Known) -> Result<(), Refusal> {
        // First of all: what else it knows may be that of a shard that is no more.
        if known.is_sealed {
            return Err(Refusal::Sealed);
        }
        // A later writer has to be heard of first: what it changed is not known to this one.
        if self.writer.is_some_and(|writer| writer != known.writer) {
            return Err(Refusal::NotWriter);
        }
        if self.schema.is_some_and(|schema| schema != known.schema) {
            return Err(Refusal::SchemaChanged);
        }
        Ok(())
    }
}

/// Returns whether a shard takes nothing from gateways any more, as a transaction that writes finds it.
///
/// # Errors
/// What SQLite reports.
pub fn is_sealed(member: &mut Member<'_>) -> Result<bool, StoreError> {
    Ok(Known::of(member)?.is_sealed)
}

/// Returns whether a shard answers nothing to gateways any more, as a snapshot shows it.
///
/// # Errors
/// What SQLite reports.
pub fn shows_seal(snapshot: &Snapshot) -> Result<bool, StoreError> {
    Ok(Known::shown_by(snapshot)?.is_sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_for_all_that_is_known() {
        for look in [LOOK, LOOK_TO_WRITE] {
            for key in [BROADCAST_KEY, WRITER, SEALED] {
                assert!(look.contains(&format!("'{key}'")), "{look}");
            }
        }
        assert!(LOOK_TO_WRITE.contains(ANNOUNCED_KEY));
    }

    #[test]
    fn whatever_else_a_sealed_shard_knows_it_refuses() {
        let known = Known {
            schema: 3,
            is_sealed: true,
            ..Known::default()
        };
        for schema in [None, Some(3), Some(4)] {
            for writer in [None, Some(7)] {
                let basis = Basis { schema, writer };
                assert_eq!(basis.compare(&known), Err(Refusal::Sealed));
            }
        }
    }
}
