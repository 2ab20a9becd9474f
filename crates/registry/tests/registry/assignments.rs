//! Nodes that register and claim, and shards that are assigned.

use futures_executor::block_on;
use shardwright_registry::{Error, Partitioning, Registration};
use shardwright_topology::{
    Conditions, ConfigId, Epoch, Incarnation, Member, NodeState, Primary, Proposal, ReplicaId, Role,
};

use super::*;

/// Who holds what, as text: `shard-0: n1 e1, n2; shard-1: ...`, owners first.
async fn holders(registry: &Registry) -> String {
    let mut text = String::new();
    let mut before = None;
    for each in registry.assignments().await.expect("readable") {
        if before.as_ref() != Some(&each.shard) {
            let gap = if text.is_empty() { "" } else { "; " };
            text += &format!("{gap}{}: {} {}", each.shard, each.node, each.epoch);
            assert_eq!(each.role, Role::Primary);
        } else {
            text += &format!(", {}", each.node);
            assert_eq!(each.role, Role::Replica);
        }
        before = Some(each.shard);
    }
    text
}

async fn three_shards() -> Registry {
    let registry = registry();
    registry
        .bootstrap(Partitioning::Ranges, 3)
        .await
        .expect("a new keyspace");
    registry
}

#[test]
fn a_node_claims_shards_and_others_find_it() {
    block_on(async {
        let registry = three_shards().await;
        assert_eq!(registry.owner(&shard(0)).await.expect("exists"), None);
        register(&registry, "n1", &[0, 2]).await;
        assert_eq!(holders(&registry).await, "shard-0: n1 e1; shard-2: n1 e1");
        let owner = registry
            .owner(&shard(2))
            .await
            .expect("exists")
            .expect("claimed");
        assert_eq!(
            (owner.node, owner.role, owner.epoch),
            (node("n1"), Role::Primary, Epoch::INITIAL)
        );
        let record = registry.node(&node("n1")).await.expect("registered").value;
        assert_eq!(
            (record.state, record.incarnation),
            (NodeState::Up, Incarnation(1))
        );
    });
}

#[test]
fn a_shard_that_another_node_owns_is_refused_by_name_and_nothing_changes() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[1]).await;
        let shards = vec![shard(0), shard(1)];
        let claim = Registration {
            shards,
            ..Registration::new(node("n2"), "http://localhost")
        };
        let refused = registry.register(claim).await.expect_err("owned by n1");
        assert_eq!(
            refused.to_string(),
            "shard shard-1 is owned by n1, n2 cannot claim it"
        );
        assert!(!refused.is_retryable());
        assert_eq!(holders(&registry).await, "shard-1: n1 e1");
        assert!(matches!(
            registry.node(&node("n2")).await,
            Err(Error::UnknownNode { .. })
        ));
    });
}

#[test]
fn a_restarted_node_gets_the_next_incarnation_and_a_new_epoch() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[0]).await;
        let before = registry
            .owner(&shard(0))
            .await
            .expect("exists")
            .expect("claimed");
        register(&registry, "n1", &[0]).await;
        let after = registry
            .owner(&shard(0))
            .await
            .expect("exists")
            .expect("claimed");
        assert_eq!(
            (after.epoch, after.replica),
            (Epoch(2), before.replica),
            "the copy is the same"
        );
        let record = registry.node(&node("n1")).await.expect("registered").value;
        assert_eq!(record.incarnation, Incarnation(2));
    });
}

#[test]
fn an_assignment_moves_a_shard_and_leaves_its_replicas() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[0]).await;
        register(&registry, "n2", &[]).await;
        register(&registry, "n3", &[]).await;
        registry
            .add_replica(&shard(0), &node("n3"))
            .await
            .expect("registered");
        assert_eq!(holders(&registry).await, "shard-0: n1 e2, n3");
        registry
            .assign_shard(&shard(0), &node("n2"))
            .await
            .expect("registered");
        assert_eq!(holders(&registry).await, "shard-0: n2 e3, n3");
        registry
            .assign_shard(&shard(0), &node("n3"))
            .await
            .expect("a promotion");
        assert_eq!(holders(&registry).await, "shard-0: n3 e4");
        registry
            .assign_shard(&shard(0), &node("n3"))
            .await
            .expect("as it is");
        assert_eq!(
            holders(&registry).await,
            "shard-0: n3 e4",
            "the same owner again changes nothing"
        );
    });
}

#[test]
fn a_promoted_replica_keeps_its_copy() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[0]).await;
        register(&registry, "n2", &[]).await;
        registry
            .add_replica(&shard(0), &node("n2"))
            .await
            .expect("registered");
        let replica = registry.replicas(&shard(0)).await.expect("exists")[0].replica;
        registry
            .assign_shard(&shard(0), &node("n2"))
            .await
            .expect("registered");
        let owner = registry
            .owner(&shard(0))
            .await
            .expect("exists")
            .expect("assigned");
        assert_eq!(owner.replica, replica);
    });
}

