//! The judgement of a log to which values were appended, each another one.
//!
//! The log itself is the order of the appends, so nothing has to be searched: it is compared with what clients saw and when.

use std::{collections::HashMap, fmt, hash::Hash};

use shardwright_topology::Timestamp;

/// The append of a value that no other append has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append<V> {
    /// The value.
    pub value: V,
    /// When it was asked for, or earlier.
    pub called: Timestamp,
    /// What its client knows.
    pub outcome: AppendOutcome,
}

/// What became of an append, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It was acknowledged, by this moment.
    Acknowledged(Timestamp),
    /// It was refused, and has not been done.
    Refused,
    /// Nobody knows whether it was done, or will be.
    Unknown,
}

/// A read of the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<V> {
    /// When it was asked for, or earlier.
    pub called: Timestamp,
    /// When it was answered, or later.
    pub answered: Timestamp,
    /// What it showed.
    pub seen: Vec<V>,
}

/// What a log must not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation<V> {
    /// A value was acknowledged, and is not in the log.
    Lost(V),
    /// A value is in the log twice.
    Doubled(V),
    /// A value was refused, or never appended, and is in the log.
    Unasked(V),
    /// The second value had been acknowledged before the first was asked for, and comes after it.
    Reordered(V, V),
    /// A read, by its place, does not show how the log begins.
    NoPrefix(usize),
    /// A read shows this value, which was not asked for before it was answered.
    FromTheFuture(usize, V),
    /// A read does not show this value, which had been acknowledged before it was asked for.
    Stale(usize, V),
    /// The second read began after the first was answered, and shows less.
    WentBack(usize, usize),
}

impl<V: fmt::Debug> fmt::Display for Violation<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(value) => write!(f, "{value:?} was acknowledged and is lost"),
            Self::Doubled(value) => write!(f, "{value:?} is there twice"),
            Self::Unasked(value) => write!(f, "{value:?} is there, and should not be"),
            Self::Reordered(first, second) => {
                write!(
                    f,
                    "{second:?} was acknowledged before {first:?} was asked for, and comes after it"
                )
            }
            Self::NoPrefix(read) => write!(f, "read {read} does not show how the log begins"),
            Self::FromTheFuture(read, value) => write!(f, "read {read} shows {value:?} too early"),
            Self::Stale(read, value) => {
                write!(
                    f,
                    "read {read} misses {value:?}, which had been acknowledged"
                )
            }
            Self::WentBack(before, after) => {
                write!(
                    f,
                    "read {after} shows less than read {before} did before it"
                )
            }
        }
    }
}

/// Judges what clients saw of a log whose whole content is `log` at the end, and returns everything that is wrong.
///
/// If nothing is, the history is linearizable: nothing acknowledged is lost, nothing is doubled, and each read showed all of the log that
/// it had to and nothing that it could not.
pub fn judge_appends<V: Clone + Eq + Hash>(
    log: &[V],
    appends: &[Append<V>],
    reads: &[Read<V>],
) -> Vec<Violation<V>> {
    let mut violations = Vec::new();
    let asked: HashMap<&V, &Append<V>> = appends.iter().map(|one| (&one.value, one)).collect();
    let mut places: HashMap<&V, usize> = HashMap::with_capacity(log.len());
    for (place, value) in log.iter().enumerate() {
        if places.insert(value, place).is_some() {
            violations.push(Violation::Doubled(value.clone()));
        }
        let is_refused = |append: &&Append<V>| append.outcome == AppendOutcome::Refused;
        if asked.get(value).is_none_or(is_refused) {
            violations.push(Violation::Unasked(value.clone()));
        }
    }
    let acknowledged = appends.iter().filter(|one| one.acknowledged().is_some());
    let lost = acknowledged.filter(|one| !places.contains_key(&one.value));
    violations.extend(lost.map(|one| Violation::Lost(one.value.clone())));

    let order: Vec<&Append<V>> = log
        .iter()
        .filter_map(|value| asked.get(value).copied())
        .collect();
    judge_order(&order, &mut violations);
    if order.len() == log.len() {
        judge_reads(log, &order, reads, &mut violations);
    }
    violations
}

impl<V> Append<V> {
    fn acknowledged(&self) -> Option<Timestamp> {
        match self.outcome {
            AppendOutcome::Acknowledged(at) => Some(at),
            AppendOutcome::Refused | AppendOutcome::Unknown => None,
        }
    }
}

