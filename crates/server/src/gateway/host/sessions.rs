//! Sessions: what goes on from request to request.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{snapshot::Reader, transaction::Transaction};

/// A session.
#[derive(Debug, Clone)]
pub(super) enum Session {
    Transaction(Arc<Transaction>),
    Snapshot(Reader),
}

/// The sessions of a node, by number.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<u64, Session>>);

impl Sessions {
    /// Takes a session, and returns its number, which nobody can guess.
    pub(super) fn insert(&self, session: Session) -> u64 {
        let mut sessions = self.lock();
        // What ended by itself is still here, if nobody asked since.
        sessions.retain(|_, session| match session {
            Session::Transaction(transaction) => !transaction.is_over(),
            Session::Snapshot(_) => true,
        });
        loop {
            if let Entry::Vacant(free) = sessions.entry(rand::random()) {
                let number = *free.key();
                free.insert(session);
                return number;
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<Session> {
        self.lock().get(&number).cloned()
    }

    pub(super) fn remove(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Lets all sessions end.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
