//! A snapshot that a node keeps for a statement.

use std::borrow::Borrow;

use shardwright_sql::{Error, shards::Place};

use super::View;
use crate::gateway::{
    fault::{fault, unexpected},
    way::Way,
    wire::{Refusal, Rows, Said, Step},
};

/// A snapshot on the node that has the shard. It is let go when this is dropped, however the statement ends.
#[derive(Debug)]
pub(super) struct Kept<V: Borrow<View>> {
    pub(super) view: V,
    pub(super) place: Place,
    pub(super) way: Way,
    pub(super) session: u64,
    /// Whether the node has let go of it by itself.
    pub(super) is_over: bool,
}

impl<V: Borrow<View>> Kept<V> {
    /// Asks for the next rows of the snapshot.
    pub(super) fn step(&self, step: Step) -> Result<Rows, Error> {
        match self.say(step)? {
            Said::Rows(rows) => Ok(rows),
            said => Err(self.view.borrow().error(self.place, unexpected(&said))),
        }
    }

    /// Asks for something else of it.
    pub(super) fn say(&self, step: Step) -> Result<Said, Error> {
        let view = self.view.borrow();
        let said = view.go_on(self.place, &self.way, self.session, step);
        let refusal = match said {
            Ok(said) => return Ok(said),
            Err(Ok(refusal)) => refusal,
            Err(Err(_)) => Refusal::NoSession,
        };
        Err(view.error(self.place, fault(refusal, false)))
    }
}

impl<V: Borrow<View>> Drop for Kept<V> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let view = self.view.borrow();
        view.end(self.place, &self.way, self.session);
    }
}

impl<V: Borrow<View>> AsRef<Self> for Kept<V> {
    fn as_ref(&self) -> &Self {
        self
    }
}
