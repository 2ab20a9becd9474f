//! A primary that makes way for the next one.

use super::*;

/// Lets copy 2 follow copy 1, which is told.
fn hand_over(cluster: &mut Cluster) {
    cluster.name(2, &[1, 2, 3]);
    assert_eq!(cluster.last(2).0, Epoch(1), "it waits for the lease");
    cluster.show(1);
}

#[test]
fn a_planned_hand_over_waits_for_no_lease() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    cluster.outcomes();
    hand_over(&mut cluster);
    for _ in 0..2 {
        // A member may be asked before it knows that the lease is given up; it is asked again soon.
        cluster.pass(Duration::from_millis(75));
    }
    let leads = cluster.copies[&2].leads().map(|config| config.epoch);
    assert_eq!(leads, Some(Epoch(2)));
    assert_eq!(cluster.copies[&1].leads(), None);
    cluster.submit(2, 2, Level::All);
    assert_eq!(cluster.outcomes(), [reached(2, 4, 2, Level::All)]);
}

#[test]
fn a_primary_that_makes_way_lets_its_writes_end_and_takes_no_others() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [2, 3].into();
    cluster.submit(1, 1, Level::Quorum);
    cluster.name(2, &[1, 2, 3]);
    cluster.show(1);
    cluster.submit(1, 2, Level::Quorum);
    let (id, outcome) = (2, Outcome::NotPrimary);
    assert_eq!(cluster.outcomes(), [Action::Answer { id, outcome }]);
    let read = |cluster: &mut Cluster, read| {
        let level = ReadLevel::Leased;
        cluster.feed(1, Event::Read { read, level });
        cluster.outcomes()
    };
    let applied = Some(Lsn(1));
    assert_eq!(
        read(&mut cluster, 1),
        [Action::ReadAt { read: 1, applied }],
        "the lease holds while somebody waits"
    );
    cluster.pass(Duration::from_millis(300));
    assert_eq!(read(&mut cluster, 2), [], "it has been given up");
    cluster.pass(Duration::from_millis(300));
    cluster.submit(1, 3, Level::Quorum);
    assert_eq!(cluster.outcomes(), [], "nobody came, and it is taken");
}
