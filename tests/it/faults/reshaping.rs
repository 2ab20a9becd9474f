//! Splits and merges under load, while those that carry them out die.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use shardwright_testkit::until;

use super::cluster::{Cluster, NODES};

/// The phases in which something dies, as far as they last long enough to be seen.
const PHASES: [&str; 4] = ["created", "copying", "catching-up", "cleaning-up"];

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

#[test]
fn whoever_splits_and_merges_dies_in_each_phase() {
    let mut cluster = Cluster::on_sqlite();
    for phase in PHASES {
        let shards = cluster.sharded();
        // Few at any time: what is split is merged again.
        let (kind, shards) = match shards.len() {
            ..=3 => ("split", &shards[..1]),
            _ => ("merge", &shards[..2]),
        };
        cluster.during(&format!("coordinator killed, {phase}"), None, |cluster| {
            cluster.reshape_hurt(kind, shards, phase, Cluster::kill_leading_coordinator);
        });
    }
    for phase in PHASES {
        let shards = cluster.sharded();
        let (kind, shards) = match shards.len() {
            ..=3 => ("split", &shards[..1]),
            _ => ("merge", &shards[..2]),
        };
        cluster.during(&format!("primary killed, {phase}"), None, |cluster| {
            let primary = cluster.primary_of(&shards[0]);
            cluster.reshape_hurt(kind, shards, phase, |cluster| {
                cluster.nodes[primary].kill();
                cluster.wait_until_elsewhere(primary);
                cluster.nodes[primary].restart();
            });
        });
    }
    cluster.wait_until_nothing_is_left_over();
    cluster.finish();
}

impl Cluster {
    /// The shards that own ranges, in the order of those.
    fn sharded(&self) -> Vec<String> {
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
    fn primary_of(&self, shard: &str) -> usize {
        let primary = until("the shard has a primary", || {
            let shards = self.shards()?;
            let found = shards.iter().find(|other| other["id"] == shard)?;
            found["primary"].as_str().map(str::to_owned)
        });
        let mut nodes = 0..NODES;
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

    /// Splits or merges shards, and does something in a phase of that, or later. It ends either way.
    fn reshape_hurt(
        &mut self,
        kind: &str,
        shards: &[String],
        phase: &str,
        hurt: impl FnOnce(&mut Self),
    ) {
        let begun = self.begin(kind, shards);
        let early = &PHASES[..PHASES
            .iter()
            .position(|other| *other == phase)
            .expect("a phase")];
        self.until_phase(&begun, |now| now != "planned" && !early.contains(&now));
        hurt(self);
        self.until_phase(&begun, |phase| matches!(phase, "done" | "aborted"));
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

    /// Waits until no node has anything of a shard that is no more.
    fn wait_until_nothing_is_left_over(&self) {
        until("what is no more is removed", || {
            let shards = self.shards()?;
            let names = shards
                .iter()
                .map(|shard| shard["id"].as_str().expect("a name"));
            let names: BTreeSet<_> = names.map(str::to_owned).collect();
            let has_these = |index: &usize| {
                let copies = fs::read_dir(self.nodes[*index].copies()).ok()?;
                let found = copies.map(|entry| entry.ok()?.file_name().into_string().ok());
                let found: BTreeSet<_> = found.collect::<Option<_>>()?;
                (found == names).then_some(())
            };
            (0..NODES)
                .all(|index| has_these(&index).is_some())
                .then_some(())
        });
    }
}
