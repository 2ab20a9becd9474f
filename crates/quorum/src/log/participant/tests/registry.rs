//! A registry that goes back in time.

use super::*;

impl Cluster {
    /// Lets the registry hand out the epochs up to this one without anybody hearing of it.
    fn hand_out(&mut self, epoch: u64) {
        self.record.epoch = Epoch(epoch);
    }

    fn reports(&mut self) -> Vec<(u128, Report)> {
        let told = self.told.drain(..);
        let report = |(at, action)| match action {
            Action::Report(report) => Some((at, report)),
            _ => None,
        };
        told.filter_map(report).collect()
    }
}

/// Copies of which the second one is the primary, and the record from before that.
fn succeeded() -> (Cluster, ShardRecord) {
    let mut cluster = Cluster::new(4);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    let before = cluster.record.clone();
    // It does not hear that somebody else is the primary.
    cluster.away = [3].into();
    cluster.pass(Duration::from_secs(2));
    cluster.name(2, &[1, 2, 4]);
    cluster.submit(2, 2, Level::Quorum);
    cluster.pass(Duration::from_secs(1));
    cluster.away.clear();
    cluster.reports();
    (cluster, before)
}

#[test]
fn nothing_begins_after_the_registry_went_back_until_it_comes_forward() {
    let (mut cluster, before) = succeeded();
    let active = cluster.record.active.clone();
    cluster.record = before;
    cluster.hand_out(4);
    cluster.pass(Duration::from_secs(2));
    cluster.name(3, &[1, 2, 3]);
    let report = Report::RegistryWentBack {
        registry: Epoch(1),
        seen: Epoch(2),
    };
    let stepped_down = (2, Report::SteppedDown(Epoch(2)));
    assert_eq!(cluster.reports(), [(3, report), stepped_down]);
    assert!(cluster.copies[&3].saw_registry_go_back());
    assert_eq!(cluster.record.active_epoch(), Epoch(1));

    cluster.record.active = active;
    cluster.record.pending = None;
    cluster.hand_out(100);
    cluster.show(3);
    assert!(!cluster.copies[&3].saw_registry_go_back());
    cluster.pass(Duration::from_secs(2));
    cluster.name(1, &[1, 2, 3]);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.reports(), [(1, Report::Leading(Epoch(101)))]);
    assert!(cluster.copies[&1].replica().known_commit() >= Lsn(4));
}

#[test]
fn a_copy_remembers_what_the_registry_has_shown_it() {
    let (mut cluster, before) = succeeded();
    cluster.show(3);
    cluster.away = [1, 2].into();
    cluster.record = before;
    cluster.hand_out(4);
    cluster.name(3, &[3, 4]);
    let report = Report::RegistryWentBack {
        registry: Epoch(1),
        seen: Epoch(2),
    };
    assert_eq!(cluster.reports(), [(3, report)]);
}

#[test]
fn a_registry_that_lost_a_shards_first_configuration_is_noticed() {
    let (mut cluster, before) = succeeded();
    cluster.record = ShardRecord::new(before.keyspace, before.id, None);
    cluster.hand_out(4);
    cluster.away = [2].into();
    cluster.pass(Duration::from_secs(2));
    cluster.name(1, &[1, 2, 3]);
    let registry = Epoch::UNASSIGNED;
    let is_alarm = |(at, report): (u128, Report)| {
        at == 1 && matches!(report, Report::RegistryWentBack { registry: it, .. } if it == registry)
    };
    assert!(cluster.reports().into_iter().any(is_alarm));
    assert_eq!(cluster.copies[&1].leads(), None);
}

#[test]
fn two_configurations_of_one_epoch_raise_an_alarm() {
    let mut cluster = Cluster::new(3);
    cluster.confirms = false;
    cluster.name(1, &[1, 2, 3]);
    let twice = cluster.record.epoch;
    let other = cluster.record.pending.as_mut().expect("it is pending");
    other.config_id = ConfigId::from_bits(77);
    other.primary.node = node(2);
    let fresh = Cluster::new(2).copies.remove(&2);
    cluster.copies.insert(2, fresh.expect("it is there"));
    cluster.show(2);
    assert!(cluster.copies[&2].saw_registry_go_back());
    assert!(cluster.reports().contains(&(2, Report::TwoConfigs(twice))));
    cluster.hand_out(9);
    cluster.show(2);
    assert!(!cluster.copies[&2].saw_registry_go_back());
}
