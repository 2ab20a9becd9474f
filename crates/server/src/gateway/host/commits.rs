//! The parts that the shards of a node have in commits over several shards: the machines of [`commit`](shardwright_sql::commit), driven
//! for as long as this node has the primary.
//!
//! ```text
//! gateway ─ Enlist, Prepare, Decide ─ Desk ─┬ Participant    decides
//! other shards ─ Resolve, Inquire ... ──────┘      └ open transaction, records of the log, letters to other shards
//! ```
//! A desk is one reign of one primary. It begins with what the log says of commits, and ends with the reign, or when it is not known
//! whether a record was written: then the next one reads what has become of it. What is prepared or decided is with the data of the
//! shard, so that any later primary goes on with it.
//!
//! No shard is replaced by others while it has a part that is prepared, or a decision that is not forgotten:
//! [the seal](crate::shard::split) looks for both in the transaction that writes it. So whoever is told an outcome, or asks for one, is
//! found under the name that the commit has for it. A part that has not prepared ends with the seal, and then its commit cannot be decided.

mod desk;
mod kept;
mod stores;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_sql::commit::{CommitId, Message, notes};
use shardwright_topology::Epoch;
use tokio::{
    sync::{
        OnceCell,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
    task::spawn_blocking,
};

pub(super) use self::desk::Asked;
use self::desk::Desk;
use super::sessions::Sessions;
use crate::{
    gateway::wire::{Answer, Refusal, Said},
    node::Copies,
    shard::{ReadLevel, Shard},
};

/// How often the desks look at the time, and whether there is something to do.
const LOOK: Duration = Duration::from_millis(50);

/// How long it may take to find out what a shard has.
const FINDING: Duration = Duration::from_secs(5);

/// Something that one shard says to another.
#[derive(Debug)]
pub(in crate::gateway) struct Letter {
    pub(in crate::gateway) to: PartitionId,
    pub(in crate::gateway) message: Message,
}

/// The desks of a node. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Commits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    copies: Copies,
    sessions: Arc<Sessions>,
    letters: UnboundedSender<Letter>,
    desks: Mutex<HashMap<PartitionId, Slot>>,
    /// The reigns at whose beginning it was looked whether something was left.
    looked: Mutex<HashMap<PartitionId, Epoch>>,
}

/// The desk of one reign, once it has begun.
#[derive(Debug, Clone)]
struct Slot {
    epoch: Epoch,
    desk: Arc<OnceCell<Arc<Desk>>>,
}

/// A shard, and the copy of this node.
type Here<'s> = (&'s PartitionId, &'s Shard);

impl Commits {
    pub(super) fn new(
        copies: Copies,
        sessions: Arc<Sessions>,
    ) -> (Self, UnboundedReceiver<Letter>) {
        let (letters, carried) = mpsc::unbounded_channel();
        let shared = Shared {
            copies,
            sessions,
            letters,
            desks: Mutex::default(),
            looked: Mutex::default(),
        };
        (Self(Arc::new(shared)), carried)
    }

    /// Lends the shard to a commit, once it is free.
    pub(super) async fn enlist(
        &self,
        here: Here<'_>,
        id: CommitId,
        asked: Asked,
        within: Duration,
    ) -> Answer {
        let desk = self.desk(here, within).await?;
        desk.enlist(id, asked, within).await
    }

    /// Hears what is said about a commit, and answers once that is done.
    pub(super) async fn hear(&self, here: Here<'_>, message: Message, within: Duration) -> Answer {
        let desk = self.desk(here, within).await?;
        desk.hear(message, within).await
    }

    /// Lists what is left of commits.
    pub(super) async fn list(&self, here: Here<'_>, within: Duration) -> Answer {
        let desk = self.desk(here, within).await?;
        Ok(Said::Commits(desk.leftovers()))
    }

    /// Returns the desk of the present reign.
    async fn desk(&self, (id, copy): Here<'_>, within: Duration) -> Result<Arc<Desk>, Refusal> {
        let leading = copy.status().borrow().leading();
        let epoch = leading.ok_or(Refusal::NotPrimary { hint: None })?;
        let cell = {
            let mut desks = self.desks();
            let new = || Slot {
                epoch,
                desk: Arc::default(),
            };
            let slot = desks.entry(id.clone()).or_insert_with(new);
            if slot.epoch != epoch || slot.desk.get().is_some_and(|desk| desk.is_over()) {
                if let Some(before) = slot.desk.get() {
                    before.end();
                }
                *slot = new();
            }
            Arc::clone(&slot.desk)
        };
        let begin = || {
            let letters = self.0.letters.clone();
            let sessions = Arc::clone(&self.0.sessions);
            Desk::begin((id.clone(), copy.clone()), epoch, sessions, letters, within)
        };
        cell.get_or_try_init(begin).await.cloned()
    }

    /// Looks after the desks, and begins one wherever something is left of an earlier reign.
    pub(super) async fn keep(self) {
        while let Some(leading) = self.0.copies.leading() {
            for (id, copy) in &leading {
                self.look((id, copy));
            }
            let is_led = |id: &PartitionId, epoch: Epoch| {
                let found = leading.iter().find(|(led, _)| led == id);
                found.is_some_and(|(_, copy)| copy.status().borrow().leading() == Some(epoch))
            };
            self.desks().retain(|id, slot| match slot.desk.get() {
                Some(desk) if desk.is_over() || !is_led(id, slot.epoch) => {
                    desk.end();
                    self.looked().remove(id);
                    false
                }
                Some(desk) => {
                    desk.look();
                    true
                }
                None => is_led(id, slot.epoch),
            });
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Finds out, once in a reign, whether something is left of commits, and begins to end it.
    fn look(&self, (id, copy): Here<'_>) {
        let Some(epoch) = copy.status().borrow().leading() else {
            return;
        };
        if self.looked().insert(id.clone(), epoch) == Some(epoch) {
            return;
        }
        let (commits, id, copy) = (self.clone(), id.clone(), copy.clone());
        tokio::spawn(async move {
            let found = match has_left(&copy).await {
                Some(true) => commits.desk((&id, &copy), FINDING).await.is_ok(),
                Some(false) => true,
                None => false,
            };
            if !found {
                commits.looked().remove(&id);
            }
        });
    }

    fn desks(&self) -> MutexGuard<'_, HashMap<PartitionId, Slot>> {
        self.0.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked(&self) -> MutexGuard<'_, HashMap<PartitionId, Epoch>> {
        self.0.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is left of commits; `None` if it is not known.
async fn has_left(copy: &Shard) -> Option<bool> {
    let fresh = copy.fresh(ReadLevel::Leased, FINDING).await.ok()?;
    let read = spawn_blocking(move || {
        let snapshot = fresh.file.snapshot()?;
        snapshot.query_row(notes::UNRESOLVED, (), |_| ())
    });
    let found = read.await.ok()?.ok()?;
    Some(found.is_some())
}
