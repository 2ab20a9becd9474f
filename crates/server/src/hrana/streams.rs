//! Which streams there are, which baton continues each, and when one has been idle for too long.
//!
//! A stream waits here between two requests, under the number of its last reply and until a moment; a request takes it away, so that there is
//! one request at a time. Ends are remembered for a while: whoever comes too late is told what has become of the transaction.

use std::collections::{BTreeSet, HashMap, VecDeque};

use shardwright_topology::Timestamp;

/// How many ends are remembered.
const ENDS_MAX: usize = 4_096;

/// The streams of a node. `S` is what a stream has.
#[derive(Debug)]
pub(super) struct Streams<S> {
    streams_max: usize,
    open: HashMap<u128, Place<S>>,
    /// When each that waits expires.
    expiries: BTreeSet<(Timestamp, u128)>,
    ended: HashMap<u128, End>,
    /// The same, in their order.
    ends: VecDeque<u128>,
}

#[derive(Debug)]
enum Place<S> {
    /// A request has it.
    Taken,
    Waiting(Waiting<S>),
}

#[derive(Debug)]
struct Waiting<S> {
    nonce: u128,
    until: Timestamp,
    has_transaction: bool,
    stream: S,
}

/// How a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Expired { has_rolled_back: bool },
}

/// Why there is no stream for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("the baton is none of this node's, or its stream was closed")]
    Invalid,
    #[error("the baton was used before: each reply has a new one")]
    Reused,
    #[error("the stream was idle for too long and has expired; it had no transaction open")]
    Expired,
    #[error("the stream was idle for too long and has expired; its transaction was rolled back")]
    RolledBack,
    #[error("there are too many streams on this node")]
    TooMany,
}

/// A refusal, and the stream that it has ended, if it has.
#[derive(Debug)]
pub(super) struct Refused<S> {
    pub(super) reason: Reason,
    pub(super) _ended: Option<S>,
}

impl<S> From<Reason> for Refused<S> {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            _ended: None,
        }
    }
}

impl<S> Streams<S> {
    pub(super) fn new(streams_max: usize) -> Self {
        Self {
            streams_max,
            open: HashMap::new(),
            expiries: BTreeSet::new(),
            ended: HashMap::new(),
            ends: VecDeque::new(),
        }
    }

    /// Begins a stream under a number that nobody can guess. The request that begins it has it.
    pub(super) fn begin(&mut self, id: u128) -> Result<u128, Reason> {
        if self.open.len() >= self.streams_max {
            return Err(Reason::TooMany);
        }
        self.open.insert(id, Place::Taken);
        Ok(id)
    }

    /// Takes a stream for the request that follows the reply of that number.
    pub(super) fn take(&mut self, now: Timestamp, id: u128, nonce: u128) -> Result<S, Refused<S>> {
        let Some(place) = self.open.get_mut(&id) else {
            return Err(self.ended_as(id).into());
        };
        match std::mem::replace(place, Place::Taken) {
            Place::Taken => Err(Reason::Reused.into()),
            Place::Waiting(waiting) if waiting.nonce != nonce => {
                *place = Place::Waiting(waiting);
                Err(Reason::Reused.into())
            }
            Place::Waiting(waiting) => {
                self.expiries.remove(&(waiting.until, id));
                if waiting.until > now {
                    return Ok(waiting.stream);
                }
                self.expired(id, waiting.has_transaction);
                Err(Refused {
                    reason: self.ended_as(id),
                    _ended: Some(waiting.stream),
                })
            }
        }
    }

    /// Lets a stream wait for the request that follows the reply of that number.
    pub(super) fn park(
        &mut self,
        id: u128,
        nonce: u128,
        until: Timestamp,
        has_transaction: bool,
        stream: S,
    ) {
        let waiting = Waiting {
            nonce,
            until,
            has_transaction,
            stream,
        };
        self.open.insert(id, Place::Waiting(waiting));
        self.expiries.insert((until, id));
    }

    /// Ends a stream that a request has.
    pub(super) fn end(&mut self, id: u128) {
        self.open.remove(&id);
        self.remember(id, End::Closed);
    }

