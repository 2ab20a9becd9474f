//! Links between nodes that are cut: what was sent meanwhile arrives when they are mended.

use super::cluster::{LogCluster, links_of, others};

#[test]
fn a_primary_is_cut_off() {
    let cluster = LogCluster::start();
    let primary = cluster.primary();
    let epoch = cluster.status(primary).number("leads");
    cluster.cut(links_of(primary), Some(primary));
    cluster.wait_for_epoch_after(epoch);
    cluster.wait_for_progress();
    cluster.mend();
    cluster.finish();
}

#[test]
fn a_primary_hears_nothing_while_it_is_heard() {
    let cluster = LogCluster::start();
    let primary = cluster.primary();
    let epoch = cluster.status(primary).number("leads");
    cluster.cut(others(primary).map(|other| (other, primary)), Some(primary));
    cluster.wait_for_epoch_after(epoch);
    cluster.wait_for_progress();
    cluster.mend();
    cluster.finish();
}

#[test]
fn a_primary_is_not_heard_while_it_hears() {
    let cluster = LogCluster::start();
    let primary = cluster.primary();
    let epoch = cluster.status(primary).number("leads");
    cluster.cut(others(primary).map(|other| (primary, other)), Some(primary));
    cluster.wait_for_epoch_after(epoch);
    cluster.wait_for_progress();
    cluster.mend();
    cluster.finish();
}

#[test]
fn a_link_between_two_of_three_is_no_obstacle() {
    let cluster = LogCluster::start();
    let primary = cluster.primary();
    for other in others(primary) {
        cluster.cut([(primary, other)], None);
        cluster.wait_for_progress();
        cluster.mend();
    }
    cluster.finish();
}
