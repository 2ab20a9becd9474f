//! Copies that lack a quorum, a disk or room.

use super::*;

impl Cluster {
    /// Opens a copy anew in the process that runs it.
    fn reopen(&mut self, copy: u128, durable: Durable) {
        let mut actions = Vec::new();
        let machine = self.copies.get_mut(&copy).expect("a copy of this test");
        let applied = Point::default();
        let opened = machine.reopen(self.now, durable, applied, &mut actions);
        assert_eq!((opened, actions), (Ok(()), vec![]));
    }
}

#[test]
fn without_a_recovery_quorum_nothing_begins_unless_a_loss_is_accepted() {
    let mut cluster = Cluster::new(4);
    for copy in cluster.copies.values_mut() {
        copy.core.settings.retain = 100;
    }
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [3].into();
    cluster.submit(1, 1, Level::Quorum);
    // What copy 2 has left is older, and that of copy 1 is out of reach.
    cluster.away = [1, 2].into();
    let forever = Duration::from_secs(100);
    cluster.name(3, &[3, 4]);
    cluster.pass(forever);
    cluster.pass(forever);
    assert_eq!(cluster.last(3), (Epoch(1), Lsn(1)));
    cluster.outcomes();

    cluster.record.loss_accepted_at = Some(cluster.record.epoch.next());
    cluster.record.data_loss_generation = 1;
    cluster.name(3, &[3, 4]);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.copies[&3].leads(), None, "somebody may answer yet");
    for _ in 0..4 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.copies[&3].data_loss_generation(), Some(1));
    let report = Report::AcceptsLoss {
        epoch: Epoch(3),
        copies: 2,
        last: Lsn(1),
    };
    assert!(cluster.told.contains(&(3, Action::Report(report))));
    cluster.outcomes();
    cluster.submit(3, 2, Level::Quorum);
    assert_eq!(cluster.outcomes(), [reached(2, 3, 3, Level::Quorum)]);
    // The lost record was committed there: that copy cannot follow, and says so.
    cluster.away.clear();
    cluster.feed(3, Event::Learners([learner(1)].into()));
    for _ in 0..3 {
        cluster.pass(Duration::from_secs(1));
    }
    let fault = Some(Fault::Diverged(Lsn(1)));
    assert_eq!(cluster.copies[&1].replica().fault(), fault);
}

fn learner(bits: u128) -> Member {
    Member {
        node: node(bits),
        replica_id: replica_id(bits),
    }
}

#[test]
fn what_is_left_of_a_damaged_copy_counts_only_once_a_loss_is_accepted() {
    let mut cluster = Cluster::new(4);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    cluster.outcomes();
    let log = cluster.copies[&2].replica().log().clone();
    let left = Durable {
        log,
        clean: false,
        ..Durable::new(replica_id(2))
    };
    cluster.feed(2, Event::PersistFailed);
    cluster.reopen(2, left);
    cluster.away = [1, 3].into();
    cluster.name(4, &[4]);
    for _ in 0..5 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(4), (Epoch(0), Lsn(0)));
    cluster.record.loss_accepted_at = Some(cluster.record.epoch.next());
    cluster.name(4, &[4]);
    for _ in 0..5 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(4), (Epoch(3), Lsn(3)), "nothing is lost");
}

#[test]
fn a_copy_that_is_opened_again_does_not_go_on_with_its_attempt() {
    let mut cluster = Cluster::new(3);
    cluster.confirms = false;
    cluster.name(1, &[1, 2, 3]);
    cluster.feed(1, Event::PersistFailed);
    // Neither the promise nor the record was kept.
    cluster.reopen(1, Durable::new(replica_id(1)));
    cluster.show(1);
    assert_eq!(cluster.last(1), (Epoch(0), Lsn(0)));
    cluster.confirms = true;
    cluster.name(1, &[1, 2, 3]);
    assert_eq!(cluster.last(1), (Epoch(2), Lsn(1)));
}

#[test]
fn an_attempt_that_accepted_a_loss_and_failed_costs_nothing() {
    let mut cluster = Cluster::new(4);
    for copy in cluster.copies.values_mut() {
        copy.core.settings.retain = 100;
    }
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    // Nobody answers copy 4, which begins with nothing, and is never confirmed.
    cluster.away = [1, 2, 3].into();
    cluster.confirms = false;
    cluster.record.loss_accepted_at = Some(cluster.record.epoch.next());
    cluster.name(4, &[4]);
    for _ in 0..4 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(4), (Epoch(2), Lsn(1)));
    cluster.away.clear();
    cluster.confirms = true;
    cluster.record.loss_accepted_at = Some(cluster.record.epoch.next());
    cluster.name(4, &[3, 4]);
    for _ in 0..4 {
        cluster.pass(Duration::from_secs(1));
    }
    let log = cluster.copies[&4].replica().log();
    assert_eq!(cluster.last(4), (Epoch(3), Lsn(3)));
    assert_eq!(log.get(Lsn(2)).map(|record| record.epoch), Some(Epoch(1)));
}
