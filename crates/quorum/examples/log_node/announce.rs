//! The copies of all nodes, in the registry.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shardwright_quorum::{
    log::{BoxError, shard_log::Registrar},
    topology::{Incarnation, Member, ShardId},
};
use shardwright_registry::{Prefix, Record, Records, Registry, Stored};

/// The copy on a node, as it was opened last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) copy: Member,
    pub(crate) incarnation: Incarnation,
}

impl Record for Announced {
    const KIND: &'static str = "announced copy";
    const VERSION: u64 = 1;
}

#[derive(Debug)]
pub(crate) struct Announcements {
    pub(crate) registry: Registry,
    pub(crate) copies: Records<Announced>,
}

impl Announcements {
    pub(crate) fn new(registry: Registry) -> Self {
        let prefix = Prefix::new("copy/").expect("a prefix");
        let copies = Records::new(registry.store().clone(), prefix);
        Self { registry, copies }
    }
}

#[async_trait]
impl Registrar for Announcements {
    async fn register(&self, _: &ShardId, copy: &Member) -> Result<Incarnation, BoxError> {
        let at = |incarnation| Announced {
            copy: copy.clone(),
            incarnation,
        };
        let (found, is_first) = self
            .copies
            .create_if_absent(&copy.node, at(Incarnation(1)))
            .await?;
        if is_first {
            return Ok(found.value.incarnation);
        }
        let next = |found: &Announced| Ok(at(found.incarnation.next()));
        let stored: Stored<Announced> = self.copies.update(&copy.node, next).await?;
        Ok(stored.value.incarnation)
    }
}
