//! Splits, merges and moves under load, while a process dies in each gap between two of their writes.
//!
//! Each gap has a name. A process that was started with it stands still there, and is killed; others go on, or the same one once it is back.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use shardwright::{
    server::shard::CopyGap,
    topology::{Gap, OperationKind, Written},
};
use shardwright_testkit::until;

use super::{cluster::Cluster, nodes::Node, reshaping::has_copy, tellers::Tellers};

/// What a process says that stands still.
const HALTED: &str = "halted at ";

#[test]
fn coordinators_die_in_each_gap_of_splits_and_moves() {
    die_in_each_gap(|gap| gap.kind != OperationKind::Merge);
}

#[test]
fn coordinators_die_in_each_gap_of_merges() {
    die_in_each_gap(|gap| gap.kind == OperationKind::Merge);
}

fn die_in_each_gap(is_wanted: fn(&Gap) -> bool) {
    let mut cluster = Cluster::with_room();
    let mut left: VecDeque<Gap> = Gap::all().filter(is_reached).filter(is_wanted).collect();
    if left.iter().any(|gap| gap.written == Written::Move) {
        cluster.until_apart();
    }
    // One of those that are started leads, and the next one takes over from it.
    let mut halting = BTreeMap::new();
    for _ in 0..cluster.coordinators.len() {
        cluster.halt_next_coordinator(0, &mut left, &mut halting);
    }
    while !halting.is_empty() {
        let (index, gap) = cluster.until_halted(&halting);
        let fault = match gap {
            Some(gap) => format!("coordinator killed, {gap}"),
            None => "coordinator killed that stands still nowhere".to_owned(),
        };
        cluster.during(&fault, None, |cluster| {
            halting.remove(cluster.coordinators[index].0.name());
            cluster.halt_next_coordinator(index, &mut left, &mut halting);
        });
    }
    cluster.until_no_operation_is_open();
    cluster.wait_until_nothing_is_left_over();
    cluster.finish();
}

/// Whether an operation comes there in a test: it is not over, and its shards commit on several members.
fn is_reached(gap: &Gap) -> bool {
    let is_of_others = gap.kind == OperationKind::Migrate
        && matches!(gap.written, Written::Work | Written::Target);
    !gap.phase.is_final() && !is_of_others
}

/// Whether each of two shards has its primary where the other one has no copy: two of three copies on the same nodes are not enough then.
fn are_apart(first: &Value, second: &Value) -> bool {
    is_lacking(first, second) && is_lacking(second, first)
}

/// Whether a shard has no copy where another one has its primary.
fn is_lacking(shard: &Value, other: &Value) -> bool {
    let primary = other["primary"].as_str();
    primary.is_some_and(|primary| !has_copy(shard, primary))
}

#[test]
fn nodes_die_in_each_gap() {
    let mut cluster = Cluster::on_sqlite();
    let victim = 0;
    let halting = |gap: &CopyGap| vec!["--halt-at".to_owned(), gap.to_string()];
    let gaps = CopyGap::ALL.iter().filter(|gap| !gap.is_of_commits());
    let mut next = gaps.clone().map(halting);
    cluster.restart_killed(victim, next.next());
    for &gap in gaps {
        cluster.during(&format!("node killed, {gap}"), None, |cluster| {
            cluster.until_node_halted(victim, gap);
            cluster.restart_killed(victim, next.next());
        });
    }
    cluster.until_no_operation_is_open();
    cluster.wait_until_nothing_is_left_over();
    cluster.finish();
}

#[test]
fn nodes_die_in_each_gap_of_commits_over_several_shards() {
    let mut cluster = Cluster::on_sqlite();
    let mut tellers = Tellers::start(&cluster);
    let victim = 0;
    let halting = |gap: &CopyGap| vec!["--halt-at".to_owned(), format!("{gap}#3")];
    let gaps = CopyGap::ALL.iter().filter(|gap| gap.is_of_commits());
    let mut next = gaps.clone().map(halting);
    cluster.restart_killed(victim, next.next());
    for &gap in gaps {
        cluster.during(&format!("node killed, {gap}"), None, |cluster| {
            cluster.until_node_halted_by_clients(victim, gap);
            cluster.restart_killed(victim, next.next());
        });
        tellers.wait_for_progress();
    }
    tellers.stop(&cluster);
    cluster.finish();
}

