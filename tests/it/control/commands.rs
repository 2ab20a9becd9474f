//! What people do to a cluster from the command line: look at it, move and promote what it serves, plan, and ask what is wrong.

use serde_json::{Value, json};
use shardwright_testkit::{
    nats::{NatsCluster, current},
    until,
};

use super::cluster::Cluster;

/// The shards that the leader knows, as `shard list` shows them.
fn shards(cluster: &Cluster) -> Vec<Value> {
    let listed = cluster.command(&["shard", "list"]);
    listed.as_array().expect("a list").clone()
}

/// The shard `id` once `holds` holds of it.
#[track_caller]
fn shard_when(cluster: &Cluster, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let shard = shards(cluster).into_iter().find(|shard| shard["id"] == id);
        shard.filter(|shard| holds(shard))
    })
}

/// A node that is up and is none of these.
fn other_than(cluster: &Cluster, taken: &[&str]) -> String {
    let nodes = cluster.command(&["node", "list"]);
    let nodes = nodes.as_array().expect("a list").clone();
    let mut ids = nodes.iter().filter_map(|node| node["id"].as_str());
    let other = ids.find(|id| !taken.contains(id));
    other.expect("there are five").to_owned()
}

/// What the doctor finds, by the check and its result, whatever its exit code says of it.
fn findings(cluster: &Cluster, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = cluster.try_command(&[&["doctor", "--timeout", "60s"], more].concat());
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.expect("the doctor prints JSON"))
}

/// A finding of `check` that the doctor says is a problem.
#[track_caller]
fn problem_of<'a>(found: &'a [Value], check: &str) -> &'a str {
    let is_it = |finding: &&Value| finding["check"] == check && finding["result"] == "problem";
    let finding = found.iter().find(is_it);
    let text = finding.and_then(|finding| finding["found"].as_str());
    text.unwrap_or_else(|| panic!("no problem of {check} in {found:#?}"))
}

/// What the leader plans, once that is nothing more and nothing moves.
#[track_caller]
fn settled(cluster: &Cluster) -> Value {
    until("nothing is left to do", || {
        let plan = cluster.command(&["rebalance", "plan"]);
        (plan["moves"] == json!([]) && plan["moving"] == 0).then_some(plan)
    })
}

/// The shard p0 once it has a copy beside that of `primary`, or of whoever has it.
#[track_caller]
fn p0_of(cluster: &Cluster, primary: Option<&str>) -> Value {
    settled(cluster);
    shard_when(cluster, "p0", "p0 has both copies", |shard| {
        let is_copied = shard["replicas"][0]["node"].is_string();
        is_copied && primary.is_none_or(|primary| shard["primary"] == primary)
    })
}

#[test]
fn shards_are_moved_promoted_and_planned_and_the_doctor_is_content() {
    let cluster = Cluster::on_sqlite().with_replicas(2).of_five();
    let before = p0_of(&cluster, None);
    let primary = before["primary"].as_str().expect("it is served");
    let replica = before["replicas"][0]["node"].as_str().expect("a name");
    let other = other_than(&cluster, &[primary, replica]);
    let refused = cluster.try_command(&["shard", "promote", "p0", "--to", &other]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let done = cluster.command(&["shard", "promote", "p0", "--to", replica]);
    assert_eq!(done["changes"], 1);
    let promoted = p0_of(&cluster, Some(replica));
    assert!(promoted["epoch"].as_u64() > before["epoch"].as_u64());

    let refused = cluster.try_command(&["shard", "move", "p0", "--to", replica]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let second = promoted["replicas"][0]["node"].as_str().expect("a name");
    let other = other_than(&cluster, &[replica, second]);
    let done = cluster.command(&["shard", "move", "p0", "--to", &other]);
    assert_eq!(done["changes"], 1);
    let moved = p0_of(&cluster, Some(&other));
    assert!(moved["epoch"].as_u64() > promoted["epoch"].as_u64());

    let planned = cluster.command(&["rebalance", "apply"]);
    assert!(planned["changes"].is_u64(), "{planned}");
    let plan = settled(&cluster);
    for field in ["under_replicated", "crowded", "stuck"] {
        assert_eq!(plan[field], json!([]), "{plan}");
    }
    cluster.wait_until_served();
    doctor_judges(&cluster);
    cluster.assert_one_owner_at_a_time();
}

fn doctor_judges(cluster: &Cluster) {
    let (code, found) = findings(cluster, &[]);
    let is_good = |finding: &Value| finding["result"] == "good";
    assert!(code == Some(0) && found.iter().all(is_good), "{found:#?}");

    let (code, found) = findings(cluster, &["--registry", "elsewhere"]);
    assert_eq!(code, Some(1));
    let problem = problem_of(&found, "registry");
    assert!(problem.contains("elsewhere"), "{problem}");
    let rest = &found[1..];
    assert!(rest.len() == 5 && rest.iter().all(is_good), "{found:#?}");
}

#[test]
fn the_doctor_looks_for_a_bucket_and_creates_none() {
    let Some(server) = current() else { return };
    let nats = NatsCluster::start(&server, 1);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::on(nats.url(), directory);
    cluster.start_coordinator();
    let registry = ["--registry", &nats.url()];
    let settled = until("the doctor reaches the bucket", || {
        let (_, found) = findings(&cluster, &registry);
        let kept = |finding: &Value| finding["found"] == "one server keeps the bucket";
        found.iter().any(kept).then_some(found)
    });
    assert!(settled.iter().any(|finding| finding["check"] == "timing"));
    for _ in 0..2 {
        let (code, found) = findings(&cluster, &[&registry[..], &["--bucket", "typo"]].concat());
        assert_eq!(code, Some(1));
        assert_eq!(problem_of(&found, "registry"), "there is no bucket typo");
    }
}
