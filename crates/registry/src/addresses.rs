//! Where processes are, as they say themselves: `PREFIX<id>` in a store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shardwright_topology::NodeId;

use crate::{Error, Prefix, Record, Records, Store, StoreError};

/// The addresses of the processes of one kind, below one prefix of a store.
#[derive(Debug, Clone)]
pub struct Addresses {
    records: Records<Announced>,
}

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announced {
    address: String,
}

impl Record for Announced {
    const KIND: &'static str = "address record";
    const VERSION: u64 = 1;
}

/// How often another process that announces itself under the same name is overruled.
const ATTEMPTS_MAX: usize = 10;

impl Addresses {
    /// Returns the addresses below `prefix`, which must hold nothing else.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: Prefix) -> Self {
        Self {
            records: Records::new(store, prefix),
        }
    }

    /// Returns those of the coordinators, such as `http://10.0.0.7:7557`.
    #[must_use]
    pub fn of_coordinators(store: Arc<dyn Store>) -> Self {
        Self::new(store, Prefix::new("coordinator/").expect("a valid prefix"))
    }

    /// Returns those at which nodes listen for one another, such as `10.0.0.7:7560`.
    #[must_use]
    pub fn of_peers(store: Arc<dyn Store>) -> Self {
        Self::new(store, Prefix::new("peer/").expect("a valid prefix"))
    }

    /// Says where a process is, in place of what was said before.
    ///
    /// # Errors
    /// What the store says; [`StoreError::Conflict`] if somebody else says otherwise all the time.
    pub async fn announce(&self, id: &NodeId, address: &str) -> Result<(), Error> {
        let announced = Announced {
            address: address.to_owned(),
        };
        let mut attempt = 1;
        loop {
            let first = announced.clone();
            let (stored, created) = self.records.create_if_absent(id, first).await?;
            if created || stored.value == announced {
                return Ok(());
            }
            match self.records.replace(&stored, announced.clone()).await {
                Ok(_) => return Ok(()),
                Err(Error::Store(StoreError::Conflict { .. })) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns where a process is, if it has said so.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, id: &NodeId) -> Result<Option<String>, Error> {
        let stored = self.records.get(id).await?;
        Ok(stored.map(|stored| stored.value.address))
    }

    /// Returns where all of them are, the gone ones too.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        let stored = self.records.list().await?;
        Ok(stored
            .into_iter()
            .map(|stored| stored.value.address)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn the_last_word_of_a_process_counts() -> Result<(), Error> {
        futures_executor::block_on(async {
            let addresses = Addresses::of_peers(Arc::new(MemoryStore::new()));
            let [one, two] = ["n1", "n2"].map(|name| NodeId::new(name).expect("a name"));
            assert_eq!(addresses.get(&one).await?, None);
            addresses.announce(&one, "10.0.0.7:1").await?;
            addresses.announce(&two, "10.0.0.8:1").await?;
            addresses.announce(&one, "10.0.0.7:2").await?;
            assert_eq!(addresses.get(&one).await?.as_deref(), Some("10.0.0.7:2"));
            assert_eq!(addresses.list().await?, ["10.0.0.7:2", "10.0.0.8:1"]);
            Ok(())
        })
    }
}
