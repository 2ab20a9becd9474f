//! A primary that makes way for the next one.

use super::*;

fn leads(cluster: &Cluster, copy: u128) -> Option<Epoch> {
    cluster.copies[&copy].leads().map(|config| config.epoch)
}

fn refused(id: u64, outcome: Outcome) -> Action {
    Action::Answer { id, outcome }
}

#[test]
fn a_planned_hand_over_takes_no_time() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    cluster.outcomes();
    cluster.name(2, &[1, 2, 3]);
    assert_eq!(leads(&cluster, 2), Some(Epoch(2)));
    assert_eq!(leads(&cluster, 1), None);
    cluster.submit(2, 2, Level::All);
    assert_eq!(cluster.outcomes(), [reached(2, 4, 2, Level::All)]);
}

#[test]
fn a_primary_that_is_asked_to_make_way_lets_its_writes_end_and_takes_no_others() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [3].into();
    cluster.submit(1, 1, Level::All);
    cluster.name(2, &[1, 2, 3]);
    let heir = cluster.copies[&1].heir();
    assert_eq!(heir, Some((Epoch(2), &node(2))));
    cluster.submit(1, 2, Level::Quorum);
    assert_eq!(cluster.outcomes(), [refused(2, Outcome::NotPrimary)]);
    assert_eq!(leads(&cluster, 1), Some(Epoch(1)), "somebody waits");
    cluster.away.clear();
    cluster.now = cluster.now + Duration::from_millis(100);
    cluster.feed(1, Event::Tick);
    assert_eq!(cluster.outcomes(), [reached(1, 2, 1, Level::All)]);
    assert_eq!(leads(&cluster, 1), None);
    assert_eq!(leads(&cluster, 2), Some(Epoch(2)));
}

#[test]
fn a_primary_that_is_asked_to_make_way_waits_for_its_writes_no_longer_than_is_due() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [3].into();
    cluster.submit(1, 1, Level::All);
    cluster.name(2, &[1, 2, 3]);
    cluster.pass(Duration::from_millis(299));
    assert_eq!(leads(&cluster, 1), Some(Epoch(1)));
    cluster.pass(Duration::from_millis(1));
    assert_eq!(cluster.outcomes(), [refused(1, Outcome::Indeterminate)]);
    assert_eq!(leads(&cluster, 2), Some(Epoch(2)));
    assert_eq!(cluster.last(2), (Epoch(2), Lsn(3)), "it was not lost");
}

#[test]
fn the_latest_of_those_who_ask_gets_its_way() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [3].into();
    cluster.submit(1, 1, Level::All);
    cluster.name(2, &[1, 2, 3]);
    cluster.away = [2].into();
    cluster.name(3, &[1, 2, 3]);
    cluster.away.clear();
    cluster.pass(Duration::from_millis(300));
    assert_eq!(leads(&cluster, 3), Some(Epoch(3)));
    assert_eq!([1, 2].map(|copy| leads(&cluster, copy)), [None, None]);
}

#[test]
fn a_primary_that_nobody_asks_gives_its_leases_up_all_the_same() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [2, 3].into();
    cluster.submit(1, 1, Level::Quorum);
    cluster.name(2, &[1, 2, 3]);
    cluster.show(1);
    cluster.pass(Duration::from_millis(75));
    cluster.submit(1, 2, Level::Quorum);
    assert_eq!(cluster.outcomes(), [refused(2, Outcome::NotPrimary)]);
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

#[test]
fn a_primary_gives_way_once() {
    let mut cluster = Cluster::new(5);
    let all = [1, 2, 3, 4, 5];
    cluster.name(1, &all);
    cluster.submit(1, 1, Level::All);
    cluster.away = [3, 4, 5].into();
    cluster.name(2, &all);
    let begun = (Epoch(2), Lsn(3));
    assert_eq!(cluster.last(2), begun, "the first one's word was enough");
    assert_eq!(leads(&cluster, 2), None, "and two of five are too few");
    cluster.away = [2, 4, 5].into();
    cluster.pass(Duration::from_secs(2));
    cluster.name(3, &all);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.last(3), (Epoch(1), Lsn(2)), "it is no primary now");
    cluster.away = [2, 5].into();
    cluster.pass(Duration::from_secs(2));
    assert_eq!(leads(&cluster, 3), Some(Epoch(3)));
}
