//! Every backend keeps the rules of a store.

use std::sync::Arc;

use futures_executor::block_on;
use shardwright_registry::{MemoryStore, Store, conformance};

#[test]
fn the_memory_store_keeps_the_rules() {
    block_on(conformance::run_all(async || {
        Arc::new(MemoryStore::new()) as Arc<dyn Store>
    }));
    block_on(conformance::run_shared(async || {
        let store = MemoryStore::new();
        [Arc::new(store.clone()), Arc::new(store)]
    }));
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::{cell::Cell, path::PathBuf};

    use shardwright_registry::SqliteStore;

    use super::*;

    /// Paths of files that do not exist, below one directory that is removed at the end.
    struct Files {
        directory: tempfile::TempDir,
        made: Cell<u32>,
    }

    impl Files {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            Self {
                directory,
                made: Cell::new(0),
            }
        }

        fn next(&self) -> PathBuf {
            self.made.set(self.made.get() + 1);
            self.directory
                .path()
                .join(format!("registry-{}.db", self.made.get()))
        }
    }

    #[test]
    fn the_sqlite_store_keeps_the_rules() {
        let files = Files::new();
        block_on(conformance::run_all(async || {
            Arc::new(SqliteStore::open(files.next()).expect("a new file")) as Arc<dyn Store>
        }));
    }

    #[test]
    fn two_connections_to_one_file_keep_the_rules() {
        let files = Files::new();
        block_on(conformance::run_shared(async || {
            let path = files.next();
            [(), ()].map(|()| Arc::new(SqliteStore::open(&path).expect("a registry")))
        }));
    }
}
