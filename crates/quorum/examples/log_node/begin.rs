//! The first configuration, and the copies that are no members yet.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shardwright_quorum::{
    log::{BoxError, ShardLog},
    topology::{
        Conditions, Config, ConfigId, KeyspaceName, Member, NodeId, Primary, Proposal, ShardId,
        ShardRecord,
    },
};

use crate::announce::{Announced, Announcements};

/// Makes this node the first primary, if there was none yet when all nodes had announced their copies, and keeps the copies up to
/// date that are announced.
pub(crate) async fn follow(
    announcements: Arc<Announcements>,
    log: ShardLog,
    me: NodeId,
    nodes: Vec<NodeId>,
) {
    let mut has_begun = false;
    loop {
        match look(&announcements, &log, &me, &nodes, has_begun).await {
            Ok(begun) => has_begun = begun,
            Err(error) => tracing::warn!(%error, "the copies cannot be listed"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn look(
    at: &Announcements,
    log: &ShardLog,
    me: &NodeId,
    nodes: &[NodeId],
    has_begun: bool,
) -> Result<bool, BoxError> {
    let copies = at.copies.list().await?.into_iter();
    let copies: Vec<Announced> = copies.map(|copy| copy.value).collect();
    let members = copies.iter().map(|copy| copy.copy.clone()).collect();
    log.set_learners(members).await?;
    Ok(has_begun || try_begin(at, &copies, me, nodes).await?)
}

/// Returns whether the shard has a record.
async fn try_begin(
    at: &Announcements,
    copies: &[Announced],
    me: &NodeId,
    nodes: &[NodeId],
) -> Result<bool, BoxError> {
    let (shards, shard) = (at.registry.shards(), ShardId::numbered(0));
    if shards.get(&shard).await?.is_some() {
        return Ok(true);
    }
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
