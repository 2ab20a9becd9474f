//! The table: all that a look-up reads, as of one moment.

use std::{collections::HashMap, sync::Arc};

use shardwright_topology::{Epoch, NodeId, ShardId};

use crate::{
    Error,
    by_shard::ByShard,
    gate::{Gate, Phase, State},
    route::Routes,
};

/// An immutable snapshot, but for the gates, which change by themselves. A clone costs a few increments.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) version: u64,
    pub(super) routes: Routes,
    /// The shards that this node owns, and those that it is still leaving.
    pub(super) gates: ByShard<Arc<Gate>>,
    pub(super) addresses: Arc<HashMap<NodeId, Arc<str>>>,
}

impl Table {
    /// Opens or shuts a shard's gate as the routes place the shard. Returns whether it leaves this node.
    ///
    /// A gate that a cut-over holds is left to it.
    pub(super) fn settle(&mut self, me: &NodeId, shard: &ShardId) -> bool {
        if let Some(gate) = self.gates.get(shard) {
            let state = gate.state();
            return state.phase != Phase::Draining && self.settle_from(me, gate, state);
        }
        if let Some((true, epoch)) = self.placed(me, shard) {
            let gate = Arc::new(Gate::open(shard.clone(), epoch));
            self.gates.insert(shard.clone(), gate);
        }
        false
    }

    /// Does so for a gate that comes from a state. Nobody gets in before the routes had their say.
    pub(super) fn settle_from(&self, me: &NodeId, gate: &Gate, state: State) -> bool {
        let placed = self.placed(me, gate.shard());
        let settled = settled(state, placed);
        gate.set(settled);
        settled.phase == Phase::Shut && !matches!(placed, Some((true, _)))
    }

    /// Whether the routes place a shard here, and since which epoch; `None` if no shard has the name.
    fn placed(&self, me: &NodeId, shard: &ShardId) -> Option<(bool, Epoch)> {
        let (owner, epoch) = self.routes.owner(shard).ok()?;
        Some((owner == Some(me), epoch))
    }

    /// Forgets a shard that left, unless somebody is inside. Returns whether it is done with.
    pub(super) fn forget(&mut self, me: &NodeId, shard: &ShardId) -> bool {
        let placed = self.placed(me, shard);
        let is_back = matches!(placed, Some((true, _)));
        let Some(gate) = self.gates.get(shard).filter(|_| !is_back) else {
            return true;
        };
        let State { epoch, phase } = gate.state();
        // A gate knows which epochs have ended here. It may go once the routes know as much.
        let is_outlived = placed.is_none_or(|(_, placed)| epoch <= placed);
        // Nobody who looks in from here on gets in, so a gate that was empty once may go.
        if phase == Phase::Shut && is_outlived && !gate.is_occupied() {
            self.gates.remove(shard);
            return true;
        }
        false
    }

    /// Says why nobody may run on a shard here.
    #[cold]
    pub(super) fn refusal(&self, me: &NodeId, shard: &ShardId) -> Error {
        let gate = self.gates.get(shard).map(|gate| gate.state());
        let shard = shard.clone();
        if let Some(State {
            epoch,
            phase: Phase::Draining,
        }) = gate
        {
            return Error::CutOver { shard, epoch };
        }
        match self.routes.owner(&shard) {
            Err(error) => error,
            Ok((None, _)) => Error::NoOwner { shard },
            Ok((Some(owner), _)) if owner != me => Error::NotLocal {
                owner: owner.clone(),
                shard,
            },
            // The map has not heard of the end of the epoch yet.
            Ok((Some(_), epoch)) if gate.is_some() => Error::CutOver { shard, epoch },
            Ok((Some(_), epoch)) => Error::NotServing { shard, epoch },
        }
    }
}

/// The state of a gate after the routes had their say: they place the shard here, elsewhere, or know no such shard. It never goes back to
/// an earlier epoch.
fn settled(state: State, placed: Option<(bool, Epoch)>) -> State {
    match placed {
        Some((true, epoch)) if state.epoch < epoch => State {
            epoch,
            phase: Phase::Open,
        },
        Some((true, _)) => state,
        // The owner of the shard has opened it at an epoch of which the routes have not heard.
        Some((false, epoch)) if epoch < state.epoch && state.phase == Phase::Open => state,
        Some((false, _)) | None => State {
            phase: Phase::Shut,
            ..state
        },
    }
}
