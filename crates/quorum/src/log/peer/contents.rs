//! What the copies of a shard hold at a record, as nodes tell one another: so that copies can be compared.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shardwright_topology::{Lsn, NodeId, ReplicaId, ShardId};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Peers,
    encode::{self, Message},
    queue::Queue,
};

/// What a copy holds at a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The copy.
    pub replica_id: ReplicaId,
    /// What it holds, as whoever keeps the data digests it.
    pub digest: [u8; 32],
}

/// Who knows what the copies of this node hold.
pub trait Contents: Send + Sync + 'static {
    /// Returns what the copy of a shard holds at a record; `None` if there is no copy, or it is not known, or not yet.
    ///
    /// Implementations must not wait.
    fn content(&self, shard: &ShardId, lsn: Lsn) -> Option<Content>;
}

/// The questions that wait for answers, and who answers those of others.
#[derive(Default)]
pub(super) struct Questions {
    here: RwLock<Option<Arc<dyn Contents>>>,
    waiting: Mutex<HashMap<Question, oneshot::Sender<Option<Content>>>>,
}

type Question = (NodeId, ShardId, Lsn);

impl Peers {
    /// Lets other nodes know what the copies of this one hold, instead of whoever was given before.
    pub fn show_contents(&self, contents: Arc<dyn Contents>) {
        let here = &self.shared.questions.here;
        *here.write().unwrap_or_else(PoisonError::into_inner) = Some(contents);
    }

    /// Asks a node what its copy of a shard holds at a record, and waits so long for the answer. `None` if it does not know, or does not
    /// answer. Of two that ask the same at once, the first is not answered.
    pub async fn content_of(
        &self,
        node: &NodeId,
        shard: &ShardId,
        lsn: Lsn,
        within: Duration,
    ) -> Option<Content> {
        let frame = encode::message(&Message::AskContent(shard.clone(), lsn)).ok()?;
        let questions = &self.shared.questions;
        let (answer, answered) = oneshot::channel();
        questions.ask((node.clone(), shard.clone(), lsn), answer);
        self.send(node, frame);
        timeout(within, answered).await.ok()?.ok()?
    }
}

impl Questions {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Question, oneshot::Sender<Option<Content>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, and for none any more whose asker has gone.
    fn ask(&self, question: Question, answer: oneshot::Sender<Option<Content>>) {
        let mut waiting = self.waiting();
        waiting.retain(|_, answer| !answer.is_closed());
        waiting.insert(question, answer);
    }

    /// Answers a node.
    pub(super) fn asked(&self, shard: ShardId, lsn: Lsn, back: &Queue) {
        let here = self.here.read().unwrap_or_else(PoisonError::into_inner);
        let here = here.clone();
        let content = here.and_then(|here| here.content(&shard, lsn));
        match encode::message(&Message::Content(shard, lsn, content)) {
            Ok(frame) => {
                back.push(frame);
            }
            Err(error) => tracing::error!(%error, "an answer cannot be encoded"),
        }
    }

    /// Takes the answer of a node.
    pub(super) fn answered(
        &self,
        from: NodeId,
        shard: ShardId,
        lsn: Lsn,
        content: Option<Content>,
    ) {
        if let Some(answer) = self.waiting().remove(&(from, shard, lsn)) {
            // Whoever asked may have gone.
            let _told = answer.send(content);
        }
    }
}

impl Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting().len();
        f.debug_struct("Questions")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
