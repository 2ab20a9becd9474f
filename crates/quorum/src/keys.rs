//! Keys of events: they sort by time, and no two are alike.

use std::{fmt, sync::Mutex, time::Duration};

use uuid::{ContextV7, Timestamp, Uuid};

use crate::clock;

/// Makes keys: UUIDs of version 7, such as `019a9c3e-5b6d-7cc3-98c4-dc0c0c07398f`.
///
/// A key begins with the wall time in milliseconds, so keys of all nodes sort by time, as far as their clocks agree. Those of one
/// value of this type ascend strictly, also within a millisecond and when the clock goes back. Keys of different nodes that are of one
/// millisecond differ by 73 random bits.
pub struct Keys {
    context: Mutex<ContextV7>,
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Returns a source of keys. A node needs one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            context: Mutex::new(ContextV7::new()),
        }
    }

    /// Returns the next key.
    #[must_use]
    pub fn generate(&self) -> String {
        self.at(clock::since_1970())
    }

    /// Returns a text between the keys of two moments: those made before `since_1970` are less, those made from then on are greater.
    ///
    /// It cuts a store into intervals, and counts whole milliseconds.
    #[must_use]
    pub fn bound(since_1970: Duration) -> String {
        let milliseconds = since_1970.as_millis();
        format!("{:08x}-{:04x}", milliseconds >> 16, milliseconds & 0xffff)
    }

    fn at(&self, since_1970: Duration) -> String {
        let (seconds, nanos) = (since_1970.as_secs(), since_1970.subsec_nanos());
        let time = Timestamp::from_unix(&self.context, seconds, nanos);
        Uuid::new_v7(time).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_of_one_process_ascend() {
        let keys = Keys::new();
        let made: Vec<String> = (0..100_000).map(|_| keys.generate()).collect();
        assert!(made.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn keys_ascend_when_the_clock_goes_back() {
        let keys = Keys::new();
        let times = [5_000, 5_001, 5_000, 3, 3, 5_001, 5_002].map(Duration::from_millis);
        let made = times.map(|time| keys.at(time));
        assert!(made.is_sorted_by(|one, next| one < next), "{made:?}");
    }

    #[test]
    fn keys_sort_by_time_across_nodes() {
        let [early, late] = [1_700_000_000_000, 1_700_000_000_001].map(Duration::from_millis);
        for _ in 0..1_000 {
            assert!(Keys::new().at(early) < Keys::new().at(late));
        }
    }

    #[test]
    fn a_bound_is_between_the_keys_of_two_moments() {
        for milliseconds in [1, 65_536, 1_700_000_000_000] {
            let [before, from] = [milliseconds - 1, milliseconds].map(Duration::from_millis);
            let bound = Keys::bound(from);
            for _ in 0..100 {
                assert!(Keys::new().at(before) < bound);
                assert!(bound < Keys::new().at(from));
            }
        }
    }

    #[test]
    fn keys_of_many_nodes_and_threads_at_one_moment_differ() {
        let now = Duration::from_secs(1_700_000_000);
        let nodes: Vec<Keys> = (0..8).map(|_| Keys::new()).collect();
        let make = |keys: &Keys| -> Vec<String> { (0..5_000).map(|_| keys.at(now)).collect() };
        let made: Vec<Vec<String>> = std::thread::scope(|scope| {
            let two = nodes.iter().chain(&nodes);
            let threads: Vec<_> = two.map(|keys| scope.spawn(move || make(keys))).collect();
            let made = threads.into_iter().map(|thread| thread.join());
            made.collect::<Result<_, _>>().unwrap()
        });
        let distinct: HashSet<&String> = made.iter().flatten().collect();
        assert_eq!(distinct.len(), 16 * 5_000);
    }
}
