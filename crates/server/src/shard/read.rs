//! How fresh a read is, and what it reads.

use std::{sync::Arc, time::Duration};

use shardwright_quorum::log::{self, shard_log};
use shardwright_store::ShardFile;
use shardwright_topology::NodeId;

use super::{Shard, Token};

/// How fresh the data has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLevel {
    /// All that was acknowledged before. Of the primary, by its lease if it has one, else by asking the members.
    Leased,
    /// All that was acknowledged before. Of the primary, by asking the members, whatever the clocks say.
    Consistent,
    /// Whatever the copy has.
    Any,
    /// All that led to a place in the history of the shard, which the copy waits for.
    AtLeast(Token),
}

/// Data that is fresh enough.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The data. It goes on changing: a read sees this state of it or a later one.
    pub file: Arc<ShardFile>,
    /// Where it is in the history of the shard, at least.
    pub token: Token,
    /// How many records are known to be committed that it does not have.
    pub lag: u64,
}

/// Why data is not fresh enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This node does not have the primary. Ask the one that does.
    #[error("this node does not have the primary, {} may", .hint.as_ref().map_or("nobody known", NodeId::as_str))]
    NotPrimary {
        /// The node of the primary, as the registry said last.
        hint: Option<NodeId>,
    },
    /// Too much waits. Try again later.
    #[error("too much waits for this shard")]
    Overloaded,
    /// The data was not fresh enough in time. Try again later, or elsewhere.
    #[error("the data has not come so far in time")]
    Late,
    /// The copy on this node is out of order. Ask another node.
    #[error("the copy on this node does not run")]
    NotRunning,
}

impl Shard {
    /// Waits until the data of this copy is fresh enough, for so long.
    ///
    /// # Errors
    /// [`ReadError`]: the read may be tried again, where it says.
    pub async fn fresh(&self, level: ReadLevel, within: Duration) -> Result<Fresh, ReadError> {
        let waiting = tokio::time::timeout(within, self.until_fresh(level));
        waiting.await.unwrap_or(Err(ReadError::Late))
    }

    async fn until_fresh(&self, level: ReadLevel) -> Result<Fresh, ReadError> {
        match level {
            ReadLevel::Leased => self.barrier(log::ReadLevel::Leased).await?,
            ReadLevel::Consistent => self.barrier(log::ReadLevel::Consistent).await?,
            ReadLevel::Any => {}
            ReadLevel::AtLeast(token) => self.until_applied(token).await?,
        }
        let file = self.data.file().ok_or(ReadError::NotRunning)?;
        let token = self.data.place().ok_or(ReadError::NotRunning)?;
        let committed = self.status().borrow().known_commit;
        Ok(Fresh {
            file,
            token,
            lag: committed.0.saturating_sub(token.lsn.0),
        })
    }

    async fn barrier(&self, level: log::ReadLevel) -> Result<(), ReadError> {
        match self.log.barrier(level).await {
            Ok(_) => Ok(()),
            Err(shard_log::ReadError::NotPrimary { hint }) => Err(ReadError::NotPrimary { hint }),
            Err(shard_log::ReadError::Overloaded) => Err(ReadError::Overloaded),
            Err(_) => Err(ReadError::NotRunning),
        }
    }

    /// Waits until the data has come as far as a place, in an epoch no earlier than that.
    async fn until_applied(&self, token: Token) -> Result<(), ReadError> {
        let mut places = self.data.places();
        let has_come = |here: &Option<Token>| {
            here.is_some_and(|here| here.lsn >= token.lsn && here.epoch >= token.epoch)
        };
        // The sender lives as long as this copy.
        let come = places.wait_for(has_come).await;
        come.map(drop).map_err(|_| ReadError::NotRunning)
    }
}
