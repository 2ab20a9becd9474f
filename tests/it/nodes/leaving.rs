//! Nodes that end in good order, and coordinators that come and go meanwhile.

use super::cluster::Cluster;

#[test]
fn a_node_hands_over_when_it_ends_and_goes_on_when_it_starts() {
    let mut cluster = Cluster::of_three();
    cluster.fill(10);
    // The nodes find the one that takes over by the registry.
    cluster.start_coordinator();
    cluster.kill_coordinator();
    for name in ["n1", "n2", "n3"] {
        cluster.until_whole();
        let status = cluster.node(name).leave();
        assert!(status.success(), "{name}: {status}");
        cluster.until_state(name, "down");
        let other = if name == "n1" { "n2" } else { "n1" };
        cluster.assert_kept(other, 10);
        cluster.start_node(name);
        cluster.assert_kept(name, 10);
    }
    cluster.until_whole();
}

#[test]
fn what_cannot_be_a_node_is_refused() {
    let cluster = Cluster::of_three();
    let node = |more: &[&str]| {
        let output = crate::processes::process::command(crate::control::binary::shardwright())
            .args(["node", "--id", "n9", "--listen", "127.0.0.1:0"])
            .args(more)
            .output()
            .expect("run shardwright");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = node(&["--registry", "memory:", "--data", "nowhere"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("error[UNSAFE]"), "{said}");
    let (code, said) = node(&["--registry", "sqlite:nowhere/registry.db"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("data is not set"), "{said}");
    let refused = cluster.try_command(&["node", "remove", "n1"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("error[NODE_UP]"), "{said}");
    // A node passes on what is for coordinators.
    let through = cluster.through("n1", &["node", "list"]);
    assert!(through.contains("│ n3 ┆ up"), "{through}");
    let unknown = cluster.try_command(&["node", "replace", "n1", "n9"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}
