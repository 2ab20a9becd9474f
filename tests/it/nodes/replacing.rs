//! Nodes that are added, replaced and removed while the cluster keeps what it has.

use super::cluster::Cluster;

#[test]
fn a_node_is_replaced_and_one_that_is_lost_is_forgotten() {
    let mut cluster = Cluster::of_three();
    cluster.fill(10);
    cluster.start_node("n4");
    let added = cluster.command(&["node", "add", "n4", "--wait"]);
    assert!(added.contains("n4 is up"), "{added}");

    let replaced = cluster.command(&["node", "replace", "n2", "n4", "--wait"]);
    assert!(replaced.contains("n2 has nothing left"), "{replaced}");
    assert_eq!(cluster.state_of("n2"), Some(("draining".to_owned(), 0)));
    assert_eq!(cluster.state_of("n4"), Some(("up".to_owned(), 3)));
    let status = cluster.node("n2").leave();
    assert!(status.success(), "{status}");
    cluster.until_state("n2", "down");
    cluster.command(&["node", "remove", "n2", "--wait"]);
    assert_eq!(cluster.state_of("n2"), None);
    cluster.assert_kept("n4", 10);

    // One that is lost is not waited for once it is forgotten.
    cluster.start_node("n5");
    cluster.command(&["node", "add", "n5", "--wait"]);
    cluster.node("n1").kill();
    cluster.until_state("n1", "down");
    cluster.command(&["node", "remove", "n1", "--wait"]);
    cluster.until_whole();
    assert_eq!(cluster.state_of("n5"), Some(("up".to_owned(), 3)));
    for node in ["n3", "n4", "n5"] {
        cluster.assert_kept(node, 10);
    }
}
