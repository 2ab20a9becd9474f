//! Cut-overs: the end of an epoch on this node.

use std::sync::Arc;

use shardwright_topology::{Epoch, ShardId};

use super::Router;
use crate::{
    Error,
    gate::{Gate, Phase, State},
};

/// A shard of this node that lets nobody in any more, while those inside finish.
///
/// Dropped, it leaves the shard shut until a map shows it here at a later epoch.
#[derive(Debug)]
#[must_use = "dropping a cut-over leaves the shard shut"]
pub struct CutOver {
    router: Router,
    gate: Arc<Gate>,
    epoch: Epoch,
    /// Whether the gate is no longer this cut-over's: the next one may hold it.
    has_ended: bool,
}

impl Router {
    /// Begins to end the epoch of a shard of this node: from here on no work on it begins.
    ///
    /// # Errors
    /// [`Error::CutOver`] if that was begun before, and what [`Router::guard`] returns for a shard that is not here.
    #[doc(alias = "begin_cutover")]
    pub fn begin_cut_over(&self, shard: &ShardId) -> Result<CutOver, Error> {
        let _writer = self.writer();
        let table = self.inner.table.load();
        let open = table
            .gates
            .get(shard)
            .filter(|gate| gate.state().phase == Phase::Open);
        let Some(gate) = open else {
            return Err(table.refusal(self.node(), shard));
        };
        let State { epoch, .. } = gate.state();
        let phase = Phase::Draining;
        gate.set(State { epoch, phase });
        Ok(CutOver {
            router: self.clone(),
            gate: Arc::clone(gate),
            epoch,
            has_ended: false,
        })
    }
}

impl CutOver {
    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        self.gate.shard()
    }

    /// Returns the epoch that ends.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits until no guard of the epoch is left. None comes to be meanwhile, nor after.
    pub async fn drained(&self) {
        self.gate.drained().await;
    }

    /// Waits as [`CutOver::drained`] does, and opens the shard here at a later epoch.
    ///
    /// If the map shows meanwhile that another node owns the shard at an epoch at least as late, it stays shut.
    pub async fn reopen(mut self, epoch: Epoch) {
        self.drained().await;
        self.end(State {
            epoch: epoch.max(self.epoch),
            phase: Phase::Open,
        });
    }

    /// Opens the shard again at the epoch that was to end, without waiting.
    pub fn abort(mut self) {
        self.end(State {
            epoch: self.epoch,
            phase: Phase::Open,
        });
    }

    /// Lets go of the gate in a state, unless the map has more to say.
    fn end(&mut self, state: State) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.router.let_go(&self.gate, state);
        }
    }
}

impl Drop for CutOver {
    fn drop(&mut self) {
        self.end(State {
            epoch: self.epoch,
            phase: Phase::Shut,
        });
    }
}
