//! Where the coordinators are: `coordinator/<id>` in the store.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use shardwright_registry::{Error, Prefix, Record, Records, Store, StoreError};
use shardwright_topology::NodeId;

/// Where a coordinator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    address: String,
}

impl Record for Peer {
    const KIND: &'static str = "coordinator record";
    const VERSION: u64 = 1;
}

/// The addresses of the coordinators.
#[derive(Debug)]
pub(super) struct Peers {
    records: Records<Peer>,
    /// The address of the last leader that was asked for, and its term: a process that leads keeps its address.
    known: Mutex<Option<(NodeId, u64, String)>>,
}

/// How often another process that announces itself under the same name is overruled.
const ATTEMPTS_MAX: usize = 10;

impl Peers {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let prefix = Prefix::new("coordinator/").expect("a valid prefix");
        Self {
            records: Records::new(store, prefix),
            known: Mutex::default(),
        }
    }

    /// Says where a coordinator is, for example `http://10.0.0.7:7557`.
    pub(super) async fn announce(&self, id: &NodeId, address: &str) -> Result<(), Error> {
        let peer = Peer {
            address: address.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let (stored, created) = self.records.create_if_absent(id, peer.clone()).await?;
            if created || stored.value == peer {
                return Ok(());
            }
            match self.records.replace(&stored, peer.clone()).await {
                Ok(_) => return Ok(()),
                Err(Error::Store(StoreError::Conflict { .. })) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
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
        let Some(peer) = self.records.get(leader).await? else {
            return Ok(None);
        };
        let address = peer.value.address;
        *self.known() = Some((leader.clone(), term, address.clone()));
        Ok(Some(address))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(NodeId, u64, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
