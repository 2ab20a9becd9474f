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
    /// Opens or shuts a shard's gate as its placement says; `None` if no shard has the name. Returns whether the shard leaves
    /// this node.
    ///
    /// A gate that a cut-over holds is left to it.
    pub(super) fn settle(
        &mut self,
        me: &NodeId,
        shard: &ShardId,
        placed: Option<(Option<&NodeId>, Epoch)>,
    ) -> bool {
        let mine = matches!(placed, Some((Some(owner), _)) if owner == me);
        let epoch = placed.map(|(_, epoch)| epoch);
        let Some(gate) = self.gates.get(shard) else {
            if let (true, Some(epoch)) = (mine, epoch) {
                let gate = Arc::new(Gate::open(shard.clone(), epoch));
                self.gates.insert(shard.clone(), gate);
            }
            return false;
        };
        let state = gate.state();
        if state.phase == Phase::Draining {
            return false;
        }
        let settled = settled(state, mine, epoch);
        gate.set(settled);
        !mine && settled.phase == Phase::Shut
    }

    /// Does so for a gate that a cut-over lets go of in a state. Nobody gets in before the routes of this table had their say.
    pub(super) fn settle_after(&self, me: &NodeId, gate: &Gate, state: State) -> bool {
        let placed = self.routes.owner(gate.shard()).ok();
        let mine = matches!(placed, Some((Some(owner), _)) if owner == me);
        let settled = settled(state, mine, placed.map(|(_, epoch)| epoch));
        gate.set(settled);
        !mine && settled.phase == Phase::Shut
    }

    /// Does so for a shard as the routes of this table place it.
    pub(super) fn settle_here(&mut self, me: &NodeId, shard: &ShardId) -> bool {
        let routes = self.routes.clone();
        match routes.owner(shard) {
            Ok(placed) => self.settle(me, shard, Some(placed)),
            Err(_) => self.settle(me, shard, None),
        }
    }

    /// Forgets a shard that left, unless somebody is inside. Returns whether it is done with.
    pub(super) fn forget(&mut self, me: &NodeId, shard: &ShardId) -> bool {
        let back = matches!(self.routes.owner(shard), Ok((Some(owner), _)) if owner == me);
        let Some(gate) = self.gates.get(shard).filter(|_| !back) else {
            return true;
        };
        let State { epoch, phase } = gate.state();
        // A gate knows which epochs have ended here. It may go once the routes know as much.
        let is_outlived = match self.routes.owner(shard) {
            Ok((_, placed)) => epoch <= placed,
            Err(_) => true,
        };
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
fn settled(state: State, mine: bool, placed: Option<Epoch>) -> State {
    match placed {
        Some(epoch) if mine && state.epoch < epoch => State {
            epoch,
            phase: Phase::Open,
        },
        Some(_) if mine => state,
        // The owner of the shard has opened it at an epoch of which the routes have not heard.
        Some(epoch) if epoch < state.epoch && state.phase == Phase::Open => state,
        Some(_) | None => State {
            phase: Phase::Shut,
            ..state
        },
    }
}
