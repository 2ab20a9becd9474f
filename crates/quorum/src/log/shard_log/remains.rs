//! What is left of a copy that was set aside: it is shown to primaries to be, and counts for nothing.

use shardwright_topology::{NodeId, Primary, Timestamp};

use crate::log::{Action, Ask, Durable, Event, Participant, Point, Request, Settings, peer::Back};

/// The machine of what is left, which keeps nothing.
#[derive(Debug)]
pub(super) struct Remains {
    machine: Participant,
}

impl Remains {
    /// Returns what is left; none if it is a whole copy by its own word, which it must not be taken for.
    pub(super) fn new(
        now: Timestamp,
        me: Primary,
        settings: Settings,
        durable: Durable,
    ) -> Option<Self> {
        if durable.clean {
            return None;
        }
        let machine = Participant::open(now, me, settings, durable, Point::default());
        machine.ok().map(|machine| Self { machine })
    }

    /// Answers a fence, or a question for records after one.
    pub(super) fn show(&mut self, now: Timestamp, from: &NodeId, request: &Request, back: &Back) {
        if !matches!(request.ask, Ask::Fence | Ask::Fetch(_)) {
            return;
        }
        let mut actions = Vec::new();
        let event = Event::Request {
            from: from.clone(),
            call: 0,
            request: request.clone(),
        };
        self.machine.handle(now, event, &mut actions);
        let last = actions.iter().rev().find_map(|action| match action {
            Action::Persist(ticket, _) => Some(*ticket),
            _ => None,
        });
        // Nothing that it promises counts, so nothing needs to be kept.
        if let Some(ticket) = last {
            self.machine
                .handle(now, Event::Persisted(ticket), &mut actions);
        }
        for action in actions {
            if let Action::Reply(_, reply) = action {
                back.clone().reply(reply);
            }
        }
    }
}
