//! The search for an order of the calls that explains every answer.
//!
//! It is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried ("Testing for
//! linearizability", 2017): a call may come next if no other one had been answered before it began, and a set of done calls
//! that led to a state once is not tried again.

use std::{collections::HashSet, hash::Hash};

use shardwright_topology::Timestamp;

use super::Operation;

/// What one copy would do that does one thing at a time.
pub trait Model {
    /// What the copy holds.
    type State: Clone + Eq + Hash;
    /// What clients ask.
    type Call;
    /// What clients are answered.
    type Answer;

    /// Returns what the copy holds at first.
    fn initial(&self) -> Self::State;

    /// Returns what it holds after a call, or none if it would not have answered so. Without an answer every answer is right.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// What was found out about a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// One copy could have answered so.
    Linearizable {
        /// The operations, by their places in the history, in an order that explains the answers. Unanswered ones that are not here need not
        /// have been done.
        order: Vec<usize>,
    },
    /// No order of the operations explains the answers.
    NotLinearizable {
        /// The most operations that can be explained, in their order.
        longest: Vec<usize>,
        /// The one that was answered next, and does not fit.
        stuck: usize,
    },
    /// The search was given up after as many steps as were allowed.
    Undecided,
}

/// Judges a history, with at most `steps_max` steps: their number may double with every call that overlaps others.
///
/// Histories of many independent things, such as keys, are to be judged one by one.
pub fn linearize<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Answer>],
    steps_max: u64,
) -> Verdict {
    let mut search = Search::new(model, history);
    for _ in 0..steps_max {
        if let Some(verdict) = search.step() {
            return verdict;
        }
    }
    Verdict::Undecided
}

/// The begin or the end of an operation.
#[derive(Debug, Clone, Copy)]
struct Entry {
    operation: usize,
    is_call: bool,
    /// The end of a begin; none if it has not ended.
    end: Option<usize>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Call, M::Answer>],
    entries: Vec<Entry>,
    /// The entries of operations that are not yet done, each with its neighbours; the last place is before the first and after the last.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where the search looks.
    at: usize,
    state: M::State,
    done: Vec<u64>,
    /// What is done: entries of calls, each with the state before it.
    stack: Vec<(usize, M::State)>,
    tried: HashSet<(Vec<u64>, M::State)>,
    answers_left: usize,
    longest: Vec<usize>,
    stuck: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Call, M::Answer>]) -> Self {
        let entries = entries(history);
        let count = entries.len();
        let mut next: Vec<usize> = (1..=count).collect();
        next.push(0);
        let mut previous = vec![count];
        previous.extend(0..count);
        Self {
            model,
            history,
            entries,
            at: next[count],
            next,
            previous,
            state: model.initial(),
            done: vec![0; history.len().div_ceil(64)],
            stack: Vec::new(),
            tried: HashSet::new(),
            answers_left: history.iter().filter(|one| one.answer.is_some()).count(),
            longest: Vec::new(),
            stuck: 0,
        }
    }

    /// Looks at one entry.
    fn step(&mut self) -> Option<Verdict> {
        if self.answers_left == 0 {
            let order = self.order();
            return Some(Verdict::Linearizable { order });
        }
        let entry = self.entries[self.at];
        if entry.is_call {
            if !self.does(entry) {
                self.at = self.next[self.at];
            }
            return None;
        }
        // Whatever comes now had to be done before this answer.
        if self.stack.len() >= self.longest.len() {
            self.longest = self.order();
            self.stuck = entry.operation;
        }
        let Some((last, before)) = self.stack.pop() else {
            let (longest, stuck) = (std::mem::take(&mut self.longest), self.stuck);
            return Some(Verdict::NotLinearizable { longest, stuck });
        };
        self.state = before;
        self.undo(last);
        self.at = self.next[last];
        None
    }

    /// Does an operation next, unless it does not fit here or was tried.
    fn does(&mut self, entry: Entry) -> bool {
        let operation = &self.history[entry.operation];
        let answer = operation.answer.as_ref().map(|(_, answer)| answer);
        let Some(state) = self.model.step(&self.state, &operation.call, answer) else {
            return false;
        };
        self.flip(entry.operation);
        if !self.tried.insert((self.done.clone(), state.clone())) {
            self.flip(entry.operation);
            return false;
        }
        let before = std::mem::replace(&mut self.state, state);
        self.stack.push((self.at, before));
        self.unlink(self.at);
        if let Some(end) = entry.end {
            self.unlink(end);
            self.answers_left -= 1;
        }
        self.at = self.next[self.entries.len()];
        true
    }

    fn undo(&mut self, call: usize) {
        let entry = self.entries[call];
        self.flip(entry.operation);
        if let Some(end) = entry.end {
            self.relink(end);
            self.answers_left += 1;
        }
        self.relink(call);
    }

    fn order(&self) -> Vec<usize> {
        let done = self.stack.iter();
        done.map(|(call, _)| self.entries[*call].operation)
            .collect()
    }

    fn flip(&mut self, operation: usize) {
        self.done[operation / 64] ^= 1 << (operation % 64);
    }

    fn unlink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    /// Takes back the last [`unlink`](Self::unlink) that was not taken back.
    fn relink(&mut self, at: usize) {
        let (previous, next) = (self.previous[at], self.next[at]);
        self.next[previous] = at;
        self.previous[next] = at;
    }
}