    /// Returns when the next stream expires, if one waits.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// Ends the streams that have been idle for too long, and returns them.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<S> {
        let mut expired = Vec::new();
        while let Some(&(until, id)) = self.expiries.first() {
            if until > now {
                break;
            }
            self.expiries.pop_first();
            if let Some(Place::Waiting(waiting)) = self.open.remove(&id) {
                self.expired(id, waiting.has_transaction);
                expired.push(waiting.stream);
            }
        }
        expired
    }

    fn expired(&mut self, id: u128, has_rolled_back: bool) {
        self.open.remove(&id);
        self.remember(id, End::Expired { has_rolled_back });
    }

    fn remember(&mut self, id: u128, end: End) {
        self.ended.insert(id, end);
        self.ends.push_back(id);
        if self.ends.len() > ENDS_MAX
            && let Some(oldest) = self.ends.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    fn ended_as(&self, id: u128) -> Reason {
        match self.ended.get(&id) {
            None | Some(End::Closed) => Reason::Invalid,
            Some(End::Expired {
                has_rolled_back: false,
            }) => Reason::Expired,
            Some(End::Expired {
                has_rolled_back: true,
            }) => Reason::RolledBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(std::time::Duration::from_millis(ms))
    }

    #[track_caller]
    fn check(taken: Result<&'static str, Refused<&'static str>>, expect: Result<&str, Reason>) {
        assert_eq!(taken.map_err(|refused| refused.reason), expect);
    }

    fn waiting(until: u64, has_transaction: bool) -> Streams<&'static str> {
        let mut streams = Streams::new(2);
        streams.begin(1).unwrap();
        streams.park(1, 10, at(until), has_transaction, "one");
        streams
    }

    #[test]
    fn a_baton_continues_its_stream_once() {
        let mut streams = waiting(100, false);
        check(streams.take(at(1), 1, 11), Err(Reason::Reused));
        check(streams.take(at(1), 2, 10), Err(Reason::Invalid));
        check(streams.take(at(1), 1, 10), Ok("one"));
        check(streams.take(at(1), 1, 10), Err(Reason::Reused));
        streams.park(1, 12, at(100), false, "one");
        check(streams.take(at(1), 1, 10), Err(Reason::Reused));
        check(streams.take(at(1), 1, 12), Ok("one"));
        streams.end(1);
        check(streams.take(at(1), 1, 12), Err(Reason::Invalid));
    }

    #[test]
    fn whoever_comes_too_late_is_told_what_has_become_of_the_transaction() {
        for (has_transaction, reason) in [(false, Reason::Expired), (true, Reason::RolledBack)] {
            let mut streams = waiting(100, has_transaction);
            assert_eq!(streams.next_expiry(), Some(at(100)));
            assert!(streams.expire(at(99)).is_empty());
            assert_eq!(streams.expire(at(100)), ["one"]);
            assert_eq!(streams.next_expiry(), None);
            check(streams.take(at(101), 1, 10), Err(reason));

            let mut unseen = waiting(100, has_transaction);
            check(unseen.take(at(100), 1, 10), Err(reason));
            assert!(unseen.expire(at(200)).is_empty());
        }
    }

    #[test]
    fn a_stream_that_a_request_has_does_not_expire() {
        let mut streams = waiting(100, true);
        check(streams.take(at(1), 1, 10), Ok("one"));
        assert!(streams.expire(at(1_000)).is_empty());
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut streams = waiting(100, false);
        streams.begin(2).unwrap();
        assert_eq!(streams.begin(3), Err(Reason::TooMany));
        streams.end(2);
        assert_eq!(streams.begin(3), Ok(3));
    }

    #[test]
    fn ends_are_forgotten_in_their_order() {
        let mut streams = Streams::<()>::new(1);
        for id in 0..=ENDS_MAX as u128 {
            streams.begin(id).unwrap();
            streams.park(id, 0, at(1), false, ());
            assert_eq!(streams.expire(at(1)).len(), 1);
        }
        assert_eq!(streams.ended.len(), ENDS_MAX);
        let reason = |taken: Result<(), Refused<()>>| taken.unwrap_err().reason;
        assert_eq!(reason(streams.take(at(2), 0, 0)), Reason::Invalid);
        assert_eq!(reason(streams.take(at(2), 1, 0)), Reason::Expired);
    }
}
