//! What stands against the registry: it went back in time, as far as this process has found out.

use shardwright_topology::{Epoch, ShardRecord};

use super::{Action, Report};

/// What cannot be while the registry keeps what it confirmed.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// A configuration of this epoch was active, and the registry names an earlier one.
    seen: Option<Epoch>,
    /// Two configurations claim this epoch.
    twice: Option<Epoch>,
    /// The active epoch and the highest one of the record that was shown last.
    shown: (Epoch, Epoch),
}

impl Alarm {
    pub(super) fn is_raised(&self) -> bool {
        self.seen.is_some() || self.twice.is_some()
    }

    /// Takes in the shard's record: nothing stands against it once it is later than what was found.
    pub(super) fn shown(&mut self, record: &ShardRecord) {
        self.shown = (record.active_epoch(), record.epoch);
        self.seen.take_if(|seen| *seen <= record.active_epoch());
        self.twice.take_if(|epoch| *epoch < record.epoch);
    }

    /// Takes in what is reported.
    pub(super) fn note(&mut self, actions: &[Action]) {
        let (active, highest) = self.shown;
        for action in actions {
            match action {
                Action::Report(Report::RegistryWentBack { seen, .. }) if *seen > active => {
                    self.seen = self.seen.max(Some(*seen));
                }
                // One that is told late says nothing of a registry that was brought forward since.
                Action::Report(Report::TwoConfigs(epoch)) if *epoch >= highest => {
                    self.twice = self.twice.max(Some(*epoch));
                }
                _ => {}
            }
        }
    }
}
