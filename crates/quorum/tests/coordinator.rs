//! The coordinator with peers in memory that answer, fail or stay silent.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use shardwright_quorum::{
    BoxError, CommitLevel, Coordinator, CopyError, Error, InvalidSettings, PeerClient, PeerId,
    Place, Settings, Storage, UnderReplicated,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fails,
    Hangs,
}

/// The nodes of a test: how they behave, what was asked of them and what they hold.
#[derive(Debug, Clone, Default)]
struct Nodes(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    moods: BTreeMap<&'static str, Mood>,
    asked: Vec<&'static str>,
    holding: BTreeSet<&'static str>,
}

impl Nodes {
    fn set(&self, node: &'static str, mood: Option<Mood>) {
        let moods = &mut self.0.lock().unwrap().moods;
        match mood {
            Some(mood) => moods.insert(node, mood),
            None => moods.remove(node),
        };
    }

    async fn ask(&self, node: &'static str) -> Result<(), BoxError> {
        let mood = {
            let mut inside = self.0.lock().unwrap();
            inside.asked.push(node);
            inside.moods.get(node).copied()
        };
        match mood {
            None => {
                self.0.lock().unwrap().holding.insert(node);
                Ok(())
            }
            Some(Mood::Fails) => Err("out of order".into()),
            Some(Mood::Hangs) => pending().await,
        }
    }

    fn holding(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().holding.iter().copied().collect()
    }

    fn asked(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Storage for Nodes {
    async fn put(&self, _key: &str, _event: Bytes) -> Result<(), BoxError> {
        self.ask("local").await
    }
}

impl PeerClient for Nodes {
    type Peer = &'static str;

    async fn put(&self, peer: &&'static str, _key: &str, _event: Bytes) -> Result<(), BoxError> {
        self.ask(peer).await
    }
}

fn settings(factor: usize, level: CommitLevel) -> Settings {
    Settings {
        replication_factor: factor,
        commit_level: level,
        seed: Some(1),
        ..Settings::default()
    }
}

/// A coordinator with these peers in its own zone, and what it reports.
fn cluster(
    nodes: &Nodes,
    peers: &[&'static str],
    settings: Settings,
) -> (Coordinator<Nodes, Nodes>, Arc<Mutex<Vec<UnderReplicated>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let reported = Arc::clone(&reports);
    let coordinator =
        Coordinator::reporting_to(nodes.clone(), nodes.clone(), settings, move |each| {
            reported.lock().unwrap().push(each);
        })
        .unwrap();
    for peer in peers {
        coordinator.add_peer(*peer, *peer, Place::SameZone);
    }
    (coordinator, reports)
}

#[tokio::test(start_paused = true)]
async fn every_level_ends_with_all_copies() {
    for level in [CommitLevel::One, CommitLevel::Quorum, CommitLevel::All] {
        let nodes = Nodes::default();
        let (coordinator, reports) = cluster(&nodes, &["a", "b"], settings(3, level));
        coordinator.put("key", "event").await.unwrap();
        coordinator.settle().await;
        assert_eq!(nodes.holding(), ["a", "b", "local"]);
        assert!(reports.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_peers_are_refused_before_anything_is_written() {
    let nodes = Nodes::default();
    let (coordinator, _) = cluster(&nodes, &["a"], settings(3, CommitLevel::One));
    let refused = coordinator.put("key", "event").await.unwrap_err();
    assert!(matches!(refused, Error::NotEnoughPeers { known: 1, .. }));
    assert!(nodes.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn settings_that_store_nothing_are_refused() {
    let nodes = Nodes::default();
    let settings = settings(0, CommitLevel::One);
    let refused = Coordinator::new(nodes.clone(), nodes, settings).unwrap_err();
    assert_eq!(refused, InvalidSettings::NoCopies);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_replaced_at_its_deadline() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Hangs));
    let (coordinator, reports) =
        cluster(&nodes, &["a", "b", "c"], settings(4, CommitLevel::Quorum));
    coordinator.add_peer("spare", "spare", Place::OtherZone("z".to_owned()));
    let receipt = coordinator.put("key", "event").await.unwrap();
    assert_eq!(receipt.copies, 3);
    coordinator.settle().await;
    assert_eq!(nodes.holding(), ["b", "c", "local", "spare"]);
    assert!(reports.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_everywhere_is_an_error_and_not_for_ever() {
    let nodes = Nodes::default();
    for node in ["a", "local"] {
        nodes.set(node, Some(Mood::Hangs));
    }
    let (coordinator, _) = cluster(&nodes, &["a"], settings(2, CommitLevel::Quorum));
    let failed = coordinator.put("key", "event").await.unwrap_err();
    let Error::NotReached {
        stored: 0,
        failures,
        ..
    } = failed
    else {
        panic!("{failed}");
    };
    assert!(matches!(failures[0].error, CopyError::TimedOut(_)));
}

#[tokio::test(start_paused = true)]
async fn one_needs_the_local_store_whatever_the_peers_say() {
    let nodes = Nodes::default();
    nodes.set("local", Some(Mood::Fails));
    let (coordinator, _) = cluster(&nodes, &["a", "b"], settings(2, CommitLevel::One));
    let failed = coordinator.put("key", "event").await.unwrap_err();
    assert!(matches!(failed, Error::NotReached { needed: 1, .. }));
    let quorum = coordinator.put_at("key", "event", CommitLevel::Quorum);
    assert_eq!(quorum.await.unwrap().copies, 2, "two peers are two copies");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_fails_at_once_is_never_asked_twice_by_one_put() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Fails));
    let (coordinator, _) = cluster(&nodes, &["a", "b", "c"], settings(3, CommitLevel::All));
    for _ in 0..20 {
        let before = nodes.asked().len();
        coordinator.put("key", "event").await.unwrap();
        coordinator.settle().await;
        let mut asked = nodes.asked().split_off(before);
        let all = asked.len();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), all, "{asked:?}");
    }
    assert_eq!(nodes.holding(), ["b", "c", "local"]);
}

#[tokio::test(start_paused = true)]
async fn a_level_is_reached_in_spite_of_an_early_failure() {
    let nodes = Nodes::default();
    nodes.set("local", Some(Mood::Fails));
    let (coordinator, reports) = cluster(&nodes, &["a", "b"], settings(3, CommitLevel::Quorum));
    assert_eq!(coordinator.put("key", "event").await.unwrap().copies, 2);
    nodes.set("local", None);
    coordinator.settle().await;
    assert_eq!(nodes.holding(), ["a", "b", "local"]);
    assert!(reports.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn missing_copies_are_repaired_when_the_peer_is_back() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Fails));
    let (coordinator, reports) = cluster(&nodes, &["a"], settings(2, CommitLevel::One));
    assert_eq!(coordinator.put("key", "event").await.unwrap().copies, 1);
    nodes.set("a", None);
    coordinator.settle().await;
    assert_eq!(nodes.holding(), ["a", "local"]);
    assert!(reports.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn missing_copies_that_cannot_be_repaired_are_reported() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Fails));
    let (coordinator, reports) = cluster(&nodes, &["a"], settings(2, CommitLevel::One));
    coordinator.put("key", "event").await.unwrap();
    coordinator.settle().await;
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].stored, reports[0].wanted), (1, 2));
    assert_eq!(reports[0].failures.len(), 4, "once, and three repairs");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_peer_gets_no_copy_of_a_put_that_has_begun() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Hangs));
    let (coordinator, _) = cluster(&nodes, &["a"], settings(2, CommitLevel::One));
    coordinator.put("key", "event").await.unwrap();
    assert!(coordinator.drop_peer(&PeerId::new("a")));
    assert!(!coordinator.drop_peer(&PeerId::new("a")));
    coordinator.settle().await;
    assert_eq!(nodes.asked(), ["local", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_caller_has_gone_is_finished() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Hangs));
    let (coordinator, _) = cluster(&nodes, &["a", "b"], settings(2, CommitLevel::All));
    coordinator.drop_peer(&PeerId::new("b"));
    coordinator.add_peer("z", "z", Place::OtherZone("z".to_owned()));
    let put = coordinator.put("key", "event");
    let gone = tokio::time::timeout(Duration::from_millis(1), put).await;
    assert!(gone.is_err());
    coordinator.settle().await;
    assert_eq!(nodes.holding(), ["local", "z"]);
}

