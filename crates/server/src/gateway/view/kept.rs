//! A snapshot that a node keeps for a statement.

use std::borrow::Borrow;

use shardwright_sql::{Error, shards::Place};

use super::View;
use crate::gateway::{
    way::Way,
    wire::{Rows, Step},
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
        let view = self.view.borrow();
        view.more(self.place, &self.way, self.session, step)
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
