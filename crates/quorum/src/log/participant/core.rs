//! What every role of a copy works with.

use shardwright_topology::{Primary, Timestamp};

use super::{Action, Settings, context::Context, hold::Hold};
use crate::log::Replica;

/// What every role works with.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) me: Primary,
    pub(super) settings: Settings,
    pub(super) replica: Replica,
    pub(super) hold: Option<Hold>,
    pub(super) stamps: u64,
}

impl Core {
    pub(super) fn context<'a>(
        &'a mut self,
        now: Timestamp,
        actions: &'a mut Vec<Action>,
    ) -> Context<'a> {
        Context {
            now,
            me: &self.me.node,
            settings: &self.settings,
            replica: &mut self.replica,
            hold: self.hold,
            stamps: &mut self.stamps,
            actions,
        }
    }
}
