//! Pauses: they change as somebody wants, and no change that loses against one undoes it.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_elastic::{Record, workflow::Event};
use shardwright_registry::{Key, Revision};
use shardwright_testkit::sim::{Pid, Sim, Write};

use super::{Elastic, Missing};

/// What the journal says of pauses, and who may change that.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Of each operation, the revision of its record, and whether it is paused.
    seen: BTreeMap<Key, (u64, bool)>,
    /// What people wanted last of each coordinator, since it began with its operation.
    wishes: BTreeMap<Pid, bool>,
    /// The changes that are wanted: of which operation, at which revision, and to what.
    wanted: BTreeSet<(Key, u64, bool)>,
}

impl Pauses {
    /// A coordinator begins with an operation, or is no more.
    pub(super) fn forget(&mut self, at: Pid) {
        self.wishes.remove(&at);
    }

    /// A coordinator is told something.
    pub(super) fn told(&mut self, at: Pid, event: &Event) {
        match event {
            Event::Pause => drop(self.wishes.insert(at, true)),
            Event::Resume => drop(self.wishes.insert(at, false)),
            _ => {}
        }
    }

    /// A coordinator writes a record that replaces another one; returns whether that changes the pause.
    pub(super) fn writes(
        &mut self,
        at: Pid,
        key: &Key,
        (before, expected): (&Record, u64),
        record: &Record,
    ) -> bool {
        let paused = record.is_paused();
        let changes = paused != before.is_paused();
        if changes && self.wishes.get(&at) == Some(&paused) {
            self.wanted.insert((key.clone(), expected, paused));
        }
        changes
    }

    /// Looks at a change of the journal.
    pub(super) fn changed(
        &mut self,
        key: &Key,
        revision: Revision,
        record: &Record,
    ) -> Result<(), String> {
        let paused = record.is_paused();
        let before = self.seen.insert(key.clone(), (revision.0, paused));
        let (replaced, was_paused) = before.unwrap_or_default();
        let is_wanted = || self.wanted.contains(&(key.clone(), replaced, paused));
        if paused == was_paused || is_wanted() {
            return Ok(());
        }
        let id = record.id();
        Err(format!(
            "whether {id} is paused changes to {paused}, as nobody wants"
        ))
    }
}

impl Elastic {
    /// Writes the pause before what it is decided on is known to be there, if that rule is missing.
    pub(super) fn pause_apart(&self, sim: &mut Sim<Self>, key: &Key, record: &Record) {
        if self.missing != Some(Missing::PauseInRecord) {
            return;
        }
        let Some(found) = sim.store().get(key) else {
            return;
        };
        let (expected, mut changed) = (found.revision, found.value.clone());
        changed.operation.paused = record.is_paused();
        if changed != found.value {
            sim.put(Write {
                key: key.clone(),
                expected: Some(expected),
                value: Some(changed),
            });
        }
    }
}
