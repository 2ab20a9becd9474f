//! The copies of all nodes, in the registry, and the first configuration.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shardwright_quorum::{
    log::{BoxError, shard_log::Registrar},
    topology::{
        Conditions, Config, ConfigId, Incarnation, KeyspaceName, Member, NodeId, Primary, Proposal,
        ShardId, ShardRecord,
    },
};
use shardwright_registry::{Prefix, Record, Records, Registry, Stored};

/// The copy on a node, as it was opened last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    copy: Member,
    incarnation: Incarnation,
}

impl Record for Announced {
    const KIND: &'static str = "announced copy";
    const VERSION: u64 = 1;
}

#[derive(Debug)]
pub(crate) struct Announcements {
    registry: Registry,
    copies: Records<Announced>,
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

/// Makes this node the first primary, if there was none yet when all nodes had announced their copies.
pub(crate) async fn begin(
    announcements: std::sync::Arc<Announcements>,
    me: NodeId,
    nodes: Vec<NodeId>,
) {
    loop {
        match try_begin(&announcements, &me, &nodes).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the registry does not answer"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns whether the shard has a record.
async fn try_begin(at: &Announcements, me: &NodeId, nodes: &[NodeId]) -> Result<bool, BoxError> {
    let (shards, shard) = (at.registry.shards(), ShardId::numbered(0));
    if shards.get(&shard).await?.is_some() {
        return Ok(true);
    }
    let copies: Vec<Announced> = at
        .copies
        .list()
        .await?
        .into_iter()
        .map(|copy| copy.value)
        .collect();
    let own = copies.iter().find(|copy| copy.copy.node == *me);
    let (Some(own), true) = (own, nodes.len() == copies.len()) else {
        return Ok(false);
    };
    let members: BTreeSet<Member> = copies.iter().map(|copy| copy.copy.clone()).collect();
    let clean = members.iter().map(|member| member.replica_id).collect();
    let proposal = Proposal {
        config_id: ConfigId::random(&mut rand::rng()),
        primary: Primary {
            node: me.clone(),
            incarnation: own.incarnation,
        },
        w: Config::majority(members.len()),
        members,
        zones: 1,
    };
    let record = ShardRecord::new(KeyspaceName::main(), shard.clone(), None);
    let record = record.begin_attempt(proposal, &Conditions { clean, w_min: 1 })?;
    shards.create_if_absent(&shard, record).await?;
    Ok(true)
}
