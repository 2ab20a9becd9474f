//! A primary that is asked to make way, by the fence of the next one: its clients are answered first, and then the fence.
//!
//! What the fence is answered then is worth more than what any other member says. All records of an epoch come from its primary, so a primary that
//! has ceased to lead has every record that was ever committed under its configuration, and no other will be. The next one need not wait for
//! more answers, nor for leases, which nobody counts on any more.

use shardwright_topology::{Epoch, NodeId, Timestamp};

use super::{Action, Participant, Role};
use crate::log::{Ask, Request};

/// What another copy asks of this one.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: NodeId,
    pub(super) call: u64,
    pub(super) request: Request,
}

/// For whom a primary makes way.
#[derive(Debug, Default)]
pub(super) struct MakingWay {
    /// The fences that are to be answered.
    fences: Vec<Asked>,
    /// The latest process that asked, and the epoch that it is to begin.
    heir: Option<(Epoch, NodeId)>,
}

impl MakingWay {
    /// Whether somebody waits for an answer.
    pub(super) fn is_awaited(&self) -> bool {
        !self.fences.is_empty()
    }
}

impl Participant {
    /// Returns which node has asked this process to make way, and for which epoch, also after it has.
    #[must_use]
    pub fn heir(&self) -> Option<(Epoch, &NodeId)> {
        let heir = self.making_way.heir.as_ref();
        heir.map(|(epoch, node)| (*epoch, node))
    }

    pub(super) fn request(&mut self, now: Timestamp, asked: Asked, actions: &mut Vec<Action>) {
        let epoch = asked.request.ballot.epoch;
        match &mut self.role {
            Role::Primary(primary)
                if asked.request.ask == Ask::Fence
                    && primary.is_active()
                    && primary.config().epoch < epoch =>
            {
                primary.asked_to_make_way(now, epoch);
                let making_way = &mut self.making_way;
                if making_way.heir.as_ref().is_none_or(|heir| heir.0 < epoch) {
                    making_way.heir = Some((epoch, asked.from.clone()));
                }
                making_way.fences.push(asked);
            }
            _ => self.answer(now, asked, actions),
        }
    }

    fn answer(&mut self, now: Timestamp, asked: Asked, actions: &mut Vec<Action>) {
        let Asked {
            from,
            call,
            request,
        } = asked;
        let replica = &mut self.core.replica;
        replica.request(now, &from, call, request, actions);
    }

    /// Gives way to the latest of those who ask for it, once it is time. The others are answered as by any other copy, and so are all if this process
    /// leads no more.
    pub(super) fn give_way(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let fences = &self.making_way.fences;
        let latest = (0..fences.len()).max_by_key(|at| fences[*at].request.ballot.epoch);
        let Some(latest) = latest else {
            return;
        };
        let leads = match &self.role {
            Role::Primary(primary) if primary.is_active() => {
                let context = self.core.context(now, actions);
                if !primary.may_give_way(&context, &fences[latest].from) {
                    return;
                }
                Some(primary.config().config_id)
            }
            Role::Primary(_) | Role::Recovering(_) | Role::Member => None,
        };
        let mut fences = std::mem::take(&mut self.making_way.fences);
        if let Some(leads) = leads {
            let heir = fences.swap_remove(latest);
            let replica = &mut self.core.replica;
            replica.give_way(leads, heir.call, &heir.request, actions);
        }
        for fence in fences {
            self.answer(now, fence, actions);
        }
    }
}
