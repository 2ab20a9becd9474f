//! Decisions of the first participant, until nobody can ask for them any more.

use std::collections::BTreeSet;

use shardwright_topology::Timestamp;

use super::{Action, Participant, Record};
use crate::commit::{CommitId, Message, Party, Timing, Verdict};

/// A decision.
#[derive(Debug)]
pub(super) struct Decided {
    /// Who has not acknowledged it.
    missing: BTreeSet<Party>,
    /// Whether the caller knows it.
    heard: bool,
    /// Since when it is known here.
    since: Timestamp,
    /// When the others were told last.
    told: Timestamp,
    /// Whether its record is being removed.
    forgetting: bool,
}

impl Decided {
    pub(super) fn new(me: &Party, participants: Vec<Party>, now: Timestamp) -> Self {
        Self {
            missing: participants.into_iter().filter(|each| each != me).collect(),
            heard: false,
            since: now,
            told: now,
            forgetting: false,
        }
    }

    pub(super) fn is_undelivered(&self) -> bool {
        !self.missing.is_empty()
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = &Party> {
        self.missing.iter()
    }

    /// Its record could not be removed.
    pub(super) fn keep(&mut self, now: Timestamp) {
        self.forgetting = false;
        self.told = now;
    }

    /// When something has to be done about it.
    pub(super) fn due(&self, timing: &Timing) -> Timestamp {
        if self.is_undelivered() || self.heard {
            self.told + timing.retry
        } else {
            self.since + timing.retention
        }
    }

    pub(super) fn tell(&self, id: CommitId, me: &Party, actions: &mut Vec<Action>) {
        for party in &self.missing {
            let message = Message::Resolve {
                id,
                verdict: Verdict::Commit,
                from: me.clone(),
            };
            actions.push(Action::Send(party.clone(), message));
        }
    }
}

impl Participant {
    pub(super) fn acknowledge(&mut self, id: CommitId, from: &Party, actions: &mut Vec<Action>) {
        if let Some(decided) = self.decided.get_mut(&id) {
            decided.missing.remove(from);
            self.forget(id, actions);
        }
    }

    pub(super) fn heard(&mut self, id: CommitId, actions: &mut Vec<Action>) {
        if let Some(decided) = self.decided.get_mut(&id) {
            decided.heard = true;
            self.forget(id, actions);
        }
    }

    /// Forgets a decision that nobody can ask for.
    fn forget(&mut self, id: CommitId, actions: &mut Vec<Action>) {
        if let Some(decided) = self.decided.get_mut(&id)
            && decided.missing.is_empty()
            && decided.heard
            && !decided.forgetting
        {
            decided.forgetting = true;
            actions.push(Action::Store(Record::Forgotten { id }));
        }
    }

    pub(super) fn tick_decided(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due = self
            .decided
            .iter()
            .filter(|(_, each)| each.due(&self.timing) <= now);
        let due: Vec<CommitId> = due.map(|(id, _)| *id).collect();
        for id in due {
            let Some(decided) = self.decided.get_mut(&id) else {
                continue;
            };
            decided.told = now;
            decided.tell(id, &self.me, actions);
            // A caller that has not said so by now has given up, or is no more.
            decided.heard |= self.timing.retention <= now.since(decided.since);
            self.forget(id, actions);
        }
    }
}
