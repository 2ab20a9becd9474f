//! What a writer does with the position of its copy.

use super::Writer;
use crate::{
    Applied, Entry, Replica, Result, Seen, Window, dedup,
    replica::{self},
};

impl Writer {
    /// Makes the file a copy of its shard: gives it the id and the position, and the tables for them if
    /// it has none.
    ///
    /// # Errors
    ///
    /// As [`Writer::execute`], and [`ReplicaError::OutOfRange`](crate::ReplicaError::OutOfRange).
    pub fn start_replica(&mut self, replica: &Replica) -> Result<()> {
        self.own_transaction(|writer| replica::create(writer.connection(), replica))
    }

    /// Gives the copy another id, as one needs that was made from another copy or may have lost something.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::NotReplicated`](crate::ReplicaError::NotReplicated), and as [`Writer::execute`].
    pub fn set_replica_id(&mut self, id: &[u8; 16]) -> Result<()> {
        self.own_transaction(|writer| {
            replica::applied(writer.connection())?;
            replica::write_id(writer.connection(), id)
        })
    }

    /// Looks a request up, as the open transaction has it.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::find`](crate::ShardFile::find).
    pub fn find(&mut self, client: &[u8; 16], sequence: u64) -> Result<Seen> {
        dedup::find(self.connection(), client, sequence)
    }

    /// Looks several requests up, all at one time.
    ///
    /// # Errors
    ///
    /// As [`Writer::find`].
    pub fn find_all<'c>(
        &mut self,
        requests: impl IntoIterator<Item = (&'c [u8; 16], u64)>,
    ) -> Result<Vec<Seen>> {
        // Each would lock and unlock the file by itself otherwise.
        let begins = !self.in_transaction();
        if begins {
            self.execute("BEGIN", ())?;
        }
        let requests = requests.into_iter();
        let found = requests
            .map(|(client, sequence)| dedup::find(self.connection(), client, sequence))
            .collect();
        if begins {
            self.rollback()?;
        }
        found
    }

    /// Forgets the outcomes that are outside the window, at a position of its own. The same window gives
    /// the same on every copy at the same position.
    ///
    /// # Errors
    ///
    /// As [`Writer::apply`].
    pub fn expire(&mut self, applied: Applied, window: &Window) -> Result<()> {
        self.own_transaction(|writer| {
            writer.move_to(&applied, &[])?;
            dedup::expire(writer.connection(), window)
        })
    }

    /// Moves the position past a record that changes neither rows nor outcomes.
    ///
    /// # Errors
    ///
    /// As [`Writer::apply`].
    pub fn advance(&mut self, applied: Applied, entries: &[Entry<'_>]) -> Result<()> {
        self.own_transaction(|writer| writer.move_to(&applied, entries))
    }

    /// Runs statements of our own in a transaction, and commits it.
    fn own_transaction(&mut self, run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.begin()?;
        self.guard_ours(true);
        let result = run(self);
        self.guard_ours(false);
        result
            .and_then(|()| self.commit())
            .inspect_err(|_| self.undo())
    }
}
