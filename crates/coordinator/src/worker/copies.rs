//! The copies that a worker keeps of shards that commit on several members.

use std::fmt::Debug;

use crate::protocol::{CopyInstruction, CopyState, CopyTrouble};

/// The copies that a worker keeps of shards that commit on several members: the way between their logs and the coordinator.
///
/// Its methods are called by the task that answers pings, and must not block it. Implementations register each copy with
/// [`Registry::register_copy`](shardwright_registry::Registry::register_copy) whenever they open it.
pub trait Copies: Debug + Send + Sync + 'static {
    /// Returns how each copy stands that is open.
    fn states(&self) -> Vec<CopyState>;

    /// Returns which copies do not work, or have not caught up since.
    fn troubles(&self) -> Vec<CopyTrouble> {
        Vec::new()
    }

    /// Begins to do this. What does not come to an end is told again, so it need not be remembered.
    fn follow(&self, instructions: Vec<CopyInstruction>);
}
