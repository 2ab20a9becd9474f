//! Where the coordinators are: `coordinator/<id>` in the store.

use std::sync::{Arc, Mutex, PoisonError};

use shardwright_registry::{Addresses, Error, Store};
use shardwright_topology::NodeId;

/// The addresses of the coordinators.
#[derive(Debug)]
pub(super) struct Peers {
    addresses: Addresses,
    /// The address of the last leader that was asked for, and its term: a process that leads keeps its address.
    known: Mutex<Option<(NodeId, u64, String)>>,
}

impl Peers {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            addresses: Addresses::of_coordinators(store),
            known: Mutex::default(),
        }
    }

    /// Says where a coordinator is, for example `http://10.0.0.7:7557`.
    pub(super) async fn announce(&self, id: &NodeId, address: &str) -> Result<(), Error> {
        self.addresses.announce(id, address).await
    }

    /// Returns where the leader of a term is, if it has said so.
    pub(super) async fn address(
        &self,
        leader: &NodeId,
        term: u64,
    ) -> Result<Option<String>, Error> {
        if let Some((id, of, address)) = &*self.known()
            && (id, *of) == (leader, term)
        {
            return Ok(Some(address.clone()));
        }
        let Some(address) = self.addresses.get(leader).await? else {
            return Ok(None);
        };
        *self.known() = Some((leader.clone(), term, address.clone()));
        Ok(Some(address))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(NodeId, u64, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