impl Cluster {
    /// Puts a coordinator in the place of another one, which is to stand still in the next gap.
    fn halt_next_coordinator(
        &mut self,
        index: usize,
        left: &mut VecDeque<Gap>,
        halting: &mut BTreeMap<String, Gap>,
    ) {
        let Some(gap) = left.pop_front() else {
            return self.replace_coordinator(index, &[]);
        };
        self.replace_coordinator(index, &["--halt-at", &gap.to_string()]);
        let (started, _) = self.coordinators.last().expect("it was started");
        started.kill_when_it_stands_still();
        halting.insert(started.name().to_owned(), gap);
    }

    /// Has operations carried out until a coordinator stands still, and returns which one, and where. One that leads and is to stand still nowhere
    /// has to go too.
    fn until_halted(&self, halting: &BTreeMap<String, Gap>) -> (usize, Option<Gap>) {
        until("a coordinator stands still in its gap", || {
            let mut coordinators = self.coordinators.iter();
            let halted = coordinators.position(|(process, _)| process.has_logged(HALTED));
            let index = halted.or_else(|| self.leading_coordinator())?;
            let gap = halting.get(self.coordinators[index].0.name()).copied();
            match gap {
                Some(gap) if halted.is_none() => {
                    self.lead_to(gap.kind, &gap.to_string(), gap.written == Written::Move);
                    None
                }
                gap => Some((index, gap)),
            }
        })
    }

    /// Begins an operation of a kind if none is under way, and cancels it if that leads to the gap.
    fn lead_to(&self, kind: OperationKind, gap: &str, is_apart: bool) -> Option<()> {
        let open = self.open_operations()?;
        if open.is_empty() {
            self.begin_some(kind, is_apart)?;
        }
        let is_of_abort = gap.contains("/aborting") || gap == CopyGap::Released.to_string();
        let is_it = |operation: &&Value| is_of_abort && operation["kind"] == kind.to_string();
        for operation in self.open_operations()?.iter().filter(is_it) {
            let id = operation["id"].as_str().expect("a name");
            let path = format!("/api/v1/operations/{id}/cancel");
            // Whoever stands still meanwhile gives no answer.
            let _cancelled = self.tell_coordinators(&path, &json!({}));
        }
        Some(())
    }

    /// The operations that are not over.
    fn open_operations(&self) -> Option<Vec<Value>> {
        let all = self.ask_coordinators("/api/v1/operations")?;
        let all = all.as_array()?.iter().cloned();
        let is_open =
            |operation: &Value| operation["phase"] != "done" && operation["phase"] != "aborted";
        Some(all.filter(is_open).collect())
    }

    /// Begins an operation of a kind, of shards that have too few copies on the same nodes if that is wanted. Whether it has begun is seen when it
    /// is looked for.
    fn begin_some(&self, kind: OperationKind, is_apart: bool) -> Option<()> {
        let shards = self.shards()?;
        let owns = |shard: &&Value| shard["start"].is_string() && shard["state"] == "serving";
        let mut owning: Vec<_> = shards.iter().filter(owns).collect();
        owning.sort_by_key(|shard| shard["start"].as_str().expect("a position").to_owned());
        let (first, second) = (owning[0], *owning.get(1)?);
        let (one, two) = (&first["id"], &second["id"]);
        let asked = match kind {
            OperationKind::Split => json!({"kind": "split", "shards": [one], "at": "middle"}),
            // There are few at any time.
            OperationKind::Merge if owning.len() < 3 => {
                json!({"kind": "split", "shards": [two], "at": "middle"})
            }
            OperationKind::Merge if !is_apart => {
                json!({"kind": "merge", "shards": [one, two], "force": true})
            }
            OperationKind::Merge if are_apart(first, second) => {
                json!({"kind": "merge", "shards": [one, two], "force": true})
            }
            OperationKind::Merge => return self.move_apart(first, second),
            OperationKind::Migrate => {
                let mut nodes = self.nodes.iter();
                let to = nodes.find(|node| !has_copy(first, node.name()))?;
                json!({"kind": "migrate", "shards": [one], "to": to.name(), "pin": false})
            }
        };
        self.tell_coordinators("/api/v1/operations", &asked)
            .map(drop)
    }

