//! Keyspaces, shards and journals as records.

use futures_executor::block_on;
use serde::{Deserialize, Serialize};
use shardwright_registry::{
    Error, FormatError, Key, KeyspaceRecord, Partitioning, Record, StoreError,
};
use shardwright_topology::{KeyRange, ShardRecord};

use super::*;

fn refused<T: std::fmt::Debug>() -> Result<T, Error> {
    Err(Error::Refused("no".into()))
}

#[test]
fn a_keyspace_is_created_once() {
    block_on(async {
        let registry = registry();
        assert_eq!(registry.keyspace().await.expect("readable"), None);
        let record = KeyspaceRecord::new(KeyspaceName::main());
        let shards = || ShardRecord::even(&KeyspaceName::main(), 2).collect::<Vec<_>>();
        let created = registry
            .create_keyspace(record.clone(), shards())
            .await
            .expect("new");
        assert_eq!(registry.keyspace().await.expect("readable"), Some(created));
        let again = registry
            .create_keyspace(record, shards())
            .await
            .expect_err("exists");
        assert!(
            matches!(again, Error::Store(StoreError::Conflict { .. })),
            "{again}"
        );
    });
}

#[test]
fn a_keyspace_whose_creation_was_cut_short_is_created_again() {
    block_on(async {
        let registry = registry();
        let mut shards = ShardRecord::even(&KeyspaceName::main(), 3);
        registry
            .create_shard(shards.next().expect("three"))
            .await
            .expect("new");
        let bootstrapped = registry
            .bootstrap(Partitioning::Ranges, 3)
            .await
            .expect("goes on");
        assert_eq!(registry.map().await.expect("a map").len(), 3);
        let again = registry
            .bootstrap(Partitioning::Ranges, 5)
            .await
            .expect("exists");
        assert_eq!(again, bootstrapped, "a keyspace that exists stays as it is");
    });
}

#[test]
fn a_shard_with_another_record_under_the_name_is_a_conflict() {
    block_on(async {
        let registry = registry();
        let record = ShardRecord::new(KeyspaceName::main(), shard(0), Some(KeyRange::ALL));
        let first = registry.create_shard(record.clone()).await.expect("new");
        assert_eq!(
            registry
                .create_shard(record.clone())
                .await
                .expect("the same"),
            first
        );
        let (left, _) = KeyRange::ALL.halve().expect("wide enough");
        let other = ShardRecord {
            range: Some(left),
            ..record
        };
        let conflict = registry
            .create_shard(other)
            .await
            .expect_err("another range");
        assert!(
            matches!(conflict, Error::Store(StoreError::Conflict { .. })),
            "{conflict}"
        );
    });
}

#[test]
fn a_setting_is_changed_by_compare_and_set() {
    block_on(async {
        let registry = registry();
        let missing = registry.update_keyspace(|record| Ok(record.clone())).await;
        assert!(
            matches!(missing, Err(Error::UnknownKeyspace { .. })),
            "{missing:?}"
        );
        let first = registry
            .bootstrap(Partitioning::Modulo { shards: 2 }, 2)
            .await
            .expect("new");
        let set = |record: &KeyspaceRecord| {
            let mut next = record.clone();
            next.settings
                .insert("undeclared".to_owned(), "global".into());
            Ok(next)
        };
        let changed = registry.update_keyspace(set).await.expect("exists");
        assert!(first.revision < changed.revision);
        let same = registry.update_keyspace(set).await.expect("exists");
        assert_eq!(same.revision, changed.revision, "no change writes nothing");
        let kept = registry
            .update_keyspace(|_| refused())
            .await
            .expect_err("refused");
        assert!(matches!(kept, Error::Refused(_)), "{kept}");
        assert_eq!(registry.keyspace().await.expect("readable"), Some(changed));
    });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ImportStep {
    rows: u64,
}

impl Record for ImportStep {
    const KIND: &'static str = "import journal";
    const VERSION: u64 = 3;
}

#[test]
fn a_journal_keeps_its_entries_apart_by_kind_and_keyspace() {
    block_on(async {
        let registry = registry();
        let journals = registry.journals::<ImportStep>("import").expect("a name");
        let created = journals
            .create("run-1", ImportStep { rows: 0 })
            .await
            .expect("new");
        assert_eq!(created.key.as_str(), "journal/main/import/run-1");
        let next = journals
            .update("run-1", |step| {
                Ok(ImportStep {
                    rows: step.rows + 10,
                })
            })
            .await;
        assert_eq!(next.expect("exists").value, ImportStep { rows: 10 });
        let stale = journals
            .replace(&created, ImportStep { rows: 1 })
            .await
            .expect_err("stale");
        assert!(
            matches!(stale, Error::Store(StoreError::Conflict { .. })),
            "{stale}"
        );
        let others = registry.journals::<ImportStep>("export").expect("a name");
        assert_eq!(others.list().await.expect("readable"), []);
        let current = journals
            .get("run-1")
            .await
            .expect("readable")
            .expect("exists");
        journals.delete(&current).await.expect("as read");
        assert_eq!(journals.get("run-1").await.expect("readable"), None);
        assert!(matches!(
            registry.journals::<ImportStep>("a/../b"),
            Err(Error::Key(_))
        ));
    });
}

#[test]
fn a_record_of_another_format_is_refused_by_name_and_left_alone() {
    block_on(async {
        let registry = registry();
        let key = Key::new("journal/main/import/run-1").expect("a key");
        registry
            .store()
            .create(&key, br#"{"v":4,"lines":7}"#)
            .await
            .expect("new");
        let journals = registry.journals::<ImportStep>("import").expect("a name");
        let outcome = journals.update("run-1", |step| Ok(step.clone())).await;
        let Err(Error::Format {
            source: FormatError::UnknownVersion { found, known, .. },
            ..
        }) = outcome
        else {
            panic!("format 4 must be refused, not {outcome:?}");
        };
        assert_eq!((found, known), (4, 3));
        let entry = registry
            .store()
            .get(&key)
            .await
            .expect("readable")
            .expect("exists");
        assert_eq!(entry.value, br#"{"v":4,"lines":7}"#);
    });
}

#[test]
fn updates_from_many_threads_all_count() {
    let registry = registry();
    let journals = registry.journals::<ImportStep>("import").expect("a name");
    block_on(journals.create("run-1", ImportStep { rows: 0 })).expect("new");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let journals = journals.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let add = |step: &ImportStep| {
                        Ok(ImportStep {
                            rows: step.rows + 1,
                        })
                    };
                    block_on(journals.update("run-1", add)).expect("exists");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let step = block_on(journals.get("run-1"))
        .expect("readable")
        .expect("exists");
    assert_eq!(step.value.rows, 200);
}