/// Returns begins and ends in the order of time. Those of one moment overlap.
fn entries<C, A>(history: &[Operation<C, A>]) -> Vec<Entry> {
    let begins = (0..)
        .zip(history)
        .map(|(index, one)| (one.called, false, index));
    let ends = (0..).zip(history).filter_map(|(index, one)| {
        let (at, _) = one.answer.as_ref()?;
        Some((*at, true, index))
    });
    let mut order: Vec<(Timestamp, bool, usize)> = begins.chain(ends).collect();
    order.sort_unstable();
    let mut end_of = vec![None; history.len()];
    for (place, (_, is_end, index)) in order.iter().enumerate() {
        if *is_end {
            end_of[*index] = Some(place);
        }
    }
    let entries = order.into_iter().map(|(_, is_end, operation)| Entry {
        operation,
        is_call: !is_end,
        end: end_of[operation].filter(|_| !is_end),
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::history::{Register, RegisterCall};

    type History = Vec<Operation<RegisterCall<u8>, Option<u8>>>;

    fn at(ms: u64) -> Timestamp {
        Timestamp(Duration::from_millis(ms))
    }

    fn write(from: u64, to: u64, value: u8) -> Operation<RegisterCall<u8>, Option<u8>> {
        Operation::answered(at(from), RegisterCall::Write(value), at(to), None)
    }

    fn read(from: u64, to: u64, value: u8) -> Operation<RegisterCall<u8>, Option<u8>> {
        Operation::answered(at(from), RegisterCall::Read, at(to), Some(value))
    }

    fn judge(history: &History) -> Verdict {
        linearize(&Register::new(0), history, 1_000_000)
    }

    #[test]
    fn calls_that_overlap_are_done_in_any_order() {
        let order = judge(&vec![write(0, 10, 1), write(5, 15, 2), read(20, 30, 1)]);
        assert_eq!(
            order,
            Verdict::Linearizable {
                order: vec![1, 0, 2]
            }
        );
    }

    #[test]
    fn a_read_of_what_was_overwritten_does_not_fit() {
        let verdict = judge(&vec![write(0, 10, 1), write(11, 15, 2), read(20, 30, 1)]);
        let (longest, stuck) = (vec![0, 1], 2);
        assert_eq!(verdict, Verdict::NotLinearizable { longest, stuck });
    }

    #[test]
    fn what_was_read_once_is_not_unread() {
        let lost = Operation::unanswered(at(0), RegisterCall::Write(1));
        let fits = vec![lost.clone(), read(10, 20, 0), read(30, 40, 1)];
        assert!(matches!(judge(&fits), Verdict::Linearizable { .. }));
        let flickers = vec![lost, read(10, 20, 1), read(30, 40, 0)];
        assert!(matches!(judge(&flickers), Verdict::NotLinearizable { .. }));
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        let history: History = (0..20).map(|value| write(0, 100, value)).collect();
        assert_eq!(
            linearize(&Register::new(0), &history, 5),
            Verdict::Undecided
        );
    }

    /// Whether some order explains the history, by trying all.
    fn is_explained(history: &History, done: u32, state: u8) -> bool {
        let left = || (0..history.len()).filter(|one| done >> one & 1 == 0);
        let ends = left().filter_map(|one| history[one].answer.as_ref().map(|(at, _)| *at));
        let Some(first_end) = ends.min() else {
            return true;
        };
        left().any(|one| {
            let operation = &history[one];
            let answer = operation.answer.as_ref().map(|(_, answer)| answer);
            let model = Register::new(0);
            operation.called <= first_end
                && model
                    .step(&state, &operation.call, answer)
                    .is_some_and(|state| is_explained(history, done | 1 << one, state))
        })
    }

    fn operation() -> impl Strategy<Value = Operation<RegisterCall<u8>, Option<u8>>> {
        let call = prop_oneof![
            (0..3_u8).prop_map(|value| (RegisterCall::Write(value), None)),
            (0..3_u8).prop_map(|value| (RegisterCall::Read, Some(value))),
            (0..3_u8, 0..3_u8, 0..3_u8)
                .prop_map(|(old, new, was)| { (RegisterCall::Exchange { old, new }, Some(was)) }),
        ];
        (0..20_u64, 1..10_u64, call, any::<bool>()).prop_map(
            |(from, span, (call, answer), ends)| match ends {
                true => Operation::answered(at(from), call, at(from + span), answer),
                false => Operation::unanswered(at(from), call),
            },
        )
    }

    proptest! {
        #[test]
        fn the_search_finds_what_trying_all_orders_finds(history in prop::collection::vec(operation(), 0..7)) {
            let verdict = judge(&history);
            let is_linearizable = matches!(verdict, Verdict::Linearizable { .. });
            prop_assert_eq!(is_linearizable, is_explained(&history, 0, 0), "{:?}", verdict);
        }
    }
}