#[tokio::test(start_paused = true)]
async fn puts_beyond_the_limits_are_refused_before_anything_is_written() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Hangs));
    let settings = Settings {
        puts_max: 2,
        bytes_max: 10,
        ..settings(2, CommitLevel::One)
    };
    let (coordinator, _) = cluster(&nodes, &["a"], settings);
    coordinator
        .put("alone", "more than ten bytes")
        .await
        .unwrap();
    let refused = coordinator.put("large", "a").await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded), "{refused}");
    nodes.set("a", None);
    coordinator.settle().await;

    nodes.set("a", Some(Mood::Hangs));
    for key in ["first", "second"] {
        coordinator.put(key, "event").await.unwrap();
    }
    assert_eq!(coordinator.under_way(), 2);
    let asked = nodes.asked().len();
    let refused = coordinator.put("third", "").await.unwrap_err();
    assert!(matches!(refused, Error::Overloaded) && !refused.may_be_stored());
    assert_eq!(nodes.asked().len(), asked, "nobody was asked");

    nodes.set("a", None);
    coordinator.settle().await;
    coordinator.put("third", "event").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_away_costs_repairs_and_no_puts() {
    let nodes = Nodes::default();
    nodes.set("a", Some(Mood::Fails));
    let settings = Settings {
        repairing_max: 1,
        ..settings(3, CommitLevel::Quorum)
    };
    let (coordinator, reports) = cluster(&nodes, &["a", "b"], settings);
    for number in 0..5 {
        coordinator
            .put(format!("event-{number}"), "event")
            .await
            .unwrap();
    }
    assert_eq!(coordinator.under_way(), 1, "one waits for its repair");
    assert_eq!(reports.lock().unwrap().len(), 4, "the others are reported");
    nodes.set("a", None);
    coordinator.settle().await;
    assert_eq!(reports.lock().unwrap().len(), 4);

    nodes.set("a", Some(Mood::Fails));
    coordinator.put("later", "event").await.unwrap();
    assert_eq!(coordinator.under_way(), 1, "its place was given back");
}