    /// Waits until the first two shards cannot become one as they are.
    fn until_apart(&self) {
        until("two shards have too few copies on the same nodes", || {
            let shards = self.shards()?;
            let named = |name: &String| shards.iter().find(|shard| shard["id"] == **name);
            let owning = self.sharded();
            let (first, second) = (named(&owning[0])?, named(&owning[1])?);
            if are_apart(first, second) {
                return Some(());
            }
            if self.open_operations()?.is_empty() {
                self.move_apart(first, second)?;
            }
            None
        });
    }

    /// Has a copy of one of two shards go from the node of the other one's primary.
    fn move_apart(&self, first: &Value, second: &Value) -> Option<()> {
        let pairs = [(first, second), (second, first)];
        let (shard, other) = pairs
            .into_iter()
            .find(|(shard, other)| !is_lacking(other, shard))?;
        let mut nodes = self.nodes.iter().map(Node::name);
        let to = nodes.find(|node| !has_copy(other, node))?;
        let (other, from) = (&other["id"], &shard["primary"]);
        let asked = json!({
            "kind": "migrate", "shards": [other], "from": from, "to": to, "pin": false,
        });
        self.tell_coordinators("/api/v1/operations", &asked)
            .map(drop)
    }

    /// Ends a node as a power failure would, and starts it again.
    fn restart_killed(&mut self, node: usize, more: Option<Vec<String>>) {
        self.nodes[node].kill();
        self.nodes[node].restart_with(&more.unwrap_or_default());
        let process = &self.nodes[node].process;
        process.kill_when_it_stands_still();
        // What it was killed in may go on to where it stands still next.
        until("every shard is whole", || {
            process
                .has_logged(HALTED)
                .then_some(())
                .or_else(|| self.whole())
        });
    }

    /// Has operations carried out until a node stands still in a gap.
    fn until_node_halted(&self, node: usize, gap: CopyGap) {
        let said = format!("{HALTED}{gap}");
        let name = self.nodes[node].name().to_owned();
        until("a node stands still in its gap", || {
            if self.nodes[node].process.has_logged(&said) {
                return Some(());
            }
            if self.open_operations()?.is_empty() {
                let owning = self.sharded();
                let kind = match owning.len() {
                    ..=3 => OperationKind::Split,
                    _ => OperationKind::Merge,
                };
                // Only the primary comes to most of them.
                let first = &owning[0];
                if self.primary_of(first) != node {
                    // It is merged later, for which shards may have to move.
                    let body = json!({"shard": first, "node": name, "pin": false});
                    self.tell_coordinators("/api/v1/promote", &body)?;
                    return None;
                }
                self.begin_some(kind, false)?;
            }
            self.lead_to(OperationKind::Split, &gap.to_string(), false)?;
            None
        });
    }

    /// Lets clients go on until a node stands still in a gap of what they ask for. Only the primary of a shard comes to most of them.
    fn until_node_halted_by_clients(&self, node: usize, gap: CopyGap) {
        let said = format!("{HALTED}{gap}");
        let name = self.nodes[node].name().to_owned();
        until("a node stands still in its gap", || {
            if self.nodes[node].process.has_logged(&said) {
                return Some(());
            }
            let shards = self.shards()?;
            let own = shards
                .iter()
                .filter(|shard| shard["primary"] == name.as_str());
            let (first, other) = (shards.first()?, shards.last()?);
            // One that it decides about, and one that another node does.
            if own.count() == 0 && first["id"] != other["id"] {
                for shard in self.sharded() {
                    let body = json!({"shard": shard, "node": name, "pin": false});
                    self.tell_coordinators("/api/v1/promote", &body)?;
                }
            }
            None
        });
    }

    /// Waits until all operations are over.
    fn until_no_operation_is_open(&self) {
        until("all operations are over", || {
            self.open_operations()?.is_empty().then_some(())
        });
    }
}
