//! Splits and merges under load.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use shardwright_testkit::until;

use super::{cluster::Cluster, nodes::Node};

#[test]
fn shards_are_split_and_merged_while_clients_write() {
    let mut cluster = Cluster::on_sqlite();
    let shard = cluster.sharded().swap_remove(0);
    let mut halves = Vec::new();
    cluster.during("a shard is split", None, |cluster| {
        halves = cluster.reshape("split", &[shard]);
    });
    assert_eq!(halves.len(), 2);
    cluster.during("two shards are merged", None, |cluster| {
        let whole = cluster.reshape("merge", &halves);
        assert_eq!(whole.len(), 1);
    });
    cluster.wait_until_nothing_is_left_over();
    cluster.finish();
}

impl Cluster {
    /// The shards that own ranges, in the order of those.
    pub(super) fn sharded(&self) -> Vec<String> {
        let shards = until("a coordinator leads", || self.shards());
        let owns = |shard: &&Value| shard["start"].is_string();
        let mut owning: Vec<_> = shards.iter().filter(owns).collect();
        owning.sort_by_key(|shard| shard["start"].as_str().expect("a position").to_owned());
        let names = owning
            .iter()
            .map(|shard| shard["id"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    }

    /// The node that has the primary of a shard.
    pub(super) fn primary_of(&self, shard: &str) -> usize {
        let primary = until("the shard has a primary", || {
            let shards = self.shards()?;
            let found = shards.iter().find(|other| other["id"] == shard)?;
            found["primary"].as_str().map(str::to_owned)
        });
        let mut nodes = 0..self.nodes.len();
        let found = nodes.find(|index| self.nodes[*index].name() == primary);
        found.expect("it is one of the nodes")
    }

    /// Splits or merges shards, and returns those that follow them. What ends without effect is begun again.
    fn reshape(&self, kind: &str, shards: &[String]) -> Vec<String> {
        loop {
            let begun = self.begin(kind, shards);
            let ended = self.until_phase(&begun, |phase| matches!(phase, "done" | "aborted"));
            if ended["phase"] == "done" {
                let targets = ended["targets"].as_array().expect("targets").iter();
                return targets
                    .map(|name| name.as_str().expect("a name").to_owned())
                    .collect();
            }
        }
    }

    fn begin(&self, kind: &str, shards: &[String]) -> String {
        let mut asked = json!({"kind": kind, "shards": shards, "force": true});
        if kind == "split" {
            asked["at"] = "middle".into();
        }
        until("the operation begins", || {
            let begun = self.tell_coordinators("/api/v1/operations", &asked)?;
            Some(begun["id"].as_str().expect("a name").to_owned())
        })
    }

    /// Waits until an operation has come so far, and returns it.
    fn until_phase(&self, operation: &str, is_so: impl Fn(&str) -> bool) -> Value {
        until("the operation goes on", || {
            let path = format!("/api/v1/operations/{operation}");
            let found = self.ask_coordinators(&path)?;
            is_so(found["phase"].as_str().expect("a phase")).then_some(found)
        })
    }

    /// Waits until each node has its copies, and nothing of a shard that is no more, nor of what one has begun with.
    #[expect(
        clippy::print_stdout,
        reason = "what is left explains why a test failed"
    )]
    pub(super) fn wait_until_nothing_is_left_over(&self) {
        let mut said = Vec::new();
        until("what is no more is removed", || {
            let shards = self.shards()?;
            let nodes = self.nodes.iter();
            let wrong: Vec<_> = nodes.flat_map(|node| left_over(node, &shards)).collect();
            if wrong != said {
                println!("yet to go or to come: {wrong:?}");
                said.clone_from(&wrong);
            }
            wrong.is_empty().then_some(())
        });
    }
}

/// What a node has and should not have, or the other way round.
fn left_over(node: &Node, shards: &[Value]) -> Vec<String> {
    let own = shards.iter().filter(|shard| has_copy(shard, node.name()));
    let own = own.map(|shard| shard["id"].as_str().expect("a name").to_owned());
    let own: BTreeSet<_> = own.collect();
    let found = names_in(&node.copies());
    // A copy that was made when another one did not answer is kept for a while after that does again.
    let is_shard = |name: &&String| shards.iter().any(|shard| shard["id"] == **name);
    let stray = found.difference(&own).filter(|name| !is_shard(name));
    let mut wrong: Vec<_> = own.difference(&found).chain(stray).cloned().collect();
    for shard in &found {
        let names = names_in(&node.copies().join(shard)).into_iter();
        let parts = names.filter(|name| name.starts_with("base-") || name.starts_with("making-"));
        wrong.extend(parts.map(|part| format!("{shard}/{part}")));
    }
    wrong
        .iter()
        .map(|name| format!("{}: {name}", node.name()))
        .collect()
}

/// Whether a node has a copy of a shard that counts.
pub(super) fn has_copy(shard: &Value, node: &str) -> bool {
    let others = shard["replicas"].as_array().expect("replicas");
    shard["primary"] == node || others.iter().any(|other| other["node"] == node)
}

/// The names in a directory, as far as they can be read: they come and go.
fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}
