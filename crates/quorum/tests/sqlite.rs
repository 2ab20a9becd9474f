//! The store of events: what it keeps, what it refuses, and what is left of it when its process is killed.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use shardwright_quorum::{
    CommitLevel, Coordinator, Keys, PeerClient, Settings, Storage,
    sqlite::{EventStore, OpenError, StoreError},
};

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    (directory, path)
}

#[tokio::test]
async fn events_are_there_after_a_restart_in_the_order_of_their_keys() {
    let (_directory, path) = file();
    let keys = Keys::new();
    let made: Vec<String> = (0..10).map(|_| keys.generate()).collect();
    let store = EventStore::open(&path).unwrap();
    for key in made.iter().rev() {
        store
            .put(key, format!("event of {key}").into())
            .await
            .unwrap();
    }
    drop(store);

    let store = EventStore::open(&path).unwrap();
    let first = store.page("", 4).await.unwrap();
    let rest = store.page(&first[3].key, 100).await.unwrap();
    let read: Vec<&String> = first.iter().chain(&rest).map(|each| &each.key).collect();
    assert_eq!(read, made.iter().collect::<Vec<_>>());
    let event = store.get(&made[7]).await.unwrap().unwrap();
    assert_eq!(event, format!("event of {}", made[7]));
    assert_eq!(store.get("nothing").await.unwrap(), None);
}

#[tokio::test]
async fn events_of_any_age_are_stored_and_read_by_interval() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let (_directory, path) = file();
    let store = EventStore::open(&path).unwrap();
    // The first of an interval has zeros after its bound.
    let of_day = |day: u32| format!("{}-7000-8000-{day:012}", Keys::bound(DAY * day));
    for day in [0, 1, 20_000, 20_001, 60_000] {
        store.put(&of_day(day), "event".into()).await.unwrap();
    }
    let now = Keys::new().generate();
    store.put(&now, "event".into()).await.unwrap();

    let (from, until) = (Keys::bound(DAY * 20_000), Keys::bound(DAY * 20_001));
    let page = store.page(&from, 100).await.unwrap();
    let keys = page.into_iter().map(|each| each.key);
    let interval: Vec<String> = keys.take_while(|key| *key < until).collect();
    assert_eq!(interval, [of_day(20_000)]);
    assert_eq!(store.page("", 100).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_key_keeps_its_first_event() {
    let (_directory, path) = file();
    let store = EventStore::open(&path).unwrap();
    let put = |event: &'static str| store.put("key", Bytes::from(event));
    // All three are in one transaction, or not: the outcome is the same.
    let outcomes = join_all(["first", "first", "other"].map(put)).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "{outcomes:?}");
    assert!(matches!(&outcomes[2], Err(StoreError::KeyTaken { key }) if key == "key"));
    assert!(put("first").await.is_ok());
    assert_eq!(store.get("key").await.unwrap().unwrap(), "first");
}

#[tokio::test]
async fn many_at_once_are_all_stored() {
    let (_directory, path) = file();
    let store = EventStore::open(&path).unwrap();
    let keys: Vec<String> = (0..5_000).map(|number| format!("{number:04}")).collect();
    let puts = keys
        .iter()
        .map(|key| store.put(key, Bytes::from(key.clone())));
    assert!(join_all(puts).await.into_iter().all(|put| put.is_ok()));
    assert_eq!(store.page("", usize::MAX).await.unwrap().len(), 5_000);
}

#[test]
fn files_of_others_are_left_as_they_were() {
    let (directory, path) = file();
    fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
    let refused = EventStore::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::NotAnEventStore { .. }));

    let other = directory.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    let before = fs::read(&other).unwrap();
    let refused = EventStore::open(&other).unwrap_err();
    assert!(matches!(refused, OpenError::NotAnEventStore { .. }));
    assert_eq!(fs::read(&other).unwrap(), before);

    let later = directory.path().join("later.db");
    drop(EventStore::open(&later).unwrap());
    let connection = rusqlite::Connection::open(&later).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    let refused = EventStore::open(&later).unwrap_err();
    let OpenError::UnknownVersion {
        found: 2, known: 1, ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert!(matches!(
        EventStore::open(directory.path().join("none/events.db")),
        Err(OpenError::Failed { .. })
    ));
}

struct Nobody;

impl PeerClient for Nobody {
    type Peer = ();

    async fn put(&self, (): &(), _: &str, _: Bytes) -> Result<(), shardwright_quorum::BoxError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_coordinator_stores_here_before_it_acknowledges() {
    let (_directory, path) = file();
    let store = EventStore::open(&path).unwrap();
    let coordinator = Coordinator::new(store.clone(), Nobody, Settings::default()).unwrap();
    coordinator
        .put_at("key", "event", CommitLevel::One)
        .await
        .unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap(), "event");
    assert!(Storage::put(&store, "key", "other".into()).await.is_err());
}

const CHILD: &str = "EVENT_STORE_OF_THE_CHILD";

/// What the child of the next test does: it puts events until it is killed, and says which are acknowledged.
#[tokio::test]
async fn child_that_puts_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let store = EventStore::open(path).unwrap();
    let keys = Keys::new();
    loop {
        let made: Vec<String> = (0..16).map(|_| keys.generate()).collect();
        let puts = made.iter().map(|key| store.put(key, Bytes::from("event")));
        assert!(join_all(puts).await.into_iter().all(|put| put.is_ok()));
        for key in made {
            println!("acknowledged {key}");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_process_was_killed() {
    let (_directory, path) = file();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_puts_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let lines = output.lines().map_while(Result::ok);
    let mut acknowledged = lines.filter_map(|line| {
        let (_, key) = line.split_once("acknowledged ")?;
        Some(key.to_owned())
    });
    let mut keys: Vec<String> = acknowledged.by_ref().take(200).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be cut.
    keys.extend(acknowledged.filter(|key| key.len() == 36));
    assert!(keys.len() >= 200);
    let store = EventStore::open(&path).unwrap();
    for key in keys {
        assert!(store.get(&key).await.unwrap().is_some(), "{key}");
    }
}