fn judge_order<V: Clone>(order: &[&Append<V>], violations: &mut Vec<Violation<V>>) {
    let mut latest: Option<&Append<V>> = None;
    for append in order {
        if let Some(before) = latest
            && append.acknowledged().is_some_and(|at| at < before.called)
        {
            let (first, second) = (before.value.clone(), append.value.clone());
            violations.push(Violation::Reordered(first, second));
        }
        if latest.is_none_or(|latest| latest.called < append.called) {
            latest = Some(append);
        }
    }
}

fn judge_reads<V: Clone + Eq>(
    log: &[V],
    order: &[&Append<V>],
    reads: &[Read<V>],
    violations: &mut Vec<Violation<V>>,
) {
    for (index, read) in reads.iter().enumerate() {
        if !log.starts_with(&read.seen) {
            violations.push(Violation::NoPrefix(index));
            continue;
        }
        let (seen, unseen) = order.split_at(read.seen.len());
        let early = seen.iter().find(|append| append.called > read.answered);
        violations.extend(early.map(|one| Violation::FromTheFuture(index, one.value.clone())));
        let was_there =
            |append: &&&Append<V>| append.acknowledged().is_some_and(|at| at < read.called);
        let missed = unseen.iter().find(was_there);
        violations.extend(missed.map(|one| Violation::Stale(index, one.value.clone())));
    }
    let mut by_call: Vec<usize> = (0..reads.len()).collect();
    let mut by_answer = by_call.clone();
    by_call.sort_by_key(|read| reads[*read].called);
    by_answer.sort_by_key(|read| reads[*read].answered);
    let mut ended = by_answer.into_iter().peekable();
    let mut most: Option<usize> = None;
    for read in by_call {
        while let Some(before) = ended.next_if(|one| reads[*one].answered < reads[read].called) {
            if most.is_none_or(|most| reads[most].seen.len() < reads[before].seen.len()) {
                most = Some(before);
            }
        }
        if let Some(most) = most
            && reads[read].seen.len() < reads[most].seen.len()
        {
            violations.push(Violation::WentBack(most, read));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(Duration::from_millis(ms))
    }

    fn append(value: u32, called: u64, acknowledged: u64) -> Append<u32> {
        let (called, outcome) = (at(called), AppendOutcome::Acknowledged(at(acknowledged)));
        Append {
            value,
            called,
            outcome,
        }
    }

    fn with(value: u32, called: u64, outcome: AppendOutcome) -> Append<u32> {
        let called = at(called);
        Append {
            value,
            called,
            outcome,
        }
    }

    fn read(called: u64, answered: u64, seen: &[u32]) -> Read<u32> {
        let (called, answered) = (at(called), at(answered));
        let seen = seen.to_vec();
        Read {
            called,
            answered,
            seen,
        }
    }

    #[test]
    fn what_one_log_could_have_done_is_right() {
        let appends = [
            append(1, 0, 10),
            append(2, 5, 12),
            with(3, 6, AppendOutcome::Unknown),
            with(4, 7, AppendOutcome::Refused),
            with(5, 8, AppendOutcome::Unknown),
        ];
        let reads = [
            read(1, 7, &[]),
            read(1, 8, &[2]),
            read(11, 20, &[2, 1]),
            read(21, 30, &[2, 1, 3]),
        ];
        assert_eq!(judge_appends(&[2, 1, 3], &appends, &reads), []);
    }

    #[test]
    fn everything_that_can_be_wrong_is_found() {
        let appends = [append(1, 0, 10), append(2, 11, 20), append(3, 11, 20)];
        let judge = |log: &[u32], reads: &[Read<u32>]| judge_appends(log, &appends, reads);
        assert_eq!(judge(&[1, 2], &[]), [Violation::Lost(3)]);
        assert_eq!(judge(&[1, 2, 3, 2], &[]), [Violation::Doubled(2)]);
        assert_eq!(judge(&[1, 2, 3, 9], &[]), [Violation::Unasked(9)]);
        assert_eq!(judge(&[2, 1, 3], &[]), [Violation::Reordered(2, 1)]);
        let of = |read: Read<u32>| judge(&[1, 2, 3], &[read]);
        assert_eq!(of(read(30, 40, &[1, 3])), [Violation::NoPrefix(0)]);
        assert_eq!(of(read(0, 10, &[1, 2])), [Violation::FromTheFuture(0, 2)]);
        assert_eq!(of(read(21, 30, &[1, 2])), [Violation::Stale(0, 3)]);
        let reads = [read(12, 14, &[1, 2]), read(15, 16, &[1])];
        assert_eq!(judge(&[1, 2, 3], &reads), [Violation::WentBack(0, 1)]);
        let refused = [with(7, 0, AppendOutcome::Refused)];
        assert_eq!(judge_appends(&[7], &refused, &[]), [Violation::Unasked(7)]);
    }
}
