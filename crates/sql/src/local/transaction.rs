//! An open transaction on a file of this process.

use shardwright_store::Writer;

use crate::{
    error::Error,
    shards::{Call, PlaceTransaction, Ran},
};

/// The file's writer, in a transaction until it ends; dropping the writer undoes it.
#[derive(Debug)]
pub(super) struct LocalTransaction {
    place: String,
    writer: Writer,
}

impl LocalTransaction {
    pub(super) fn new(place: String, writer: Writer) -> Self {
        Self { place, writer }
    }

    fn error(&self, error: shardwright_store::Error) -> Error {
        super::error_at(&self.place, error)
    }
}

impl PlaceTransaction for LocalTransaction {
    fn execute(&mut self, call: Call<'_>) -> Result<Ran, Error> {
        if !self.is_open() {
            return Err(self.error(shardwright_store::Error::NoTransaction));
        }
        super::run(&mut self.writer, call).map_err(|error| self.error(error))
    }

    fn is_open(&self) -> bool {
        self.writer.in_transaction()
    }

    fn commit(&mut self) -> Result<(), Error> {
        let committed = self.writer.commit();
        committed.map_err(|error| self.error(error))
    }

    fn rollback(&mut self) -> Result<(), Error> {
        let undone = self.writer.rollback();
        undone.map_err(|error| self.error(error))
    }
}
