//! The first configuration.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shardwright_quorum::{
    log::BoxError,
    topology::{
        Conditions, Config, ConfigId, KeyspaceName, Member, NodeId, Primary, Proposal, ShardId,
        ShardRecord,
    },
};

use crate::announce::{Announced, Announcements};

/// Makes this node the first primary, if there was none yet when all nodes had announced their copies.
pub(crate) async fn begin(announcements: Arc<Announcements>, me: NodeId, nodes: Vec<NodeId>) {
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
