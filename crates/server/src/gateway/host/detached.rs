//! The content of a shard at one moment, on its way out of the cluster.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use shardwright_store::{Error as StoreError, Snapshot};

use crate::{
    gateway::wire::{Answer, Refusal, Said, Step},
    shard::{FOR_OTHERS, split::OWN_NOTES},
};

/// How many bytes are one answer.
const BYTES: u64 = 1 << 20;

/// What the keys of notes begin with that mean nothing outside the shard: those that are not for a shard that follows it either, who the
/// keyspace's writer is, and what is announced.
const NOTES: [&str; 2] = ["gateway.", "sql.announced"];

/// A file beside that of the shard. It is gone with this, or at the next opening.
#[derive(Debug)]
pub(super) struct Detached {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Detached {
    /// Copies a snapshot into a file of its own, unless that is broken off.
    pub(super) fn of(
        snapshot: &Snapshot,
        beside: &Path,
        is_over: impl Fn() -> bool,
    ) -> Result<Self, StoreError> {
        let name = format!("{FOR_OTHERS}{:032x}.db", rand::random::<u128>());
        let path = beside.with_file_name(name);
        let notes = [OWN_NOTES, NOTES].concat();
        let size = snapshot.copy_detached(&path, &notes, |_, _| match is_over() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })?;
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file, size }),
            Err(source) => {
                remove(&path);
                let action = "read the copy";
                Err(StoreError::Io {
                    action,
                    path,
                    source,
                })
            }
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn go_on(&mut self, step: &Step) -> Answer {
        let Step::Bytes(from) = step else {
            return Err(Refusal::NoSession);
        };
        let mut bytes = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(*from))
            .and_then(|_| (&self.file).take(BYTES).read_to_end(&mut bytes));
        read.map_err(|error| {
            tracing::warn!(%error, path = %self.path.display(), "a copy for a backup cannot be read");
            Refusal::Later
        })?;
        Ok(Said::Bytes(bytes))
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// If it stays, the next opening of the shard removes it.
fn remove(path: &Path) {
    let _removed = fs::remove_file(path);
}
