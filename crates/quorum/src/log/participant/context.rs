//! What a primary works with: the copy of its own node, the time, and what it asks others.

use std::time::Duration;

use shardwright_topology::{NodeId, Timestamp};

use super::{Settings, hold::Hold};
use crate::log::{Action, Ask, Ballot, Replica, Request, Stamp};

/// What a primary works with while it handles one event.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    pub(super) me: &'a NodeId,
    pub(super) settings: &'a Settings,
    pub(super) replica: &'a mut Replica,
    /// What is kept for those who read the log.
    pub(super) hold: Option<Hold>,
    /// The number of the last request.
    pub(super) stamps: &'a mut u64,
    pub(super) actions: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Asks another node, and for a lease with it if there is one to be had.
    pub(super) fn ask(&mut self, to: NodeId, ballot: Ballot, lease: Duration, ask: Ask) {
        *self.stamps += 1;
        let stamp = Stamp {
            number: *self.stamps,
            at: self.now.0,
        };
        let request = Request {
            ballot,
            stamp,
            lease,
            ask,
        };
        self.actions.push(Action::Send { to, request });
    }
}