#[test]
fn a_replica_that_comes_back_has_a_new_copy() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[0]).await;
        register(&registry, "n2", &[]).await;
        let add = async || {
            registry
                .add_replica(&shard(0), &node("n2"))
                .await
                .expect("registered")
        };
        add().await;
        let first = registry.replicas(&shard(0)).await.expect("exists")[0].replica;
        add().await;
        assert_eq!(
            registry.replicas(&shard(0)).await.expect("exists")[0].replica,
            first
        );
        registry
            .remove_replica(&shard(0), &node("n2"))
            .await
            .expect("a replica");
        assert_eq!(registry.replicas(&shard(0)).await.expect("exists"), []);
        add().await;
        assert_ne!(
            registry.replicas(&shard(0)).await.expect("exists")[0].replica,
            first
        );
    });
}

#[test]
fn what_cannot_be_assigned_is_refused_by_name() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[0]).await;
        let unknown = registry
            .assign_shard(&shard(9), &node("n1"))
            .await
            .expect_err("no such shard");
        assert_eq!(unknown.to_string(), "keyspace main has no shard shard-9");
        let unknown = registry
            .assign_shard(&shard(0), &node("n9"))
            .await
            .expect_err("no such node");
        assert_eq!(unknown.to_string(), "node n9 is not registered");
        let early = registry
            .add_replica(&shard(1), &node("n1"))
            .await
            .expect_err("no owner");
        assert!(matches!(early, Error::Unassigned { .. }), "{early}");
        let primary = registry
            .remove_replica(&shard(0), &node("n1"))
            .await
            .expect_err("the owner");
        assert!(matches!(primary, Error::IsPrimary { .. }), "{primary}");
        let proxy = Registration {
            role: Role::Proxy,
            shards: vec![shard(1)],
            ..Registration::new(node("p"), "http://localhost")
        };
        let refused = registry.register(proxy).await.expect_err("a proxy");
        assert!(
            matches!(refused, Error::RoleHoldsNothing { .. }),
            "{refused}"
        );
    });
}

#[test]
fn a_shard_with_a_commit_width_is_not_assigned() {
    block_on(async {
        let registry = three_shards().await;
        register(&registry, "n1", &[]).await;
        let copies = [1, 2].map(ReplicaId::from_bits);
        let names = ["n1", "n2"].map(node);
        let members = names.into_iter().zip(copies);
        let members = members
            .map(|(node, replica_id)| Member { node, replica_id })
            .collect();
        let config_id = ConfigId::from_bits(1);
        let primary = Primary {
            node: node("n1"),
            incarnation: Incarnation(1),
        };
        let proposal = Proposal {
            config_id,
            primary,
            members,
            w: 2,
            zones: 1,
        };
        let conditions = Conditions {
            clean: copies.into(),
            w_min: 2,
        };
        registry
            .update_shard(&shard(0), |record| {
                Ok(record
                    .begin_attempt(proposal.clone(), &conditions)?
                    .activate(config_id)?)
            })
            .await
            .expect("a valid configuration");
        let refused = registry
            .assign_shard(&shard(0), &node("n1"))
            .await
            .expect_err("replicated");
        assert!(
            matches!(refused, Error::Replicated { w: 2, .. }),
            "{refused}"
        );
    });
}

#[test]
fn of_two_nodes_that_claim_a_shard_at_once_one_owns_it() {
    for seed in 0..20 {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let registry = on(store.clone());
        block_on(registry.bootstrap(Partitioning::Ranges, 1)).expect("a new keyspace");
        let claims: Vec<_> = ["n1", "n2"]
            .into_iter()
            .zip(seed..)
            .map(|(name, seed)| {
                let registry = Registry::seeded(store.clone(), KeyspaceName::main(), seed);
                let registration = Registration {
                    shards: vec![shard(0)],
                    ..Registration::new(node(name), "http://localhost")
                };
                std::thread::spawn(move || block_on(registry.register(registration)).map(|_| name))
            })
            .collect();
        let outcomes: Vec<_> = claims
            .into_iter()
            .map(|claim| claim.join().expect("no panic"))
            .collect();
        let winners: Vec<_> = outcomes.iter().flatten().copied().collect();
        let owner = block_on(registry.owner(&shard(0)))
            .expect("exists")
            .expect("claimed");
        assert_eq!(winners, [owner.node.as_str()], "{outcomes:?}");
        assert_eq!(owner.epoch, Epoch::INITIAL);
    }
}
