//! Which part of a statement a unit is that runs at several places, and what is left of it where its place is no more.
//!
//! When a shard is replaced by others, they remember its units in its place. What a unit did is told by one of them, and the others
//! remember that it was made and [tell nothing](Ran::is_elsewhere). So a statement that is tried again counts what it did once.
//!
//! A unit of several ends with a roll call: a statement that changes nothing and gives the range of the shard that it is for, and those of
//! all shards of the statement. So another try sees whether a shard that remembers it has made it with all of its rows, which one that was
//! merged since may not have, and which units there were to be.

use shardwright_store::Value;
use shardwright_topology::{KeyRange, Position};

use super::{Fragment, Ran};

/// What the rows of a roll call begin with.
const MARK: &str = "shardwright.roll_call";

impl Ran {
    /// Whether it tells nothing of what was done, because another place does: the place has taken over some rows of the one that did
    /// it. What a statement did always has a last rowid, if only that of one before.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this is of a roll call, and no statement's.
    #[must_use]
    pub fn is_roll_call(&self) -> bool {
        let is_mark = |row: &Vec<Value>| row.first().and_then(Value::as_str) == Some(MARK);
        self.rows.first().is_some_and(is_mark)
    }

    /// What a place remembers of a unit, where another place tells what it did. A roll call stays as it is.
    #[must_use]
    pub fn into_elsewhere(self) -> Self {
        if self.is_roll_call() {
            self
        } else {
            Self::default()
        }
    }
}

/// What the roll calls of a unit say, or of several that one place remembers together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// The ranges of the shards that made it.
    pub(crate) made: Vec<KeyRange>,
    /// The ranges of all shards of the statement.
    pub(crate) intended: Vec<KeyRange>,
}

impl Parts {
    /// Takes the roll calls out of what a place has done.
    pub(crate) fn take_out_of(ran: &mut Vec<Ran>) -> Self {
        let mut parts = Self::default();
        ran.retain(|ran| {
            let is_roll_call = ran.is_roll_call();
            if is_roll_call {
                let mut ranges = ran.rows.iter().filter_map(|row| range_in(row));
                parts.made.extend(ranges.next());
                parts.intended.extend(ranges);
            }
            !is_roll_call
        });
        parts
    }

    /// Adds what another place says.
    pub(crate) fn add(&mut self, other: Self) {
        self.made.extend(other.made);
        self.intended.extend(other.intended);
    }

    /// The first position that was intended and that none of those who made it had.
    pub(crate) fn missing(&self) -> Option<Position> {
        self.intended.iter().find_map(|range| self.gap_in(*range))
    }

    /// The same, within the range of a shard.
    pub(crate) fn missing_in(&self, range: KeyRange) -> Option<Position> {
        let common = |intended: &KeyRange| {
            let start = intended.start().max(range.start());
            let last = intended.last().min(range.last());
            KeyRange::new(start, last.0.checked_add(1).map(Position)).ok()
        };
        let mut intended = self.intended.iter().filter_map(common);
        intended.find_map(|range| self.gap_in(range))
    }

    /// The first position of a range that none of those who made it had.
    fn gap_in(&self, range: KeyRange) -> Option<Position> {
        let mut next = range.start();
        loop {
            let found = self.made.iter().find(|made| made.contains(next));
            let Some(found) = found else {
                return Some(next);
            };
            next = found.end().filter(|end| range.contains(*end))?;
        }
    }
}

/// The roll call of a unit for a shard, as one of several in the order of their ranges. Neighbours are one range in it.
pub(crate) fn roll_call(own: KeyRange, all: impl Iterator<Item = KeyRange>) -> Fragment {
    let mut joined: Vec<KeyRange> = Vec::new();
    for range in all {
        let before = joined.pop();
        match before.map(|before| (before, before.join(&range))) {
            Some((_, Some(both))) => joined.push(both),
            Some((before, None)) => joined.extend([before, range]),
            None => joined.push(range),
        }
    }
    let mut values = Vec::new();
    let mut marks = Vec::new();
    for range in std::iter::once(own).chain(joined) {
        let [first, last] =
            [range.start(), range.last()].map(|at| Value::Integer(at.0.cast_signed()));
        values.extend([Value::from(MARK), first, last]);
        marks.push("(?,?,?)");
    }
    Fragment::new(format!("VALUES {}", marks.join(",")), values)
}

fn range_in(row: &[Value]) -> Option<KeyRange> {
    let [_, first, last] = row else {
        return None;
    };
    let at = |value: &Value| Some(Position(value.as_i64()?.cast_unsigned()));
    let end = at(last)?.0.checked_add(1).map(Position);
    KeyRange::new(at(first)?, end).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a place gives that runs the statement.
    fn ran(fragment: &Fragment) -> Ran {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare(&fragment.sql).unwrap();
        let values = fragment.params.iter().map(crate::database::sqlite_value);
        let width = statement.column_count();
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
            (0..width)
                .map(|column| row.get_ref(column).map(crate::database::own_value))
                .collect()
        });
        let rows = rows.unwrap().collect::<Result<_, _>>().unwrap();
        Ran {
            rows,
            ..Ran::default()
        }
    }

    #[test]
    fn a_roll_call_says_who_made_a_unit_and_what_is_missing() {
        let ranges: Vec<KeyRange> = KeyRange::even(4).collect();
        let [first, .., third, last] = &ranges[..] else {
            unreachable!("there are four")
        };
        let of = |own: &KeyRange| ran(&roll_call(*own, ranges.iter().copied()));
        let done = Ran {
            rows: vec![vec![Value::from(1)]],
            ..Ran::default()
        };
        let mut remembered = vec![done.clone(), of(first), Ran::default(), of(last)];
        for ran in &remembered {
            assert_eq!(
                ran.clone().into_elsewhere().is_roll_call(),
                ran.is_roll_call()
            );
        }
        let parts = Parts::take_out_of(&mut remembered);
        assert_eq!(remembered, [done, Ran::default()]);
        assert_eq!(parts.made, [*first, *last]);
        assert_eq!(parts.intended, [KeyRange::ALL; 2]);
        assert_eq!(parts.missing_in(*last), None);
        let (lower, upper) = first.halve().unwrap();
        assert_eq!(parts.missing_in(upper), None, "a part of what was made");
        assert_eq!(parts.missing_in(lower), None);
        let second = ranges[1];
        let merged = first.join(&second).unwrap();
        assert_eq!(parts.missing_in(merged), Some(second.start()));
        let merged = third.join(last).unwrap();
        assert_eq!(parts.missing_in(merged), Some(third.start()));
        assert_eq!(parts.missing_in(KeyRange::ALL), Some(second.start()));
        assert_eq!(parts.missing(), Some(second.start()));
    }

    #[test]
    fn a_shard_that_a_statement_had_nothing_for_is_not_missing() {
        let ranges: Vec<KeyRange> = KeyRange::even(4).collect();
        let (first, second, last) = (ranges[0], ranges[1], ranges[3]);
        let own = roll_call(first, [first, last].into_iter());
        let parts = Parts::take_out_of(&mut vec![ran(&own)]);
        assert_eq!(parts.intended, [first, last]);
        assert_eq!(parts.missing_in(first.join(&second).unwrap()), None);
        assert_eq!(parts.missing_in(second), None);
        assert_eq!(parts.missing_in(last), Some(last.start()));
        assert_eq!(parts.missing(), Some(last.start()));
    }
}
