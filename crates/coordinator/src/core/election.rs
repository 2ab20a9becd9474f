//! Which coordinator leads.

use shardwright_rebalancer::Plan;
use shardwright_registry::{Holder, LeaseRecord, Revision};
use shardwright_topology::Timestamp;

use super::{
    Action, Core, Notice, Value,
    contact::Contact,
    leadership::{Claim, LEASE, Leadership},
    machine::{Purpose, lease_key},
};

impl Core {
    pub(super) fn tick(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        // After a pause of this process everybody seems silent, and it was this process that did not listen.
        let is_late = self.settings.timing.hold() / 2 < now.since(self.last_tick);
        self.last_tick = now;
        self.is_to_judge = true;
        let hold = self.settings.timing.hold();
        if let Some(leadership) = &mut self.leadership {
            if is_late {
                leadership.judges_from = now + self.settings.check_interval / 2;
            }
            if !leadership.holds_at(now, hold) {
                self.step_down(actions);
            }
        }
        self.claim_leadership(now, actions);
    }

    fn step_down(&mut self, actions: &mut Vec<Action>) {
        let Some(leadership) = self.leadership.take() else {
            return;
        };
        self.version += 1;
        self.moving.clear();
        self.failures.clear();
        self.unserved.clear();
        self.plan = Plan::default();
        self.drop_pins();
        actions.push(Action::Notify(Notice::SteppedDown {
            coordinator: self.settings.id.clone(),
            term: leadership.term,
        }));
    }

    /// Renews the lease of the leader, or takes it when it is vacant.
    fn claim_leadership(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.claim.is_some() || !self.mirror.is_complete {
            return;
        }
        let stored = self.mirror.leases.get(LEASE);
        let record = match &self.leadership {
            Some(leadership) => {
                let is_due = leadership.sent_at + self.settings.timing.renew_every() <= now;
                let mine = stored.filter(|stored| stored.value.term == leadership.term);
                match mine {
                    Some(mine) if is_due => LeaseRecord {
                        counter: mine.value.counter + 1,
                        ..mine.value.clone()
                    },
                    _ => return,
                }
            }
            None if self.is_vacant(now, LEASE) => LeaseRecord {
                holder: Some(self.me()),
                term: stored.map_or(0, |stored| stored.value.term) + 1,
                counter: 0,
            },
            None => return,
        };
        self.claim = Some(Claim {
            sent_at: now,
            record: record.clone(),
        });
        self.write(
            lease_key(LEASE),
            Some(Value::Lease(record)),
            Purpose::Lead,
            actions,
        );
    }

    fn me(&self) -> Holder {
        Holder {
            node: self.settings.id.clone(),
            incarnation: self.settings.incarnation,
        }
    }

    /// Gives the leadership back, so that the next leader need not wait.
    pub fn resign(&mut self, actions: &mut Vec<Action>) {
        let stored = self.mirror.leases.get(LEASE);
        if let (Some(leadership), Some(stored)) = (&self.leadership, stored)
            && stored.value.term == leadership.term
        {
            let record = LeaseRecord {
                holder: None,
                ..stored.value.clone()
            };
            self.step_down(actions);
            self.write(
                lease_key(LEASE),
                Some(Value::Lease(record)),
                Purpose::Node,
                actions,
            );
        }
    }

    pub(super) fn claimed(
        &mut self,
        now: Timestamp,
        done: Option<Revision>,
        actions: &mut Vec<Action>,
    ) {
        let (Some(claim), Some(revision)) = (self.claim.take(), done) else {
            return;
        };
        let is_mine = claim.record.holder.as_ref() == Some(&self.me());
        match &mut self.leadership {
            Some(leadership) if leadership.term == claim.record.term => {
                leadership.sent_at = claim.sent_at;
            }
            Some(_) => {}
            None if is_mine && claim.record.counter == 0 => {
                self.leadership = Some(Leadership {
                    term: claim.record.term,
                    since: revision,
                    judges_from: now + self.settings.check_interval / 2,
                    sent_at: claim.sent_at,
                });
                self.pings_from = Timestamp::default();
                self.pins.check();
                for contact in self.contacts.values_mut() {
                    *contact = Contact::new(contact.incarnation, now);
                }
                self.is_urgent = true;
                self.version += 1;
                actions.push(Action::Notify(Notice::Leading {
                    coordinator: self.settings.id.clone(),
                    term: claim.record.term,
                }));
            }
            // A renewal that came back after this coordinator had stopped leading.
            None => {}
        }
    }
}
