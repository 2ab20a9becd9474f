//! What the files keep of commits over several places: rows of `_meta`, each with the version of its form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_store::Value;

use super::super::journal::Step;
pub(super) use crate::commit::notes::{ALL, AppliedNote, COUNT};
use crate::{
    commit::{
        CommitId, Party,
        notes::{APPLIED, DECIDED, DELETE, PREPARED, PUT, PreparedNote, RAISE, json, parse},
    },
    error::Error,
    shards::{Call, Fault, FaultKind, Place, PlaceTransaction, Places},
};

/// The version of the form that is written here.
const VERSION: u32 = 1;

/// A decision, with what the other places are to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DecidedNote {
    version: u32,
    pub(super) first: Party,
    pub(super) members: Vec<Party>,
    /// The statements of every place but the first.
    pub(super) parts: BTreeMap<Party, Vec<Step>>,
}

/// The notes of one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Notes {
    pub(super) count: u64,
    pub(super) decided: BTreeMap<CommitId, DecidedNote>,
    pub(super) applied: BTreeMap<CommitId, AppliedNote>,
    /// Where the places keep their parts themselves.
    pub(super) prepared: BTreeMap<CommitId, PreparedNote>,
}

impl DecidedNote {
    pub(super) fn new(
        first: Party,
        members: Vec<Party>,
        parts: BTreeMap<Party, Vec<Step>>,
    ) -> Self {
        Self {
            version: VERSION,
            first,
            members,
            parts,
        }
    }

    /// Writes the decision in the transaction of the first place.
    pub(super) fn write(
        &self,
        id: CommitId,
        transaction: &mut dyn PlaceTransaction,
    ) -> Result<(), Error> {
        let entry = [Value::from(format!("{DECIDED}{id}")), json(self)];
        transaction.aside(Call::new(PUT, &entry)).map(drop)
    }
}

/// Lists a commit at a place, in the transaction in which that has it. Returns how many it has had with this one.
pub(super) fn list(
    id: CommitId,
    first: &Party,
    members: &[Party],
    transaction: &mut dyn PlaceTransaction,
) -> Result<u64, Error> {
    let raised = transaction.aside(Call::new(RAISE, ()))?;
    let count = raised.rows.first().and_then(|row| row[0].as_i64());
    let number = count.map_or(0, i64::unsigned_abs);
    let note = AppliedNote::new(number, first.clone(), members.to_vec());
    let entry = [applied_key(id), note.to_value()];
    transaction.aside(Call::new(PUT, &entry))?;
    Ok(number)
}

/// The key of a decision.
pub(super) fn decided_key(id: CommitId) -> Value {
    Value::from(format!("{DECIDED}{id}"))
}

/// The key of a commit in the list of a place.
pub(super) fn applied_key(id: CommitId) -> Value {
    Value::from(format!("{APPLIED}{id}"))
}

/// Whether a place has a commit, as its transaction sees it.
pub(super) fn is_listed(
    id: CommitId,
    transaction: &mut dyn PlaceTransaction,
) -> Result<bool, Error> {
    let look = "SELECT 1 FROM main._meta WHERE key = ?1";
    let found = transaction.aside(Call::new(look, &[applied_key(id)]))?;
    Ok(!found.rows.is_empty())
}

/// Removes notes in a transaction.
pub(super) fn remove(
    keys: impl IntoIterator<Item = Value>,
    transaction: &mut dyn PlaceTransaction,
) -> Result<(), Error> {
    for key in keys {
        transaction.aside(Call::new(DELETE, &[key]))?;
    }
    Ok(())
}

impl Notes {
    /// Reads the notes of a place.
    pub(super) fn read(places: &dyn Places, place: Place) -> Result<Self, Error> {
        let mut notes = Self::default();
        let mut bad = None;
        let _all = places.query(place, Call::new(ALL, ()), |row| {
            let (key, value) = (row.get(0).to_value(), row.get(1).to_value());
            match notes.add(&key, &value) {
                Ok(()) => std::ops::ControlFlow::Continue(()),
                Err(message) => {
                    bad = Some(message);
                    std::ops::ControlFlow::Break(())
                }
            }
        })?;
        match bad {
            None => Ok(notes),
            Some(message) => {
                Err(Fault::new(FaultKind::UnknownFormat, message).at(places.name(place)))
            }
        }
    }

    /// Adds one row of `_meta`.
    pub(super) fn add(&mut self, key: &Value, value: &Value) -> Result<(), String> {
        let key = key.as_str().unwrap_or_default();
        let unknown = || format!("the note {key} is of a form that this release does not know");
        if key == COUNT {
            self.count = value.as_i64().map_or(0, i64::unsigned_abs);
        } else if let Some(id) = key.strip_prefix(DECIDED) {
            let note: DecidedNote = parse(value).ok_or_else(unknown)?;
            let is_known = note.version == VERSION;
            let id = id.parse().ok().filter(|_| is_known).ok_or_else(unknown)?;
            self.decided.insert(id, note);
        } else if let Some(id) = key.strip_prefix(APPLIED) {
            let note = AppliedNote::of(value).ok_or_else(unknown)?;
            self.applied
                .insert(id.parse().map_err(|_| unknown())?, note);
        } else if let Some(id) = key.strip_prefix(PREPARED) {
            let note = PreparedNote::of(value).ok_or_else(unknown)?;
            self.prepared
                .insert(id.parse().map_err(|_| unknown())?, note);
        } else {
            return Err(unknown());
        }
        Ok(())
    }
}
