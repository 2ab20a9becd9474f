//! The placements that are known: reading one takes a while, and they seldom change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shardwright_sql::Placement;
use shardwright_topology::KeyspaceName;

/// The placements of the schemas that were asked for last, one of each keyspace. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Placements(Arc<Mutex<HashMap<KeyspaceName, Arc<Placement>>>>);

impl Placements {
    pub(super) fn of(&self, keyspace: &KeyspaceName, number: u64) -> Option<Arc<Placement>> {
        let known = self.lock().get(keyspace).cloned();
        known.filter(|known| known.number == number)
    }

    pub(super) fn learn(&self, keyspace: &KeyspaceName, placement: Placement) -> Arc<Placement> {
        let placement = Arc::new(placement);
        self.lock().insert(keyspace.clone(), Arc::clone(&placement));
        placement
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyspaceName, Arc<Placement>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
