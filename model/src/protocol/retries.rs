//! Writes that arrive twice, late or out of order, and are applied once (I17).
//!
//! All writes of the scenario are under way from the beginning; each may reach any primary at any time, and again.
//! What decides is in the log: the numbers of the writes, and the record that lets the old ones be forgotten.

use super::Protocol;
use crate::{
    action::Action,
    record::{Content, Lsn, NodeId, Record, writes},
    rule::Rule,
    state::{Primary, State},
};

/// What a primary finds out about a write that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is in the log, at this position at the latest.
    At(Lsn),
    /// It is too old to know, by the record at this position.
    Expired(Lsn),
    /// It was never applied.
    New,
}

impl Protocol {
    pub(super) fn retry_steps(
        &self,
        state: &State,
        node: NodeId,
        primary: &Primary,
        actions: &mut Vec<Action>,
    ) {
        if self.scenario.retries == 0 || !primary.activated {
            return;
        }
        for write in 1..=self.scenario.writes {
            actions.push(Action::Deliver(node, write));
        }
        if self.lacks(Rule::DeadlineUnknown) {
            let waiting = &state.replica(node).log[usize::from(primary.commit)..];
            actions.extend(writes(waiting).map(|write| Action::Deny(node, write)));
        }
        if state.expiries < self.scenario.expiries {
            actions.push(Action::Expire(node));
        }
    }

    pub(super) fn deliver(&self, state: &mut State, node: NodeId, write: u8) {
        let Some(primary) = state.primary(node) else {
            return;
        };
        let log = &state.replica(node).log;
        let (commit, admits) = (primary.commit, self.admits(log, primary));
        match self.known(log, primary, write) {
            Known::At(lsn) if lsn <= commit || self.lacks(Rule::DuplicateWaits) => {
                state.acknowledged.insert(write);
            }
            Known::Expired(lsn) if lsn <= commit => {
                let content = Content::Write(write);
                if log.iter().all(|record| record.content != content) {
                    state.refused.insert(write);
                }
            }
            Known::New
                if admits && state.written < self.scenario.writes + self.scenario.retries =>
            {
                state.written += 1;
                Self::append(state, node, Content::Write(write));
            }
            // It waits: for the commit of its record, for that of the expiry, or for the operation.
            Known::At(_) | Known::Expired(_) | Known::New => {}
        }
    }

    /// Looks `write` up in the window of outcomes that the log of `primary` holds.
    pub(crate) fn known(&self, log: &[Record], primary: &Primary, write: u8) -> Known {
        if write <= primary.forgotten {
            return Known::Expired(0);
        }
        // Without its part in the log, a primary knows only what it appended itself.
        let from = if self.lacks(Rule::WindowInLog) {
            usize::from(primary.start)
        } else {
            0
        };
        let highest = self.lacks(Rule::ExactSequences);
        let same = |other: u8| other == write || (highest && other > write);
        let contents = log.iter().map(|record| record.content);
        self.look_up(contents, from, write, same)
    }

    /// Looks `write` up in a window of outcomes: the contents of records, of which those before `from` have lost
    /// their outcomes, and a test of whether another write is taken for the same.
    pub(crate) fn look_up(
        &self,
        window: impl Iterator<Item = Content> + Clone,
        from: usize,
        write: u8,
        same: impl Fn(u8) -> bool,
    ) -> Known {
        let records = (1..).zip(window);
        let expires = |content: Content| matches!(content, Content::Expire(last) if write <= last);
        let expiry = records.clone().find(|(_, content)| expires(*content));
        if let Some((lsn, _)) = expiry {
            let applies = self.lacks(Rule::ExpiredRefused);
            return if applies {
                Known::New
            } else {
                Known::Expired(lsn)
            };
        }
        let known = |content: Content| content.write().is_some_and(&same);
        let found = records.skip(from).find(|(_, content)| known(*content));
        found.map_or(Known::New, |(lsn, _)| Known::At(lsn))
    }

    /// Forgets the outcome of the first write.
    pub(super) fn expire(&self, state: &mut State, node: NodeId) {
        state.expiries += 1;
        if !self.lacks(Rule::ExpiryInLog) {
            Self::append(state, node, Content::Expire(1));
        } else if let Some(primary) = state.primary_mut(node) {
            primary.forgotten = 1;
        }
    }
}
