//! Coordinates puts: the copies of an event, here and on peers.

mod driver;
mod load;

use std::{
    fmt,
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use shardwright_hashing::allocation::Random;

use self::{
    driver::{Driver, Job},
    load::Load,
};
use crate::{
    CommitLevel, CopyFailure, Error, InvalidSettings, PeerClient, PeerId, PeerIndex, Peers, Place,
    Settings, Storage, clock::Clock,
};

/// Stores each event here and on peers, as the settings say. Clones share everything.
pub struct Coordinator<S: Storage, C: PeerClient> {
    shared: Arc<Shared<S, C>>,
}

struct Shared<S, C: PeerClient> {
    storage: S,
    client: C,
    settings: Settings,
    peers: ArcSwap<Peers<C::Peer>>,
    random: Mutex<Random>,
    clock: Clock,
    on_under_replicated: Option<Box<dyn Fn(UnderReplicated) + Send + Sync>>,
    load: Load,
}

/// A put that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// How many nodes had confirmed the event by then. More may follow.
    pub copies: usize,
}

/// An acknowledged event that has fewer copies than wanted, after every peer and every repair was tried.
#[derive(Debug, Clone)]
pub struct UnderReplicated {
    /// The key of the event.
    pub key: Arc<str>,
    /// How many nodes have confirmed it.
    pub stored: usize,
    /// The replication factor.
    pub wanted: usize,
    /// The copies that failed, in the order in which they did.
    pub failures: Vec<CopyFailure>,
}

impl<S: Storage, C: PeerClient> Clone for Coordinator<S, C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Storage, C: PeerClient> fmt::Debug for Coordinator<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl<S: Storage, C: PeerClient> Coordinator<S, C> {
    /// Returns a coordinator that knows no peers yet. It logs each acknowledged event whose missing copies it gave up on.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the setting that cannot be.
    pub fn new(storage: S, client: C, settings: Settings) -> Result<Self, InvalidSettings> {
        Self::build(storage, client, settings, None)
    }

    /// Returns a coordinator that calls `handler` for each acknowledged event whose missing copies it gave up on.
    ///
    /// The handler runs in the task of the put, and should be short.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the setting that cannot be.
    pub fn reporting_to(
        storage: S,
        client: C,
        settings: Settings,
        handler: impl Fn(UnderReplicated) + Send + Sync + 'static,
    ) -> Result<Self, InvalidSettings> {
        Self::build(storage, client, settings, Some(Box::new(handler)))
    }

    fn build(
        storage: S,
        client: C,
        settings: Settings,
        on_under_replicated: Option<Box<dyn Fn(UnderReplicated) + Send + Sync>>,
    ) -> Result<Self, InvalidSettings> {
        settings.validate()?;
        let seed = settings
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(0));
        let shared = Shared {
            storage,
            client,
            settings,
            peers: ArcSwap::from_pointee(Peers::default()),
            random: Mutex::new(Random::new(seed)),
            clock: Clock::start(),
            on_under_replicated,
            load: Load::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns what it follows.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Adds a peer, from the next put on. One of the same id is replaced, wherever it was; returns whether there was one.
    pub fn add_peer(&self, id: impl Into<PeerId>, contact: C::Peer, place: Place) -> bool {
        let id = id.into();
        let was_known = |peers: &Arc<Peers<C::Peer>>| peers.index_of(&id).is_some();
        let before = self.shared.peers.rcu(|peers| {
            let mut next = Peers::clone(peers);
            next.add(id.clone(), contact.clone(), place.clone());
            next
        });
        was_known(&before)
    }

    /// Drops a peer, wherever it is: no further copy is sent to it, by puts that have begun neither. Returns whether it was there.
    pub fn drop_peer(&self, id: &PeerId) -> bool {
        let before = self.shared.peers.rcu(|peers| {
            let mut next = Peers::clone(peers);
            next.drop_peer(id);
            next
        });
        before.index_of(id).is_some()
    }

    /// Returns the peers that are known at this moment.
    #[must_use]
    pub fn peers(&self) -> Arc<Peers<C::Peer>> {
        self.shared.peers.load_full()
    }

    /// Stores an event, and returns once the commit level of the settings is reached.
    ///
    /// # Errors
    /// As [`put_at`](Self::put_at).
    pub async fn put(
        &self,
        key: impl Into<Arc<str>>,
        event: impl Into<Bytes>,
    ) -> Result<Receipt, Error> {
        let level = self.shared.settings.commit_level;
        self.put_at(key, event, level).await
    }

    /// Stores an event, and returns once `level` is reached. Needs a tokio runtime with time.
    ///
    /// The other copies are made in the background, also if this is dropped once it has begun.
    ///
    /// # Errors
    /// [`Error::NotEnoughPeers`] and [`Error::Overloaded`] before anything is written; [`Error::NotReached`] as soon as the level
    /// cannot be reached.
    pub async fn put_at(
        &self,
        key: impl Into<Arc<str>>,
        event: impl Into<Bytes>,
        level: CommitLevel,
    ) -> Result<Receipt, Error> {
        let (job, chosen) = self.begin(key.into(), event.into())?;
        let mut driver = Driver::new(job, level, &chosen);
        // Copies that are made at once, such as those in memory, need neither a task nor a timer.
        poll_fn(|context| {
            driver.begin(context);
            Poll::Ready(())
        })
        .await;
        let answer = driver.take_answer();
        if driver.is_finished() {
            return answer.unwrap_or(Err(Error::Interrupted));
        }
        let later = driver.go_on();
        match answer {
            Some(answer) => answer,
            None => later.await.unwrap_or(Err(Error::Interrupted)),
        }
    }

    /// Counts a put in, and chooses its peers.
    fn begin(&self, key: Arc<str>, event: Bytes) -> Result<(Job<S, C>, Vec<PeerIndex>), Error> {
        let settings = &self.shared.settings;
        let peers = self.shared.peers.load_full();
        if peers.len() < settings.replication_factor - 1 {
            return Err(Error::NotEnoughPeers {
                replication_factor: settings.replication_factor,
                known: peers.len(),
            });
        }
        if !self.shared.load.enter(event.len(), settings) {
            return Err(Error::Overloaded);
        }
        let chosen = {
            let random = self.shared.random.lock();
            let mut random = random.unwrap_or_else(PoisonError::into_inner);
            let factor = settings.replication_factor;
            peers.choose(factor, &settings.replication_strategy, &mut random)
        };
        let job = Job {
            shared: Arc::clone(&self.shared),
            peers,
            key,
            event,
        };
        Ok((job, chosen))
    }

    /// Returns how many puts have copies to make or to repair.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.shared.load.puts()
    }

    /// Waits until no put has copies to make or to repair.
    pub async fn settle(&self) {
        self.shared.load.settle().await;
    }
}
